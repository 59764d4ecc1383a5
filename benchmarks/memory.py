"""Peak memory of a rank while a run's models are built and used: python benchmarks/memory.py

A model of about 100 M parameters with random weights is built by 1, 2 and 4 gloo ranks, first with all
parameters trained, then with LoRA. Figures are bytes of a rank for each of the model's P parameters above
what the process held before, the largest over ranks. A rank's share of a sharded model in float32 is 4 / N.
The sync is into an engine of its own in bfloat16 that has had weights before, in buckets of 16 MiB; export is
a checkpoint's model.
"""

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from sdar.model.load import load_model
from sdar.model.policy import Packed
from sdar.model.settings import ModelConfig
from sdar.rollout.engines.hf import HFEngine
from sdar.trainer import distributed
from sdar.trainer.sharding import sharded_policy
from sdar.trainer.weight_sync import buckets, export_model

RESULT = Path(__file__).parent / "results" / "memory.json"
RANKS = (1, 2, 4)
SHAPE = {
    "vocab_size": 32_000, "hidden_size": 640, "intermediate_size": 2560, "num_hidden_layers": 12,
    "num_attention_heads": 10, "num_key_value_heads": 5, "head_dim": 64, "tie_word_embeddings": True,
}  # fmt: skip
BUCKET = 16 * 2**20
LIBC = ctypes.CDLL(None)


def resident() -> int:
    """Bytes that this process alone holds; files that are mapped do not count."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssShmem")))


@contextmanager
def peak(found: dict[str, list[int]], name: str) -> Iterator[None]:
    """Note the most, and what stays, of the memory held inside the block."""
    most, going = [resident()], True

    def watch() -> None:
        while going:
            most[0] = max(most[0], resident())
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield
    going = False
    watcher.join()
    gc.collect()
    LIBC.malloc_trim(0)
    found[name] = [most[0], resident()]


class NoTokenizer:
    """Stands for a tokenizer, whose size is no matter."""

    def save_pretrained(self, directory: Path) -> None:
        """Write nothing."""


def worker(path: str, lora: bool) -> None:
    """One rank: the trained model, the frozen reference, one update."""
    torch.set_num_threads(1)
    # Freed memory goes back at once, so that what is resident is what is alive.
    distributed.keep_freed_memory = lambda: None  # type: ignore[attr-defined]
    LIBC.mallopt(-3, 65_536)
    half = torch.bfloat16
    with distributed.join("cpu") as world:
        world.barrier()
        gc.collect()
        before, found = resident(), dict[str, list[int]]()
        with peak(found, "policy"):
            policy = sharded_policy(
                path,
                ModelConfig(lora_rank=16 if lora else 0),
                world,
                param_dtype=half if lora else torch.float32,
                compute_dtype=half,
            )
        if not lora:
            with peak(found, "reference"):
                reference = sharded_policy(
                    path, ModelConfig(), world, param_dtype=half, compute_dtype=half, trained=False
                )
                reference.requires_grad_(False)
        trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
        with peak(found, "update"):
            pack = Packed.from_sequences([(list(range(100, 164)), list(range(40, 64)))])
            policy.train()
            policy(pack).logp.sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        engine = HFEngine(load_model(ModelConfig(), path, "cpu", param_dtype=half), stop_ids=[])
        with peak(found, "first sync, with the engine's own weights"):
            engine.update_weights(buckets(policy, half, BUCKET))
        with peak(found, "sync"):
            engine.update_weights(buckets(policy, half, BUCKET))
        with peak(found, "export"):
            export_model(policy, half, NoTokenizer(), world, Path(path).with_suffix(".out"))
        shares = world.gather({name: [value - before for value in pair] for name, pair in found.items()})
        if world.is_main:
            print(json.dumps({name: [max(s[name][i] for s in shares) for i in (0, 1)] for name in found}))


def measure(path: Path, ranks: int, lora: bool) -> Mapping[str, list[int]]:
    """What `worker` found on so many ranks."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks)]
    words = [__file__, "--worker", str(path), *(["--lora"] if lora else [])]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        sys.exit(done.stderr)
    found: Mapping[str, list[int]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """All ranks, with and without adapters."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", help="a model's directory: be one rank")
    parser.add_argument("--lora", action="store_true", help="with --worker: train adapters")
    args = parser.parse_args()
    if args.worker:
        worker(args.worker, args.lora)
        return
    with tempfile.TemporaryDirectory() as place:
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model("qwen3", **SHAPE), dtype=torch.bfloat16)
        model.save_pretrained(place)
        count = sum(parameter.numel() for parameter in model.parameters())
        layer = sum(parameter.numel() for parameter in model.model.layers[0].parameters())
        table, more = {}, {}
        for lora in (False, True):
            for ranks in RANKS:
                found = measure(Path(place), ranks, lora)
                per = {name: [round(value / count, 2) for value in pair] for name, pair in found.items()}
                table[f"{'lora' if lora else 'full'}, {ranks} ranks"] = per
                stays, added = found["first sync, with the engine's own weights"][1], {}
                for name in ("sync", "export"):
                    added[name] = round((found[name][0] - stays) / 2**20)
                more[f"{'lora' if lora else 'full'}, {ranks} ranks"] = added
                print(ranks, "lora" if lora else "full", per, "MiB added:", added)
    result: dict[str, object] = {
        "parameters": count,
        "embedding": SHAPE["vocab_size"] * SHAPE["hidden_size"],
        "layer": layer,
    }
    result |= {"bytes_per_parameter_peak_and_after": table, "bucket_MiB": BUCKET >> 20, "MiB_added": more}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    built = {ranks: table[f"full, {ranks} ranks"]["reference"][0] for ranks in RANKS}
    print("policy and reference, peak bytes per parameter:", built)


if __name__ == "__main__":
    main()
