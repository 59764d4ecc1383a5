from collections import Counter

import pytest
from tests.tiny import tiny_model, tiny_tokenizer

from sdar.envs.toy import ToySpec
from sdar.errors import ConfigError
from sdar.model.chat import Chat
from sdar.rollout.collector import Collector
from sdar.rollout.engine import Sampling
from sdar.rollout.engines.hf import HFEngine
from sdar.rollout.engines.scripted import ScriptedEngine
from sdar.rollout.settings import RolloutConfig
from sdar.types import ContextMode, EndReason

SPEC = ToySpec(max_turns=4)
TASKS = SPEC.tasks("train")


def walker(prompt: str) -> str:
    """Goes right, and left when the door is there."""
    return "left" if "on the left" in prompt else "right"


def scripted(**settings) -> ScriptedEngine:
    return ScriptedEngine(walker, tiny_tokenizer(), **settings)


def collector(engine, **settings) -> Collector:
    return Collector(SPEC, engine, Chat(tiny_tokenizer()), RolloutConfig(max_tokens=5, **settings))


def sampled(tasks=TASKS, group_size=3, seed=0, **settings):
    """The completions of each episode."""
    engine = HFEngine(tiny_model(), stop_ids=Chat(tiny_tokenizer()).stop_ids)
    groups = collector(engine, **settings).collect(tasks, group_size, seed)
    return {
        (group.task.id, trajectory.index): [turn.completion.tokens for turn in trajectory.turns]
        for group in groups
        for trajectory in group.trajectories
    }


@pytest.mark.parametrize("context", list(ContextMode))
def test_groups_come_in_the_order_of_the_tasks(context):
    groups = collector(scripted(), context=context).collect(TASKS, 2, seed=0)
    assert [group.task for group in groups] == list(TASKS)
    for group in groups:
        assert [trajectory.index for trajectory in group.trajectories] == [0, 1]
        assert all(trajectory.task == group.task for trajectory in group.trajectories)
        assert all(trajectory.success for trajectory in group.trajectories)
        assert all(len(trajectory.turns) == abs(group.task.payload) for trajectory in group.trajectories)


@pytest.mark.parametrize("context", list(ContextMode))
def test_nothing_is_generated_for_ended_episodes(context):
    engine = scripted()
    groups = collector(engine, context=context).collect(TASKS, 2, seed=0)
    turns = sum(len(trajectory.turns) for group in groups for trajectory in group.trajectories)
    assert len(engine.requests) == turns == 2 * sum(abs(task.payload) for task in TASKS)
    assert engine.calls == 3


def test_sessions_are_used_in_transcripts_and_released():
    engine = scripted()
    collector(engine).collect(TASKS, 2, seed=0)
    turns = Counter(request.session for request in engine.requests)
    assert turns == {(task.id, index): abs(task.payload) for task in TASKS for index in range(2)}
    assert not engine.open_sessions
    engine = scripted()
    collector(engine, context=ContextMode.WINDOW).collect(TASKS, 1, seed=0)
    assert {request.session for request in engine.requests} == {None}


def test_sessions_are_released_after_an_error():
    def fail(prompt: str) -> str:
        if "left" in prompt:
            raise RuntimeError
        return "right"

    engine = ScriptedEngine(fail, tiny_tokenizer())
    with pytest.raises(RuntimeError):
        collector(engine).collect(TASKS, 1, seed=0)
    assert not engine.open_sessions


def test_endless_episodes_are_cut_and_fail():
    engine = ScriptedEngine(lambda _: "stay", tiny_tokenizer())
    groups = collector(engine).collect(TASKS[:2], 1, seed=0)
    for trajectory in (group.trajectories[0] for group in groups):
        assert (trajectory.end, trajectory.success) == (EndReason.MAX_TURNS, False)
        assert (len(trajectory.turns), trajectory.num_invalid) == (4, 4)


def test_episodes_that_outgrow_the_context_leave_the_others_alone():
    longest = max(len(request.tokens) for request in _requests())
    engine = scripted(context_length=longest)
    groups = collector(engine).collect(TASKS, 1, seed=0)
    ends = {abs(group.task.payload): group.trajectories[0].end for group in groups}
    assert ends == {1: EndReason.DONE, 2: EndReason.DONE, 3: EndReason.CONTEXT_FULL}
    assert not engine.open_sessions


def test_an_opening_without_room_is_an_episode_that_never_began():
    [group, *_] = collector(scripted(context_length=5)).collect(TASKS, 1, seed=0)
    [episode] = group.trajectories
    assert (episode.end, episode.turns, episode.success) == (EndReason.OVERLONG, (), False)
    assert group.overlong.startswith(f"the first prompt of task '{group.task.id}' has ")
    assert group.overlong.endswith("leaves no room in a context of 5")


def _requests():
    engine = scripted()
    collector(engine).collect(TASKS, 1, seed=0)
    return engine.requests


def test_progress_counts_ended_episodes_and_successes():
    seen = []
    engine = ScriptedEngine(lambda _: "right", tiny_tokenizer())
    collector(engine).collect(TASKS, 2, seed=0, on_progress=lambda *numbers: seen.append(numbers))
    assert seen == [(2, 12, 2), (4, 12, 4), (6, 12, 6), (12, 12, 6)]


def test_few_episodes_at_a_time_play_the_same():
    engine = scripted()
    groups = collector(engine, max_live=3).collect(TASKS, 2, seed=0)
    assert [group.task for group in groups] == list(TASKS)
    assert sampled(max_live=2) == sampled()


def test_a_seed_decides_whatever_the_order_and_the_share():
    whole = sampled()
    assert whole == sampled(TASKS[::-1])
    assert whole == sampled(TASKS[:2]) | sampled(TASKS[2:])
    assert whole != sampled(seed=1)
    assert len({tuple(completions[0]) for completions in whole.values()}) > len(TASKS)


def test_both_contexts_start_with_the_same_completions():
    one, other = sampled(), sampled(context=ContextMode.WINDOW)
    assert {key: completions[0] for key, completions in one.items()} == {
        key: completions[0] for key, completions in other.items()
    }


def test_sampling_replaces_the_configured_one():
    engine = scripted()
    groups = collector(engine).collect(TASKS[:1], 1, seed=0, sampling=Sampling(max_tokens=1))
    assert {len(turn.completion.tokens) for turn in groups[0].trajectories[0].turns} == {1}


def test_a_task_listed_twice_is_an_error():
    with pytest.raises(ConfigError, match="twice"):
        collector(scripted()).collect([TASKS[0], TASKS[0]], 1, seed=0)


def test_no_tasks_make_no_groups():
    assert collector(scripted()).collect([], 4, seed=0) == []


@pytest.mark.parametrize(
    "wrong",
    [{"group_size": 0}, {"temperature": 0.0}, {"history": -1}, {"tasks_per_step": 0}, {"max_live": 0}],
)
def test_impossible_settings_are_named(wrong):
    with pytest.raises(ConfigError, match=f"rollout.{next(iter(wrong))} must be"):
        RolloutConfig(**wrong)
