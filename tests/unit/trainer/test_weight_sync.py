from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.tiny import tiny_model, tiny_tokenizer
from transformers import AutoModelForCausalLM

from sdar.errors import ConfigError
from sdar.model.policy import Policy
from sdar.rollout.engines.hf import HFEngine
from sdar.trainer.distributed import World, shard
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
        assert sum(unique.values()) <= 10_000 or len(unique) == 1
    flat = [pair for bucket in sent for pair in bucket]
    assert {name: tensor.shape for name, tensor in flat} == {n: t.shape for n, t in expected.items()}
    assert len(flat) == len(expected)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in flat)


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
