"""Settings of models. No torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sdar.errors import ConfigError
from sdar.runs.paths import data_dir

EMBEDDED = "embedded"
"""The `model.path` of the model that the package makes itself, by a warm start."""
DOWNLOADS = ("smollm2",)
"""The models that `sdar data download` knows."""
ALL_LINEAR = "all-linear"
"""In `model.lora_targets`: every linear layer but the output layer."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The policy's model."""

    path: str = EMBEDDED
    """A directory, a Hugging Face hub name, a model that `sdar data` brought in (smollm2), or "embedded": the
    model of the warm start, which the package makes itself (with `warm_start.from`: of a pretrained one)."""
    dtype: Literal["float32", "bfloat16", "auto"] = "float32"
    """Of the matrix products; auto is bfloat16 where this machine is faster with it. Trained parameters and
    log-softmax are float32 always."""
    lora_rank: int = 0
    """Rank of the LoRA adapters to train; 0 trains all parameters."""
    lora_alpha: float = 32.0
    """Adapters are scaled by lora_alpha / lora_rank."""
    lora_targets: tuple[str, ...] = (ALL_LINEAR,)
    """Names of the linear layers that get an adapter; "all-linear" is every one but the output layer."""
    gradient_checkpointing: bool = False
    """Keep only each decoder layer's input for the backward pass: less memory, a third more compute."""

    def __post_init__(self) -> None:
        if self.lora_rank < 0 or self.lora_alpha <= 0:
            raise ConfigError("model.lora_rank must not be negative and model.lora_alpha must be positive")
        if self.lora_rank and not self.lora_targets:
            raise ConfigError(f"model.lora_targets is empty; use '{ALL_LINEAR}'")


@dataclass(frozen=True, kw_only=True)
class EmbeddedConfig:
    """Shape of the embedded model; the default has about 1.1 M parameters."""

    hidden_size: int = 128
    """Width of the residual stream."""
    intermediate_size: int = 512
    """Width of the gated MLP."""
    num_layers: int = 4
    """Decoder layers."""
    num_heads: int = 4
    """Query heads of 32 dimensions each."""
    num_kv_heads: int = 2
    """Key-value heads."""
    vocab_size: int = 1536
    """Upper limit of the tokenizer's vocabulary."""
    context_length: int = 2048
    """Longest sequence, in tokens."""


def downloaded(name: str) -> Path | None:
    """The directory of the model that has this name in the data directory."""
    folder = data_dir() / name
    return folder if (folder / "config.json").is_file() else None


def find_model(path: Path | str, what: str = "model") -> str:
    """The directory, or else what can only be a Hugging Face hub name. Raises `ConfigError` for neither.

    A bare name may also be that of a model in the data directory.
    """
    name, folder = str(path), Path(path).expanduser()
    if folder.is_dir():
        return str(folder)
    if brought := downloaded(name):
        return str(brought)
    if folder.is_absolute() or name.startswith(".") or name.count("/") != 1:
        advice = f": sdar data download {name}" if name in DOWNLOADS else ": no such directory"
        raise ConfigError(f"there is no {what} at {path}{advice}")
    return name
