"""Records walks in the official ALFWorld engine for tests/parity/test_alfworld_parity.py.

Needs `pip install alfworld`. The games are generated ones and the kitchen of the unit tests, where things
have every property; no official data are used.

    PYTHONPATH=src python benchmarks/alfworld_record.py
"""

import json
import lzma
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from sdar.envs.alfworld.engine import Episode, Kind, Rules
from sdar.envs.alfworld.game import GameText
from sdar.envs.alfworld.generate import generate
from sdar.envs.alfworld.parity import walk
from sdar.envs.alfworld.textworld import TextWorldEpisode

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "tests/parity/recorded_walks.json.xz"
STEPS = 60


def games() -> Iterator[GameText]:
    kitchen = (ROOT / "tests/unit/envs/alfworld/kitchen.pddl").read_text()
    for start in ("loc_bar_9", "loc_bar_1", "loc_bar_2"):
        for rules in Rules:
            problem = kitchen.replace("agent1 loc_bar_9", f"agent1 {start}")
            yield GameText(f"kitchen/{start}/{rules}", Kind.PUT, "put some mug on sidetable", problem, rules)
    for index in range(len(Kind)):
        made = generate("compact", "held_out", index)
        for rules in Rules:
            yield GameText(f"generated/{index}/{rules}", Kind(made.kind), made.goal, made.problem, rules)


def main() -> None:
    records = []
    for game in games():
        official = TextWorldEpisode(game)
        states = [("", official.reset(), official.won, official.admissible)]
        for command in walk(Episode(game.parse()), game.id, STEPS, expert=game.id.startswith("generated")):
            states.append((command, official.step(command), official.won, official.admissible))
        records.append({**asdict(game), "states": states})
        print(game.id, sum(won for _, _, won, _ in states), flush=True)
    RESULT.write_bytes(lzma.compress(json.dumps(records).encode(), preset=9))


if __name__ == "__main__":
    main()
