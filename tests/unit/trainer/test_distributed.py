"""How ranks hold the weights, and how long they wait."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from tests.tiny import tiny_model

from sdar.errors import ConfigError
from sdar.model.policy import Packed
from sdar.model.settings import ModelConfig
from sdar.trainer.distributed import World, full, join
from sdar.trainer.settings import OptimConfig, RanksConfig
from sdar.trainer.sharding import sharded_policy
from sdar.trainer.step import make_optimizer
from sdar.trainer.weight_sync import buckets

PACK = Packed.from_sequences([(list(range(30)), list(range(1, 30))), ([7, 8, 9], [2])])


@pytest.mark.parametrize(
    ("size", "node", "wanted", "found"),
    [(8, 8, 0, 8), (16, 8, 0, 8), (16, 8, 16, 16), (16, 8, 4, 4), (6, 4, 0, 6)],
)
def test_the_ranks_of_a_node_hold_the_weights_together(
    size: int, node: int, wanted: int, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(size))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(node))
    assert RanksConfig(shard_over=wanted).holders() == found


def test_a_number_that_does_not_divide_the_ranks_is_refused_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "12")
    with pytest.raises(ConfigError, match=r"ranks\.shard_over is 5, which does not divide 12 ranks: use 6"):
        RanksConfig(shard_over=5).holders()


@pytest.mark.parametrize("lora", [0, 2])
def test_shards_that_wait_in_the_hosts_memory_learn_the_same(lora: int, tmp_path: Path, world: World) -> None:
    tiny_model(seed=2).save_pretrained(tmp_path)
    ended = []
    for offload in (False, True):
        policy = sharded_policy(
            tmp_path, ModelConfig(lora_rank=lora), world,
            param_dtype=torch.float32, compute_dtype=torch.float32, offload=offload,
        )  # fmt: skip
        optimizer = make_optimizer(policy, OptimConfig(lr=1e-2))
        for _ in range(3):
            (-policy.train()(PACK).logp.sum()).backward()
            norm = full(torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0))
            optimizer.step()
            optimizer.zero_grad()
        assert float(norm) > 0
        ended.append({name: whole for bucket in buckets(policy, torch.float32) for name, whole in bucket})
    assert all(torch.equal(whole, ended[1][name]) for name, whole in ended[0].items())


def test_ranks_wait_as_long_as_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(dist, "init_process_group", lambda *a, **k: asked.append(k["timeout"]) or 1 / 0)
    for environment in ({}, {"RANK": "0", "WORLD_SIZE": "1"}):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ZeroDivisionError), join("cpu", RanksConfig(timeout=77)):
            pass
    assert [patience.total_seconds() for patience in asked] == [77, 77]
