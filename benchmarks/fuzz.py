"""Hostile texts as actions in every environment: python benchmarks/fuzz.py --actions 100000

Each text is put together at random from tags, commands, brackets, controls, halves of characters and what the
page offers, with a fixed seed. Counts exceptions, rewards that are not finite, and successes that did not end
the episode; there should be none. Writes benchmarks/results/fuzz.json.
"""

import argparse
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

from sdar.envs.alfworld.spec import AlfworldSpec
from sdar.envs.base import EnvSpec
from sdar.envs.search_qa.spec import SearchQASpec
from sdar.envs.toy import ToySpec
from sdar.envs.webshop.spec import WebshopSpec

RESULT = Path(__file__).parent / "results" / "fuzz.json"
PIECES = (
    "<action>", "</action>", "<think>", "</think>", "<search>", "</search>", "<answer>", "</answer>", "<",
    "search[", "click[", "]", "[", "buy now", "go to ", "take ", " from ", "desk 1", "look", "inventory",
    "search ", "answer ", "the", "a", "!!!", "", " ", "\n", "\r\n", "\t", "\x00", "\x1b[2J", "\ud800",
    "\udfff", "\u2028", "\ufeff", "İ", "去", "{}", "%s", "<|im_end|>", "<|im_start|>", "0" * 40, "x" * 300,
    "-1", "1e999",
)  # fmt: skip
SPECS: Mapping[str, EnvSpec] = {
    "toy": ToySpec(),
    **{f"alfworld {p}": AlfworldSpec(prompt=p) for p in ("compact", "full")},
    **{f"webshop {p}": WebshopSpec(prompt=p) for p in ("compact", "full")},
    **{f"search_qa {p}": SearchQASpec(prompt=p) for p in ("compact", "full")},
}


def hostile(random: Random, offered: Sequence[str]) -> str:
    """A text of up to twelve pieces; one time in four it is what the page offers, whole or broken."""
    if offered and random.random() < 0.25:
        text = random.choice(offered)
        return text if random.random() < 0.5 else text[: random.randrange(len(text) + 1)]
    return "".join(random.choice(PIECES) for _ in range(random.randrange(1, 13)))


def fuzz(spec: EnvSpec, actions: int, seed: int = 0) -> Counter[str]:
    """Play so many hostile actions; what went wrong, by name and with an example."""
    random, wrong = Random(seed), Counter[str]()
    env, tasks = spec.make(), spec.tasks(spec.splits()[0])
    seen, over = env.reset(tasks[0]), False
    for _ in range(actions):
        if over:
            seen = env.reset(tasks[random.randrange(len(tasks))])
        text = hostile(random, seen.admissible)
        try:
            step = env.step(text)
        except Exception as error:  # noqa: BLE001 - what is looked for
            wrong[f"{type(error).__name__} at {text[:60]!r}"] += 1
            over = True
            continue
        if not math.isfinite(step.reward):
            wrong[f"reward {step.reward} at {text[:60]!r}"] += 1
        if step.success and not step.done:
            wrong[f"success without an end at {text[:60]!r}"] += 1
        seen, over = step.observation, step.done or step.truncated
    return wrong


def main() -> None:
    """The same number of actions in each environment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actions", type=int, default=10_000, help="in each environment and prompt set")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    found = {name: dict(fuzz(spec, args.actions, args.seed)) for name, spec in SPECS.items()}
    faults = sum(sum(wrong.values()) for wrong in found.values())
    total = args.actions * len(SPECS)
    RESULT.write_text(json.dumps({"actions": total, "seed": args.seed, "faults": found}, indent=1) + "\n")
    print(f"{total} hostile actions in {len(SPECS)} set-ups: {faults} faults")


if __name__ == "__main__":
    main()
