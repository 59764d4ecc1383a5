"""The formula against what was measured: stored figures of ranks, and small measurements here."""

import gc
import json
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny import tiny_model
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sdar.errors import ConfigError
from sdar.model.load import keep_layer_inputs
from sdar.model.policy import Packed, Policy
from sdar.model.settings import ModelConfig
from sdar.plan.load import load_of
from sdar.plan.memory import Budget, check_start
from sdar.plan.settings import GIB, Assumed
from sdar.plan.shapes import ModelShape, shape_of, table
from sdar.recipe import load_config
from sdar.rollout.engines.cache import RaggedCache
from sdar.trainer import distributed
from sdar.trainer.sharding import sharded_policy

MEASURED = Path(__file__).parents[3] / "benchmarks" / "results" / "memory.json"
SHAPE = ModelShape.of(  # of benchmarks/memory.py
    {
        "model_type": "qwen3", "vocab_size": 32_000, "hidden_size": 640, "intermediate_size": 2560,
        "num_hidden_layers": 12, "num_attention_heads": 10, "num_key_value_heads": 5, "head_dim": 64,
        "tie_word_embeddings": True, "max_position_embeddings": 32768,
    },
    "the benchmark",
)  # fmt: skip
BFLOAT16 = {"model.dtype": "bfloat16"}


def budget(shape: ModelShape, ranks: int = 1, **settings: Any) -> Budget:
    return Budget(config=load_config(settings), shape=shape, ranks=ranks)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_the_models_of_a_rank_take_what_was_measured(ranks: int) -> None:
    found = json.loads(MEASURED.read_text())
    assert found["parameters"] == SHAPE.parameters
    per = found["bytes_per_parameter_peak_and_after"]
    full, lora = (budget(SHAPE, ranks, **BFLOAT16, **{"model.lora_rank": rank}) for rank in (0, 16))
    parts = full.built()
    predicted = {
        "full policy": parts["weights"],
        "full reference": parts["weights"] + parts["reference"],
        "full update": sum(full.certain()["update"].values()),
        "lora policy": sum(lora.built().values()),
    }
    for name, size in predicted.items():
        kind, phase = name.split()
        more = per[f"{kind}, {ranks} ranks"][phase][0] - size / SHAPE.parameters
        # A tensor that is being read, and what torch and peft keep: the same at any number of ranks.
        assert 0 <= more < 0.15, name


def test_what_is_offloaded_takes_none_of_the_gpus_memory() -> None:
    def items(offload: str) -> set[str]:
        planned = budget(SHAPE, 4, **{"device": "cuda", "ranks.offload": offload})
        return {name for name, size in planned.certain()["update"].items() if size}

    every = {"weights", "reference", "optimizer", "gradients"}
    assert items("none") == every
    assert items("reference") == every - {"reference"}
    assert items("optimizer") == {"reference"}
    assert items("both") == set()


@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_each_layer_keeps_exactly_what_the_formula_says(
    kind: str, dtype: torch.dtype, checkpointing: bool
) -> None:
    name = "bfloat16" if dtype == torch.bfloat16 else "float32"
    settings = {"model.dtype": name, "model.gradient_checkpointing": checkpointing}
    measured, made = [], []
    for layers in (2, 4):
        model = tiny_model(kind, layers=layers, vocab=64).to(dtype)
        if checkpointing:
            keep_layer_inputs(model)
        measured.append(kept_by(Policy(model).train(), 96))
        made.append(budget(ModelShape.of(model.config.to_dict(), kind), **settings).kept(96))
    assert measured[1] - measured[0] == made[1] - made[0]
    # The last layer leaves out what nobody reads, which is not counted on.
    assert measured[1] <= made[1]


def kept_by(policy: Policy, tokens: int) -> int:
    """Bytes that a pass keeps for its backward pass, beside the weights."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in policy.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in weights:
            kept.setdefault(place, tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        policy(Packed.from_sequences([([i % 64 for i in range(tokens + 1)], [tokens])]))
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


class Live(TorchDispatchMode):
    """Counts the bytes of tensors that are made inside and not gone yet, and their largest sum."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._see(getattr(tensor, "_local_tensor", tensor).untyped_storage())
        return out

    def _see(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._known:
            self._known[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, lambda: self._drop(key))

    def _drop(self, key: int) -> None:
        self.now -= self._known.pop(key, 0)


@pytest.mark.parametrize(
    ("lora", "checkpointing", "dtype", "vocab"),
    [
        (0, False, "float32", 1024),
        (8, True, "bfloat16", 1024),
        (0, True, "float32", 64),
    ],
)
def test_an_update_takes_what_the_formula_says(
    lora: int, checkpointing: bool, dtype: str, vocab: int, tmp_path: Path
) -> None:
    tiny_model("qwen3", hidden=64, layers=3, vocab=vocab).save_pretrained(tmp_path)
    settings = {"model.dtype": dtype, "model.lora_rank": lora, "model.gradient_checkpointing": checkpointing}
    config = load_config({"model.path": str(tmp_path)}, settings)
    made, products = Budget(config=config, shape=shape_of(config), ranks=1), getattr(torch, dtype)
    with distributed.join("cpu") as world:
        policy = sharded_policy(
            tmp_path,
            ModelConfig(lora_rank=lora, gradient_checkpointing=checkpointing),
            world,
            param_dtype=products if lora else torch.float32,
            compute_dtype=products,
        ).train()
        trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
        pack = Packed.from_sequences([([i % 64 for i in range(257)], list(range(129, 257)))])

        def step() -> None:
            for _ in range(2):
                policy(pack, with_entropy=True).logp.sum().backward()
            optimizer.step()
            optimizer.zero_grad()

        step()
        gc.collect()
        with (live := Live()):
            step()
    models = sum(made.learnt().values()) - made.built().get("reference", 0)
    held = sum(parameter.to_local().nbytes for parameter in policy.parameters())
    held += sum(
        moment.to_local().nbytes
        for state in optimizer.state.values()
        for name, moment in state.items()
        if name != "step"
    )
    assert models == held
    gradients = made.certain()["update"]["gradients"]
    predicted = gradients + sum(made.update(256, 128).values())
    assert live.peak <= predicted <= 1.6 * live.peak


def test_the_cache_is_as_large_as_the_engine_makes_it() -> None:
    config = load_config("alfworld/published", "qwen3-1.7b", {"rollout.max_live": 4})
    load = load_of(config, Assumed(gpus=8), 40960)
    cache, most = RaggedCache(4), 0
    rows = [row for row in (cache.open(None) for _ in range(4)) if row is not None]
    for length in range(load.typical.prompt, load.typical.sample + 1):
        for row in rows:
            cache.reserve(row, length)
            most = max(most, sum(slab._size * room for room, slab in cache._slabs.items()))
    shape = ModelShape.of(table()["Qwen/Qwen3-1.7B"], "table")
    made = Budget(config=config, shape=shape, ranks=8).cache(load, load.typical)
    assert len(rows) == 4
    # The last row that moves holds its old room while it is copied.
    assert made == (most + 4 * 512 - 1024) * 2 * 28 * 8 * 128 * 2


def test_a_start_that_cannot_fit_is_refused_in_one_line() -> None:
    shape = ModelShape.of(table()["Qwen/Qwen2.5-7B-Instruct"], "table")
    large = budget(shape, 1, **BFLOAT16)
    with pytest.raises(ConfigError) as refused:
        check_start(large, 80 * GIB, "Qwen/Qwen2.5-7B-Instruct")
    assert str(refused.value) == (
        "Qwen/Qwen2.5-7B-Instruct does not fit: update takes 127.7 GiB on each of 1 ranks (weights 28.4, "
        "reference 14.2, optimizer 56.7, gradients 28.4) before a token is read, and a GPU has 80.0; "
        "sdar plan says what to change"
    )
    check_start(budget(shape, 4, **BFLOAT16), 80 * GIB, "on four")
