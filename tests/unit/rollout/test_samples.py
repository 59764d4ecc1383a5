import dataclasses
import pickle
from contextlib import suppress

import pytest
import torch
from tests.tiny import tiny_model, tiny_tokenizer

from sdar.envs.toy import ToySpec
from sdar.errors import ContextOverflow, DataError
from sdar.model.chat import Chat
from sdar.rollout.collector import Collector
from sdar.rollout.engines.hf import HFEngine
from sdar.rollout.samples import Sample, build_samples
from sdar.rollout.settings import Overflow, RolloutConfig
from sdar.rollout.views import Views
from sdar.skills.bank import Skill, SkillBank
from sdar.skills.context import SkillContext
from sdar.skills.retrieval import ByKind
from sdar.types import ContextMode

BANK = SkillBank(
    "toy",
    (
        Skill("walk", "", "Walk.", "Walk to the door."),
        Skill("port", "left", "Left.", "The door is on the left."),
        Skill("starboard", "right", "Right.", "The door is on the right."),
    ),
)
SPEC = ToySpec(max_turns=4)
TEACHER = Views(names=("skills",), spec=SPEC, skills=SkillContext(BANK, ByKind()))
CHAT = Chat(tiny_tokenizer())
TEMPERATURE = 0.8


@pytest.fixture(scope="module", params=list(ContextMode))
def groups(request):
    config = RolloutConfig(context=request.param, max_tokens=6, temperature=TEMPERATURE)
    engine = HFEngine(tiny_model(), stop_ids=CHAT.stop_ids)
    return Collector(SPEC, engine, CHAT, config).collect(SPEC.tasks("train")[:4], 2, seed=3)


@pytest.fixture
def trajectories(groups):
    return [trajectory for group in groups for trajectory in group.trajectories]


def build(groups, teacher=TEACHER, **settings):
    return build_samples(groups, chat=CHAT, teacher=teacher, context_length=2048, **settings)


def test_samples_hold_what_was_sampled_in_order(groups, trajectories):
    samples, _ = build(groups)
    window = trajectories[0].context is ContextMode.WINDOW
    assert len(samples) == (sum(len(t.turns) for t in trajectories) if window else len(trajectories))
    for index, trajectory in enumerate(trajectories):
        mine = [sample for sample in samples if sample.trajectory == index]
        chosen = [t for s in mine for t, policy in zip(s.body, s.policy, strict=True) if policy]
        assert chosen == [token for turn in trajectory.turns for token in turn.completion.tokens]
        assert [x for s in mine for x in s.logps] == [x for t in trajectory.turns for x in t.completion.logps]
        turns = [number for number, turn in enumerate(trajectory.turns) for _ in turn.completion.tokens]
        assert [number for sample in mine for number in sample.turns] == turns
        assert all(sample.policy[-1] for sample in mine)


def test_recorded_logps_are_those_of_the_plain_forward_on_the_sample(groups):
    model = tiny_model()
    for sample in build(groups)[0]:
        with torch.no_grad():
            logits = model(torch.tensor([sample.prompt + sample.body])).logits[0, len(sample.prompt) - 1 : -1]
        logps = torch.log_softmax(logits / TEMPERATURE, -1).gather(-1, torch.tensor(sample.body)[:, None])[
            :, 0
        ]
        ours = torch.tensor(sample.logps)
        torch.testing.assert_close(ours, logps[torch.tensor(sample.policy)], atol=1e-4, rtol=0)
        assert (sample.num_policy, sample.length) == (len(ours), len(sample.prompt + sample.body))


def test_the_teacher_sees_skills_in_front_of_the_same_body(groups):
    samples, report = build(groups)
    plain, _ = build(groups, teacher=None)
    for sample, bare in zip(samples, plain, strict=True):
        assert dataclasses.replace(sample, teacher_prompt=()) == bare
        student, teacher = (CHAT.decode(prompt) for prompt in (sample.prompt, sample.teacher_prompt))
        assert "Walk to the door." in teacher
        head, content = student.split("user\n")
        assert teacher.startswith(head)
        assert teacher.endswith(content)
    assert report.views[0].prompt_tokens == sum(len(sample.teacher_prompt) for sample in samples)
    assert (report.views[0].overflow, report.views[0].absent) == (0, 0)


def test_the_report_says_which_skills_were_seen(groups, trajectories):
    _, report = build(groups)
    assert report.skills == tuple(
        ("walk", "port" if t.task.kind == "left" else "starboard") for t in trajectories
    )
    assert report.skills_seen == {"left": {"walk": 4, "port": 4}, "right": {"walk": 4, "starboard": 4}}


def test_without_a_teacher_nothing_is_seen(groups):
    samples, report = build(groups, teacher=None)
    assert not any(sample.teacher_prompt for sample in samples)
    assert (report.views, set(report.skills)) == ((), {()})


def test_a_teacher_that_does_not_fit_is_an_error_or_dropped(groups):
    samples, _ = build(groups)
    lengths = [len(sample.teacher_prompt) + len(sample.body) for sample in samples]
    limit = max(lengths) - 1
    too_long = sum(length > limit for length in lengths)
    with pytest.raises(ContextOverflow, match=f"exceed the context of {limit}"):
        build_samples(groups, chat=CHAT, teacher=TEACHER, context_length=limit)
    kept, report = build_samples(
        groups, chat=CHAT, teacher=TEACHER, context_length=limit, overflow=Overflow.DROP
    )
    assert report.views[0].overflow == too_long
    assert [bool(sample.teacher_prompt) for sample in kept] == [length <= limit for length in lengths]
    assert [sample.body for sample in kept] == [sample.body for sample in samples]
    build_samples(groups, chat=CHAT, teacher=TEACHER, context_length=limit + 1)


def test_skills_of_a_dropped_teacher_are_not_counted(groups):
    _, report = build_samples(groups, chat=CHAT, teacher=TEACHER, context_length=30, overflow=Overflow.DROP)
    assert set(report.skills) == {()}


@pytest.mark.parametrize("part", ["policy", "logps", "turns"])
def test_parts_that_do_not_match_are_an_error(part):
    parts = {"policy": (False, True, True), "logps": (-1.0, -2.0), "turns": (0, 0)}
    Sample((1,), (2, 3, 4), trajectory=0, **parts)
    with pytest.raises(DataError):
        Sample((1,), (2, 3, 4), trajectory=0, **(parts | {part: parts[part][1:]}))


class Others:
    """Two ranks in turn: the first pass of each notes what it sends, the second gets what both sent."""

    def __init__(self, rank, sent):
        self.rank, self.size, self.sent = rank, 2, sent

    def gather(self, item):
        self.sent[self.rank] = item
        return [pickle.loads(pickle.dumps(self.sent[rank])) for rank in (0, 1)] if len(self.sent) == 2 else []


def heard(groups, rank):
    """The groups of a step on one of two ranks, which take turns: of others' episodes it has no tokens."""
    played = [
        [dataclasses.replace(trajectory, rank=trajectory.index % 2) for trajectory in group.trajectories]
        for group in groups
    ]
    return [
        dataclasses.replace(group, trajectories=[t if t.rank == rank else t.without_tokens() for t in mine])
        for group, mine in zip(groups, played, strict=True)
    ]


@pytest.mark.parametrize("with_spans", [False, True])
def test_each_rank_builds_the_samples_of_what_it_played_and_all_get_all(groups, with_spans, monkeypatch):
    expected = build(groups, with_spans=with_spans)
    rendered = []
    monkeypatch.setattr(
        Chat, "render", lambda self, messages, old=Chat.render: rendered.append(1) or old(self, messages)
    )
    build(groups)
    whole, sent = len(rendered), {}
    for rank in (0, 1):
        rendered.clear()
        with suppress(IndexError):  # nothing came from the other one yet
            build(heard(groups, rank), with_spans=with_spans, ranks=Others(rank, sent))
        assert len(rendered) < 0.8 * whole
    for rank in (0, 1):
        done = build(heard(groups, rank), with_spans=with_spans, ranks=Others(rank, sent))
        assert done == expected
        tokens = [part for s in done[0] for part in (s.prompt, s.body, s.teacher_prompt, s.turns, s.spans)]
        assert all((part.typecode, part.itemsize) == ("i", 4) for part in tokens)


def test_other_ranks_hear_of_an_episode_all_but_its_tokens(trajectories):
    for whole in trajectories:
        told = whole.without_tokens()
        assert not any([*turn.prompt, *turn.completion.tokens] for turn in told.turns)
        assert (told.num_tokens, told.reward, told.final) == (whole.num_tokens, whole.reward, whole.final)
        assert [turn.completion.logps for turn in told.turns] == [t.completion.logps for t in whole.turns]
        assert len(pickle.dumps(whole)) > len(pickle.dumps(told)) + 4 * whole.num_tokens


def test_a_prompt_that_one_rank_refuses_stops_all_with_the_same_line(groups):
    sent, refused = {}, []
    for rank in (0, 1, 0):
        others = Others(rank, sent)
        with pytest.raises((ContextOverflow, IndexError)) as caught:
            build_samples(heard(groups, rank), chat=CHAT, teacher=TEACHER, context_length=30, ranks=others)
        refused.append(str(caught.value))
    assert "exceed the context of 30" in refused[1]
    assert refused[1] == refused[2]
