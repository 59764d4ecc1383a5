"""Each rule of the battery catches an environment that breaks it."""

from dataclasses import replace
from random import Random

import pytest

from sdar.envs.base import EnvSpec, Panel
from sdar.envs.check import EnvCheckError, check_env, find_problems
from sdar.envs.toy import ToyEnv, ToySpec
from sdar.errors import ConfigError
from sdar.types import Observation, Task


class Changed(ToyEnv):
    """A corridor whose steps pass through `change`."""

    def __init__(self, change):
        super().__init__(ToySpec().max_turns)
        self.change = change

    def step(self, text):
        return self.change(self, text, super().step(text))


def spec_with(change):
    class Broken(ToySpec):
        def make(self):
            return Changed(change)

    return Broken()


def raise_on_arabic(env, text, step):
    if "\u0627" in text:
        raise UnicodeError("not my script")
    return step


RANDOM = Random(0)
BROKEN_STEPS = {
    "success without done": lambda env, text, step: replace(step, done=False),
    "raises UnicodeError": raise_on_arabic,
    "two environments play it differently": lambda env, text, step: replace(step, reward=RANDOM.random()),
    "is invalid": lambda env, text, step: replace(step, valid=False),
    "neither done nor truncated": lambda env, text, step: replace(step, truncated=False),
    "metric score is not finite": lambda env, text, step: replace(step, metrics={"score": float("nan")}),
    "metric reward": lambda env, text, step: replace(step, metrics={"reward": 1.0}),
    "something changes after the end": lambda env, text, step: replace(step, action=text),
}


def test_the_toy_is_sound():
    assert find_problems(ToySpec()) == []


@pytest.mark.parametrize("finding", BROKEN_STEPS)
def test_broken_steps_are_found(finding):
    problems = find_problems(spec_with(BROKEN_STEPS[finding]))
    assert any(finding in problem for problem in problems), problems


def test_memory_between_episodes_is_found():
    class Drifting(ToyEnv):
        episodes = 0

        def reset(self, task):
            self.episodes += 1
            super().reset(task)
            return Observation(f"Episode {self.episodes}.", "reach the door")

    class Broken(ToySpec):
        def make(self):
            return Drifting(8)

    assert any("differently the second time" in problem for problem in find_problems(Broken()))


class Leaking(ToySpec):
    def tasks(self, split):
        return ToySpec().tasks("train")


class Empty(ToySpec):
    def tasks(self, split):
        return ToySpec().tasks(split) if split == "train" else []


class Double(ToySpec):
    def tasks(self, split):
        return [*super().tasks(split), Task("train/+1", "right", 1)]


class Unsteady(ToySpec):
    def panel(self, name):
        return Panel(name, [Task(f"p/{RANDOM.random()}", "left", -4)])


class TrainedOn(ToySpec):
    def panel(self, name):
        return Panel(name, self.tasks("train"))


@pytest.mark.parametrize(
    ("spec", "finding"),
    [
        (Leaking(), "is in split train and in split held_out"),
        (Empty(), "split held_out is empty"),
        (Double(), "split train has a task id twice"),
        (Unsteady(), "another fingerprint"),
        (TrainedOn(), "panel held_out holds training tasks"),
    ],
)
def test_broken_task_lists_are_found(spec, finding):
    with pytest.raises(EnvCheckError, match=finding):
        check_env(spec)


@pytest.mark.parametrize("reward", [float("nan"), float("inf"), None, "1"])
def test_rewards_that_are_no_finite_numbers_are_found(reward, monkeypatch):
    real = ToyEnv.step
    monkeypatch.setattr(ToyEnv, "step", lambda self, text: replace(real(self, text), reward=reward))
    with pytest.raises(EnvCheckError, match=f"reward {reward!r} is not a finite number") as found:
        check_env(ToySpec())
    assert "plays it differently" not in str(found.value)


def test_experts_are_optional() -> None:
    class Alone(ToySpec):
        experts = EnvSpec.experts
        expert = EnvSpec.expert

    spec = Alone()
    assert spec.experts() == ()
    with pytest.raises(ConfigError, match="Alone has no expert 'walker': it has no experts"):
        spec.expert("walker", spec.make(), spec.tasks("train")[0], 0)
