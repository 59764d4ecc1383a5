"""The viewer's index of a long run: what it costs to read it once, and to look for what is new.

    PYTHONPATH=src:. python benchmarks/viewer.py [--steps 1250]

Each step has eight episodes of sixteen turns with all tokens. `news` is one more step; `whole` reads the
same directory from the start, in the same process.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.viewed import KINDS, episode, view_run

from sdar.runs.rundir import RunDir
from sdar.viewer.index import Index

RESULT = Path(__file__).parent / "results" / "viewer.json"
TURNS, GROUP = 16, 8


def add(run: RunDir, step: int) -> None:
    """One more step of the run."""
    kind = KINDS[step % len(KINDS)]
    made = [episode(step, place, kind, f"{kind} the apple", turns=TURNS) for place in range(GROUP)]
    notes = [
        replace(noted, prompts=noted.prompts * 8, teacher_prompts=noted.teacher_prompts * 8)
        for _, noted in made
    ]
    trajectories = [trajectory for trajectory, _ in made]
    run.write_episodes(step, trajectories, [("general", kind)] * GROUP, [0.01] * GROUP)
    run.write_trajectories(step, trajectories, notes)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes, of this process's own time."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1250)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run = view_run(Path(scratch), steps=0)
        for step in range(1, options.steps + 1):
            add(run, step)
        index = Index(run)
        whole = seconds(lambda: index.refresh(seconds=float("inf")))
        nothing = seconds(index.refresh)
        add(run, options.steps + 1)
        news = seconds(index.refresh)
        opened = seconds(lambda: index.episode("training", options.steps // 2, 3))
    result = {
        "episodes": options.steps * GROUP,
        "whole_cpu_s": round(whole, 3),
        "no_news_cpu_s": round(nothing, 4),
        "news_cpu_s": round(news, 4),
        "open_cpu_s": round(opened, 4),
        "whole_over_news": round(whole / news, 1),
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(
        f"viewer: {result['episodes']:,} episodes in {whole:.2f} s, one more step in {1000 * news:.0f} ms "
        f"({result['whole_over_news']} times less), an episode opened in {1000 * opened:.0f} ms (CPU time)"
    )


if __name__ == "__main__":
    main()
