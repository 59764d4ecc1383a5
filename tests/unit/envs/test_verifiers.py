"""Environments of verifiers: with a double of the package, and with the real one where it is installed."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import pytest

from sdar.envs import verifiers as ours
from sdar.envs.check import find_problems
from sdar.envs.verifiers import VerifiersSpec
from sdar.errors import ConfigError, DataError

EXAMPLES = Path(__file__).parents[3] / "examples"
GUESS = {"taskset": "verifiers_game", "max_turns": 4, "goal": "Find the number.", "num_held_out": 2}
REAL = importlib.util.find_spec("verifiers") is not None


class Game:
    """Asks the endpoint as verifiers does: twice at most, with the whole conversation each time."""

    def __init__(self, table: dict[str, Any]) -> None:
        if table["taskset"]["id"] == "unknown":
            raise ModuleNotFoundError("taskset 'unknown' not found\nat all")
        self.seat, self.taskset = table["player"], range(int(table["taskset"].get("rows", 8)))

    async def run_episode(self, row: int, context: Any) -> Any:
        if row == 7:
            return SimpleNamespace(ok=False, errors=[SimpleNamespace(message="no\nbox")], traces=[])
        talk = [{"role": "system", "content": "Find it."}, {"role": "user", "content": f"Row {row}."}]
        async with httpx.AsyncClient() as client:
            while len(talk) < 6:
                answer = await client.post(f"{context.base_url}/chat/completions", json={"messages": talk})
                said = answer.json()["choices"][0]["message"]
                talk += [said, {"role": "user", "content": [{"type": "text", "text": "Again."}]}]
                if said["content"] == str(row):
                    break
        reward = float(said["content"] == str(row))
        stopped = None if reward else "max_turns"
        trace = SimpleNamespace(reward=reward, metrics={"words": 1}, stop_condition=stopped, errors=[])
        return SimpleNamespace(ok=row != 3, errors=[], traces=[trace])


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As much of the package as the adapter touches."""
    vf, agent = ModuleType("verifiers.v1"), ModuleType("verifiers.v1.configs.agent")
    vf.__dict__.update(
        resolve_env_config=lambda table: table,
        load_environment=Game,
        EvalClientConfig=lambda **known: known["base_url"],
        ModelContext=lambda model, client: SimpleNamespace(base_url=client),
    )
    agent.__dict__["agent_config_fields"] = lambda table: table.get("seats", ["player"])
    for name, module in (("verifiers", ModuleType("verifiers")), ("verifiers.v1", vf)):
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["verifiers"].__dict__["v1"] = vf
    monkeypatch.setitem(sys.modules, "verifiers.v1.configs", ModuleType("verifiers.v1.configs"))
    monkeypatch.setitem(sys.modules, "verifiers.v1.configs.agent", agent)
    monkeypatch.setattr(ours, "_agent", lambda vf: None)
    ours._open.cache_clear()
    yield
    ours._open.cache_clear()


def test_an_episode_is_turned_inside_out(double: None) -> None:
    spec = VerifiersSpec(taskset="guess", num_held_out=2)
    env, task = spec.make(), spec.tasks("train")[5]
    first = env.reset(task)
    assert (first.goal, first.text) == ("Find it.", "Row 5.")
    step = env.step(" 4 ")
    assert (step.observation.text, step.done, step.truncated, step.action) == ("Again.", False, False, "4")
    last = env.step("5")
    assert (last.reward, last.done, last.success, dict(last.metrics)) == (
        1.0, True, True, {"vf_words": 1.0, "vf_errors": 0.0},
    )  # fmt: skip
    assert env.step("6") == last
    env.reset(task)
    env.step("1")
    lost = env.step("2")
    assert (lost.done, lost.truncated, lost.success) == (False, True, False)


def test_rows_are_split_and_few_rows_suffice(double: None) -> None:
    spec = VerifiersSpec(taskset="guess", num_train=100, num_held_out=2)
    assert [task.payload for task in spec.tasks("train")] == [0, 1, 2, 3, 4, 5]
    assert [task.payload for task in spec.panel("held_out").tasks] == [6, 7]
    short = VerifiersSpec(taskset="guess", num_train=3, num_held_out=2)
    assert [task.payload for task in short.tasks("held_out")] == [3, 4]


def test_failures_are_counted_or_named(double: None) -> None:
    spec = VerifiersSpec(taskset="guess", num_held_out=1, options=("taskset.rows=9",))
    env, tasks = spec.make(), spec.tasks("train")
    env.reset(tasks[3])
    failed = env.step("3")
    assert (failed.reward, failed.success, failed.metrics["vf_errors"]) == (0.0, False, 1.0)
    with pytest.raises(DataError, match="task guess/7 ends before the agent is asked: no box"):
        env.reset(tasks[7])
    with pytest.raises(ConfigError, match=r"env.taskset 'unknown': taskset 'unknown' not found at all"):
        VerifiersSpec(taskset="unknown").make()
    with pytest.raises(ConfigError, match="1 rows, none to hold out"):
        VerifiersSpec(taskset="guess", options=("taskset.rows=1",)).make()


def test_an_episode_that_is_left_asks_nobody(double: None) -> None:
    spec = VerifiersSpec(taskset="guess")
    env = spec.make()
    env.reset(spec.tasks("train")[0])
    talk = env._talk  # type: ignore[attr-defined]
    env.reset(spec.tasks("train")[1])
    assert talk._playing.cancelled()
    assert talk.key not in ours._host()._talks or talk is not ours._host()._talks[talk.key]


@pytest.mark.skipif(REAL, reason="the package is installed")
def test_without_the_package_one_line_says_so() -> None:
    with pytest.raises(ConfigError, match="pip install 'verifiers"):
        VerifiersSpec(taskset="guess").make()


@pytest.mark.skipif(not REAL, reason="needs the package verifiers")
def test_the_example_in_the_real_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    spec = VerifiersSpec(**GUESS)  # type: ignore[arg-type]
    env, task = spec.make(), spec.tasks("train")[4]
    assert env.reset(task).text == "Guess a number from 1 to 8."
    assert [env.step(guess).observation.text for guess in ("2", "what")] == ["Higher.", "Lower."]
    won = env.step("5")
    assert (won.reward, won.done, won.success) == (1.0, True, True)
    env.reset(task)
    steps = [env.step("1") for _ in range(4)]
    assert [step.truncated for step in steps] == [False, False, False, True], "max_turns is kept by verifiers"
    assert not steps[-1].success
    assert find_problems(spec, tasks_per_split=1) == []
