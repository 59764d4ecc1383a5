"""A checkpoint of a stranger is data: it runs nothing and reads nothing outside its directory."""

import io
import os
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from tests.tiny import tiny_model
from torch.distributed.checkpoint.metadata import _MEM_FORMAT_ENCODING, Metadata

from sdar.errors import CheckpointError
from sdar.model.policy import Policy
from sdar.trainer.checkpoint import Checkpoints
from sdar.trainer.distributed import World, shard
from sdar.trainer.saved_state import SafePlanner, read_plan
from sdar.trainer.settings import CheckpointConfig, OptimConfig
from sdar.trainer.step import make_optimizer


class Attack:
    """Runs a command where it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return os.system, (self.command,)


@pytest.fixture
def saved(world: World, tmp_path: Path):  # type: ignore[no-untyped-def]
    policy = Policy(tiny_model())
    shard(policy, world)
    optimizer = make_optimizer(policy, OptimConfig())
    checkpoints = Checkpoints(tmp_path, CheckpointConfig(), world, lambda path: path.mkdir())
    return checkpoints, checkpoints.save(1, policy, optimizer), (policy, optimizer)


def unseal(path: Path) -> None:
    """What a stranger writes has no hash, or one that fits."""
    (path / "state.json").write_text('{"format": 1, "step": 1}')


def test_a_forged_plan_runs_nothing(saved, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    checkpoints, path, state = saved
    trace = tmp_path / "attacked"
    plan = path / "state/.metadata"
    forged = pickle.loads(plan.read_bytes())
    forged.planner_data = Attack(f"touch {trace}")
    plan.write_bytes(pickle.dumps(forged))
    unseal(path)
    with pytest.raises(CheckpointError, match=r"asks for (posix|nt).system, which no checkpoint needs"):
        checkpoints.load(path, *state)
    assert not trace.exists()
    pickle.loads(plan.read_bytes())
    assert trace.exists(), "the attack works where nobody guards"


class Attribute:
    """Pickled as an attribute of something."""

    def __init__(self, owner: type, name: str) -> None:
        self.asked = owner, name

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return getattr, self.asked


def test_of_all_attributes_a_plan_may_ask_for_members_of_enumerations(saved) -> None:  # type: ignore[no-untyped-def]
    _, path, _ = saved
    plan = path / "state/.metadata"
    whole = pickle.loads(plan.read_bytes())
    member = _MEM_FORMAT_ENCODING.TORCH_CHANNELS_LAST
    # As Python 3.11.0 to 3.11.3 write it.
    whole.planner_data = Attribute(_MEM_FORMAT_ENCODING, member.name)
    plan.write_bytes(pickle.dumps(whole))
    assert read_plan(path / "state").planner_data is member
    whole.planner_data = Attribute(Metadata, "__init__")
    plan.write_bytes(pickle.dumps(whole))
    with pytest.raises(CheckpointError, match=r"asks for builtins.getattr, which no checkpoint needs"):
        read_plan(path / "state")


def test_a_forged_value_runs_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "attacked"
    value = io.BytesIO()
    torch.save({"lr": Attack(f"touch {trace}")}, value)
    value.seek(0)
    with pytest.raises(pickle.UnpicklingError):
        SafePlanner().load_bytes(None, value)  # type: ignore[arg-type]
    assert not trace.exists()


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "link"])
def test_files_elsewhere_are_not_read(name: str, saved) -> None:  # type: ignore[no-untyped-def]
    checkpoints, path, state = saved
    plan = path / "state/.metadata"
    forged = pickle.loads(plan.read_bytes())
    for part in forged.storage_data.values():
        (path / "secret").write_bytes((path / "state" / part.relative_path).read_bytes())
        part.relative_path = name
    (path / "state/link").symlink_to(path / "secret")
    plan.write_bytes(pickle.dumps(forged))
    unseal(path)
    with pytest.raises(CheckpointError, match=r"it names '.*', elsewhere"):
        checkpoints.load(path, *state)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04",
        b"no pickle",
        pickle.dumps(OrderedDict()),
        pickle.dumps(7),
        pickle.dumps(Metadata({})),
    ],
)
def test_what_is_no_plan_is_one_line(data: bytes, tmp_path: Path) -> None:
    (tmp_path / ".metadata").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"\.metadata cannot be used: ") as found:
        read_plan(tmp_path)
    assert "\n" not in str(found.value)


def test_checkpoints_of_format_1_are_read(saved) -> None:  # type: ignore[no-untyped-def]
    checkpoints, path, state = saved
    unseal(path)
    assert checkpoints.load(path, *state) == 1
