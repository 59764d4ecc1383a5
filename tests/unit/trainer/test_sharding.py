"""Models built as shards have the weights that transformers loads, and nothing else."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.tiny import tiny_model
from torch import nn

from sdar.errors import ConfigError
from sdar.model.load import load_model
from sdar.model.policy import Packed, Policy
from sdar.model.settings import ModelConfig
from sdar.trainer.distributed import World, full, join, shard
from sdar.trainer.sharding import sharded_policy

PACK = Packed.from_sequences([(list(range(30)), list(range(1, 30))), ([7, 8, 9], [2])])
KINDS = [("qwen3", True), ("qwen3", False), ("qwen2", True), ("llama", False)]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with join() as world:
        yield world


def saved(place: Path, kind: str = "qwen3", tied: bool = True, dtype: torch.dtype = torch.float32) -> Path:
    tiny_model(kind, tie_word_embeddings=tied).to(dtype).save_pretrained(place)
    return place


def build(path: Path, world: World, *, lora_rank: int = 0, dtype: torch.dtype = torch.float32) -> Policy:
    config = ModelConfig(lora_rank=lora_rank)
    return sharded_policy(path, config, world, param_dtype=dtype, compute_dtype=dtype)


def trained_logps(policy: nn.Module) -> list[torch.Tensor]:
    """Log-probs before each of three updates: they see every weight, and whether tied ones are still one."""
    optimizer = torch.optim.SGD([p for p in policy.parameters() if p.requires_grad], lr=1e-2)
    seen = []
    for _ in range(3):
        logp = policy.train()(PACK).logp
        seen.append(logp.detach())
        (-logp.sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
    return seen


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("kind", "tied"), KINDS)
def test_it_is_the_model_that_transformers_loads(
    kind: str, tied: bool, stored: torch.dtype, world: World, tmp_path: Path
) -> None:
    path = saved(tmp_path, kind, tied, stored)
    whole = Policy(load_model(ModelConfig(), path, "cpu"))
    policy = build(path, world)
    assert {p.dtype for p in policy.parameters()} == {torch.float32}
    found, expected = trained_logps(policy), trained_logps(whole)
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_frozen_model_is_kept_in_the_dtype_it_computes_in(world: World, tmp_path: Path) -> None:
    frozen = sharded_policy(
        saved(tmp_path), ModelConfig(), world,
        param_dtype=torch.bfloat16, compute_dtype=torch.bfloat16, trained=False,
    )  # fmt: skip
    assert {(p.dtype, p.requires_grad) for p in frozen.parameters()} == {(torch.bfloat16, False)}


def test_adapters_begin_as_nothing_and_alone_are_trained(world: World, tmp_path: Path) -> None:
    path = saved(tmp_path)
    policy, plain = (
        build(path, world, lora_rank=4, dtype=torch.bfloat16),
        build(path, world, dtype=torch.bfloat16),
    )
    assert torch.equal(policy(PACK).logp, plain(PACK).logp)
    adapters = {name: full(p).detach() for name, p in policy.named_parameters() if p.requires_grad}
    assert adapters
    for name, whole in adapters.items():
        assert whole.dtype == torch.float32
        assert ".lora_A." in name or not whole.any()
        if ".lora_A." in name:
            bound = whole.shape[1] ** -0.5
            assert whole.abs().max() <= bound
            assert whole.std() == pytest.approx(bound / 3**0.5, rel=0.2)
    base = [p for name, p in policy.named_parameters() if ".lora_" not in name]
    assert {p.dtype for p in base} == {torch.bfloat16}
    again = build(path, world, lora_rank=4, dtype=torch.bfloat16)
    for name, whole in adapters.items():
        assert torch.equal(full(again.get_parameter(name)).detach(), whole)


def test_a_missing_weight_is_named(world: World, tmp_path: Path) -> None:
    file = saved(tmp_path) / "model.safetensors"
    weights = load_file(file)
    del weights["model.norm.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"lacks weights: .*model\.norm\.weight"):
        build(tmp_path, world)


def test_a_weight_of_another_shape_is_refused(world: World, tmp_path: Path) -> None:
    path = saved(tmp_path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"intermediate_size": 96}))
    with pytest.raises(ConfigError, match="lacks weights: "):
        build(path, world)


def test_only_safetensors_are_read(world: World, tmp_path: Path) -> None:
    file = saved(tmp_path) / "model.safetensors"
    torch.save(load_file(file), tmp_path / "pytorch_model.bin")
    file.unlink()
    with pytest.raises(ConfigError, match="has no safetensors files"):
        build(tmp_path, world)


def test_a_parameter_without_rows_is_refused(world: World) -> None:
    policy = Policy(tiny_model())
    policy.model.model.layers[0].scale = nn.Parameter(torch.tensor(1.0))
    with pytest.raises(ConfigError, match=r"'model\.layers\.0\.scale' is a single number"):
        shard(policy, world)
