"""The official engine loads generated games and plays them text for text like the native one."""

from dataclasses import replace

import pytest

from sdar.envs.alfworld.layouts import KINDS
from sdar.envs.alfworld.spec import AlfworldSpec
from sdar.envs.check import HOSTILE

pytest.importorskip("textworld", reason="pip install 'sdar[textworld]'")
pytest.importorskip("alfworld", reason="pip install 'sdar[textworld]'")


@pytest.mark.slow
@pytest.mark.parametrize("place", range(len(KINDS)), ids=KINDS)
def test_a_generated_game_is_played_alike(place):
    rules = ("2.1.1", "2.1.2")[place % 2]
    real = AlfworldSpec(engine="textworld", rules=rules)
    native = replace(real, engine="native")
    task = native.tasks("held_out")[place]
    envs = [real.make(), native.make()]
    first, second = (env.reset(task) for env in envs)
    assert first == second
    expert = native.expert("explorer", envs[1], task, seed=0, noise=0.1)
    for turn in range(real.max_turns):
        advice = expert.act(second)
        text = HOSTILE[turn // 4 % len(HOSTILE)] if turn % 4 == 3 else advice
        here, there = (env.step(text) for env in envs)
        assert here == there
        second = there.observation
        if there.done:
            break
    assert there.success
