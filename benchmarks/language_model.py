"""Tokens per CPU-second of a real language model: prefill, decode, score and train, beside transformers.

    sdar data download smollm2
    python benchmarks/language_model.py

SmolLM2-135M on one thread, float32. Samples are of the shape of a Search-QA step: prompts that begin alike
and a short answer that is trained. Ours is the `hf` engine and the packed policy. Beside it is what a plain
trainer does, with transformers alone: `generate` on prompts padded on the left, and a forward and backward
pass over samples padded on the right, with logits of the answers' part only. (A plain padded step, not TRL
itself.) Tokens are the same for both: those of the unpadded samples.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import PreTrainedModel

from sdar.model.load import load_model
from sdar.model.memory import keep_freed_memory
from sdar.model.policy import Packed, Policy
from sdar.model.settings import ModelConfig
from sdar.rollout.engine import Request, Sampling
from sdar.rollout.engines.hf import HFEngine

RESULT = Path(__file__).parent / "results" / "language_model.json"
Rows = list[tuple[tuple[int, ...], int]]
"""Tokens of each sample, and how many of them are its prompt."""


def samples(options: argparse.Namespace, vocab: int) -> Rows:
    dice = random.Random(0)

    def text(low: int, high: int) -> tuple[int, ...]:
        return tuple(dice.randrange(vocab) for _ in range(dice.randint(low, high)))

    common, rows = text(options.common, options.common), []
    for _ in range(options.groups):
        question = text(15, 30)
        for _ in range(options.group_size):
            prompt = common + question + text(0, 60)
            rows.append((prompt + text(options.answer, options.answer), len(prompt)))
    return rows


def padded_logp(model: PreTrainedModel, rows: Rows) -> torch.Tensor:
    """Log-probs of the answers by one padded pass, the head on the answers' part only."""
    width, first = max(len(row) for row, _ in rows), min(prompt for _, prompt in rows)
    ids_BT = torch.tensor([row + (0,) * (width - len(row)) for row, _ in rows])
    mask_BT = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row, _ in rows])
    keep = width - first + 1
    logits = model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False, logits_to_keep=keep).logits
    logps = logits[:, :-1].log_softmax(-1).gather(-1, ids_BT[:, first:, None])[..., 0]
    at = torch.arange(first, width)
    answer_BT = torch.stack([(at >= prompt) & (at < len(row)) for row, prompt in rows])
    return logps[answer_BT]


def padded_generate(model: PreTrainedModel, rows: Rows, answer: int) -> None:
    width = max(prompt for _, prompt in rows)
    ids_BT = torch.tensor([(0,) * (width - prompt) + row[:prompt] for row, prompt in rows])
    mask_BT = torch.tensor([[0] * (width - prompt) + [1] * prompt for _, prompt in rows])
    with torch.inference_mode():
        model.generate(
            input_ids=ids_BT, attention_mask=mask_BT, do_sample=True, top_k=0, eos_token_id=None,
            pad_token_id=0, max_new_tokens=answer,
        )  # fmt: skip


def packed(rows: Rows) -> Packed:
    return Packed.from_sequences(((row, range(prompt, len(row))) for row, prompt in rows), share=True)


def timed(work: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Medians of the CPU seconds of each, done in turn."""
    seen: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repeats):
        for name, run in work.items():
            begin = time.process_time()
            run()
            seen[name].append(time.process_time() - begin)
    return {name: statistics.median(times) for name, times in seen.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--groups", type=int, default=2)
    parser.add_argument("--group-size", type=int, default=4)
    parser.add_argument("--common", type=int, default=100, help="tokens that all prompts begin with")
    parser.add_argument("--answer", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    plain, ours, own = (load_model(ModelConfig(), options.model, "cpu") for _ in range(3))
    assert isinstance(ours, PreTrainedModel)
    assert isinstance(plain, PreTrainedModel)
    policy, engine = Policy(own), HFEngine(ours, stop_ids=())
    rows = samples(options, plain.config.vocab_size)
    requests = [Request(row[:prompt], seed=i) for i, (row, prompt) in enumerate(rows)]

    def score() -> torch.Tensor:
        with torch.no_grad():
            return policy(packed(rows)).logp

    def plain_score() -> torch.Tensor:
        with torch.no_grad():
            return padded_logp(plain, rows)

    def train() -> None:
        policy(packed(rows)).logp.sum().backward()

    work: dict[str, Callable[[], object]] = {
        "prefill": lambda: engine.generate(requests, Sampling(max_tokens=1)),
        "plain prefill": lambda: padded_generate(plain, rows, 1),
        "rollout": lambda: engine.generate(requests, Sampling(max_tokens=options.answer)),
        "plain rollout": lambda: padded_generate(plain, rows, options.answer),
        "score": score,
        "plain score": plain_score,
        "train": train,
        "plain train": lambda: padded_logp(plain, rows).sum().backward(),
    }
    difference = float((score() - plain_score()).abs().max())
    seconds = timed(work, options.repeats)
    prompts, whole = sum(prompt for _, prompt in rows), sum(len(row) for row, _ in rows)
    drawn = len(rows) * (options.answer - 1)
    report: dict[str, object] = {
        "settings": {name: value for name, value in vars(options).items() if name != "out"},
        "torch": torch.__version__,
        "tokens": {"prompts": prompts, "samples": whole, "packed": len(packed(rows).tokens)},
        "largest_difference": difference,
    }
    for name, tokens in (("prefill", prompts), ("decode", drawn), ("score", whole), ("train", whole)):
        if name == "decode":
            spent = [seconds[f"{way}rollout"] - seconds[f"{way}prefill"] for way in ("", "plain ")]
        else:
            spent = [seconds[name], seconds[f"plain {name}"]]
        rates = [tokens / max(each, 1e-9) for each in spent]
        report[name] = {
            "sdar": round(rates[0]),
            "plain": round(rates[1]),
            "ratio": round(rates[0] / rates[1], 2),
        }
        print(
            f"{name}: {rates[0]:.0f} tokens per CPU-second, plain {rates[1]:.0f}, {rates[0] / rates[1]:.2f}x"
        )
    options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
