"""The recipes that ship, and what is found out before a run starts."""

from dataclasses import replace
from pathlib import Path

import pytest

from sdar.config import Layer, fingerprint, load, read_toml, to_table
from sdar.envs.alfworld.spec import AlfworldSpec
from sdar.errors import ConfigError, DataError, SdarError
from sdar.objectives.opsd import OPSD
from sdar.objectives.sdar import SDAR
from sdar.recipe import RunConfig, check, load_config, skill_context
from sdar.rollout.collector import RolloutConfig
from sdar.types import ContextMode

RECIPES = Path(__file__).parents[2] / "recipes"
FILES = sorted(RECIPES.rglob("*.toml"))


def test_the_default_run_is_ready(tmp_path: Path) -> None:
    check(RunConfig(out=tmp_path / "runs"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(RECIPES)))
def test_recipes_load_and_say_what_they_set(file: Path) -> None:
    layer = read_toml(file)
    config = load_config([layer])
    table = to_table(config)
    for section, values in layer.values.items():
        for name, value in values.items() if isinstance(values, dict) else [(None, values)]:
            found = table[section] if name is None else table[section][name]
            assert (found["name"] if isinstance(found, dict) else found) == value
    assert load(RunConfig, [Layer("again", table)]) == config
    assert fingerprint(config) == fingerprint(load_config([layer]))


def test_the_published_settings(tmp_path: Path) -> None:
    folder = RECIPES / "alfworld"
    paper = load_config([read_toml(folder / "sdar-qwen2.5-3b.toml")])
    assert paper.objective == SDAR(coef=0.01, beta=5.0)
    assert (paper.rollout.context, paper.rollout.history) == (ContextMode.WINDOW, 2)
    assert (paper.rollout.tasks_per_step, paper.rollout.group_size) == (16, 8)
    assert (paper.optim.lr, paper.optim.mini_batch, paper.train.steps) == (1e-6, 256, 150)
    opsd = load_config([read_toml(folder / name) for name in ("sdar-qwen2.5-3b.toml", "opsd-published.toml")])
    assert opsd.objective == SDAR(pg_coef=0.0, coef=0.01, beta=5.0, reduction="micro-batch-mean")
    assert opsd.optim == paper.optim


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rollout": RolloutConfig(group_size=1)}, "rollout.group_size is 1"),
        ({"rollout": RolloutConfig(tasks_per_step=9), "env": AlfworldSpec(num_train=8)}, "has 8 tasks"),
        ({"env": AlfworldSpec(data="/nowhere")}, "/nowhere"),
        ({"trackers": ("wandbb",)}, "unknown tracker 'wandbb'"),
        ({"out": Path("/proc/runs")}, "cannot write to /proc/runs"),
    ],
)
def test_what_cannot_work_is_found_at_once(change: dict[str, object], message: str, tmp_path: Path) -> None:
    config = replace(RunConfig(out=tmp_path), **change)  # type: ignore[arg-type]
    with pytest.raises((ConfigError, DataError), match=message):
        check(config)


def test_objectives_without_returns_may_play_one_episode(tmp_path: Path) -> None:
    check(RunConfig(out=tmp_path, objective=OPSD(), rollout=RolloutConfig(group_size=1)))


def test_a_kind_without_skills_is_found_at_once(tmp_path: Path) -> None:
    (tmp_path / "walk.md").write_text("---\nname: walk\nsummary: walk.\n---\nWalk.\n")
    config = load_config([Layer("test", {"skills": {"bank": str(tmp_path)}})])
    with pytest.raises(SdarError, match="has no skill for task kind"):
        skill_context(config)


def test_run_names_tell_what_runs() -> None:
    assert RunConfig(name="mine").run_name == "mine"
    assert RunConfig().run_name.startswith("alfworld-sdar-2")
