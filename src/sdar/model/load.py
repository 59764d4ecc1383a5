"""Models and tokenizers: from a directory or the Hugging Face hub into memory, and back to a directory.

Parameters that are trained are float32. With `dtype = "bfloat16"` they are cast for the forward and backward
pass only, by the mixed precision of `fully_shard`, so there is one code path for one process and for many.
"""

import copy
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from sdar.errors import ConfigError, suggest

ALL_LINEAR = "all-linear"


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The policy's model."""

    path: str = "embedded"
    """A directory, a Hugging Face hub name, or "embedded": the small model that the package makes itself."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the matrix products. Trained parameters and log-softmax are float32 always."""
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

    @property
    def compute_dtype(self) -> torch.dtype:
        """`dtype` as torch knows it."""
        return torch.bfloat16 if self.dtype == "bfloat16" else torch.float32


def load_model(
    config: ModelConfig,
    path: Path | str,
    device: torch.device | str,
    *,
    param_dtype: torch.dtype = torch.float32,
) -> PreTrainedModel | PeftModel:
    """The causal LM at `path`, a directory or hub name, in evaluation mode, with adapters if configured.

    `param_dtype` is for copies that only generate. Raises `ConfigError` when there is no such model, when its
    files lack weights, or when `config` does not fit it.
    """
    model, info = _load(AutoModelForCausalLM, path, "model", dtype=param_dtype, output_loading_info=True)
    if missing := sorted(info["missing_keys"]):
        raise ConfigError(f"the model at {path} lacks {len(missing)} weights, such as '{missing[0]}'")
    model.to(device)
    if config.lora_rank:
        model = add_lora(model, config)
    if config.gradient_checkpointing:
        keep_layer_inputs(model)
    return model.eval()


def load_tokenizer(path: Path | str) -> PreTrainedTokenizerBase:
    """The tokenizer at `path`, a directory or hub name. Raises `ConfigError` when there is none."""
    tokenizer: PreTrainedTokenizerBase = _load(AutoTokenizer, path, "tokenizer")
    return tokenizer


def add_lora(model: PreTrainedModel, config: ModelConfig) -> PeftModel:
    """Freeze `model` and put LoRA adapters into it; the same ones in every process."""
    linear = {name.rpartition(".")[2] for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    targets = config.lora_targets
    for name in targets:
        if name not in linear | {ALL_LINEAR}:
            raise ConfigError(f"model.lora_targets: no linear layer '{name}': {suggest(name, linear)}")
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,  # type: ignore[arg-type]  # peft divides it, an integer or not
        target_modules=ALL_LINEAR if ALL_LINEAR in targets else list(targets),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        adapted = get_peft_model(model, lora)
    assert isinstance(adapted, PeftModel)
    return adapted


def keep_layer_inputs(model: PreTrainedModel | PeftModel) -> None:
    """Make the decoder layers of `model`, in training mode, compute themselves again in the backward pass."""
    newer = getattr(model, "activation_checkpointing_enable", None)  # the name since transformers 5.18
    enable = model.gradient_checkpointing_enable if newer is None else newer
    enable({"use_reentrant": False})


def save_model(model: nn.Module, tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """Write a plain transformers model and its tokenizer; `directory` appears whole or not at all.

    Of a model with adapters, the merged model is written, and the adapters alone under `adapter/`. The
    parameters must be whole tensors, not shards.
    """
    partial, old = (directory.with_name(f".{directory.name}.{end}") for end in ("tmp", "old"))
    for left in (partial, old):
        shutil.rmtree(left, ignore_errors=True)
    partial.mkdir(parents=True)
    if isinstance(model, PeftModel):
        model.save_pretrained(str(partial / "adapter"))
        model = copy.deepcopy(model).merge_and_unload()
    assert isinstance(model, PreTrainedModel)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    if directory.exists():
        os.replace(directory, old)
    os.replace(partial, directory)
    shutil.rmtree(old, ignore_errors=True)


def _load(loader: Any, path: Path | str, what: str, **options: Any) -> Any:
    """Load with one of transformers' Auto classes, its failures in one line."""
    name, folder = str(path), Path(path).expanduser()
    if not folder.is_dir() and (folder.is_absolute() or name.startswith(".") or name.count("/") != 1):
        raise ConfigError(f"there is no {what} at {path}: no such directory")
    try:
        return loader.from_pretrained(str(folder) if folder.is_dir() else name, **options)
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"cannot load a {what} from {path}: {reason}") from error
