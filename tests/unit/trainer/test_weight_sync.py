import gc
import json
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.tiny import tiny_model, tiny_tokenizer
from transformers import AutoModelForCausalLM

from sdar.errors import ConfigError
from sdar.model.load import save_model
from sdar.model.policy import Policy
from sdar.model.settings import ModelConfig
from sdar.rollout.engines.hf import HFEngine
from sdar.rollout.engines.weights import fitting, whole
from sdar.trainer import weight_sync
from sdar.trainer.distributed import World, full, shard
from sdar.trainer.sharding import sharded_policy
from sdar.trainer.weight_sync import buckets, export_model, sync_weights


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(10)[None]).logits


@pytest.mark.parametrize("tied", [True, False])
def test_the_engine_gets_the_policy_weights(world: World, tied: bool) -> None:
    model = tiny_model(seed=1, tie_word_embeddings=tied)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    policy, engine = Policy(model), HFEngine(tiny_model(tie_word_embeddings=tied), stop_ids=[0])
    shard(policy, world)
    sync_weights(policy, engine)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in engine.model.state_dict().items())


def test_the_engine_keeps_a_copy(world: World) -> None:
    policy, engine = Policy(tiny_model(seed=1)), HFEngine(tiny_model(), stop_ids=[0])
    shard(policy, world)
    sync_weights(policy, engine)
    before = {name: tensor.clone() for name, tensor in engine.model.state_dict().items()}
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in engine.model.state_dict().items())


def test_adapters_are_added_in(world: World, tmp_path: Path) -> None:
    config = LoraConfig(r=2, lora_alpha=6, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    adapted = get_peft_model(tiny_model(), config).eval()
    expected = logits(adapted)
    policy = Policy(adapted)
    shard(policy, world)
    engine = HFEngine(tiny_model(seed=1), stop_ids=[0])
    sync_weights(policy, engine)
    copied = tiny_model()
    copied.load_state_dict(engine.model.state_dict())
    export_model(policy, torch.float32, tiny_tokenizer(), world, tmp_path / "model")
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    for plain in (copied, exported):
        torch.testing.assert_close(logits(plain), expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(logits(tiny_model()), expected, atol=1e-3)


@pytest.mark.parametrize("tied", [True, False])
def test_weights_travel_in_small_buckets_with_tied_names_side_by_side(world: World, tied: bool) -> None:
    model = tiny_model(tie_word_embeddings=tied)
    expected = {name: tensor.bfloat16() for name, tensor in model.state_dict().items()}
    policy = Policy(model)
    shard(policy, world)
    sent = list(buckets(policy, torch.bfloat16, size=10_000))
    assert len(sent) > 3
    for bucket in sent:
        unique = {tensor.data_ptr(): tensor.nbytes for _, tensor in bucket}
        assert sum(unique.values()) <= 10_000
    shapes = {name: tensor.shape for name, tensor in expected.items()}
    assert max(tensor.nbytes for tensor in expected.values()) > 20_000, "else none is cut"
    flat = list(whole(fitting(sent, shapes), shapes))
    assert len(flat) == len(expected)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in flat)
    engine = HFEngine(tiny_model(seed=1, tie_word_embeddings=tied).bfloat16(), stop_ids=[0])
    engine.update_weights(sent)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in engine.model.state_dict().items())


def test_of_adapted_weights_the_sum_counts_too_and_parts_are_what_they_are_whole(world: World) -> None:
    config = LoraConfig(r=2, lora_alpha=6, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    policy = Policy(get_peft_model(tiny_model(), config).eval())
    shard(policy, world)
    at_once = {name: tensor for [bucket] in [list(buckets(policy, torch.float32))] for name, tensor in bucket}
    size = max(tensor.nbytes for name, tensor in at_once.items() if "down_proj" in name)
    sent = list(buckets(policy, torch.float32, size=size))
    for bucket in sent:
        unique = {tensor.data_ptr(): tensor.nbytes for _, tensor in bucket}
        # In float32 the stored rows, their sum and the result are three times the rows.
        summed = [2 * tensor.nbytes for name, tensor in bucket if "q_proj" in name or "down_proj" in name]
        assert sum(unique.values()) <= size
        assert max(summed, default=0) * 3 / 2 <= size
    shapes = {name: tensor.shape for name, tensor in at_once.items()}
    assert len([1 for bucket in sent for name, _ in bucket if "layers.0.mlp.down_proj" in name]) > 2
    for name, tensor in whole(fitting(sent, shapes), shapes):
        torch.testing.assert_close(tensor, at_once[name])


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_exported_is_the_policy(world: World, tmp_path: Path, tied: bool, dtype: torch.dtype) -> None:
    model = tiny_model(seed=3, tie_word_embeddings=tied)
    expected = {name: tensor.to(dtype) for name, tensor in model.state_dict().items()}
    model.generation_config.eos_token_id = [5, 6]
    policy = Policy(model)
    shard(policy, world, dtype)
    export_model(policy, dtype, tiny_tokenizer(), world, tmp_path / "model")
    read = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert read.dtype == dtype
    assert read.generation_config.eos_token_id == [5, 6]
    assert read.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in read.state_dict().items())


def test_another_model_is_refused(world: World) -> None:
    policy = Policy(tiny_model())
    shard(policy, world)
    with pytest.raises((ConfigError, RuntimeError)):
        sync_weights(policy, HFEngine(tiny_model(layers=1), stop_ids=[0]))


def adapted(path: Path, world: World, dtype: torch.dtype) -> Policy:
    """A policy with adapters around the model in `path`, which is made."""
    save_model(tiny_model(seed=4).to(dtype), tiny_tokenizer(), path)
    config = ModelConfig(lora_rank=2, lora_alpha=3.0)
    return sharded_policy(path, config, world, param_dtype=dtype, compute_dtype=dtype)


def move(policy: Policy, seed: int) -> None:
    """Give the adapters other values; 0: they do nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if ".lora_B." in name:
                noise = torch.randn(parameter.shape, generator=generator)
                full(parameter).copy_(0.1 * noise if seed else torch.zeros_like(noise))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_of_a_policy_with_adapters_only_these_travel_and_nothing_drifts(
    world: World, tmp_path: Path, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, engine = adapted(tmp_path / "base", world, dtype), HFEngine(tiny_model().to(dtype), stop_ids=[0])
    travelled: list[torch.Tensor] = []
    monkeypatch.setattr(weight_sync, "full", lambda tensor: travelled.append(tensor) or full(tensor))
    seen = {}
    for seed in (0, 1, *range(2, 30), 1, 0):
        move(policy, seed)
        sync_weights(policy, engine)
        seen[seed] = [*seen.get(seed, []), {n: t.clone() for n, t in engine.model.state_dict().items()}]
    base = {name: tensor.to(dtype) for name, tensor in tiny_model(seed=4).state_dict().items()}
    for first, last in (seen[0], seen[1]):
        assert all(torch.equal(last[name], tensor) for name, tensor in first.items())
    assert all(torch.equal(tensor, base[name]) for name, tensor in seen[0][0].items())
    adapters = [p.shape for name, p in policy.named_parameters() if ".lora_" in name]
    assert sorted(t.shape for t in travelled) == sorted(32 * adapters)

    move(policy, 1)
    layer = policy.get_submodule("model.base_model.model.model.layers.1.mlp.down_proj")
    up, down = (full(part.default.weight) for part in (layer.lora_B, layer.lora_A))
    name = "model.layers.1.mlp.down_proj.weight"
    expected = (base[name].float() + 1.5 * (up @ down)).to(dtype)
    assert torch.equal(seen[1][0][name], expected), "one rounding, after the sum"
    export_model(policy, dtype, tiny_tokenizer(), world, tmp_path / "model")
    read = AutoModelForCausalLM.from_pretrained(tmp_path / "model").state_dict()
    assert read.keys() == seen[1][0].keys()
    assert all(torch.equal(tensor, seen[1][0][name]) for name, tensor in read.items())


def test_nothing_is_kept_of_a_bucket_when_the_next_is_asked_for(world: World) -> None:
    policy, engine = Policy(tiny_model(seed=1)), HFEngine(tiny_model().bfloat16(), stop_ids=[0])
    shard(policy, world)
    alive: list[int] = []

    def watched() -> Iterator[Sequence[tuple[str, torch.Tensor]]]:
        tensors: list[weakref.ref[torch.Tensor]] = []
        stream = buckets(policy, torch.bfloat16, size=10_000)
        while True:
            gc.collect()
            alive.append(sum(tensor() is not None for tensor in tensors))
            bucket = next(stream, None)
            if bucket is None:
                return
            tensors += [weakref.ref(tensor) for _, tensor in bucket]
            yield bucket
            del bucket

    engine.update_weights(watched())
    assert len(alive) > 3
    assert set(alive) == {0}


def test_a_large_model_is_exported_in_several_files(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_sync, "FILE_BYTES", 30_000)
    model = tiny_model(seed=3)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    policy = Policy(model)
    shard(policy, world)
    for _ in range(2):
        export_model(policy, torch.float32, tiny_tokenizer(), world, tmp_path / "model", "A card.")
    files = sorted(path.name for path in (tmp_path / "model").glob("*.safetensors"))
    index = json.loads((tmp_path / "model" / "model.safetensors.index.json").read_text())
    assert len(files) > 2
    assert sorted(set(index["weight_map"].values())) == files
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "README.md").read_text() == "A card."
    read = AutoModelForCausalLM.from_pretrained(tmp_path / "model").state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in read.items())


def test_an_exported_model_is_described_like_a_saved_one(world: World, tmp_path: Path) -> None:
    save_model(tiny_model(), tiny_tokenizer(), tmp_path / "saved")
    policy = Policy(tiny_model())
    shard(policy, world)
    export_model(policy, torch.float32, tiny_tokenizer(), world, tmp_path / "exported")
    saved, exported = tmp_path / "saved", tmp_path / "exported"
    assert sorted(path.name for path in saved.iterdir()) == sorted(path.name for path in exported.iterdir())
    for name in ("config.json", "generation_config.json"):
        assert json.loads((saved / name).read_text()) == json.loads((exported / name).read_text())
