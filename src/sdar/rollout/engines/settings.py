"""Engines by name, and their settings. No torch: what generates is imported when it is made."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdar.errors import ConfigError
from sdar.settings.registry import Registry
from sdar.settings.values import check_least

KEY_HEADS = "key heads"

if TYPE_CHECKING:
    import torch

    from sdar.rollout.engine import Engine


@dataclass(frozen=True, kw_only=True)
class EngineParts:
    """What an engine is made of, and what the run asks of it."""

    model: str
    """The directory or hub name of the weights that it starts with."""
    dtype: str
    """Of its weights: "float32" or "bfloat16"."""
    device: torch.device
    """Where it generates."""
    stop_ids: Iterable[int]
    """Tokens that end a completion."""
    max_live: int
    """Sequences of this rank that generate side by side."""
    timeout: float = 3600.0
    """Seconds that ranks that share an engine wait for one another."""


@dataclass(frozen=True, kw_only=True)
class EngineConfig(ABC):
    """Settings of an engine. Subclasses add fields and register themselves."""

    @abstractmethod
    def make(self, parts: EngineParts) -> Engine:
        """The engine; each rank makes its own."""

    def require(self) -> None:  # noqa: B027 - most engines need nothing
        """Raise `ConfigError` for what is missing on this machine, without loading anything."""

    def check_split(self, ranks: int, model: Mapping[str, int]) -> None:  # noqa: B027 - most are whole
        """Raise `ConfigError` where an engine cannot be shared by these ranks, or a model not be cut so.

        `model` has the numbers to cut, by name; it is empty where nothing is known of the model.
        """

    @property
    def sharers(self) -> int:
        """Ranks that hold the engine's weights together."""
        return 1


engines: Registry[type[EngineConfig]] = Registry("engine")


@engines.register("hf")
@dataclass(frozen=True, kw_only=True)
class HF(EngineConfig):
    """Any transformers model with plain causal attention, on CPU or GPU, in this process. The default."""

    prefill_tokens: int = 4096
    """Prompt tokens that go through the model at a time; a longer prompt goes through alone."""

    def __post_init__(self) -> None:
        if self.prefill_tokens < 1:
            raise ConfigError(f"rollout.engine.prefill_tokens must be at least 1, not {self.prefill_tokens}")

    def make(self, parts: EngineParts) -> Engine:
        """A model of its own, plain even where the policy has adapters."""
        from sdar.rollout.engines.hf import make_hf

        return make_hf(self, parts)


@engines.register("vllm")
@dataclass(frozen=True, kw_only=True)
class VLLM(EngineConfig):
    """vLLM in this process: pages instead of rows, known prompts cached. Needs `sdar[vllm]`."""

    memory: float = 0.4
    """Share of the GPU's memory for weights and cache while it is awake; on a CPU, whole GiB of cache."""
    context_length: int = 0
    """Largest prompt plus completion, in tokens; 0 is the model's own limit."""
    eager: bool = False
    """Start sooner and generate slower, without CUDA graphs; a CPU has none."""
    tensor_parallel: int = 1
    """Neighbouring ranks that share one engine, each with its part of every layer, for a model that does not
    fit one GPU beside the trainer; 1: each rank has its own."""

    def __post_init__(self) -> None:
        check_least(self, "rollout.engine", tensor_parallel=1)
        if self.memory <= 0 or self.context_length < 0:
            raise ConfigError(
                "rollout.engine.memory must be positive and rollout.engine.context_length not negative"
            )

    def require(self) -> None:
        """The package has wheels for Linux only."""
        if importlib.util.find_spec("vllm") is None:
            raise ConfigError(
                "rollout.engine 'vllm' is not installed here: pip install 'sdar[vllm]' (Linux with a GPU), "
                "or use --rollout.engine hf"
            )

    @property
    def sharers(self) -> int:
        """See `EngineConfig.sharers`."""
        return self.tensor_parallel

    def check_split(self, ranks: int, model: Mapping[str, int]) -> None:
        """See `EngineConfig.check_split`."""
        size, most = self.tensor_parallel, max(ranks, self.tensor_parallel)
        good = [n for n in range(1, most + 1) if ranks % n == 0 and _cuts(n, model)]
        if size not in good:
            whole = ", ".join(f"{number} {name}" for name, number in ({"ranks": ranks} | dict(model)).items())
            best = min(good, key=lambda n: (abs(n - size), n))
            raise ConfigError(
                f"rollout.engine.tensor_parallel is {size}, which does not cut {whole}: use {best}"
            )

    def make(self, parts: EngineParts) -> Engine:
        """An engine that shares the GPU with the trainer's rank."""
        self.require()
        from sdar.rollout.engines.vllm import VLLMEngine

        return VLLMEngine(self, parts)


def _cuts(ranks: int, model: Mapping[str, int]) -> bool:
    """Whether vLLM can cut a model's layers among ranks; key heads are copied where there are fewer."""
    return all(
        number % ranks == 0 or (name == KEY_HEADS and ranks % number == 0) for name, number in model.items()
    )
