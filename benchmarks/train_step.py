"""A training step's forward and backward pass: packed against padded, and what a GPU makes of it.

    python benchmarks/train_step.py                                   # the embedded shape, on the CPU
    python benchmarks/train_step.py --shape qwen3-1.7b --device cuda  # random weights; nothing is downloaded

Both ways score the same sequences of 100 to 700 tokens (times --stretch), in pairs; the median ratio counts.
Padded is what a plain trainer does: batches sorted by length, logits of a whole batch. Model FLOPs are 6 for
each parameter and token, attention not counted; utilisation is against --peak TFLOP/s.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from sdar.model.memory import keep_freed_memory
from sdar.model.policy import Packed, Policy

SHAPES = {
    "embedded": {"vocab_size": 1024, "hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4}
    | {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32},
    "qwen3-1.7b": {"vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144}
    | {"num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128},
}


def build(shape: str, device: torch.device) -> PreTrainedModel:
    config = Qwen3Config(**SHAPES[shape], tie_word_embeddings=True, max_position_embeddings=8192)
    torch.manual_seed(0)
    with device:
        model = Qwen3ForCausalLM(config)
    return model.to(torch.bfloat16 if device.type == "cuda" else torch.float32)


def padded_step(model: PreTrainedModel, rows: list[list[int]], size: int, device: torch.device) -> None:
    rows = sorted(rows, key=len)
    for first in range(0, len(rows), size):
        part = rows[first : first + size]
        width = max(map(len, part))
        ids_BT = torch.tensor([row + [0] * (width - len(row)) for row in part], device=device)
        mask_BT = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in part], device=device)
        logits = model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits[:, :-1].float()
        logp_BT = logits.log_softmax(-1).gather(-1, ids_BT[:, 1:, None])[..., 0]
        (-(logp_BT * mask_BT[:, 1:]).sum()).backward()


def packed_step(policy: Policy, rows: list[list[int]], budget: int, device: torch.device) -> None:
    part: list[list[int]] = []
    for row in [*rows, []]:
        if part and (not row or sum(map(len, part)) + len(row) > budget):
            packed = Packed.from_sequences([(r, range(1, len(r))) for r in part]).to(device)
            (-policy(packed).logp.sum()).backward()
            part = []
        part.append(row)


def timed(run: Callable[[], None], device: torch.device) -> tuple[float, float]:
    """Seconds, and GiB of GPU memory at the peak (0 on a CPU)."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    begin = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter() - begin, torch.cuda.max_memory_allocated() / 2**30
    return time.perf_counter() - begin, 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="embedded")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--stretch", type=int, default=1)
    parser.add_argument("--budget", type=int, default=8192)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--peak", type=float, default=0.0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    keep_freed_memory()
    device, dice = torch.device(args.device), random.Random(0)
    vocab = SHAPES[args.shape]["vocab_size"]
    lengths = [args.stretch * dice.randint(100, 700) for _ in range(args.rows)]
    rows = [[dice.randrange(vocab) for _ in range(length)] for length in lengths]
    padded, policy = build(args.shape, device), Policy(build(args.shape, device))
    size = max(1, args.budget // max(lengths))
    ways = {
        "packed": lambda: packed_step(policy, rows, args.budget, device),
        "padded": lambda: padded_step(padded, rows, size, device),
    }
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for pair in range(args.pairs + 1):
        for name, run in ways.items():
            measured = timed(run, device)
            for model in (padded, policy):
                model.zero_grad()
            if pair:
                seen[name].append(measured)
    tokens, parameters = sum(lengths), sum(p.numel() for p in policy.parameters())
    rate = {name: tokens / statistics.median(s for s, _ in times) for name, times in seen.items()}
    ratio = statistics.median(b[0] / a[0] for a, b in zip(seen["packed"], seen["padded"], strict=True))
    flops = 6 * parameters * rate["packed"] / 1e12
    result = {
        "shape": args.shape,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "parameters": parameters,
        "tokens": tokens,
        "tokens_per_second": rate,
        "packed_over_padded": ratio,
        "peak_gib": {name: max(gib for _, gib in times) for name, times in seen.items()},
        "model_tflops": flops,
        "utilisation": flops / args.peak if args.peak else None,
    }
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(
        f"{args.shape}: packed {rate['packed']:,.0f} tokens/s, {ratio:.2f} times padded; {flops:.3g} TFLOP/s"
    )


if __name__ == "__main__":
    main()
