"""Long parity run: the native ALFWorld engine against the official one, text by text.

Needs `pip install alfworld` (no more) and the official games:

    PYTHONPATH=src python benchmarks/alfworld_parity.py --data ../shared/data/alfworld

Every game is played by both rule releases, half of the walks led by an erring expert until the goal holds,
the rest at random, with impossible, malformed and repeated commands mixed in. The first games run in
TextWorld as it is, the rest in TextWorld with repeated work remembered (fast_textworld.py).
Recorded expert episodes (`expert_dialogues.jsonl.xz`) are replayed too.
"""

import argparse
import json
import lzma
import platform
import random
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from fast_textworld import speed_up

from sdar.envs.alfworld.engine import Episode, Rules
from sdar.envs.alfworld.games import GameRef, open_games
from sdar.envs.alfworld.parity import compare

RESULT = Path(__file__).parent / "results" / "alfworld_parity.json"


def sample(data: Path, num_games: int) -> list[GameRef]:
    """All of valid_seen, and training games spread evenly over the kinds."""
    games = list(open_games(data, "valid_seen"))
    by_kind: dict[str, list[GameRef]] = {}
    for game in open_games(data, "train"):
        by_kind.setdefault(game.kind, []).append(game)
    dice = random.Random(0)
    for kind in sorted(by_kind):
        dice.shuffle(by_kind[kind])
    for rank in range(max(map(len, by_kind.values()))):
        games += [by_kind[kind][rank] for kind in sorted(by_kind) if rank < len(by_kind[kind])]
    games = games[:num_games]
    dice.shuffle(games)
    return games


def replay(data: Path) -> dict[str, int]:
    """Play the recorded expert episodes; the recordings leave out "You arrive at loc N."."""
    games = {game.id: game for game in open_games(data, "train")}
    report = {"episodes": 0, "steps": 0, "differences": 0, "not_won_at_the_last_step_only": 0}
    records = lzma.decompress((data / "expert_dialogues.jsonl.xz").read_bytes()).splitlines()
    for record in map(json.loads, records):
        episode = Episode(games[record["id"]].game(Rules.V2_1_1))
        report["episodes"] += 1
        report["differences"] += episode.reset() != record["intro"]
        for i, (command, seen) in enumerate(record["turns"], 1):
            report["differences"] += command not in episode.admissible
            text = episode.step(command)
            if command.startswith("go to"):
                text = text.partition(". ")[2]
            report["steps"] += 1
            report["differences"] += text != seen
            report["not_won_at_the_last_step_only"] += episode.won != (i == len(record["turns"]))
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/alfworld"))
    parser.add_argument("--games", type=int, default=320)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--stock", type=int, default=24, help="games that run in TextWorld as it is")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    start = time.perf_counter()
    recorded = replay(options.data)
    print("recorded", recorded, flush=True)
    counts: Counter[str] = Counter()
    verbs: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    differences: list[str] = []
    for number, ref in enumerate(sample(options.data, options.games)):
        if number == options.stock:
            speed_up()
        for rules in Rules:
            expert = (number + (rules is Rules.V2_1_1)) % 2 == 0
            report = compare(ref.text(), rules, f"{ref.id}/{rules}", options.steps, expert)
            counts += Counter(
                walks=1, steps=report.steps, refused=report.refused, won=report.won, led_by_expert=expert
            )
            counts[f"steps by {rules}"] += report.steps
            counts["steps in unchanged TextWorld"] += report.steps * (number < options.stock)
            verbs += report.verbs
            differences += report.differences
        kinds[ref.kind] += 1
        counts[f"games of {ref.id.partition('/')[0]}"] += 1
        result = {
            "recorded_episodes": recorded,
            "games": number + 1,
            **counts,
            "differences": len(differences),
            "first_differences": differences[:20],
            "kinds": dict(sorted(kinds.items())),
            "verbs": dict(sorted(verbs.items())),
            "seconds": round(time.perf_counter() - start),
            "packages": {
                name: version(name) for name in ("alfworld", "textworld", "fast_downward_textworld")
            },
            "python": platform.python_version(),
        }
        options.out.write_text(json.dumps(result, indent=2) + "\n")
        if number % 20 == 0:
            print(number + 1, counts["steps"], len(differences), flush=True)
    print(
        f"ALFWorld parity: {result['games']} games, {counts['walks']} walks, {counts['steps']} steps, "
        f"{len(differences)} differences; {recorded['episodes']} recorded episodes, {recorded['differences']}"
    )


if __name__ == "__main__":
    main()
