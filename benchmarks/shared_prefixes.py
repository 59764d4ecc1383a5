"""The teacher's pass at the published prompt lengths, with and without sharing what samples begin with alike.

    python benchmarks/shared_prefixes.py

A step of ALFWorld with window prompts, of random tokens: a student's prompt has 435 tokens (200 that all
share, 60 of its task), the teacher's 1,045 more, the skills of the task's kind, in front of it; answers have
110. The phases are those of a `published` recipe: rollout with the `hf` engine, the passes of old log-probs,
reference and teacher, one update. The model has two layers of random weights. Seconds are of this process's
CPU time, on one thread, the median of `--repeats` runs in turn; the teacher's share of a step is that of each
run, and the median counts. The teacher's log-probs are compared. A published step has hundreds of samples of
each kind, so a pack is of one kind, as here.
"""

import argparse
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from sdar.model import prefixes
from sdar.model.memory import keep_freed_memory
from sdar.model.policy import Policy
from sdar.objectives.base import Stream
from sdar.objectives.sdar import SDAR
from sdar.rollout.engine import Request, Sampling
from sdar.rollout.engines.hf import HFEngine
from sdar.rollout.samples import Sample
from sdar.trainer import batch as batches
from sdar.trainer.batch import Batch
from sdar.trainer.distributed import join
from sdar.trainer.settings import OptimConfig
from sdar.trainer.step import Learner, make_optimizer
from sdar.trainer.teachers import Weights

RESULT = Path(__file__).parent / "results" / "shared_prefixes.json"
VOCAB, COMMON, TASK, OWN, SKILLS, ANSWER = 1024, 200, 60, 175, 1045, 110


def build() -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCAB,
        hidden_size=512,
        intermediate_size=1536,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=64,
        tie_word_embeddings=True,
    )
    return Qwen3ForCausalLM(config)


def step_samples(options: argparse.Namespace) -> list[Sample]:
    """Samples of `tasks` tasks of `kinds` kinds, so many turns of each."""
    dice = random.Random(0)

    def text(length: int) -> tuple[int, ...]:
        return tuple(dice.randrange(VOCAB) for _ in range(length))

    common, skills = text(COMMON), [text(SKILLS) for _ in range(options.kinds)]
    samples = []
    for task in range(options.tasks):
        about = text(TASK)
        for _ in range(options.turns):
            prompt = common + about + text(OWN)
            answer = text(ANSWER)
            samples.append(
                Sample(
                    prompt,
                    answer,
                    (True,) * ANSWER,
                    (-7.0,) * ANSWER,
                    (0,) * ANSWER,
                    task,
                    skills[task % options.kinds] + prompt,
                )
            )
    return samples


def phases(options: argparse.Namespace, samples: list[Sample], learner: Learner) -> dict[str, float]:
    """CPU seconds of each phase; leaves the teacher's log-probs in `teacher_logps`."""
    engine = HFEngine(build(), stop_ids=(), context_length=4096)
    batch = Batch.build(samples, [(1.0,)] * options.tasks, torch.device("cpu"))
    requests = [Request(sample.prompt, seed=i) for i, sample in enumerate(samples)]

    def score(stream: Stream) -> Callable[[], None]:
        return lambda: batch.put(stream, learner.score(batch, stream))

    work: dict[str, Callable[[], object]] = {
        "rollout": lambda: engine.generate(requests, Sampling(max_tokens=ANSWER)),
        "old": score(Stream.OLD),
        "ref": score(Stream.REF),
        "teacher": score(Stream.TEACHER),
        "update": lambda: learner.learn(batch, 1, 1),
    }
    seconds = {}
    for name, run in work.items():
        begin = time.process_time()
        run()
        seconds[name] = time.process_time() - begin
    phases.teacher = batch.streams[Stream.TEACHER]  # type: ignore[attr-defined]
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", type=int, default=1)
    parser.add_argument("--tasks", type=int, default=5)
    parser.add_argument("--turns", type=int, default=4, help="samples of each task")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    samples = step_samples(options)
    runs: dict[str, list[dict[str, float]]] = {"shared": [], "apart": []}
    scored = {}
    least = prefixes.MIN_SHARED
    with join() as world:
        for _ in range(options.repeats):
            for name, shortest in (("shared", least), ("apart", 2**30)):
                prefixes.MIN_SHARED = batches.MIN_SHARED = shortest  # type: ignore[misc]
                policy = Policy(build())
                learner = Learner(
                    policy=policy,
                    optimizer=make_optimizer(policy, OptimConfig()),
                    objective=SDAR(),
                    config=OptimConfig(),
                    world=world,
                    reference=Weights(Policy(build()).requires_grad_(False)),
                )
                runs[name].append(phases(options, samples, learner))
                scored[name] = phases.teacher  # type: ignore[attr-defined]
    report: dict[str, object] = {
        "settings": {name: value for name, value in vars(options).items() if name != "out"},
        "samples": len(samples),
        "torch": torch.__version__,
        "largest_difference": float((scored["shared"] - scored["apart"]).abs().max()),
    }
    shares = {}
    for name, seen in runs.items():
        middle = {phase: round(median(run[phase] for run in seen), 2) for phase in seen[0]}
        each = sorted(run["teacher"] / sum(run.values()) for run in seen)
        shares[name] = median(each)
        report[name] = {"cpu_seconds": middle, "teacher_share": [round(share, 3) for share in each]}
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    print(f"teacher's pass: {shares['shared']:.1%} of a step shared, {shares['apart']:.1%} apart")


if __name__ == "__main__":
    main()
