"""Everything that only a GPU can tell, in less than 8 minutes: python benchmarks/gpu.py

The default job on the device; then a model with random weights (nothing is downloaded) generates, scores and
learns as a rank of one would: tokens a second, utilisation against --tflops, peak memory against `sdar plan`,
whether flash attention ran, and how far the engine's log-probs are from the trainer's. One table, and JSON.

    python benchmarks/gpu.py --device cpu --shape tiny --result FILE    # the script itself, anywhere
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

import sdar
from sdar.errors import ConfigError
from sdar.model.attention import VARLEN
from sdar.model.load import keep_layer_inputs
from sdar.model.policy import Packed, Policy
from sdar.plan.memory import Budget
from sdar.plan.settings import GIB, Assumed
from sdar.plan.shapes import shape_of, table
from sdar.plan.work import KERNELS, MORE_KERNELS, forward_flops
from sdar.recipe import load_config
from sdar.rollout.engine import Request, Sampling
from sdar.rollout.engines.hf import HFEngine
from sdar.trainer.distributed import World, join, shard

RESULT = Path(__file__).parent / "results" / "gpu.json"
TINY = {"model_type": "qwen3", "hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2} | {
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 512,
    "tie_word_embeddings": True, "max_position_embeddings": 2048, "initializer_range": 0.1,
}  # fmt: skip
SHAPES = {"qwen3-1.7b": table()["Qwen/Qwen3-1.7B"], "tiny": TINY}
SIZES = {"qwen3-1.7b": (32, 430, 128, 8192), "tiny": (4, 24, 8, 256)}
"""Rows that generate, tokens of a prompt and of an answer; tokens of a pack."""
SHORT = {"train.steps": 3, "warm_start.steps": 60, "eval.tasks": 12, "trackers": []}
SHORTEST = SHORT | {"train.steps": 1, "warm_start.steps": 2, "eval.panel": "none"} | {
    "rollout.group_size": 2, "rollout.tasks_per_step": 2,
}  # fmt: skip

Row = tuple[str, str]


class Bench:
    """The models on the device, and what was measured."""

    def __init__(self, args: argparse.Namespace, world: World, folder: str) -> None:
        self.args, self.world = args, world
        self.rows, self.prompt, self.answer, self.pack = SIZES[args.shape]
        self.found: dict[str, Any] = {}
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(SHAPES[args.shape]))
        settings = {"model.path": folder, "model.dtype": "bfloat16", "device": args.device}
        config = load_config("grpo-published", settings, {"model.gradient_checkpointing": True})
        self.budget = Budget(config=config, shape=shape_of(config), ranks=1)
        self.assumed = Assumed(tflops=args.tflops)

    def model(self, dtype: torch.dtype) -> PreTrainedModel:
        torch.manual_seed(0)
        shape = {name: value for name, value in SHAPES[self.args.shape].items() if name != "model_type"}
        with self.world.device:
            return AutoModelForCausalLM.from_config(AutoConfig.for_model("qwen3", **shape), dtype=dtype)

    def timed(self, name: str, run: Callable[[], Any]) -> tuple[float, Any]:
        """Seconds of `run`; its peak of memory is kept under `name`."""
        cuda = self.world.device.type == "cuda"
        if cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        begin = time.perf_counter()
        result = run()
        if cuda:
            torch.cuda.synchronize()
            self.found.setdefault("peak_bytes", {})[name] = torch.cuda.max_memory_allocated()
        return time.perf_counter() - begin, result

    def speed(self, name: str, seconds: float, tokens: int, flops: float) -> None:
        self.found[name] = {
            "tokens_per_second": tokens / seconds,
            "utilisation": flops / seconds / (self.args.tflops * 1e12),
        }

    def predicted(self, scored: int) -> Mapping[str, float]:
        """Bytes that `sdar plan` says for what is measured here: a policy and an engine, no reference."""
        budget, models = (
            self.budget,
            sum(self.budget.learnt().values()) - self.budget.built().get("reference", 0),
        )
        score = budget.gathered() + self.pack * budget.layer_activations() + budget.logits(scored, False)
        update = budget.certain()["update"]["gradients"] + sum(budget.update(self.pack, scored).values())
        return {"score": models + score, "update": models + update}


def default_job(bench: Bench) -> None:
    """`sdar train`, shortened."""
    settings = SHORTEST if bench.args.shape == "tiny" else SHORT
    with tempfile.TemporaryDirectory() as out:
        begin = time.perf_counter()
        run = sdar.train({"device": bench.args.device, "out": out, **settings}, quiet=True)
        records = list(run.metrics())
    bench.found["default_job"] = {
        "seconds": time.perf_counter() - begin,
        "steps": records[-1]["step"],
        "loss": records[-1]["objective/loss"],
    }


def rollout(bench: Bench, engine: HFEngine) -> list[tuple[tuple[int, ...], Any]]:
    """Generate; what came out, for the comparison."""
    generator = torch.Generator().manual_seed(0)
    size = (bench.rows, bench.prompt)
    prompts = torch.randint(0, bench.budget.shape.vocab, size, generator=generator).tolist()
    requests = [Request(tuple(prompt), seed=i) for i, prompt in enumerate(prompts)]
    engine.generate(requests, Sampling(max_tokens=2))
    first, _ = bench.timed("prefill", lambda: engine.generate(requests, Sampling(max_tokens=1)))
    seconds, completions = bench.timed(
        "rollout", lambda: engine.generate(requests, Sampling(max_tokens=bench.answer))
    )
    steps, shape = bench.answer - 1, bench.budget.shape
    bench.found["rollout"] = {
        "tokens_per_second": bench.rows * bench.answer / seconds,
        "prefill_tokens_per_second": bench.rows * bench.prompt / first,
        "decode_step_ms": (seconds - first) / steps * 1e3,
        "planned_decode_step_ms": (KERNELS[shape.normed] * shape.layers + MORE_KERNELS)
        * bench.assumed.launch
        / 1e3,
    }
    return [(request.tokens, completion) for request, completion in zip(requests, completions, strict=True)]


def mismatch(bench: Bench, policy: Policy, played: list[tuple[tuple[int, ...], Any]]) -> None:
    """How far the engine's log-probs are from the trainer's."""
    rows = [
        ((*prompt, *completion.tokens), range(len(prompt), len(prompt) + len(completion.tokens)))
        for prompt, completion in played
    ]
    off = []
    with torch.no_grad():
        for (tokens, scored), (_, completion) in zip(rows, played, strict=True):
            pack = Packed.from_sequences([(tokens, list(scored))]).to(bench.world.device)
            off.append(policy(pack).logp.cpu() - torch.tensor(completion.logps))
    difference = torch.cat(off).abs()
    bench.found["mismatch"] = {"mean": float(difference.mean()), "most": float(difference.max())}


def passes(bench: Bench, policy: Policy) -> None:
    """Score and update one pack after another, and watch the kernels of a pass."""
    shape, length = bench.budget.shape, bench.prompt + bench.answer
    count = max(1, bench.pack // length)
    row = ([i % shape.vocab for i in range(length + 1)], list(range(bench.prompt, length + 1)))
    pack = Packed.from_sequences([row] * count).to(bench.world.device)
    tokens, scored = len(pack.tokens), len(pack.targets)
    flops = forward_flops(bench.budget, tokens, length, scored)
    trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-6, fused=True)

    def score() -> None:
        with torch.no_grad():
            policy.eval()(pack)
        policy.reshard()  # type: ignore[operator]

    def update() -> None:
        policy.train()
        for _ in range(2):
            policy(pack, with_entropy=True).logp.sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    update()
    score()
    seconds, _ = bench.timed("score", score)
    bench.speed("score", seconds, tokens, flops)
    seconds, _ = bench.timed("update", update)
    bench.speed("update", seconds, 2 * tokens, 2 * 4 * flops)
    bench.found["planned_bytes"] = dict(bench.predicted(scored))
    cuda = bench.world.device.type == "cuda"
    activity = torch.profiler.ProfilerActivity.CUDA if cuda else torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[activity]) as profile:
        score()
    names = {event.key for event in profile.key_averages()}
    bench.found["attention"] = {
        "name": policy.model.config._attn_implementation,
        "flash": sorted(name for name in names if "flash" in name.lower())[:3],
    }
    assert bench.found["attention"]["name"] == VARLEN


def lines(found: Mapping[str, Any]) -> list[Row]:
    """The table."""
    rollout, job, flash = found["rollout"], found["default_job"], found["attention"]["flash"]
    speeds = f"{rollout['tokens_per_second']:,.0f} tokens/s"
    prompts = f"prompts {rollout['prefill_tokens_per_second']:,.0f}"
    decode = f"{rollout['decode_step_ms']:.1f} ms, planned {rollout['planned_decode_step_ms']:.1f}"
    rows = [
        ("default job", f"{job['steps']} steps in {job['seconds']:.0f} s, loss {job['loss']:.4f}"),
        ("rollout", f"{speeds}, {prompts}"),
        ("decode step", decode),
    ]
    for name in ("score", "update"):
        part = found[name]
        text = f"{part['tokens_per_second']:,.0f} tokens/s, utilisation {part['utilisation']:.1%}"
        rows.append((name, text))
        measured = found.get("peak_bytes", {}).get(name)
        about = "not measured on a CPU" if measured is None else f"{measured / GIB:.2f} GiB"
        rows.append((f"{name}, memory", f"{about}, planned {found['planned_bytes'][name] / GIB:.2f}"))
    rows.append(("flash attention", ", ".join(flash) or "no kernel of that name ran"))
    off = found["mismatch"]
    rows.append(("engine and trainer", f"log-probs differ by {off['mean']:.2e}, at most {off['most']:.2e}"))
    return rows


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--shape", choices=SHAPES, default="qwen3-1.7b")
    parser.add_argument(
        "--tflops", type=float, default=Assumed().tflops, help="of the device, dense bfloat16"
    )
    parser.add_argument("--result", type=Path, default=RESULT)
    args = parser.parse_args(words)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        with join(args.device) as world:
            bench = Bench(args, world, folder)
            policy = Policy(bench.model(torch.float32))
            keep_layer_inputs(policy.model)
            plain = bench.model(torch.bfloat16)
            plain.load_state_dict(policy.model.state_dict())
            shard(policy, world, torch.bfloat16)
            engine = HFEngine(plain, stop_ids=[], max_rows=bench.rows)
            played = rollout(bench, engine)
            mismatch(bench, policy.eval(), played)
            engine.sleep()
            passes(bench, policy)
        default_job(bench)
    name = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    found = {"device": name, "shape": args.shape, "torch": torch.__version__, **bench.found}
    found["seconds"] = time.perf_counter() - begin
    args.result.write_text(json.dumps(found, indent=1) + "\n")
    for title, text in [("device", f"{name}, {args.shape}, random weights"), *lines(found)]:
        print(f"{title:<20}{text}")


if __name__ == "__main__":
    try:
        main()
    except ConfigError as error:
        sys.exit(f"error: {error}")
