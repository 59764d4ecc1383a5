"""Speed of the native ALFWorld engine against the official one: same games, same commands, one run, one core.

    PYTHONPATH=src python benchmarks/alfworld_engine.py --data ../shared/data/alfworld

The official engine needs `pip install alfworld`; its answers are compared too. Times are CPU seconds of this
process, so that other work on the machine does not count. A step includes the admissible commands and whether
the goal holds.
"""

import argparse
import json
import platform
import random
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import mean
from typing import Any, TypeVar

from sdar.envs.alfworld.engine import Episode, Game, Rules
from sdar.envs.alfworld.game import GameText
from sdar.envs.alfworld.games import open_games

T = TypeVar("T")
RESULT = Path(__file__).parent / "results" / "alfworld_engine.json"
RULES = Rules.V2_1_2
REPEATS = 8
OPENING = """
import sys, time
from pathlib import Path
from sdar.envs.alfworld import index
from sdar.envs.alfworld.games import open_games
index.user_cache_dir = lambda name: sys.argv[2]
wall, cpu = time.perf_counter(), time.process_time()
count = len(open_games(Path(sys.argv[1]), "train"))
print(count, time.perf_counter() - wall, time.process_time() - cpu)
"""


OFFICIAL_MEMORY = """
import sys
from pathlib import Path
from sdar.envs.alfworld.games import open_games
from sdar.envs.alfworld.textworld import TextWorldEpisode
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6
before, episodes = resident(), []
for ref in open_games(Path(sys.argv[1]), "valid_seen")[:5]:
    episodes.append(TextWorldEpisode(ref.text()))
    print(resident() - before)
"""


def timed(work: Callable[..., T], *arguments: Any) -> tuple[float, T]:
    """CPU seconds of `work(*arguments)`, and what it returns."""
    start = time.process_time()
    result = work(*arguments)
    return time.process_time() - start, result


def record_walk(game: Game, steps: int) -> list[str]:
    """Random commands, half of them about what is at hand."""
    dice, episode, walk = random.Random(game.id), Episode(game), []
    for _ in range(steps):
        everything = episode.admissible
        handling = [command for command in everything if not command.startswith("go to")]
        walk.append(dice.choice(handling if dice.random() < 0.5 else everything))
        episode.step(walk[-1])
    return walk


def play(episodes: Sequence[Any], walks: Sequence[Sequence[str]]) -> list[Any]:
    """All episodes in lockstep, as a rollout plays them."""
    answers = []
    for commands in zip(*walks, strict=True):
        for episode, command in zip(episodes, commands, strict=True):
            answers.append((episode.step(command), episode.admissible, episode.won))
    return answers


def measure_opening(data: Path) -> dict[str, float]:
    """Open the training split without and then with the cached index, each in a process of its own."""
    result: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as cache:
        for name in ("first", "later"):
            command = [sys.executable, "-c", OPENING, str(data), cache]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            result |= {"games": int(out[0]), f"{name}_wall_s": float(out[1]), f"{name}_cpu_s": float(out[2])}
    return result


def measure_native(texts: Sequence[GameText], walks: Sequence[list[str]]) -> dict[str, float]:
    load, games = timed(lambda: [text.parse(RULES) for text in texts])
    episodes = [Episode(game) for game in games]
    reset, _ = timed(lambda: [episode.reset() for episode in episodes])
    steps = len(walks) * len(walks[0])
    first, _ = timed(play, episodes, walks)
    alone = [timed(play, [Episode(game)], [walk])[0] for game, walk in zip(games, walks, strict=True)]
    many = [Episode(game) for game in games for _ in range(REPEATS)]
    together, _ = timed(play, many, [walk for walk in walks for _ in range(REPEATS)])
    return {
        "load_ms": 1e3 * load / len(games),
        "reset_ms": 1e3 * reset / len(games),
        "steps_per_s_first_time": steps / first,
        "steps_per_s": steps / sum(alone),
        "interleaved_episodes": len(many),
        "interleaved_steps_per_s": REPEATS * steps / together,
    }


def measure_memory(texts: Sequence[GameText], walks: Sequence[list[str]]) -> dict[str, float]:
    """Python memory: one game, one episode, and 512 episodes of 64 games in mid-play."""
    tracemalloc.start()
    marks = [0]

    def grown() -> int:
        marks.append(tracemalloc.get_traced_memory()[0])
        return marks[-1] - marks[-2]

    grown()
    games = [text.parse(RULES) for text in texts[:64]]
    per_game = grown() / len(games)
    episodes = [Episode(game) for game in games]
    per_episode = grown() / len(episodes)
    many = [Episode(games[i % len(games)]) for i in range(512)]
    play(many, [walks[i % len(games)] for i in range(512)])
    in_play = grown() / len(many)
    tracemalloc.stop()
    return {
        "game_kb": per_game / 1e3,
        "new_episode_kb": per_episode / 1e3,
        "episode_in_play_kb": in_play / 1e3,
        "1_environment_mb": (per_game + in_play) / 1e6,
        "512_environments_on_64_games_mb": (per_game * 64 + in_play * 512) / 1e6,
    }


def measure_official(texts: Sequence[GameText], walks: Sequence[list[str]]) -> dict[str, float]:
    """The same walks in TextWorld, and how many of its answers differ."""
    from sdar.envs.alfworld.textworld import TextWorldEpisode

    loads, resets, plays = [], [], []
    differences = 0
    for text, walk in zip(texts, walks, strict=True):
        load, episode = timed(TextWorldEpisode, text, RULES)
        loads.append(load)
        episode.step("look")
        resets.append(timed(episode.reset)[0])
        seconds, answers = timed(play, [episode], [walk])
        plays.append(seconds)
        mine = play([Episode(text.parse(RULES))], [walk])
        differences += sum(ours != theirs for ours, theirs in zip(mine, answers, strict=True))
    steps = len(walks) * len(walks[0])
    return {
        "games": len(texts),
        "steps": steps,
        "differences": differences,
        "load_and_reset_ms": 1e3 * mean(loads),
        "reset_ms": 1e3 * mean(resets),
        "steps_per_s": steps / sum(plays),
    }


def measure_official_memory(data: Path) -> dict[str, float]:
    """Resident memory that TextWorld takes in a process for one environment, and for each further one."""
    command = [sys.executable, "-c", OFFICIAL_MEMORY, str(data)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    one, further = float(out[0]), (float(out[-1]) - float(out[0])) / (len(out) - 1)
    return {
        "1_environment_mb": one,
        "each_further_mb": further,
        "512_environments_in_one_process_mb_extrapolated": one + 511 * further,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/alfworld"))
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--official-games", type=int, default=10)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    texts = [ref.text() for ref in open_games(options.data, "valid_seen")]
    random.Random(0).shuffle(texts)
    walks = [record_walk(text.parse(RULES), options.steps) for text in texts]
    native = measure_native(texts, walks)
    result: dict[str, Any] = {"native": native, "memory": measure_memory(texts, walks)}
    summary = f"ALFWorld native engine: {native['steps_per_s']:,.0f} steps/s"
    if find_spec("textworld"):
        few = slice(options.official_games)
        official = measure_official(texts[few], walks[few])
        result["textworld_memory"] = measure_official_memory(options.data)
        same_walks = measure_native(texts[few], walks[few])["steps_per_s"]
        ratio = same_walks / official["steps_per_s"]
        result |= {"textworld": official, "native_on_the_same_walks_steps_per_s": same_walks, "ratio": ratio}
        summary += f", TextWorld {official['steps_per_s']:.1f}, {ratio:,.0f} times on the same walks"
    result |= {
        "opening_the_training_split": measure_opening(options.data),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(summary)


if __name__ == "__main__":
    main()
