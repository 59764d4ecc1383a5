"""Our environments in Gymnasium, and Gymnasium's text environments here."""

import warnings
from pathlib import Path

import pytest

gymnasium = pytest.importorskip("gymnasium", reason="needs the extra gym")
from gymnasium.utils.env_checker import check_env as check_gymnasium  # noqa: E402

from sdar.envs.check import find_problems  # noqa: E402
from sdar.envs.gym import IDS  # noqa: E402
from sdar.envs.gymnasium_text import GymnasiumSpec  # noqa: E402
from sdar.errors import ConfigError  # noqa: E402
from sdar.recipe import import_plugin  # noqa: E402

GAME = str(Path(__file__).parents[3] / "examples" / "gym_game.py")


@pytest.mark.parametrize("id", IDS)
def test_gymnasiums_own_checker_is_content(id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_gymnasium(gymnasium.make(id, render_mode="ansi").unwrapped)


def test_an_episode_is_that_of_the_engine() -> None:
    env = gymnasium.make("sdar/ALFWorld-v0", max_turns=5)
    text, info = env.reset(options={"task": 3})
    spec = env.unwrapped.spec_of_tasks
    task, own = spec.tasks("train")[3], spec.make()
    assert (text, info["task"]) == (own.reset(task).text, task.id)
    for _ in range(5):
        command = info["admissible"][0]
        step = own.step(command)
        text, reward, done, cut, info = env.step(command)
        assert (text, reward, done, cut) == (step.observation.text, step.reward, step.done, step.truncated)
        assert info["success"] is step.success
    assert cut
    with pytest.raises(ConfigError, match="did you mean 'train'"):
        gymnasium.make("sdar/ALFWorld-v0", split="trian")


def test_a_gymnasium_text_environment_keeps_our_contract() -> None:
    import_plugin(GAME)
    spec = GymnasiumSpec(id="game/Coin-v0", num_train=4, num_held_out=2)
    assert find_problems(spec) == []
    env = spec.make()
    side = env.reset(spec.tasks("train")[0]).text.split()[-1].strip(".")
    assert not env.step("neither").valid, "longer than the space of actions allows"
    step = env.step(side)
    assert (step.reward, step.done, step.success) == (1.0, True, True)
    assert spec.prompts().opening(env.reset(spec.tasks("train")[0]))[0].content.startswith("Say what")


@pytest.mark.parametrize(
    ("id", "message"),
    [("CartPole-v1", "its observations are no text"), ("no/Game-v0", "env.id 'no/Game-v0'")],
)
def test_what_speaks_no_text_is_refused(id: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GymnasiumSpec(id=id).make()
