import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.tiny import tiny_model

from sdar.errors import ConfigError
from sdar.model.policy import Policy
from sdar.rollout.engines.hf import HFEngine
from sdar.trainer.distributed import World, shard
from sdar.trainer.weight_sync import full_weights, sync_weights


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


def test_adapters_are_added_in(world: World) -> None:
    config = LoraConfig(r=2, lora_alpha=6, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    adapted = get_peft_model(tiny_model(), config).eval()
    expected = logits(adapted)
    policy = Policy(adapted)
    shard(policy, world)
    plain = tiny_model(seed=1)
    plain.load_state_dict(full_weights(policy), strict=False)
    torch.testing.assert_close(logits(plain), expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(logits(tiny_model()), expected, atol=1e-3)


def test_another_model_is_refused(world: World) -> None:
    policy = Policy(tiny_model())
    shard(policy, world)
    with pytest.raises((ConfigError, RuntimeError)):
        sync_weights(policy, HFEngine(tiny_model(layers=1), stop_ids=[0]))
