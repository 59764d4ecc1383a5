"""Prompt lengths of every environment, which `sdar plan` counts with: python benchmarks/prompts.py

Episodes of the environments' experts (Search-QA has none for real questions: there a fixed row of searches),
in the published recipes on real data and in the embedded ones on generated tasks, in tokens of Qwen3's
tokenizer (`python tests/real_tokenizers/fetch.py` brings it). Skills are those of the recipe's rule.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.real_tokenizers.fetch import CACHE  # noqa: E402

from sdar.build.skills import skill_context  # noqa: E402
from sdar.data.search_qa_data import import_search_qa  # noqa: E402
from sdar.model.chat import Chat  # noqa: E402
from sdar.model.load import load_tokenizer  # noqa: E402
from sdar.recipe import RunConfig, load_config  # noqa: E402
from sdar.rollout.agent import Dialogue  # noqa: E402
from sdar.types import Completion, ContextMode, Observation, StopReason, Task  # noqa: E402

RESULT = ROOT / "src" / "sdar" / "plan" / "prompts.json"
DATA = ROOT.parent / "shared" / "data"
FOLDERS = {"alfworld": "alfworld", "webshop": "webshop", "search_qa": "searchqa"}
NO_TOKENS = Completion((), (), StopReason.STOP)


class Asker:
    """Searches for a question, its second half and its first half, then answers."""

    def __init__(self, question: str) -> None:
        words = question.split()
        parts = (words, words[len(words) // 2 :], words[: len(words) // 2])
        self.actions = [*("search " + " ".join(part) for part in parts), "answer x"]

    def act(self, observation: Observation) -> str:
        return self.actions.pop(0) if len(self.actions) > 1 else self.actions[0]


def dialogues(config: RunConfig, task: Task, context: ContextMode) -> Iterator[Dialogue]:
    """An episode of each expert before each of its turns."""
    spec = config.env
    for name in spec.experts() or [""]:
        env = spec.make()
        dialogue = Dialogue(
            env, task, 0, prompts=spec.prompts(), context=context, history=config.rollout.history
        )
        player = spec.expert(name, env, task, 0) if name else Asker(dialogue.observation.goal)
        while not dialogue.end:
            yield dialogue
            text = spec.prompts().answer(player.act(dialogue.observation))
            dialogue.record(text, NO_TOKENS, dialogue.act(text))


def measure(config: RunConfig, tasks: int, chat: Chat) -> dict[str, dict[str, int]]:
    """Mean and largest number of tokens of each part of a prompt."""
    skills = skill_context(config)
    every = config.env.tasks(config.env.splits()[0])
    chosen = [every[int(i)] for i in np.random.default_rng(0).permutation(len(every))[:tasks]]
    found: dict[str, list[int]] = {"window": [], "skills": [], "opening": [], "turn": []}
    for task in chosen:
        for dialogue in dialogues(config, task, ContextMode.WINDOW):
            plain = chat.render(dialogue.messages)
            picked = skills.select(task, dialogue._first.goal, dialogue.messages)
            found["window"].append(len(plain))
            found["skills"].append(len(chat.render(skills.apply(dialogue.messages, picked))) - len(plain))
        for dialogue in dialogues(config, task, ContextMode.TRANSCRIPT):
            first = not dialogue._turns
            tokens = chat.render(dialogue.messages) if first else chat.continuation(dialogue.messages, True)
            found["opening" if first else "turn"].append(len(tokens))
    return {name: {"mean": round(np.mean(n)), "most": max(n)} for name, n in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="where the real data of the environments is")
    parser.add_argument("--tasks", type=int, default=60, help="training tasks that are played")
    args = parser.parse_args()
    chat, table = Chat(load_tokenizer(CACHE / "qwen3")), {}
    with tempfile.TemporaryDirectory() as place:
        import_search_qa(args.data / FOLDERS["search_qa"], Path(place))
        for env, folder in FOLDERS.items():
            data = place if env == "search_qa" else str(args.data / folder)
            real = {"env.data": data} | ({"env.retriever": "bm25"} if env == "search_qa" else {})
            generated = {"env": env, "skills.bank": env}
            for name, parts in {"full": [f"{env}/published", real], "compact": [generated]}.items():
                table[f"{env}, {name}"] = measure(load_config(*parts), args.tasks, chat)
                print(env, name, table[f"{env}, {name}"], flush=True)
    source = "python benchmarks/prompts.py: tokens of Qwen3's tokenizer"
    RESULT.write_text(json.dumps({"source": source, "tokens": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
