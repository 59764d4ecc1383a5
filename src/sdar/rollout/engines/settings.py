"""Engines by name, and their settings. No torch: what generates is imported when it is made."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdar.errors import ConfigError
from sdar.settings.registry import Registry

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
    """Sequences that generate side by side."""


@dataclass(frozen=True, kw_only=True)
class EngineConfig(ABC):
    """Settings of an engine. Subclasses add fields and register themselves."""

    @abstractmethod
    def make(self, parts: EngineParts) -> Engine:
        """The engine; each rank makes its own."""

    def require(self) -> None:  # noqa: B027 - most engines need nothing
        """Raise `ConfigError` for what is missing on this machine, without loading anything."""


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
    """vLLM in this process, one engine a rank: pages instead of rows, prompts cached. Needs `sdar[vllm]`."""

    memory: float = 0.4
    """Share of the GPU's memory for weights and cache while it is awake; on a CPU, whole GiB of cache."""
    context_length: int = 0
    """Largest prompt plus completion, in tokens; 0 is the model's own limit."""
    eager: bool = False
    """Start sooner and generate slower, without CUDA graphs; a CPU has none."""

    def __post_init__(self) -> None:
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

    def make(self, parts: EngineParts) -> Engine:
        """An engine that shares the GPU with the trainer's rank."""
        self.require()
        from sdar.rollout.engines.vllm import VLLMEngine

        return VLLMEngine(self, parts)
