"""The shape of a run's model, out of a `config.json` at hand or the table of the recipes' models."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from sdar.errors import ConfigError, suggest
from sdar.model.settings import find_model
from sdar.recipe import RunConfig
from sdar.rollout.engines.settings import KEY_HEADS

KINDS: Mapping[str, tuple[bool, bool]] = {
    "llama": (False, False),
    "qwen2": (True, False),
    "qwen3": (False, True),
}
"""Architecture -> whether query, key and value layers have a bias, whether queries, keys are normalised."""


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """A decoder of gated MLPs and grouped queries: everything that memory and time depend on."""

    kind: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool
    context: int
    """Tokens that it can read."""
    bias: bool
    """Whether the query, key and value layers have one."""

    @classmethod
    def of(cls, config: Mapping[str, Any], where: str) -> "ModelShape":
        """The shape in a `config.json`; `ConfigError` for an architecture that is not known here."""
        kind = config.get("model_type", "")
        if kind not in KINDS:
            raise ConfigError(f"{where}: nothing is known about model type '{kind}': {suggest(kind, KINDS)}")
        try:
            heads = config["num_attention_heads"]
            return cls(
                kind=kind,
                hidden=config["hidden_size"],
                intermediate=config["intermediate_size"],
                layers=config["num_hidden_layers"],
                heads=heads,
                kv_heads=config.get("num_key_value_heads") or heads,
                head_dim=config.get("head_dim") or config["hidden_size"] // heads,
                vocab=config["vocab_size"],
                tied=config.get("tie_word_embeddings", False),
                context=config["max_position_embeddings"],
                bias=KINDS[kind][0] or bool(config.get("attention_bias")),
            )
        except KeyError as error:
            raise ConfigError(f"{where} does not say {error.args[0]}") from error

    @property
    def cuts(self) -> Mapping[str, int]:
        """What ranks that share an engine must cut, by name."""
        return {"heads": self.heads, KEY_HEADS: self.kv_heads, "units of an MLP": self.intermediate}

    @property
    def normed(self) -> bool:
        """Whether queries and keys are normalised."""
        return KINDS[self.kind][1]

    @property
    def queries(self) -> int:
        """Width of all query heads."""
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        """Width of all key heads."""
        return self.kv_heads * self.head_dim

    @cached_property
    def linears(self) -> Mapping[str, tuple[int, int]]:
        """Inputs and outputs of a layer's linear layers."""
        h, f, q, k = self.hidden, self.intermediate, self.queries, self.keys
        attention = {"q_proj": (h, q), "k_proj": (h, k), "v_proj": (h, k), "o_proj": (q, h)}
        return attention | {"gate_proj": (h, f), "up_proj": (h, f), "down_proj": (f, h)}

    @property
    def layer(self) -> int:
        """Parameters of a layer."""
        biases = (self.queries + 2 * self.keys) if self.bias else 0
        norms = 2 * self.hidden + (2 * self.head_dim if self.normed else 0)
        return sum(i * o for i, o in self.linears.values()) + biases + norms

    @property
    def embedding(self) -> int:
        """Parameters of the input embedding, and of the output layer."""
        return self.vocab * self.hidden

    @property
    def root(self) -> int:
        """Parameters outside of the layers."""
        return self.embedding * (1 if self.tied else 2) + self.hidden

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.layers * self.layer + self.root

    def adapters(self, rank: int, names: tuple[str, ...]) -> int:
        """Parameters of LoRA adapters on the named linear layers; another name stands for all of them."""
        chosen = [self.linears[name] for name in names if name in self.linears] or self.linears.values()
        return self.layers * rank * sum(i + o for i, o in chosen)


def shape_of(config: RunConfig) -> ModelShape:
    """The shape of a run's model. Raises `ConfigError` where no `config.json` of it is at hand."""
    if config.pretrained:
        return model_shape(config.pretrained)
    own = config.warm_start.model
    return ModelShape(
        kind="qwen3",
        hidden=own.hidden_size,
        intermediate=own.intermediate_size,
        layers=own.num_layers,
        heads=own.num_heads,
        kv_heads=own.num_kv_heads,
        head_dim=32,
        vocab=own.vocab_size,
        tied=True,
        context=own.context_length,
        bias=False,
    )


def model_shape(path: str) -> ModelShape:
    """The shape of a model: a directory, a hub name in the hub's cache, or one of the table."""
    known = table()
    file = None
    if path not in known or (Path(path) / "config.json").is_file():
        file = Path(find_model(path)) / "config.json"
    if file is None or not file.is_file():
        file = _cached(path)
    if file is not None:
        try:
            return ModelShape.of(json.loads(file.read_text(encoding="utf-8")), str(file))
        except ValueError as error:
            raise ConfigError(f"{file} is not valid JSON: {error}") from error
    if path not in known:
        raise ConfigError(
            f"there is no config.json of {path} on this machine: give a directory, or a model that is known "
            f"here: {', '.join(known)}"
        )
    return ModelShape.of(known[path], path)


def table() -> Mapping[str, Any]:
    """The models of the shipped recipes."""
    text = (Path(__file__).parent / "shapes.json").read_text(encoding="utf-8")
    models: Mapping[str, Any] = json.loads(text)["models"]
    return models


def _cached(name: str) -> Path | None:
    """The `config.json` of a model in the hub's cache, of the revision `main`; no request is made."""
    home = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
    ref = home / "refs" / "main"
    if not ref.is_file():
        return None
    file = home / "snapshots" / ref.read_text(encoding="utf-8").strip() / "config.json"
    return file if file.is_file() else None
