"""Models and tokenizers: from a directory or the Hugging Face hub into memory, and back to a directory.

Parameters that are trained are float32. With `dtype = "bfloat16"` they are cast for the forward and backward
pass only, by the mixed precision of `fully_shard`, so there is one code path for one process and for many.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from huggingface_hub import snapshot_download
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from sdar.errors import ConfigError, suggest
from sdar.model.settings import ALL_LINEAR, ModelConfig, find_model
from sdar.model.vocabulary import check_fits


def compute_dtype(config: ModelConfig) -> torch.dtype:
    """`model.dtype` as torch knows it; `auto` is bfloat16 where this machine multiplies it faster."""
    if config.dtype == "auto":
        return torch.bfloat16 if has_fast_bfloat16() else torch.float32
    return torch.bfloat16 if config.dtype == "bfloat16" else torch.float32


@cache
def has_fast_bfloat16() -> bool:
    """Whether a GPU is here, or else a CPU with instructions for bfloat16.

    Without them a product in bfloat16 takes 7 times as long as in float32 (measured with AVX2).
    """
    if torch.cuda.is_available():
        return True
    lines = Path("/proc/cpuinfo").read_text().split("\n") if Path("/proc/cpuinfo").is_file() else []
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    return bool({"avx512_bf16", "amx_bf16"}.intersection(flags))


def load_model(
    config: ModelConfig,
    path: Path | str,
    device: torch.device | str,
    *,
    param_dtype: torch.dtype = torch.float32,
) -> PreTrainedModel | PeftModel:
    """The causal LM at `path`, a directory or hub name, in evaluation mode, with adapters if configured.

    Its logits are those of the tokenizer's ids: rows of the output layer beyond them, which some models have,
    are left out. `param_dtype` is for copies that only generate. Raises `ConfigError` when there is no such
    model, when its files lack weights, when its tokenizer has more tokens than it, or when `config` does not
    fit it.
    """
    size = num_tokens(path)
    model, info = _load(
        AutoModelForCausalLM,
        path,
        "model",
        dtype=param_dtype,
        output_loading_info=True,
        config=shape_of(path),
        use_safetensors=True,
    )
    if missing := sorted(info["missing_keys"]):
        raise ConfigError(f"the model at {path} lacks {len(missing)} weights, such as '{missing[0]}'")
    model.to(device)
    if config.lora_rank:
        model = add_lora(model, config)
    return _ready(model, config, size)


def empty_model(config: ModelConfig, path: Path | str, dtype: torch.dtype) -> PreTrainedModel | PeftModel:
    """The causal LM at `path` with its buffers, but with parameters of `dtype` that take no memory.

    With adapters if configured, whose parameters are float32. See `load_model` for its logits and errors.
    """
    size, shape = num_tokens(path), shape_of(path)
    with init_empty_weights(include_buffers=False):
        plain = AutoModelForCausalLM.from_config(shape, dtype=dtype)
    plain.tie_weights()
    model: PreTrainedModel | PeftModel = plain
    if config.lora_rank:
        with init_empty_weights(include_buffers=False):
            model = add_lora(plain, config)
    return _ready(model, config, size)


def _ready(model: PreTrainedModel | PeftModel, config: ModelConfig, size: int) -> PreTrainedModel | PeftModel:
    """`model` in evaluation mode, with logits for the first `size` ids; 0: for all."""
    if size:
        model.get_output_embeddings().register_forward_hook(partial(_leave_out, size))
    if config.gradient_checkpointing:
        keep_layer_inputs(model)
    return model.eval()


def weight_files(path: Path | str) -> str:
    """The directory of a model's safetensors files; those of a hub name are fetched first."""
    place = find_model(path)
    if not Path(place).is_dir():
        try:
            place = snapshot_download(place, allow_patterns=["*.safetensors", "*.json"])
        except (OSError, ValueError) as error:
            raise _refusal("model", path, error) from error
    if not any(Path(place).glob("*.safetensors")):
        raise ConfigError(f"the model at {path} has no safetensors files")
    return place


class StoredWeights(Mapping[str, torch.Tensor]):
    """The tensors of a model's safetensors files, read when they are asked for."""

    def __init__(self, path: Path | str) -> None:
        """Look into the files of the model at `path`, a directory or hub name."""
        self._files: dict[str, Path] = {}
        for file in sorted(Path(weight_files(path)).glob("*.safetensors")):
            with safe_open(file, "pt") as opened:
                self._files |= dict.fromkeys(opened.keys(), file)

    def __getitem__(self, name: str) -> torch.Tensor:
        with safe_open(self._files[name], "pt") as opened:
            tensor: torch.Tensor = opened.get_tensor(name)
        return tensor

    def rows(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Some rows of a tensor; no others are read."""
        with safe_open(self._files[name], "pt") as opened:
            rows: torch.Tensor = opened.get_slice(name)[start:stop]
        return rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def load_tokenizer(path: Path | str) -> PreTrainedTokenizerBase:
    """The tokenizer at `path`, a directory or hub name. Raises `ConfigError` when there is none."""
    tokenizer: PreTrainedTokenizerBase = _load(AutoTokenizer, path, "tokenizer")
    return tokenizer


def context_of(model: Path | str) -> int:
    """Tokens that a model can read."""
    return int(shape_of(model).get_text_config().max_position_embeddings)


def shape_of(model: Path | str) -> PreTrainedConfig:
    """The `config.json` of a model, but for its choice of attention: that may name code to be fetched."""
    config: PreTrainedConfig = _load(AutoConfig, model, "model")
    config._attn_implementation = "eager"
    return config


def num_tokens(model: Path | str) -> int:
    """One more than the largest id of the model's tokenizer; 0 for a directory without a tokenizer."""
    folder = Path(find_model(model))
    if folder.is_dir() and not any(folder.glob("tokenizer*")):
        return 0
    vocabulary = load_tokenizer(model).get_vocab()
    return check_fits(model, vocabulary, shape_of(model).get_text_config().vocab_size)


def _leave_out(size: int, head: nn.Module, inputs: Any, logits: torch.Tensor) -> torch.Tensor:
    """The logits of the first `size` ids."""
    return logits[..., :size]


def weights_digest(path: Path | str) -> str:
    """SHA-256 of the weights in a directory or of a hub name, whose files are fetched first."""
    folder = Path(path) if Path(path).is_dir() else Path(weight_files(path))
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def add_lora(model: PreTrainedModel, config: ModelConfig) -> PeftModel:
    """Freeze `model` and put LoRA adapters into it; the same ones in every process."""
    linear = {name.rpartition(".")[2] for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    targets = config.lora_targets
    for name in targets:
        if name not in linear | {ALL_LINEAR}:
            raise ConfigError(f"model.lora_targets: no linear layer '{name}': {suggest(name, linear)}")
    if _head_of(model) in targets and model.config.get_text_config().tie_word_embeddings:
        raise ConfigError(
            f"model.lora_targets: '{_head_of(model)}' shares its weight with the input embedding here, so an "
            f"adapter on it cannot be merged: leave it out, or use '{ALL_LINEAR}'"
        )
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


def _head_of(model: PreTrainedModel) -> str:
    """The output layer's own name."""
    head = model.get_output_embeddings()
    return next((name.rpartition(".")[2] for name, part in model.named_modules() if part is head), "")


def keep_layer_inputs(model: PreTrainedModel | PeftModel) -> None:
    """Make the decoder layers of `model`, in training mode, compute themselves again in the backward pass."""
    newer = getattr(model, "activation_checkpointing_enable", None)  # the name since transformers 5.18
    enable = model.gradient_checkpointing_enable if newer is None else newer
    enable({"use_reentrant": False})


def save_model(model: nn.Module, tokenizer: PreTrainedTokenizerBase, directory: Path, card: str = "") -> None:
    """Write a plain transformers model and its tokenizer; `directory` appears whole or not at all.

    The parameters must be whole tensors, not shards, without adapters; `export_model` takes both. `card` is
    the text of its README, the model card.
    """
    assert isinstance(model, PreTrainedModel)
    partial = make_partial(directory)
    model.save_pretrained(partial)
    describe_model(partial, model.generation_config, tokenizer, card)
    put_in_place(partial, directory)


def make_partial(directory: Path, is_main: bool = True) -> Path:
    """An empty directory beside `directory`, to be filled and `put_in_place`; the main rank makes it."""
    partial = directory.with_name(f".{directory.name}.tmp")
    if is_main:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    return partial


def describe_model(
    partial: Path, generation: Any, tokenizer: PreTrainedTokenizerBase, card: str = ""
) -> None:
    """Write what stands beside a model's weights and shape: how it generates, its tokenizer, its card."""
    if generation is not None:
        generation.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    if card:
        (partial / "README.md").write_text(card, encoding="utf-8")


def put_in_place(partial: Path, directory: Path) -> None:
    """Let a finished directory take the place of `directory`."""
    old = directory.with_name(f".{directory.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if directory.exists():
        os.replace(directory, old)
    os.replace(partial, directory)
    shutil.rmtree(old, ignore_errors=True)


def _load(loader: Any, path: Path | str, what: str, **options: Any) -> Any:
    """Load with one of transformers' Auto classes, its failures in one line. No code of the model's runs."""
    place = find_model(path, what)
    if (Path(place) / "adapter_config.json").is_file():
        raise ConfigError(f"{path} holds adapters for another model: merge them into it first")
    try:
        return loader.from_pretrained(place, trust_remote_code=False, **options)
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        raise _refusal(what, path, error) from error


def _refusal(what: str, path: Path | str, error: Exception) -> ConfigError:
    return ConfigError(f"cannot load a {what} from {path}: {str(error).strip().splitlines()[0]}")
