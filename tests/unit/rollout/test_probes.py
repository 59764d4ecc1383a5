"""Probes: three answers in one place, and the student's prompt without skills before each."""

from tests.tiny import tiny_tokenizer

from sdar.envs.alfworld.spec import AlfworldSpec
from sdar.model.chat import Chat
from sdar.rollout.agent import Always
from sdar.rollout.probes import Answer, Probe, Prober
from sdar.rollout.settings import RolloutConfig


def probes(context_length: int = 100_000, turns: int = 3) -> list[Probe]:
    spec, tokenizer = AlfworldSpec(prompt="compact"), tiny_tokenizer()
    prober = Prober(
        spec=spec,
        rollout=RolloutConfig(context="transcript"),
        expert="planner",
        chat=Chat(tokenizer),
        end=tokenizer.eos_token_id,
        context_length=context_length,
        turns=turns,
    )
    task = spec.panel("generated-compact-128").tasks[0]
    return list(prober.probe(task, 7, [Always("Look well."), Always("")]))


def test_each_place_has_the_experts_answer_and_worse_ones() -> None:
    found = probes()
    places = {tuple(probe.sample.prompt) for probe in found}
    assert len(places) == 3
    for place in places:
        here = [probe for probe in found if tuple(probe.sample.prompt) == place]
        assert here[0].answer is Answer.EXPERT
        bodies = [tuple(probe.sample.body) for probe in here]
        assert len(set(bodies)) == len(bodies) <= 3
    assert {probe.answer for probe in found} == set(Answer)
    assert {probe.task for probe in found} == {7}


def test_teachers_read_their_text_and_the_student_does_not() -> None:
    chat = Chat(tiny_tokenizer())
    for probe in probes():
        student, first, second = (probe.sample.prompt_of(view) for view in (None, 0, 1))
        assert "Look well." in chat.decode(first)
        assert "Look well." not in chat.decode(student)
        assert second == student


def test_what_exceeds_the_context_is_left_out() -> None:
    lengths = sorted(len(probe.sample.prompt_of(0)) + len(probe.sample.body) for probe in probes())
    assert len(probes(lengths[-1])) == len(lengths)
    assert len(probes(lengths[-1] - 1)) < len(lengths)
