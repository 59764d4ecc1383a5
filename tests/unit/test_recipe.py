"""The recipes that ship, and what is found out before a run starts."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sdar.build.checks import check
from sdar.build.skills import skill_context
from sdar.envs.alfworld.spec import AlfworldSpec
from sdar.envs.search_qa.http import Dialect, HttpConfig
from sdar.envs.search_qa.spec import SearchQASpec
from sdar.envs.webshop.reward import Semantics
from sdar.envs.webshop.spec import WebshopSpec
from sdar.errors import ConfigError, DataError, SdarError
from sdar.objectives.base import PolicyGradient
from sdar.objectives.grpo import GRPO
from sdar.objectives.opsd import OPSD
from sdar.objectives.rlsd import RLSD
from sdar.objectives.sdar import SDAR
from sdar.objectives.skill_grpo import SkillGRPO
from sdar.objectives.skill_sd import SkillSD
from sdar.recipe import RunConfig, load_config
from sdar.rollout.settings import RolloutConfig
from sdar.rollout.views import ViewsConfig
from sdar.settings import schedules
from sdar.settings.config import Layer, fingerprint, load, read_toml, to_table
from sdar.settings.shipped import PACKAGE, read_recipes

RECIPES = PACKAGE / "recipes"
FILES = sorted(RECIPES.rglob("*.toml"))


def test_the_default_run_is_ready(tmp_path: Path) -> None:
    check(RunConfig(out=tmp_path / "runs"))


def assert_within(part: Mapping[str, Any], whole: Mapping[str, Any]) -> None:
    """Every setting of `part` is in `whole`, with the same value; a name stands for what it chooses."""
    for name, value in part.items():
        found = whole[name]
        if isinstance(value, dict):
            assert_within(value, found)
        else:
            assert (found["name"] if isinstance(found, dict) else found) == value, name


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(RECIPES)))
def test_recipes_load_and_say_what_they_set(file: Path) -> None:
    *_, layer = layers = read_recipes([str(file)])
    config = load_config(layers)
    table = to_table(config)
    assert_within(layer.values, table)
    assert load(RunConfig, [Layer("again", table)]) == config
    assert fingerprint(config) == fingerprint(load_config(layers))


LIMITS = {"alfworld": (2048, "error"), "webshop": (4096, "error"), "search_qa": (4096, "cut")}
"""Tokens of a prompt, and what happens at a longer one, as in its scripts."""
# max turns, history, tasks a step, mini-batch, KL, invalid penalty, evaluation temperature, warm-up, reward
PUBLISHED = {
    "alfworld": (50, 2, 16, 256, 0.01, 0.1, 0.4, 0, 10.0),
    "webshop": (15, 2, 16, 64, 0.01, 0.1, 0.4, 0, 10.0),
    "search_qa": (4, 4, 128, 256, 0.001, 0.01, 0.0, 15, 1.0),
}
"""The table of arXiv 2605.15155."""
MICRO_SAMPLES = {"alfworld": 32, "webshop": 8, "search_qa": 16}
"""Samples in a forward pass on each of its GPUs, as in its scripts."""
MODELS = {
    "qwen2.5-3b": "Qwen/Qwen2.5-3B-Instruct",
    "qwen2.5-7b": "Qwen/Qwen2.5-7B-Instruct",
    "qwen3-1.7b": "Qwen/Qwen3-1.7B",
}
COEFS = {
    "grpo": {}, "skill-grpo": {}, "opsd": {}, "grpo-opsd": {"coef": 0.01}, "skill-sd": {"coef": 0.001},
    "sdar": {"coef": 0.01, "beta": 5.0}, "rlsd": {"lam": "linear:0.5:0@0:100", "eps": 0.2},
}  # fmt: skip


@pytest.mark.parametrize("objective", COEFS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("env", PUBLISHED)
def test_published_runs(env: str, model: str, objective: str) -> None:
    """Environment, model and objective put together have the published numbers; nothing is loaded."""
    files = [RECIPES / env / "published.toml", RECIPES / "models" / f"{model}.toml"]
    chosen = Layer("--", {"objective": objective})
    run = to_table(load_config([*map(read_toml, files), chosen]))
    turns, history, tasks, mini_batch, kl, penalty, temperature, warmup, reward = PUBLISHED[env]
    expected = {
        "train": {"steps": 150, "eval_every": 5, "old_logps": "recompute"},
        "env": {"name": env, "max_turns": turns, "prompt": "full", "parsing": "published", "reward": reward},
        "skills": {"bank": env, "retrieval": "by-kind", "detail": "full"},
        "rollout": {
            "context": "window", "history": history, "tasks_per_step": tasks, "group_size": 8,
            "temperature": 1.0, "max_tokens": 512,
            "max_prompt": LIMITS[env][0], "long_prompt": LIMITS[env][1],
        },
        "advantage": {"estimator": "group-std", "statistics": "turn", "invalid_penalty": penalty},
        "optim": {
            "lr": 1e-6, "mini_batch": mini_batch, "warmup_steps": warmup, "schedule": "constant",
            "weight_decay": 0.01, "order": "environment", "micro_samples": MICRO_SAMPLES[env],
            "warmup_from_zero": bool(warmup), "max_grad_norm": 1.0,
        },
        "eval": {"temperature": temperature},
        "model": {"path": MODELS[model], "dtype": "bfloat16"},
        "objective": {"name": objective} | COEFS[objective],
    }  # fmt: skip
    if objective != "opsd":
        expected["objective"] |= {"kl_coef": kl, "entropy_coef": 0.001, "clip_low": 0.2, "dual_clip": 3.0}
    assert_within(expected, run)


ROWS: dict[str, PolicyGradient] = {
    "grpo": GRPO(),
    "sdar": SDAR(coef=0.01, beta=5.0),
    "opsd": SDAR(coef=0.01, beta=5.0, pg_coef=0.0),
    "grpo-opsd": SDAR(coef=0.01, beta=0.0),
    "rlsd": RLSD(lam="linear:0.495:0@0:99", eps=0.2),
    "skill-sd": SkillSD(coef=0.001),
    "skill-grpo": SkillGRPO(),
}
"""What the published code computes under these names, but for the KL coefficient of the environment."""


@pytest.mark.parametrize("env", PUBLISHED)
@pytest.mark.parametrize("row", ROWS)
def test_what_the_published_code_computes(env: str, row: str) -> None:
    config = load_config([f"{env}/published", f"{row}-published"])
    assert config.objective == replace(ROWS[row], kl_coef=PUBLISHED[env][4], reduction="micro-batch-mean")
    assert config.advantage.statistics == "turn"


def test_every_row_of_the_paper_has_a_recipe() -> None:
    files = (RECIPES / "objectives").glob("*-published.toml")
    assert {path.stem for path in files} == {f"{row}-published" for row in ROWS}


def test_the_published_decay_of_rlsd_counts_steps_from_one() -> None:
    lam = schedules.parse(read_recipes(["rlsd-published"])[0].values["objective"]["lam"])
    for step in (1, 2, 50, 99, 100, 150):
        assert lam.at(step - 1, 150) == pytest.approx(0.5 * max(0.0, 1 - step / 100), abs=1e-12)


def test_webshop_as_published() -> None:
    env = load_config("webshop/published").env
    assert isinstance(env, WebshopSpec)
    assert env.semantics is Semantics.OFFICIAL


def test_search_qa_as_published() -> None:
    env = load_config([read_toml(RECIPES / "search_qa" / "published.toml")]).env
    assert isinstance(env, SearchQASpec)
    assert (env.information, env.top_k) == ("json", 3)
    assert env.retriever == HttpConfig(dialect=Dialect.QUERY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rollout": RolloutConfig(group_size=1)}, "rollout.group_size is 1"),
        ({"views": ViewsConfig(names=("skills", "future"))}, "reads 1 teacher view.* lists 2"),
        ({"rollout": RolloutConfig(tasks_per_step=9), "env": AlfworldSpec(num_train=8)}, "has 8 tasks"),
        ({"env": AlfworldSpec(data="/nowhere")}, "/nowhere"),
        ({"objective": SDAR(tis_cap=2.0)}, "train.old_logps takes the engine's for both"),
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


def test_the_view_of_an_expert_needs_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = RunConfig(out=tmp_path / "runs", views=ViewsConfig(names=("expert",)))
    check(config)
    monkeypatch.setattr(AlfworldSpec, "experts", lambda spec: ())
    with pytest.raises(ConfigError, match="needs an expert, and 'alfworld' has none"):
        check(config)
