"""Texts of a policy that are long and odd: environments read them in linear time."""

import time

import pytest

from sdar.envs.alfworld.spec import AlfworldSpec
from sdar.envs.base import EnvSpec
from sdar.envs.search_qa.spec import SearchQASpec
from sdar.envs.webshop.spec import WebshopSpec

SIZE = 1 << 20
"""Characters. What takes the square of it takes minutes; what is linear a fraction of a second."""
LIMIT_S = 5.0
BOMBS = (
    "<search>", "</search>", "<answer>", "<search><answer>", "<search></answer>", "<action>", "</action>",
    "<think>", "[", "]", "click[", " ", "\n", "go to ", "a", "the ", "\"'", "İ", "去", "desk 1 ",
)  # fmt: skip
SPECS = {
    f"{name} {prompt}": spec
    for prompt in ("compact", "full")
    for name, spec in {
        "alfworld": AlfworldSpec(prompt=prompt),
        "webshop": WebshopSpec(prompt=prompt),
        "search_qa": SearchQASpec(prompt=prompt),
    }.items()
}


@pytest.mark.parametrize("name", SPECS)
def test_long_texts_are_read_in_linear_time(name: str) -> None:
    spec: EnvSpec = SPECS[name]
    env, task = spec.make(), spec.tasks(spec.splits()[0])[0]
    first, prompts = env.reset(task), spec.prompts()
    slow = {}
    for piece in BOMBS:
        env.reset(task)
        start = time.process_time()
        step = env.step(piece * (SIZE // len(piece)))
        prompts.window(first, [(first, step.action)], step.observation, 1)
        taken = time.process_time() - start
        if taken > LIMIT_S:
            slow[piece] = round(taken, 1)
    assert not slow
