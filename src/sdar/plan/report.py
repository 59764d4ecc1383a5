"""The plan of a run: its memory and work, whether it fits, and what to change where it does not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sdar.plan.load import Load, load_of
from sdar.plan.memory import Budget, Items, phases
from sdar.plan.settings import Assumed
from sdar.plan.shapes import ModelShape, shape_of
from sdar.plan.work import Work, work
from sdar.recipe import RunConfig

LORA_RANK = 64
"""What is suggested where all parameters do not fit."""
MOST_GPUS = 64
SMALL = {"micro_tokens": 2048, "max_live": 8}
"""Below these, a setting is not lowered further."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run on a machine."""

    config: RunConfig
    assumed: Assumed
    shape: ModelShape
    load: Load

    @classmethod
    def of(cls, config: RunConfig, assumed: Assumed) -> "Plan":
        """From settings alone. Raises `ConfigError` for a model or an environment that is not known here."""
        shape = shape_of(config)
        config.rollout.engine.check_split(assumed.gpus, shape.cuts)
        return cls(config=config, assumed=assumed, shape=shape, load=load_of(config, assumed, shape.context))

    @property
    def budget(self) -> Budget:
        """What memory depends on."""
        return Budget(
            config=self.config, shape=self.shape, ranks=self.config.ranks.shard_over or self.assumed.gpus
        )

    def memory(self, longest: bool = True) -> dict[str, Items]:
        """Bytes of a rank, item by item and phase by phase, with the longest or with typical samples."""
        lengths = self.load.longest if longest else self.load.typical
        return phases(self.budget, self.load, self.assumed, lengths)

    @property
    def peaks(self) -> Mapping[str, float]:
        """Bytes of each phase, with the longest samples."""
        return {name: sum(items.values()) for name, items in self.memory().items()}

    @property
    def fits(self) -> bool:
        """Whether every phase fits a GPU, with the longest samples."""
        return max(self.peaks.values()) <= self.assumed.memory

    def work(self) -> Mapping[str, Work]:
        """Tokens, FLOPs and seconds of each phase."""
        return work(self.budget, self.load, self.assumed)

    def advice(self) -> list[str]:
        """What to change so that it fits, as flags: with as many GPUs as there are, or with more."""
        ways = []
        plan, flags = self, dict[str, str]()
        while not plan.fits:
            found = next((change for change in _changes(plan)), None)
            if found is None:
                break
            changed, flag, value = found
            flags[flag] = value
            plan = Plan.of(changed, self.assumed)
        if plan.fits:
            ways.append(" ".join(f"--{flag} {value}" for flag, value in flags.items()))
        gpus = self.assumed.gpus
        while gpus < MOST_GPUS:
            gpus *= 2
            if Plan.of(self.config, replace(self.assumed, gpus=gpus)).fits:
                ways.append(f"--gpus {gpus}")
                break
        return ways


def _changes(plan: Plan) -> Iterator[tuple[RunConfig, str, str]]:
    """Settings that need less in the phase that does not fit, the harmless ones first; flags with them."""
    config, optim, rollout, peaks = plan.config, plan.config.optim, plan.config.rollout, plan.peaks
    phase = max(peaks, key=lambda name: peaks[name])
    certain = plan.budget.certain().get(phase, {})
    if sum(certain.values()) <= plan.assumed.memory:
        if phase == "update" and not config.model.gradient_checkpointing:
            model = replace(config.model, gradient_checkpointing=True)
            yield replace(config, model=model), "model.gradient_checkpointing", "true"
        if phase == "update" and optim.micro_samples and config.objective.reduction != "micro-batch-mean":
            yield replace(config, optim=replace(optim, micro_samples=0)), "optim.micro_samples", "0"
        tokens = optim.micro_tokens // 2
        by_tokens = phase == "score" or (phase == "update" and not optim.micro_samples)
        if by_tokens and tokens >= SMALL["micro_tokens"]:
            yield (
                replace(config, optim=replace(optim, micro_tokens=tokens)),
                "optim.micro_tokens",
                str(tokens),
            )
        live = min(rollout.max_live, plan.load.rank_episodes) // 2
        if phase == "rollout" and live >= SMALL["max_live"]:
            yield replace(config, rollout=replace(rollout, max_live=live)), "rollout.max_live", str(live)
    if not config.model.lora_rank:
        model = replace(config.model, lora_rank=LORA_RANK)
        yield replace(config, model=model), "model.lora_rank", str(LORA_RANK)
