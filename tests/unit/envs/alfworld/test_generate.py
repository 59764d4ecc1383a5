"""Generated games: the same everywhere, solvable, balanced, and never in a layout of the other split."""

import hashlib
import re
from collections import Counter

import pytest

from sdar.envs.alfworld.engine import Episode, Game
from sdar.envs.alfworld.generate import generate, is_held_out
from sdar.envs.alfworld.generated import generated_tasks
from sdar.envs.alfworld.layouts import KINDS, likely_places, room_counts, things

SIZES = ("compact", "full")


@pytest.mark.parametrize(
    ("size", "split", "digest"),
    [
        ("compact", "train", "920dc4d94d4b157d"),
        ("compact", "held_out", "48a77349dd13dd1d"),
        ("full", "train", "b7fa085f8c8005f2"),
        ("full", "held_out", "e1e19a0588b5d51a"),
    ],
)
def test_games_are_the_same_on_every_machine(size, split, digest):
    texts = [generate(size, split, i) for i in range(128)]
    told = hashlib.sha256("\n".join(f"{game.goal}\n{game.problem}" for game in texts).encode()).hexdigest()
    assert told[:16] == digest


@pytest.mark.parametrize("size", SIZES)
def test_layouts_of_the_splits_are_disjoint(size):
    layouts = {
        split: {generate(size, split, i).layout for i in range(240)} for split in ("train", "held_out")
    }
    assert not layouts["train"] & layouts["held_out"]
    assert all(is_held_out(layout) for layout in layouts["held_out"])
    assert {layout.split()[0] for layout in layouts["held_out"]} == set(room_counts(size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rules", ["2.1.1", "2.1.2"])
def test_games_load_and_are_not_won_at_the_start(size, rules):
    for i in range(60):
        made = generate(size, "train", i)
        game = Game.parse(made.problem, made.goal, rules)
        assert game.target.kind == made.kind == KINDS[i % 6]
        assert not Episode(game).won
        low, high = {"compact": (8, 14), "full": (10, 60)}[size]
        assert low <= len(game.receptacles) <= high


def test_objects_lie_where_they_are_likely():
    """About 85 %: rooms without a likely place for a thing lower it, lucky draws of other things raise it."""
    fact = re.compile(r"\(inReceptacle ([A-Za-z]+)_bar_\d+ \w*?([A-Z][A-Za-z]*)(?:_bar_\d+)?\)")
    likely: Counter[bool] = Counter()
    for i in range(600):
        for thing, place in fact.findall(generate("compact", "train", i).problem):
            likely[place.lower() in likely_places(thing.lower())] += 1
    assert 0.8 < likely[True] / likely.total() < 0.92


def test_tables_name_only_known_receptacles():
    rooms = {place for size in SIZES for counts in room_counts(size).values() for place in counts}
    for thing in things().values():
        assert set(thing.places) <= rooms | {"Desk"}, thing.name
        assert set(thing.likely) <= set(thing.places)
        assert thing.rooms


def test_task_sequence():
    tasks = generated_tasks("compact", "train", 10)
    assert [task.id for task in tasks[8:]] == ["gen-compact/train/000008", "gen-compact/train/000009"]
    assert tasks[-1] == tasks[9]
    assert [task.kind for task in tasks[:6]] == list(KINDS)
    with pytest.raises(IndexError):
        tasks[10]
    assert len(list(tasks)) == 10
