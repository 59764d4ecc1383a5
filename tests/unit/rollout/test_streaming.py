"""Every episode goes on by itself."""

import threading
from collections import Counter
from dataclasses import dataclass, field

import pytest
from tests.tiny import tiny_model, tiny_tokenizer

from sdar.envs.base import Env
from sdar.envs.toy import ToyEnv, ToySpec
from sdar.model.chat import Chat
from sdar.rollout.attempts import all_attempts, share, unshare
from sdar.rollout.collector import Collector
from sdar.rollout.engine import Sampling
from sdar.rollout.engines.hf import HFEngine
from sdar.rollout.engines.scripted import ScriptedEngine
from sdar.rollout.settings import RolloutConfig
from sdar.types import Completion, Step, Task

TASKS = ToySpec(max_turns=4).tasks("train")


class Slow(ScriptedEngine):
    """Answers to the first prompt that it ever sees come twenty steps late."""

    def __init__(self, **settings) -> None:
        super().__init__(lambda prompt: "left" if "on the left" in prompt else "right", tiny_tokenizer())
        self.steps, self.held, self.answered = 0, [], Counter()

    def step(self) -> list[tuple[int, Completion]]:
        self.steps += 1
        done = super().step()
        if self.steps == 1:
            self.held, done = done[:1], done[1:]
        elif self.steps == 20:
            done += self.held
        self.answered[self.steps] += len(done)
        return done


def test_a_long_answer_delays_nobody_else() -> None:
    engine = Slow()
    groups = Collector(ToySpec(max_turns=4), engine, Chat(tiny_tokenizer()), RolloutConfig()).collect(
        TASKS, 2, 0
    )
    assert all(trajectory.success for group in groups for trajectory in group.trajectories)
    distances = [abs(task.payload) for task in TASKS for _ in range(2)]
    assert sum(engine.answered[step] for step in (1, 2, 3)) == sum(distances[1:]), "all but the first episode"


def test_an_ended_episode_is_replaced_at_once() -> None:
    engine = Slow()
    config = RolloutConfig(max_live=3)
    Collector(ToySpec(max_turns=4), engine, Chat(tiny_tokenizer()), config).collect(TASKS, 2, 0)
    busy = [engine.answered[step] for step in range(2, 8)]
    assert busy == [2] * 6, "two seats go on while the third waits for its answer"


@dataclass(frozen=True, kw_only=True)
class WaitingSpec(ToySpec):
    """Steps of the first task wait until all other episodes have ended."""

    others: threading.Event = field(default_factory=threading.Event)

    @property
    def waits(self) -> bool:
        return True

    def make(self) -> Env:
        spec = self

        class Waiting(ToyEnv):
            def reset(self, task: Task):
                self.slow = task.id == TASKS[0].id
                return super().reset(task)

            def step(self, text: str) -> Step:
                if self.slow:
                    assert spec.others.wait(30), "the others wait for this one"
                return super().step(text)

        return Waiting(self.max_turns)


def test_a_slow_environment_delays_nobody_else() -> None:
    spec = WaitingSpec(max_turns=4)

    def told(done: int, total: int, won: int) -> None:
        if done == total - 1:
            spec.others.set()

    engine = HFEngine(tiny_model(), stop_ids=Chat(tiny_tokenizer()).stop_ids)
    chat, config = Chat(tiny_tokenizer()), RolloutConfig(max_tokens=5)
    slow = Collector(spec, engine, chat, config).collect(TASKS, 1, 3, on_progress=told)
    plain = Collector(ToySpec(max_turns=4), engine, chat, config).collect(TASKS, 1, 3)
    assert spec.others.is_set()
    assert [[t.completion.tokens for t in g.trajectories[0].turns] for g in slow] == [
        [t.completion.tokens for t in g.trajectories[0].turns] for g in plain
    ], "when an environment answers decides nothing"


def test_what_an_environment_raises_in_a_thread_is_raised() -> None:
    class Broken(ToyEnv):
        def step(self, text: str) -> Step:
            raise RuntimeError("gone")

    class BrokenSpec(WaitingSpec):
        def make(self) -> Env:
            return Broken(self.max_turns)

    engine = ScriptedEngine(lambda _: "right", tiny_tokenizer())
    collector = Collector(BrokenSpec(), engine, Chat(tiny_tokenizer()), RolloutConfig())
    with pytest.raises(RuntimeError, match="gone"):
        collector.collect(TASKS, 1, 0)
    assert not engine.open_sessions
    assert engine.step() == []


@pytest.mark.parametrize("size", [1, 3, 8, 64])
def test_attempts_are_shared_out_one_by_one(size: int) -> None:
    attempts = all_attempts([Task(f"t{i}", "k") for i in range(16)], 8)
    shares = [share(attempts, rank, size) for rank in range(size)]
    assert unshare(shares) == attempts
    lengths = [len(part) for part in shares]
    assert min(lengths) >= 1
    assert max(lengths) - min(lengths) <= 1


def test_rows_are_few_and_results_the_same() -> None:
    """Fewer seats than episodes, fewer rows than seats: only time differs."""
    chat, spec = Chat(tiny_tokenizer()), ToySpec(max_turns=4)

    def play(max_rows: int, max_live: int) -> list:
        engine = HFEngine(tiny_model(), stop_ids=chat.stop_ids, max_rows=max_rows, prefill_tokens=40)
        collector = Collector(spec, engine, chat, RolloutConfig(max_live=max_live))
        groups = collector.collect(TASKS, 3, 5, sampling=Sampling(max_tokens=7))
        return [[turn.completion.tokens for turn in t.turns] for g in groups for t in g.trajectories]

    assert play(256, 256) == play(3, 7) == play(4, 2)
