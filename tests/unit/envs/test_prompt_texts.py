"""Prompts are part of a recipe: a changed letter is another experiment, so their texts are pinned."""

import hashlib

import pytest

from sdar.envs.alfworld.spec import AlfworldSpec
from sdar.envs.base import EnvSpec
from sdar.envs.search_qa.spec import SearchQASpec
from sdar.envs.webshop.prompts import MOST_CHARACTERS
from sdar.envs.webshop.spec import WebshopSpec
from sdar.types import Message, Observation

SPECS: dict[str, EnvSpec] = {
    "alfworld-compact": AlfworldSpec(),
    "alfworld-full": AlfworldSpec(prompt="full", size="full"),
    "webshop-compact": WebshopSpec(products=200),
    "webshop-full": WebshopSpec(products=200, prompt="full"),
    "search_qa-compact": SearchQASpec(),
    "search_qa-full": SearchQASpec(prompt="full", information="json"),
}
DIGESTS = {
    "alfworld-compact": "ad243d484c53bb45",
    "alfworld-full": "40b5df05ae6d677c",
    "webshop-compact": "21bfa53bca91d05f",
    "webshop-full": "fbe66aa02f2a7ad8",
    "search_qa-compact": "fde653786dbbbf4a",
    "search_qa-full": "4734f979adcda19d",
}


def texts(spec: EnvSpec) -> list[str]:
    """All prompts of three expert episodes, with histories of 0 to 3 turns, and one far too long."""
    prompts = spec.prompts()
    said: list[Message] = []
    for task in spec.tasks(spec.splits()[1])[:3]:
        env = spec.make()
        first = now = env.reset(task)
        expert = spec.expert(spec.experts()[0], env, task, seed=0)
        past: list[tuple[Observation, str]] = []
        said += prompts.opening(first)
        for turn in range(6):
            for count in range(4):
                said += prompts.window(first, past[len(past) - min(count, len(past)) :], now, turn)
            action = expert.act(now)
            said.append(Message("assistant", prompts.answer(action)))
            step = env.step(said[-1].content)
            past.append((now, step.action))
            now = step.observation
            said += prompts.following(now)
            if step.done:
                break
        said += prompts.window(first, [(Observation("x" * MOST_CHARACTERS, first.goal), "look")], now, 9)
        said += [*prompts.following(Observation("", first.goal)), Message("assistant", prompts.answer(""))]
    return [f"{message.role}: {message.content}" for message in said]


@pytest.mark.parametrize("name", SPECS)
def test_texts_are_pinned(name: str) -> None:
    digest = hashlib.sha256("\n".join(texts(SPECS[name])).encode()).hexdigest()
    assert digest[:16] == DIGESTS[name]
