"""Settings, splits, panels and the shape of an episode."""

import re
from dataclasses import replace

import pytest

from sdar.envs.alfworld.layouts import KINDS
from sdar.envs.alfworld.spec import AlfworldSpec
from sdar.envs.check import check_env
from sdar.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": "compcat"}, "unknown size 'compcat': did you mean 'compact'"),
        ({"prompt": "long"}, "unknown prompt 'long': choose from compact, full"),
        ({"parsing": "strickt"}, "did you mean 'strict'"),
        ({"engine": "java"}, "choose from native, textworld"),
        ({"rules": "3"}, "unknown rules '3'"),
        ({"num_train": 0}, "num_train must be at least 1, not 0"),
        ({"max_turns": 0}, "max_turns must be at least 1"),
        ({"reward": -1.0}, "reward must be at least 0"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        AlfworldSpec(**settings)


def test_unknown_names_are_refused():
    spec = AlfworldSpec()
    for call in (spec.tasks, spec.panel):
        with pytest.raises(ConfigError, match=r"did you mean|choose from"):
            call("trian")
    with pytest.raises(ConfigError, match=r"did you mean 'planner'"):
        spec.expert("planer", spec.make(), spec.tasks("train")[0], 0)


@pytest.mark.parametrize(
    ("name", "fingerprint"),
    [("generated-128", "0a42e5828d09736f"), ("generated-compact-128", "04f0a6a4c513a991")],
)
@pytest.mark.parametrize("size", ["compact", "full"])
def test_panels_do_not_depend_on_the_settings(name, fingerprint, size):
    panel = AlfworldSpec(size=size, num_held_out=7).panel(name)
    assert panel.fingerprint[:16] == fingerprint
    assert len(panel.tasks) == 128
    counts = [sum(task.kind == kind for task in panel.tasks) for kind in KINDS]
    assert min(counts) >= 21
    env = AlfworldSpec(size=size).make()
    seen = [env.reset(panel.tasks[0]).text.count(" a ") for _ in range(2)]
    assert seen[0] == seen[1] == AlfworldSpec().make().reset(panel.tasks[0]).text.count(" a ")


def test_official_games(shared_data):
    spec = AlfworldSpec(data=str(shared_data / "alfworld"))
    assert spec.splits()[:2] == ("train", "valid_seen")
    assert "generated-128" in spec.panels()
    panel = spec.panel("valid_seen")
    assert len(panel.tasks) == 140
    assert panel.fingerprint[:16] == "cc3d2e964ba360c4"
    env = spec.make()
    assert "loc" in walk(env, panel.tasks[0])
    newer = replace(spec, rules="2.1.2")
    assert "loc" not in walk(newer.make(), panel.tasks[0])
    check_env(spec, tasks_per_split=4)


def walk(env, task):
    """What the player reads on arrival at the first place."""
    return env.step(env.reset(task).admissible[0]).observation.text.partition(".")[0]


def test_missing_official_games_are_named(tmp_path):
    with pytest.raises(DataError, match=r"valid_unseen.jsonl.xz"):
        AlfworldSpec().panel("valid_unseen")
    with pytest.raises(DataError, match="no ALFWorld games in"):
        AlfworldSpec(data=str(tmp_path)).tasks("train")


def test_an_episode_from_start_to_success():
    spec = AlfworldSpec(reward=3.0, rules="2.1.1")
    task = spec.tasks("train")[3]
    env = spec.make()
    observation = env.reset(task)
    assert observation.goal in observation.text
    expert = spec.expert("planner", env, task, 0)
    rewards = []
    while True:
        step = env.step(expert.act(observation))
        observation = step.observation
        rewards.append(step.reward)
        assert step.valid
        if step.done:
            break
    assert step.success
    assert not step.truncated
    assert rewards == [0.0] * (len(rewards) - 1) + [3.0]
    assert env.step("look") is step


def test_an_episode_is_cut_at_the_turn_limit():
    spec = AlfworldSpec(max_turns=2)
    env = spec.make()
    env.reset(spec.tasks("train")[0])
    first, second = env.step("nonsense"), env.step("look")
    assert (first.valid, first.truncated, first.observation.text) == (False, False, "Nothing happens.")
    assert (second.valid, second.truncated, second.done, second.success) == (True, True, False, False)
    assert env.step("inventory") is second
