"""Peak memory of scoring tokens, forward and backward: in chunks against logits that exist all at once.

    python benchmarks/logprob_memory.py                     # Qwen's vocabulary of 151,936, on the CPU

Each way scores the same tokens in a process of its own: the log-prob and entropy of the target, and of 64
tokens with the bucket of all others. Counted is what the process grows by beyond weights and inputs, with
freed buffers handed back at once. The head is frozen, so that the gradient of its weight, the same for all
ways, does not hide the logits.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch

from sdar.model.logprobs import TokenScores, chunk_tokens, chunked_logp, selective_logp

WAYS = {"chunked": None, "chunked top 64": 64, "materialised": None, "materialised top 64": 64}

GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}


def measure(way: str, tokens: int, width: int, vocabulary: int) -> dict[str, float]:
    """Growth in MiB and seconds of one way, in this process."""
    torch.manual_seed(0)
    hidden = torch.randn(tokens, width, requires_grad=True)
    head = torch.nn.Linear(width, vocabulary, bias=False).requires_grad_(False)
    targets = torch.randint(vocabulary, (tokens,))
    ids = torch.randint(vocabulary, (tokens, WAYS[way])) if WAYS[way] else None
    before, start = peak(), time.perf_counter()
    if way.startswith("chunked"):
        size = chunk_tokens(vocabulary, hidden.device)
        scores = chunked_logp(hidden, head, targets, with_entropy=True, top=ids, chunk_size=size)
    else:
        scores = selective_logp(head(hidden), targets, with_entropy=True, top=ids)
    total(scores).backward()
    return {"grown_mib": peak() - before, "seconds": time.perf_counter() - start}


def total(scores: TokenScores) -> torch.Tensor:
    assert scores.entropy is not None
    whole = scores.logp.sum() + scores.entropy.sum()
    return whole if scores.top is None else whole + scores.top.exp().square().sum()


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--vocabulary", type=int, default=151936)
    parser.add_argument("--way", choices=WAYS, help="one way, in this process")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/logprob_memory.json"))
    args = parser.parse_args()
    shape = {"tokens": args.tokens, "width": args.width, "vocabulary": args.vocabulary}
    if args.way:
        print(json.dumps(measure(args.way, **shape)))
        return
    flags = [word for name, value in shape.items() for word in (f"--{name}", str(value))]
    found = {}
    for way in WAYS:
        command = [sys.executable, __file__, "--way", way, *flags]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | GIVE_BACK)
        found[way] = json.loads(done.stdout)
        print(f"{way:<20} {found[way]['grown_mib']:8.0f} MiB {found[way]['seconds']:6.1f} s")
    ratio = found["materialised top 64"]["grown_mib"] / found["chunked top 64"]["grown_mib"]
    args.out.write_text(json.dumps({**shape, "ways": found, "memory_ratio": ratio}, indent=2) + "\n")
    print(
        f"logits at once need {ratio:.1f} times the memory of chunks, for the teacher's 64 likeliest tokens"
    )


if __name__ == "__main__":
    main()
