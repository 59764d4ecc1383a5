"""The environment battery over every registered environment."""

import importlib
import pkgutil

import pytest

import sdar.envs
from sdar.envs.base import envs
from sdar.envs.check import check_env
from sdar.errors import DataError

for module in pkgutil.walk_packages(sdar.envs.__path__, "sdar.envs."):
    importlib.import_module(module.name)


ELSEWHERE = {"gymnasium", "openenv", "verifiers"}
"""Adapters have no game of their own; tests/unit/envs plays some through them."""


@pytest.mark.parametrize("name", sorted({*envs} - ELSEWHERE))
def test_environment_keeps_the_contract(name):
    try:
        spec = envs[name]()
        spec.tasks(spec.splits()[0])
    except DataError as error:
        pytest.skip(f"{name} has no data here: {error}")
    check_env(spec, tasks_per_split=4)


@pytest.mark.parametrize("size", ["compact", "full"])
@pytest.mark.parametrize("parsing", ["published", "strict"])
def test_alfworld_keeps_it_with_full_prompts(size, parsing):
    check_env(envs["alfworld"](size=size, prompt="full", parsing=parsing, num_train=12, num_held_out=12), 3)
