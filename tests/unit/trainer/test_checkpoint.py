import errno
import os
from pathlib import Path

import pytest
import torch
from tests.tiny import tiny_model

from sdar.errors import CheckpointError, ConfigError, StorageError
from sdar.model.policy import Policy
from sdar.runs.checkpoints import complete, latest, step_of
from sdar.trainer.checkpoint import Checkpoints
from sdar.trainer.distributed import World, full, shard
from sdar.trainer.settings import CheckpointConfig, OptimConfig
from sdar.trainer.step import make_optimizer


def parts(world: World, hidden: int = 32) -> tuple[Policy, torch.optim.Optimizer]:
    policy = Policy(tiny_model(hidden=hidden))
    shard(policy, world)
    return policy, make_optimizer(policy, OptimConfig(lr=0.1))


def move(policy: Policy, optimizer: torch.optim.Optimizer) -> None:
    for parameter in policy.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def writer(directory: Path, world: World, keep: int = 2) -> Checkpoints:
    return Checkpoints(directory, CheckpointConfig(keep=keep), world, lambda path: path.mkdir())


def test_policy_and_optimizer_come_back(world: World, tmp_path: Path) -> None:
    saved, loaded = parts(world), parts(world)
    move(*saved)
    checkpoints = writer(tmp_path, world)
    path = checkpoints.save(7, *saved)
    assert (path / "model").is_dir()
    assert checkpoints.load(path, *loaded) == 7
    for _ in range(2):
        for one, two in zip(saved[0].parameters(), loaded[0].parameters(), strict=True):
            assert torch.equal(full(one), full(two))
        move(*saved)
        move(*loaded)


def test_frozen_parameters_are_not_stored(world: World, tmp_path: Path) -> None:
    policy = Policy(tiny_model())
    policy.requires_grad_(False)
    next(policy.parameters()).requires_grad_(True)
    shard(policy, world)
    optimizer = make_optimizer(policy, OptimConfig(lr=0.1))
    checkpoints = writer(tmp_path, world)
    small = sum(file.stat().st_size for file in checkpoints.save(1, policy, optimizer).rglob("*.distcp"))
    large = sum(file.stat().st_size for file in checkpoints.save(2, *parts(world)).rglob("*.distcp"))
    assert small < 0.8 * large
    assert checkpoints.load(tmp_path / "step-000001", policy, optimizer) == 1


def test_the_newest_stay_and_leftovers_go(world: World, tmp_path: Path) -> None:
    checkpoints, state = writer(tmp_path, world), parts(world)
    (tmp_path / "step-000002.tmp" / "state").mkdir(parents=True)
    assert latest(tmp_path) is None
    for step in (9, 10, 1_000_000):
        checkpoints.save(step, *state)
    assert len(complete(tmp_path)) == 3
    checkpoints.rotate()
    assert [path.name for path in tmp_path.iterdir() if path not in complete(tmp_path)] == []
    assert [step_of(path) for path in complete(tmp_path)] == [10, 1_000_000]
    assert latest(tmp_path) == tmp_path / "step-1000000"


def test_a_checkpoint_that_is_there_is_not_written_again(world: World, tmp_path: Path) -> None:
    checkpoints, state = writer(tmp_path, world), parts(world)
    before = (checkpoints.save(1, *state) / "state.json").stat().st_mtime_ns
    move(*state)
    assert (checkpoints.save(1, *state) / "state.json").stat().st_mtime_ns == before


def test_unusable_checkpoints_say_so_in_one_line(world: World, tmp_path: Path) -> None:
    checkpoints, state = writer(tmp_path, world), parts(world)
    path = checkpoints.save(1, *state)
    with pytest.raises(CheckpointError, match=r"does not fit this model: .*[Ss]ize") as error:
        checkpoints.load(path, *parts(world, hidden=16))
    assert "\n" not in str(error.value)
    (path / "state.json").write_text('{"format": 99, "step": 1}')
    with pytest.raises(CheckpointError, match="format 99"):
        checkpoints.load(path, *state)
    (path / "state.json").unlink()
    with pytest.raises(CheckpointError, match=r"state.json: No such file"):
        checkpoints.load(path, *state)
    with pytest.raises(CheckpointError, match="step-000010"):
        checkpoints.load(tmp_path / "model", *state)


def test_impossible_settings() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        CheckpointConfig(every=0)


DAMAGES = {
    "cut": lambda path: os.truncate(next(path.glob("state/*.distcp")), 100),
    "changed": lambda path: next(path.glob("state/*.distcp")).open("r+b").write(b"x"),
    "empty": lambda path: os.truncate(next(path.glob("state/*.distcp")), 0),
    "no plan": lambda path: (path / "state/.metadata").unlink(),
    "state.json empty": lambda path: (path / "state.json").write_text(""),
    "state.json a list": lambda path: (path / "state.json").write_text("[]"),
    "model": lambda path: (path / "model").rmdir() or (path / "state.json").write_text("{}"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_gives_way_to_the_older(damage: str, world: World, tmp_path: Path) -> None:
    checkpoints, state, told = writer(tmp_path, world), parts(world), []
    move(*state)
    first = [full(parameter).clone() for parameter in state[0].parameters()]
    checkpoints.save(1, *state)
    move(*state)
    DAMAGES[damage](checkpoints.save(2, *state))
    assert checkpoints.restore(*state, tell=told.append) == tmp_path / "step-000001"
    assert all(torch.equal(full(p), q) for p, q in zip(state[0].parameters(), first, strict=True))
    assert len(told) == 1
    assert str(tmp_path / "step-000002") in told[0]
    assert told[0].endswith("put aside as step-000002.damaged, going on from step-000001")
    assert "\n" not in told[0]
    assert checkpoints.save(2, *state).name == "step-000002"
    assert checkpoints.restore(*state, tell=told.append) == tmp_path / "step-000002"


def test_when_all_are_damaged_the_newest_reason_is_given(world: World, tmp_path: Path) -> None:
    checkpoints, state = writer(tmp_path, world), parts(world)
    assert checkpoints.restore(*state, tell=print) is None
    for step in (1, 2):
        (checkpoints.save(step, *state) / "state/.metadata").unlink()
    with pytest.raises(CheckpointError, match=r"step-000002 is damaged: state/.metadata: No such file"):
        checkpoints.restore(*state, tell=print)
    assert len(complete(tmp_path)) == 2


def test_a_full_disk_leaves_nothing_half(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = parts(world)

    def full_disk(path: Path) -> None:
        path.mkdir()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path / "model.safetensors"))

    broken = Checkpoints(tmp_path, CheckpointConfig(), world, full_disk)
    with pytest.raises(StorageError, match=r"step-000001: No space left on device: make room"):
        broken.save(1, *state)
    assert list(tmp_path.iterdir()) == []
    assert writer(tmp_path, world).save(1, *state).is_dir()
