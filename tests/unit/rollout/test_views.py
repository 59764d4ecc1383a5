"""What each teacher view tells, its budget, and several views at once."""

from dataclasses import replace

import pytest
from tests.tiny import tiny_tokenizer

from sdar.envs.alfworld.spec import AlfworldSpec
from sdar.envs.base import EnvSpec
from sdar.envs.toy import ToySpec
from sdar.errors import ConfigError, ContextOverflow
from sdar.model.chat import Chat
from sdar.objectives import objectives
from sdar.rollout.collector import Collector
from sdar.rollout.engines.scripted import ScriptedEngine
from sdar.rollout.samples import build_samples
from sdar.rollout.settings import Overflow, RolloutConfig
from sdar.rollout.views import Note, Views, ViewsConfig, advise, register, views
from sdar.skills.bank import Skill, SkillBank
from sdar.skills.context import HEADING, SkillContext, prepend
from sdar.skills.retrieval import Everything
from sdar.types import (
    Completion,
    ContextMode,
    EndReason,
    Group,
    Message,
    Observation,
    StopReason,
    Task,
    Trajectory,
    Turn,
)

TOKENIZER = tiny_tokenizer()
CHAT = Chat(TOKENIZER)
SPEC = ToySpec()
TASK = Task("train/+2", "right", 2)


def episode(index: int, actions: str, context: ContextMode = ContextMode.WINDOW) -> Trajectory:
    """Walk the corridor by hand: `r` and `l`."""
    env, turns = SPEC.make(), []
    seen, end = env.reset(TASK), EndReason.MAX_TURNS
    for letter in actions:
        text = {"r": "right", "l": "left"}[letter]
        messages = (Message("user", seen.text),)
        prompt, tokens = tuple(CHAT.render(messages)), (7, 8)
        completion = Completion(tokens, (-1.0, -1.0), StopReason.STOP)
        step = env.step(text)
        turns.append(Turn(seen, messages, prompt, completion, text, step.action, step.reward, step.valid))
        seen, end = step.observation, EndReason.DONE if step.done else end
    return Trajectory(TASK, index, context, tuple(turns), step.success, end, seen)


LOST, WON = episode(0, "lrl"), episode(1, "rr")
GROUP = Group(TASK, [LOST, WON])


def told(name: str, trajectory: Trajectory, turn: int | None = None, spec: EnvSpec = SPEC) -> Note | None:
    context = Views(names=(name,), spec=spec).context(GROUP, trajectory)
    return views[name].write(replace(context, turn=turn))


def test_hindsight_tells_the_outcome_and_the_last_observation() -> None:
    note = told("hindsight", LOST, 1)
    assert note == Note("How this attempt ends:\nIt failed after 2 more turns.\nThe door is on the right.")
    note = told("hindsight", WON)
    assert note == Note("How this attempt ends:\nIt succeeded after 2 more turns.\nThe door is here.")


def test_the_future_is_what_comes_after_the_turn() -> None:
    right, here = "The door is on the right.", "The door is here."
    assert told("future", WON, 0) == Note(f"What will be seen next:\n{right}\n{here}")
    assert told("future", WON, 1) == Note(f"What will be seen next:\n{here}")
    assert told("future", WON) == told("future", WON, 0)


def test_the_ablated_future_has_a_placeholder_for_each_observation() -> None:
    assert told("ablated", WON, 0) == Note("What will be seen next:\n(not shown)\n(not shown)")
    assert told("ablated", WON, 1) == Note("What will be seen next:\n(not shown)")


def test_the_contrast_tells_what_the_success_did_and_the_failure_alone_did() -> None:
    note = Note("From attempts at this task:\nDO: right\nAVOID: left")
    assert told("contrast", LOST, 1) == told("contrast", WON) == note


def test_pruned_skills_stand_in_the_place_of_those_that_the_player_saw() -> None:
    general = [Skill(name, "", f"{name}.", f"Say {name}.") for name in ("a", "b", "c")]
    bank = SkillBank("test", (*general, Skill("right", "right", "right.", "Say right.")))
    skills = SkillContext(bank, Everything())
    seen = skills.section(bank.skills)

    def skilled(turn: Turn) -> Turn:
        messages = prepend(turn.messages, seen)
        return replace(turn, messages=messages, prompt=CHAT.render(messages), shown=seen)

    played = replace(WON, turns=tuple(map(skilled, WON.turns)))
    pruned = Views(names=("pruned-skills",), spec=SPEC, skills=skills)
    samples, report = build_samples([Group(TASK, [played])], chat=CHAT, teacher=pruned, context_length=2048)
    assert report.skills == (("a", "right"),)
    kept = f"{HEADING}\n\nSay a.\n\nSay right."
    for sample, turn in zip(samples, WON.turns, strict=True):
        assert list(sample.teacher_prompt) == CHAT.render(prepend(turn.messages, kept))
    no_general = replace(pruned, skills=SkillContext(SkillBank("kinds", bank.special), Everything()))
    assert views["pruned-skills"].write(no_general.context(GROUP, played)) is None


def test_a_successful_sibling_is_shown_to_others_and_not_to_itself() -> None:
    note = told("sibling", LOST, 2)
    assert note is not None
    assert note.text.splitlines() == [
        "An attempt at this task that succeeded:",
        "> right",
        "The door is on the right.",
        "> right",
        "The door is here.",
    ]
    assert told("sibling", WON) is None


def test_the_expert_advises_on_the_state_that_the_student_is_in() -> None:
    overshot = episode(0, "rl")
    assert told("expert", overshot, 1) == Note("What an expert does now:\n> right")
    assert told("expert", overshot) == Note("What an expert does at each turn:\n> right\n> right")


def test_the_planner_of_alfworld_follows_an_episode_of_somebody_else() -> None:
    spec = AlfworldSpec(max_turns=4)
    task = spec.tasks("train")[0]
    texts = [spec.prompts().answer(text) for text in ("look", "inventory", "look")]
    env = spec.make()
    seen, turns = env.reset(task), []
    for text in texts:
        step = env.step(text)
        turns.append(Turn(seen, (), (), Completion((), (), StopReason.STOP), text, step.action, 0.0, True))
        seen = step.observation
    trajectory = Trajectory(task, 0, ContextMode.WINDOW, tuple(turns), False, EndReason.MAX_TURNS, seen)
    advice = advise(spec, trajectory)
    assert len(advice) == 3
    assert len(set(advice)) == 1, "nothing has changed"
    assert advice[0] in turns[0].observation.admissible


@pytest.mark.parametrize("context", list(ContextMode))
def test_every_view_is_a_teacher_of_its_own(context: ContextMode) -> None:
    group = Group(TASK, [episode(0, "lr", context), episode(1, "rr", context)])
    both = Views(names=("hindsight", "sibling"), spec=SPEC)
    samples, report = build_samples([group], chat=CHAT, teacher=both, context_length=2048)
    rows = 2 if context is ContextMode.WINDOW else 1
    assert [view.absent for view in report.views] == [0, rows]
    for sample in samples:
        first, second = (CHAT.decode(sample.prompt_of(view)) for view in (0, 1))
        assert "How this attempt ends:" in first
        assert ("attempt at this task that succeeded" in second) == (sample.trajectory == 0)
        assert bool(sample.more_prompts[0]) == (sample.trajectory == 0)
    assert report.views[1].prompt_tokens == sum(len(sample.more_prompts[0]) for sample in samples)


def test_a_budget_counts_what_the_view_adds() -> None:
    one = Views(names=("future", "hindsight"), spec=SPEC)
    samples, _ = build_samples([GROUP], chat=CHAT, teacher=one, context_length=2048)
    added = [len(sample.teacher_prompt) - len(sample.prompt) for sample in samples]
    limit = max(added) - 1
    tight = replace(one, budgets=(limit, 0))
    with pytest.raises(ContextOverflow, match=f"exceed its budget of {limit} more than the student's"):
        build_samples([GROUP], chat=CHAT, teacher=tight, context_length=2048)
    kept, report = build_samples(
        [GROUP], chat=CHAT, teacher=tight, context_length=2048, overflow=Overflow.DROP
    )
    assert [bool(sample.teacher_prompt) for sample in kept] == [tokens <= limit for tokens in added]
    assert [view.overflow for view in report.views] == [sum(tokens > limit for tokens in added), 0]
    assert all(sample.more_prompts[0] for sample in kept)


def test_episodes_remember_what_was_shown_last() -> None:
    engine = ScriptedEngine(lambda _: "right", TOKENIZER)
    config = RolloutConfig(group_size=1)
    (group,) = Collector(SPEC, engine, CHAT, config).collect([TASK], 1, seed=0)
    assert group.trajectories[0].final == Observation(
        "The door is here.", "reach the door", ("left", "right")
    )


def test_a_view_of_ones_own_is_a_function() -> None:
    @register("reflection")
    def reflection(context):  # type: ignore[no-untyped-def]
        """What a stage has written about the episode."""
        text = context.trajectory.facts.get("reflection")
        return Note(text) if text else None

    try:
        assert told("reflection", LOST) is None
        assert told("reflection", replace(LOST, facts={"reflection": "go right"})) == Note("go right")
    finally:
        del views._table["reflection"]


@pytest.mark.parametrize("name", list(objectives))
def test_objectives_name_views_that_exist(name: str) -> None:
    assert all(view in views for view in objectives[name].views)


def test_bad_settings() -> None:
    with pytest.raises(ConfigError, match="unknown teacher view 'hindsigt': did you mean 'hindsight'"):
        ViewsConfig(names=("hindsigt",))
    with pytest.raises(ConfigError, match="twice"):
        ViewsConfig(names=("future", "future"))
    with pytest.raises(ConfigError, match="1 numbers for 2"):
        ViewsConfig(names=("future", "skills"), budgets=(3,))
    with pytest.raises(ConfigError, match="must not be negative"):
        ViewsConfig(names=("future",), budgets=(-3,))
    with pytest.raises(ConfigError, match="needs skills, and none were given"):
        Views(names=("skills",), spec=SPEC)
