"""What the invalid actions of compact ALFWorld episodes are, and where they sit: tables for docs/log.md.

python studies/invalid_actions.py EPISODES.jsonl.gz ... RUN ...

Of files, the episodes of a panel that `sdar eval RUN --eval.record 128` keeps beside its result. Of runs, the
recorded training episodes, early and late steps apart. Every game is played again from the recorded actions,
so that what was possible at each turn is known.
"""

import math
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from skill_quality import table

from sdar.envs.alfworld.engine import Episode
from sdar.envs.alfworld.spec import AlfworldSpec
from sdar.runs.lines import read_packed
from sdar.types import Task

Record = Mapping[str, Any]
FORM = re.compile(
    r"look|inventory|help|(?:go to|examine|open|close|use) \S+ \d+"
    r"|(?:take \S+ \d+ from|move \S+ \d+ to|put \S+ \d+ in/on|(?:clean|heat|cool|slice) \S+ \d+ with) \S+ \d+"
)
NAME = re.compile(r"\S+ \d+")
AGAIN, HERE, ABSENT, HANDS, UNKNOWN, FORMLESS = (
    "again", "is there already", "not there", "wrong in hand", "no such thing", "no command",
)  # fmt: skip
KINDS = (AGAIN, HERE, ABSENT, HANDS, UNKNOWN, FORMLESS)
PARTS = ((0, 5), (5, 10), (10, 15), (15, 20))
SPANS = ((1, 5), (6, 12), (13, 19), (24, 30))
"""Training steps of the rows of a run."""


@dataclass(frozen=True)
class Turn:
    """One turn of an episode."""

    kind: str
    """Of an invalid action; empty for a valid one."""
    failed: int
    """Invalid actions just before it."""
    won: bool
    advantage: float
    probability: float
    """Of the whole action when it was sampled."""

    @property
    def role(self) -> str:
        """What it is after a failure, or whether it is one after a success."""
        if self.failed:
            return "repeated" if self.kind == AGAIN else "another invalid" if self.kind else "a valid one"
        return "invalid" if self.kind else "valid"


@cache
def tasks() -> dict[str, Task]:
    """Generated compact games by id."""
    spec = AlfworldSpec()
    return {task.id: task for split in spec.splits() for task in spec.tasks(split)}


def kind_of(episode: Episode, action: str, tried: Collection[str]) -> str:
    """Why `action` is not possible now; those `tried` have failed in this very state."""
    if action in tried:
        return AGAIN
    if not FORM.fullmatch(action):
        return FORMLESS
    verb = action.partition(" ")[0]
    names = NAME.findall(action.removeprefix("go to " if verb == "go" else f"{verb} "))
    things = [episode.game.index.get(name) for name in names]
    if None in things:
        return UNKNOWN
    if verb == "go":
        return HERE
    if verb in ("put", "move", "clean", "heat", "cool") and episode.held != things[0]:
        return HANDS
    return HANDS if verb == "take" and episode.held is not None else ABSENT


def replay(record: Record) -> list[Turn]:
    """The turns of a recorded episode."""
    episode = Episode(AlfworldSpec().game(tasks()[record["task"]]))
    tried: list[str] = []
    turns = []
    for turn in record["turns"]:
        action, valid = turn["action"], turn["valid"]
        if valid != (action in episode.admissible):
            raise SystemExit(f"{record['task']} was not played by these rules")
        turns.append(
            Turn(
                kind="" if valid else kind_of(episode, action, tried),
                failed=len(tried),
                won=record["success"],
                advantage=turn.get("adv", [0.0])[0],
                probability=math.exp(sum(turn["logp"])),
            )
        )
        episode.step(action)
        tried = [] if valid else [*tried, action]
    return turns


def share(turns: Iterable[Turn]) -> str:
    """Invalid ones among them, in percent."""
    return f"{100 * np.mean([bool(turn.kind) for turn in turns]):.1f}"


def panel_table(played: Mapping[str, Sequence[Sequence[Turn]]]) -> str:
    """One column for each file of a panel's episodes."""
    rows: dict[str, list[str]] = {}

    def add(name: str, value: str) -> None:
        rows.setdefault(name, []).append(value)

    for episodes in played.values():
        turns = [turn for episode in episodes for turn in episode]
        add("success, %", f"{100 * np.mean([episode[0].won for episode in episodes]):.1f}")
        add("invalid, % of the turns", share(turns))
        for kind in KINDS:
            add(f"{kind}, % of the turns", f"{100 * np.mean([turn.kind == kind for turn in turns]):.1f}")
        add("after a valid turn, %", share(turn for turn in turns if not turn.failed))
        add("after an invalid one, %", share(turn for turn in turns if turn.failed))
        add("in won episodes, %", share(turn for turn in turns if turn.won))
        add("in lost ones, %", share(turn for turn in turns if not turn.won))
        for start, end in PARTS:
            add(
                f"in turns {start + 1} to {end}, %",
                share(t for episode in episodes for t in episode[start:end]),
            )
    return table(["", *played], [[name, *values] for name, values in rows.items()])


def training_table(run: Path) -> str:
    """How often each role occurs, how GRPO judges it, and how strongly that moves it.

    A token's logit moves with advantage x (1 - probability): what is sampled with certainty hardly moves.
    """
    rows = []
    for first, last in SPANS:
        files = [run / "trajectories" / f"step-{step:06d}.jsonl.gz" for step in range(first, last + 1)]
        turns = [
            t for file in files if file.is_file() for record in read_packed(file) for t in replay(record)
        ]
        for role in dict.fromkeys(turn.role for turn in sorted(turns, key=lambda turn: turn.failed > 0)):
            found = [turn for turn in turns if turn.role == role]
            moved = sum(turn.advantage * (1 - turn.probability) for turn in found) / len(turns)
            rows.append(
                [
                    f"{first} to {last}: {role}" + " after a failure" * bool(found[0].failed),
                    f"{100 * len(found) / len(turns):.1f}",
                    f"{np.mean([turn.advantage for turn in found]):+.2f}",
                    f"{np.median([turn.probability for turn in found]):.2f}",
                    f"{100 * moved:+.1f}",
                ]
            )
    head = ["steps: turn", "% of turns", "mean advantage", "median probability", "moved by, x 100"]
    return table(head, rows)


def main(words: Sequence[str]) -> None:
    """Print the tables."""
    files = [Path(word) for word in words]
    panels = {file.name.removesuffix(".jsonl.gz"): read_packed(file) for file in files if file.is_file()}
    if panels:
        print(panel_table({name: list(map(replay, records)) for name, records in panels.items()}))
    for run in (file for file in files if file.is_dir()):
        print(f"\n{run.name}\n\n{training_table(run)}")


if __name__ == "__main__":
    main(sys.argv[1:])
