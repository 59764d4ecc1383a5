"""What keeping freed memory does to a CPU training step: seconds a step, with and without, in pairs.

    python benchmarks/allocator.py [--pairs 3] [--out benchmarks/results/allocator.json]

Each measurement is a process of its own, since the allocator cannot be set back.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

STEPS = 6


def measure(keep: bool) -> float:
    """Median seconds of a forward and backward pass over 64 packed sequences of 250 tokens."""
    import torch

    from sdar.model.embedded import build_model, build_tokenizer
    from sdar.model.memory import keep_freed_memory
    from sdar.model.policy import Packed, Policy
    from sdar.model.settings import EmbeddedConfig

    if keep:
        keep_freed_memory()
    config = EmbeddedConfig()
    tokenizer = build_tokenizer(["go to desk 1"] * 10, config)
    policy = Policy(build_model(tokenizer, config, 0))
    ids = torch.randint(0, len(tokenizer), (64, 250), generator=torch.manual_seed(0)).tolist()
    packed = Packed.from_sequences([(row, list(range(1, 250))) for row in ids])
    seconds = []
    for _ in range(STEPS):
        begin = time.perf_counter()
        (-policy(packed).logp.mean()).backward()
        policy.zero_grad()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", choices=["keep", "default"])
    args = parser.parse_args()
    if args.measure:
        print(measure(args.measure == "keep"))
        return
    runs: dict[str, list[float]] = {"default": [], "keep": []}
    for _ in range(args.pairs):
        for name, seconds in runs.items():
            command = [sys.executable, __file__, "--measure", name]
            seconds.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    ratio = statistics.median(a / b for a, b in zip(runs["default"], runs["keep"], strict=True))
    result = {"seconds": runs, "default_over_keep": ratio, "cores": os.cpu_count()}
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"a CPU step takes {ratio:.2f} times as long with the default allocator settings")


if __name__ == "__main__":
    main()
