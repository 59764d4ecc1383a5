"""Episodes at their own pace against lock-step rounds, on the same engine with the same episodes.

    PYTHONPATH=src python benchmarks/streaming.py

Lock-step gives completions out when the last of a round has ended, which is how a batched `generate` works.
First, answers and episodes of the lengths that were measured for a published ALFWorld step, the 16 episodes
that one of 8 ranks plays: answers log-normal, median 110 tokens, 95 % below 300, cut at 512; 40 % of the
episodes end after 5 to 30 turns, the others after 50. Turns are divided by `--shorten`, so that it takes
minutes; each number in `--episodes` is a table of its own. Then the embedded default: ALFWorld with a warm
model. Ratios are of processor time, medians of those of `--repeats` pairs of runs.
"""

import argparse
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sdar.envs.alfworld.spec import AlfworldSpec
from sdar.envs.toy import ToySpec
from sdar.model.chat import Chat
from sdar.model.embedded import build_model, build_tokenizer
from sdar.model.load import load_model, load_tokenizer
from sdar.model.settings import EmbeddedConfig, ModelConfig
from sdar.rollout.collector import Collector
from sdar.rollout.engine import Bucket, Engine, Request, Sampling
from sdar.rollout.engines.hf import HFEngine
from sdar.rollout.settings import RolloutConfig
from sdar.types import Completion, ContextMode, Observation, Step, Task

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "streaming.json"
WORDS = "you see a fridge drawer desk mug open and go to take it is closed on the in".split()  # noqa: SIM905


class Wrapped(Engine):
    """Another engine, with something changed."""

    def __init__(self, inner: Engine) -> None:
        self.inner, self.context_length, self.dtype = inner, inner.context_length, inner.dtype

    def submit(self, requests: Sequence[Request], sampling: Sampling) -> list[int]:
        return self.inner.submit(requests, sampling)

    def step(self) -> list[tuple[int, Completion]]:
        return self.inner.step()

    def abort(self) -> None:
        self.inner.abort()

    def release(self, sessions: Iterable[Hashable]) -> None:
        self.inner.release(sessions)

    def update_weights(self, buckets: Iterable[Bucket]) -> None:
        self.inner.update_weights(buckets)

    def sleep(self) -> None:
        self.inner.sleep()

    def wake(self) -> None:
        self.inner.wake()


class LockStep(Wrapped):
    """Gives completions out when all that was asked has ended."""

    def __init__(self, inner: Engine) -> None:
        super().__init__(inner)
        self.asked = 0

    def submit(self, requests: Sequence[Request], sampling: Sampling) -> list[int]:
        self.asked += len(requests)
        return super().submit(requests, sampling)

    def step(self) -> list[tuple[int, Completion]]:
        done: list[tuple[int, Completion]] = []
        while len(done) < self.asked:
            done += super().step()
        self.asked = 0
        return done


class Measured(Wrapped):
    """Answers have measured lengths, which follow from the request's seed."""

    def submit(self, requests: Sequence[Request], sampling: Sampling) -> list[int]:
        tickets = []
        for request in requests:
            length = min(512, round(random.Random(request.seed).lognormvariate(4.70, 0.6)))
            tickets += super().submit([request], Sampling(max_tokens=max(1, length)))
        return tickets


class Talk:
    """Says something for a number of turns, which is the task's payload."""

    def reset(self, task: Task) -> Observation:
        self.left, self.rng = task.payload, random.Random(task.id)
        return self._say()

    def step(self, text: str) -> Step:
        self.left -= 1
        return Step(self._say(), text, 0.0, self.left == 0, False, True, False)

    def _say(self) -> Observation:
        return Observation(" ".join(self.rng.choices(WORDS, k=60)))


@dataclass(frozen=True, kw_only=True)
class TalkSpec(ToySpec):
    """Episodes of measured lengths."""

    def make(self) -> Any:
        return Talk()


def long_tailed(options: argparse.Namespace, episodes: int) -> dict[str, Any]:
    """Answers and episodes of measured lengths."""
    shape = EmbeddedConfig(context_length=4096)
    tokenizer = build_tokenizer([" ".join(WORDS)] * 3, shape)
    engine = Measured(HFEngine(build_model(tokenizer, shape, seed=0), stop_ids=()))
    rng, tasks = random.Random(0), []
    for i in range(episodes):
        turns = rng.randint(5, 30) if rng.random() < 0.4 else 50
        tasks.append(Task(f"talk/{i}", "talk", max(1, round(turns / options.shorten))))
    config = RolloutConfig(context=ContextMode.WINDOW, max_live=episodes)
    return compare(options, engine, TalkSpec(), Chat(tokenizer), config, tasks, 1)


def embedded(options: argparse.Namespace) -> dict[str, Any]:
    """The rollout of a default step."""
    path = ROOT / "studies" / "models" / "skill_quality"
    chat, spec = Chat(load_tokenizer(path)), AlfworldSpec(max_turns=20)
    model: Any = load_model(ModelConfig(), path, "cpu")
    engine = HFEngine(model, stop_ids=chat.stop_ids)
    tasks = spec.tasks("train")[:8]
    return compare(options, engine, spec, chat, RolloutConfig(max_tokens=16), tasks, 8)


def compare(
    options: argparse.Namespace,
    engine: Engine,
    spec: Any,
    chat: Chat,
    config: RolloutConfig,
    tasks: Sequence[Task],
    group_size: int,
) -> dict[str, Any]:
    """The same episodes both ways, in turn."""
    players = {"lock_step": LockStep(engine), "streaming": engine}
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in players}
    played: dict[str, Any] = {}
    for _ in range(options.repeats):
        for name, player in players.items():
            wall, cpu = time.perf_counter(), time.process_time()
            played[name] = Collector(spec, player, chat, config).collect(tasks, group_size, seed=1)
            runs[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    sampled = {name: [[turn.completion.tokens for turn in t.turns] for g in groups for t in g.trajectories]
               for name, groups in played.items()}  # fmt: skip
    assert sampled["lock_step"] == sampled["streaming"], "the same episodes"
    tokens = sum(len(turn) for episode in sampled["streaming"] for turn in episode)
    result: dict[str, Any] = {"sampled_tokens": tokens}
    for name in players:
        cpu, wall = (statistics.median(times) for times in zip(*runs[name], strict=True))
        result[name] = {
            "cpu_seconds": round(cpu, 2),
            "seconds": round(wall, 2),
            "tokens_per_second": round(tokens / cpu),
        }
    ratios = [slow[0] / fast[0] for slow, fast in zip(runs["lock_step"], runs["streaming"], strict=True)]
    result["ratio"] = round(statistics.median(ratios), 3)
    result["ratios"] = [round(ratio, 3) for ratio in ratios]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--shorten", type=float, default=2.5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    report: dict[str, Any] = {
        "settings": {name: value for name, value in vars(options).items() if name != "out"},
        "long_tailed": {str(number): long_tailed(options, number) for number in options.episodes},
        "embedded": embedded(options),
        "packages": {name: version(name) for name in ("torch", "transformers")},
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    for number, tail in report["long_tailed"].items():
        print(
            f"streaming: {number} episodes of measured lengths: {tail['streaming']['tokens_per_second']} "
            f"tokens/s against {tail['lock_step']['tokens_per_second']} in lock-step, {tail['ratio']}x"
        )
    print(f"embedded default: {report['embedded']['ratio']}x")


if __name__ == "__main__":
    main()
