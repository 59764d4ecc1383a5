"""Tokens per CPU-second of a language model: prefill, decode, score and train, beside transformers and TRL.

    sdar data download smollm2
    python benchmarks/language_model.py
    python benchmarks/language_model.py --dtype bfloat16 --repeats 1
    python benchmarks/language_model.py --model studies/models/when_it_helps --lora-rank 0 --groups 6

Samples are of the shape of a step of Search-QA, episodes as transcripts: prompts that begin alike, equal ones
in a group, then turns of a short answer, which is trained, and a longer observation. Ours is the `hf` engine
and the packed policy. Beside it, on the same samples: *plain*, transformers alone, which is `generate` on
prompts padded on the left, and a forward and backward pass over samples padded on the right, with logits from
the first answer on; and, where it is installed (`pip install trl`), the forward and backward pass of TRL's
`GRPOTrainer`, whose loss gets the samples as one batch, observations masked. Tokens are the same for all:
those of the unpadded samples. `--profile` says where our training pass spends its time.
"""

import argparse
import importlib.util
import json
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import PreTrainedModel

from sdar.model.load import load_model, load_tokenizer
from sdar.model.memory import keep_freed_memory
from sdar.model.policy import Packed, Policy
from sdar.model.settings import ModelConfig, find_model
from sdar.rollout.engine import Request, Sampling
from sdar.rollout.engines.hf import HFEngine

RESULT = Path(__file__).parent / "results" / "language_model.json"
FLASH = "_scaled_dot_product_flash_attention_for_cpu"
KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "mkldnn_linear", "linear"),
    "attention": (FLASH, f"{FLASH}_backward"),
}
"""What the profile puts together; the rest is element-wise work, sums and copies."""


@dataclass(frozen=True)
class Row:
    """A sample."""

    tokens: tuple[int, ...]
    prompt: int
    """How many of the tokens are the prompt."""
    scored: tuple[int, ...]
    """Which of them are trained."""


def samples(options: argparse.Namespace, vocab: int) -> list[Row]:
    dice = random.Random(0)

    def text(low: int, high: int) -> tuple[int, ...]:
        return tuple(dice.randrange(vocab) for _ in range(dice.randint(low, high)))

    common, rows = text(options.common, options.common), []
    for _ in range(options.groups):
        prompt = common + text(15, 30)
        for _ in range(options.group_size):
            tokens, scored = prompt, []
            for turn in range(dice.randint(2, 4)):
                tokens += text(20, 45) if turn else ()
                answer = text(options.answer, options.answer)
                scored += range(len(tokens), len(tokens) + len(answer))
                tokens += answer
            rows.append(Row(tokens, len(prompt), tuple(scored)))
    return rows


def right_padded(rows: list[Row]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, attention mask and the trained tokens of samples, each (B, T)."""
    width = max(len(row.tokens) for row in rows)
    ids_BT, mask_BT, scored_BT = (torch.zeros(len(rows), width, dtype=torch.int64) for _ in range(3))
    for number, row in enumerate(rows):
        ids_BT[number, : len(row.tokens)] = torch.tensor(row.tokens)
        mask_BT[number, : len(row.tokens)] = 1
        scored_BT[number, list(row.scored)] = 1
    return ids_BT, mask_BT, scored_BT.bool()


def padded_logp(model: torch.nn.Module, rows: list[Row]) -> torch.Tensor:
    """Log-probs of the trained tokens by one padded pass, the head from the first of them on."""
    ids_BT, mask_BT, scored_BT = right_padded(rows)
    first = min(row.prompt for row in rows)
    keep = ids_BT.shape[1] - first + 1
    logits = model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False, logits_to_keep=keep).logits
    logps = logits[:, :-1].float().log_softmax(-1).gather(-1, ids_BT[:, first:, None])[..., 0]
    return logps[scored_BT[:, first:]]


def left_padded(rows: list[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and attention mask of the prompts, each (B, T)."""
    width = max(row.prompt for row in rows)
    pads = [width - row.prompt for row in rows]
    ids_BT = torch.tensor(
        [(0,) * pad + row.tokens[: row.prompt] for pad, row in zip(pads, rows, strict=True)]
    )
    mask_BT = torch.tensor([[0] * pad + [1] * (width - pad) for pad in pads])
    return ids_BT, mask_BT


@torch.inference_mode()
def padded_generate(model: Any, rows: list[Row], answer: int) -> None:
    ids_BT, mask_BT = left_padded(rows)
    model.generate(
        input_ids=ids_BT, attention_mask=mask_BT, do_sample=True, top_k=0, eos_token_id=None,
        pad_token_id=0, max_new_tokens=answer,
    )  # fmt: skip


def trl_step(model: torch.nn.Module, rows: list[Row], options: argparse.Namespace) -> Callable[[], object]:
    """A forward and backward pass of TRL's GRPO over all samples, with its published defaults."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    trainer = GRPOTrainer(
        model=model,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=GRPOConfig(
            output_dir=tempfile.mkdtemp(), use_cpu=True, report_to=[], bf16=False,
            gradient_checkpointing=False, per_device_train_batch_size=len(rows),
            num_generations=options.group_size,
        ),
        train_dataset=Dataset.from_list([{"prompt": "a"}] * len(rows)),
        processing_class=load_tokenizer(options.model),
    )  # fmt: skip
    ids_BT, mask_BT = left_padded(rows)
    bodies = [Row(row.tokens[row.prompt :], 0, tuple(i - row.prompt for i in row.scored)) for row in rows]
    completion_BT, completion_mask_BT, scored_BT = right_padded(bodies)
    dice = torch.Generator().manual_seed(0)
    inputs = {
        "prompt_ids": ids_BT,
        "prompt_mask": mask_BT,
        "completion_ids": completion_BT,
        "completion_mask": completion_mask_BT,
        "tool_mask": scored_BT.long(),
        "advantages": torch.randn(len(rows), generator=dice),
        "num_items_in_batch": scored_BT.sum(),
    }
    model.train()
    trainer.current_gradient_accumulation_steps = 1
    return lambda: trainer.compute_loss(model, inputs).backward()


def packed(rows: list[Row]) -> Packed:
    return Packed.from_sequences(((row.tokens, row.scored) for row in rows), share=True)


def timed(work: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Medians of the CPU seconds of each, done in turn; the first of several turns does not count."""
    seen: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repeats):
        for name, run in work.items():
            begin = time.process_time()
            run()
            seen[name].append(time.process_time() - begin)
    return {name: statistics.median(times[1:] or times) for name, times in seen.items()}


def shares(run: Callable[[], object]) -> dict[str, float]:
    """How much of the CPU time of `run` goes where."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        run()
    spent: Counter[str] = Counter()
    kinds = {f"aten::{name}": kind for kind, names in KINDS.items() for name in names}
    for event in profiler.key_averages():
        spent[kinds.get(event.key, "the rest")] += event.self_cpu_time_total
    print(
        profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40)
    )
    return {kind: round(part / spent.total(), 3) for kind, part in spent.most_common()}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--lora-rank", type=int, default=16, help="0 trains all parameters")
    parser.add_argument("--groups", type=int, default=2)
    parser.add_argument("--group-size", type=int, default=4)
    parser.add_argument("--common", type=int, default=65, help="tokens that all prompts begin with")
    parser.add_argument("--answer", type=int, default=6, help="tokens of an answer")
    parser.add_argument("--decode", type=int, default=16, help="tokens that are generated")
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULT)
    return parser.parse_args()


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """What one model does in one dtype."""
    path, dtype = find_model(options.model), getattr(torch, options.dtype)
    adapted = ModelConfig(lora_rank=options.lora_rank)
    plain, ours = (load_model(ModelConfig(), path, "cpu", param_dtype=dtype) for _ in range(2))
    learners = [load_model(adapted, path, "cpu", param_dtype=dtype).train() for _ in range(3)]
    assert isinstance(ours, PreTrainedModel)
    policy, engine = Policy(learners[0]), HFEngine(ours, stop_ids=())
    rows = samples(options, ours.config.vocab_size)
    requests = [Request(row.tokens[: row.prompt], seed=i) for i, row in enumerate(rows)]
    pack = packed(rows)

    def train() -> None:
        policy(packed(rows)).logp.sum().backward()

    work: dict[str, Callable[[], object]] = {
        "prefill": lambda: engine.generate(requests, Sampling(max_tokens=1)),
        "plain prefill": lambda: padded_generate(plain, rows, 1),
        "rollout": lambda: engine.generate(requests, Sampling(max_tokens=options.decode)),
        "plain rollout": lambda: padded_generate(plain, rows, options.decode),
        "score": torch.no_grad()(lambda: policy(packed(rows)).logp),
        "plain score": torch.no_grad()(lambda: padded_logp(plain, rows)),
        "train": train,
        "plain train": lambda: padded_logp(learners[1], rows).sum().backward(),
    }
    if has_trl := importlib.util.find_spec("trl") is not None:
        work["trl train"] = trl_step(learners[2], rows, options)
    ids_BT = right_padded(rows)[0]
    whole = sum(len(row.tokens) for row in rows)
    report: dict[str, Any] = {
        "settings": {name: value for name, value in vars(options).items() if name not in ("out", "model")},
        "torch": torch.__version__,
        "trl": __import__("trl").__version__ if has_trl else None,
        "tokens": {
            "prompts": sum(row.prompt for row in rows),
            "samples": whole,
            "trained": len(pack.targets),
            "computed packed": len(pack.tokens),
            "computed padded": ids_BT.numel(),
        },
        "largest_difference": float((work["score"]() - work["plain score"]()).abs().max()),  # type: ignore[operator]
    }
    seconds = timed(work, options.repeats)
    for way in ("", "plain "):
        seconds[f"{way}decode"] = seconds[f"{way}rollout"] - seconds[f"{way}prefill"]
    tokens = {"prefill": report["tokens"]["prompts"], "decode": len(rows) * (options.decode - 1)}
    for phase in ("prefill", "decode", "score", "train"):
        rates = {
            way: round(tokens.get(phase, whole) / seconds[f"{way} {phase}".removeprefix("sdar ")])
            for way in ("sdar", "plain", "trl")
            if f"{way} {phase}".removeprefix("sdar ") in seconds
        }
        ratios = {f"over_{way}": round(rates["sdar"] / rate, 2) for way, rate in list(rates.items())[1:]}
        report[phase] = rates | ratios
        print(f"{phase}, tokens per CPU-second: {report[phase]}")
    if options.profile:
        report["profile of train"] = shares(train)
    return report


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    kept = json.loads(options.out.read_text()) if options.out.is_file() else {}
    name = f"{Path(options.model).name} {options.dtype}"
    options.out.write_text(json.dumps(kept | {name: measured(options)}, indent=2) + "\n")


if __name__ == "__main__":
    main()
