"""Rollout throughput: the hf engine against batched `generate` of transformers on the same episodes.

    PYTHONPATH=src python benchmarks/rollout.py

Both engines have the embedded model's shape with random weights and no stop token: every completion has the
same length, and both put the same number of tokens through. The baseline gets whole prompts, padded on the
left, in every turn, and computes no log-probs. Last, the whole stack: ALFWorld, episodes, template, engine.
Seconds are of one process; `cpu_seconds`, whose ratio is the speed-up, leave out what other programs took.
"""

import argparse
import json
import os
import platform
import random
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import PreTrainedModel

from sdar.envs.alfworld.spec import AlfworldSpec
from sdar.model.chat import Chat
from sdar.model.embedded import build_model, build_tokenizer
from sdar.model.settings import EmbeddedConfig
from sdar.rollout.collector import Collector
from sdar.rollout.engine import Request, Sampling
from sdar.rollout.engines.hf import HFEngine
from sdar.rollout.settings import RolloutConfig
from sdar.types import Completion, ContextMode, StopReason

RESULT = Path(__file__).parent / "results" / "rollout.json"


class Generator(Protocol):
    """What both engines have in common."""

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]: ...


class Baseline:
    """The usual way: pad on the left, start from nothing every turn."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        width = max(len(request.tokens) for request in requests)
        padded = [[0] * (width - len(request.tokens)) + list(request.tokens) for request in requests]
        mask = [[0] * (width - len(request.tokens)) + [1] * len(request.tokens) for request in requests]
        with torch.inference_mode():
            out = self.model.generate(
                input_ids=torch.tensor(padded),
                attention_mask=torch.tensor(mask),
                do_sample=True,
                top_k=0,
                eos_token_id=None,
                pad_token_id=0,
                max_new_tokens=sampling.max_tokens,
            )
        return [Completion(tuple(row), (), StopReason.LENGTH) for row in out[:, width:].tolist()]


class Course:
    """What the environment says in every episode: openings shared by a group, then one addition a turn."""

    def __init__(self, episodes: int, group_size: int, turns: int, vocab: int) -> None:
        rng = random.Random(0)

        def text(low: int, high: int) -> list[int]:
            return [rng.randrange(vocab) for _ in range(rng.randint(low, high))]

        openings = [text(110, 150) for _ in range(-(-episodes // group_size))]
        self.openings = [openings[i // group_size] for i in range(episodes)]
        self.additions = [[text(10, 40) for _ in range(turns)] for _ in range(episodes)]
        self.windows = [[text(150, 250) for _ in range(turns)] for _ in range(episodes)]
        self.turns = turns

    def play(self, engine: Generator, sampling: Sampling, context: ContextMode) -> int:
        """Play every episode to its end; the number of sampled tokens."""
        texts = [list(opening) for opening in self.openings]
        sampled = 0
        for turn in range(self.turns):
            if context is ContextMode.WINDOW:
                asked = [Request(windows[turn], seed=i) for i, windows in enumerate(self.windows)]
            else:
                asked = [Request(text, seed=i, session=i) for i, text in enumerate(texts)]
            for i, completion in enumerate(engine.generate(asked, sampling)):
                texts[i] += [*completion.tokens, *self.additions[i][turn]]
                sampled += len(completion.tokens)
        return sampled


def measure(play: Callable[[], int], episodes: int, repeats: int) -> dict[str, float]:
    """The fastest of `repeats`, by processor time."""
    runs = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        tokens = play()
        runs.append((time.process_time() - cpu, time.perf_counter() - wall, tokens))
    cpu, wall, tokens = min(runs)
    return {
        "seconds": round(wall, 3),
        "cpu_seconds": round(cpu, 3),
        "sampled_tokens": tokens,
        "tokens_per_second": round(tokens / wall, 1),
        "episodes_per_second": round(episodes / wall, 2),
    }


def compare(options: argparse.Namespace, ours: HFEngine, baseline: Baseline) -> dict[str, dict[str, Any]]:
    """Both engines in both context modes."""
    vocab = ours.model.config.vocab_size
    course = Course(options.episodes, options.group_size, options.turns, vocab)
    sampling = Sampling(max_tokens=options.max_tokens)
    results: dict[str, dict[str, Any]] = {}
    for context in ContextMode:

        def play(engine: Generator, context: ContextMode = context) -> int:
            tokens = course.play(engine, sampling, context)
            ours.release(range(options.episodes))
            return tokens

        play(ours)
        hf = measure(lambda: play(ours), options.episodes, options.repeats)
        generate = measure(lambda: play(baseline), options.episodes, 1)
        speedup = round(generate["cpu_seconds"] / hf["cpu_seconds"], 2)
        results[context.value] = {"hf": hf, "generate": generate, "speedup": speedup}
    return results


def whole_stack(options: argparse.Namespace, spec: AlfworldSpec, collector: Collector) -> dict[str, float]:
    """Episodes of ALFWorld that nobody wins, so that all have the full number of turns."""
    tasks = spec.tasks("held_out")[: options.episodes // options.group_size]

    def collect() -> int:
        groups = collector.collect(tasks, options.group_size, seed=0)
        return sum(trajectory.num_tokens for group in groups for trajectory in group.trajectories)

    return measure(collect, options.episodes, options.repeats)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=64, help="a multiple of the group size")
    parser.add_argument("--group-size", type=int, default=8)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--max-tokens", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=RESULT)
    return parser.parse_args()


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    shape, spec = EmbeddedConfig(), AlfworldSpec(max_turns=options.turns)
    openings = [spec.prompts().opening(spec.make().reset(task)) for task in spec.tasks("train")[:300]]
    tokenizer = build_tokenizer((message.content for opening in openings for message in opening), shape)
    ours = HFEngine(build_model(tokenizer, shape, seed=0), stop_ids=())
    results = compare(options, ours, Baseline(build_model(tokenizer, shape, seed=0)))
    collector = Collector(spec, ours, Chat(tokenizer), RolloutConfig(max_tokens=options.max_tokens))
    results["alfworld"] = whole_stack(options, spec, collector)
    report = {
        "settings": {name: value for name, value in vars(options).items() if name != "out"},
        "parameters": ours.model.num_parameters(),
        **results,
        "packages": {name: version(name) for name in ("torch", "transformers")},
        "python": platform.python_version(),
    }
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    transcript, window = results["transcript"], results["window"]
    print(
        f"rollout: {options.episodes} episodes of {options.turns} turns on {options.threads} threads: "
        f"transcript {transcript['hf']['seconds']} s, {transcript['speedup']}x generate; "
        f"window {window['hf']['seconds']} s, {window['speedup']}x generate; "
        f"ALFWorld through the whole stack {results['alfworld']['seconds']} s"
    )


if __name__ == "__main__":
    main()
