"""Tokens, FLOPs and seconds of each phase of a step, on the rank that has most to do."""

from dataclasses import dataclass

from sdar.objectives.base import Stream
from sdar.plan.load import Load
from sdar.plan.memory import MASTER, Budget
from sdar.plan.settings import Assumed
from sdar.rollout.engines.settings import HF
from sdar.trainer.settings import OldLogps

KERNELS = {True: 56, False: 40}
"""Kernels of a layer in a decode step of the hf engine, with normalised queries and keys or without."""
MORE_KERNELS = 54
"""Those outside of the layers, sampling among them."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One phase."""

    tokens: int
    """Of all ranks together."""
    flops: float
    seconds: float


def forward_flops(budget: Budget, tokens: float, length: float, scored: float) -> float:
    """Two for each parameter and token, the output layer for scored tokens alone, and causal attention."""
    shape = budget.shape
    attention = 2 * shape.layers * shape.queries * length
    return tokens * (2 * shape.layers * shape.layer + attention) + scored * 2 * shape.embedding


def work(budget: Budget, load: Load, assumed: Assumed) -> dict[str, Work]:
    """What each phase does, with typical lengths."""
    config, typical, ranks = budget.config, load.typical, load.ranks
    chosen = load.policy_tokens
    speed = assumed.tflops * 1e12 * assumed.mfu / (1 if budget.width == 2 else 15)
    done: dict[str, Work] = {}

    def compute(name: str, tokens: int, flops: float, passes: int, packs: int, reduces: bool = False) -> None:
        moved = budget.width * passes + MASTER * reduces
        traffic = packs * moved * budget.shape.parameters * (ranks - 1) / ranks
        done[name] = Work(
            tokens=tokens,
            flops=flops,
            seconds=max(flops / ranks / speed, traffic / (assumed.link * 1e9)),
        )

    read = load.episodes * load.turns * typical.read
    flops = forward_flops(budget, read, typical.prompt, load.episodes * load.turns)
    done["read prompts"] = Work(tokens=read, flops=flops, seconds=flops / ranks / speed)
    done["generate"] = generate(budget, load, assumed)
    for name, length in passes_of(budget, load).items():
        tokens = load.samples * typical.sample
        packs = -(-tokens // config.optim.micro_tokens // ranks) or 1
        # What a teacher is told stands before everything else: a pack computes it once.
        tokens += packs * ranks * (length - typical.sample)
        compute(name, tokens, forward_flops(budget, tokens, length, chosen), 1, packs)
    tokens = load.samples * typical.sample
    forward = forward_flops(budget, tokens, typical.sample, chosen)
    backward = 1 if config.model.lora_rank else 2
    again = forward if config.model.gradient_checkpointing else chosen * 2 * budget.shape.embedding
    per_pack = config.optim.micro_samples * typical.sample or config.optim.micro_tokens
    packs = -(-tokens // per_pack // ranks) or 1
    compute("update", tokens, forward * (1 + backward) + again, 2, packs, reduces=True)
    done["sync"] = Work(
        tokens=0,
        flops=0,
        seconds=MASTER * budget.shape.parameters * (ranks - 1) / ranks / (assumed.link * 1e9),
    )
    return done


def passes_of(budget: Budget, load: Load) -> dict[str, int]:
    """The score passes of a step, and the typical length of a sample in each."""
    config, needs = budget.config, budget.config.objective.needs
    typical = load.typical
    found = {}
    if Stream.OLD in needs and config.train.old_logps is OldLogps.RECOMPUTE:
        found["score old"] = typical.sample
    if Stream.REF in needs:
        found["score reference"] = typical.sample
    for name, length in zip(config.view_names, typical.teachers, strict=True):
        found[f"score teacher ({name})"] = length
    return found


def generate(budget: Budget, load: Load, assumed: Assumed) -> Work:
    """Decoding: a step for each token of the longest row of work, as slow as memory or kernels make it.

    Ranks that share an engine serve all their episodes together, each with its part of weights and cache, and
    add up what two products of a layer give.
    """
    config, shape, typical = budget.config, budget.shape, load.typical
    sharers = config.rollout.engine.sharers
    rows = min(config.rollout.max_live, load.rank_episodes)
    own = load.rank_episodes * load.turns * typical.answer
    steps = max(load.turns * typical.answer, own / rows)
    live = own / steps
    cache = typical.prompt * 2 * shape.layers * shape.keys * budget.width
    moved = (budget.engine() + live * cache) / (assumed.bandwidth * 1e9)
    kernels = (
        KERNELS[shape.normed] * shape.layers + MORE_KERNELS if isinstance(config.rollout.engine, HF) else 0
    )
    added = 2 * (sharers - 1) * live * shape.hidden * budget.width / (assumed.link * 1e9)
    sums = 2 * shape.layers * (added + assumed.launch * 1e-6) if sharers > 1 else 0
    return Work(
        tokens=load.policy_tokens,
        flops=forward_flops(budget, load.policy_tokens, typical.prompt, load.policy_tokens),
        seconds=steps * (max(moved, kernels * assumed.launch * 1e-6) + sums),
    )
