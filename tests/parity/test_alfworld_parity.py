"""The native ALFWorld engine against what the official one said, and against that one where it is there.

The long run is benchmarks/alfworld_parity.py.
"""

import json
import lzma
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from sdar.envs.alfworld.engine import Episode, Kind, Rules
from sdar.envs.alfworld.game import GameText
from sdar.envs.alfworld.games import open_games
from sdar.envs.alfworld.parity import compare

WALKS: list[dict[str, Any]] = json.loads(
    lzma.decompress((Path(__file__).parent / "recorded_walks.json.xz").read_bytes())
)
KITCHEN = Path(__file__).parents[1] / "unit/envs/alfworld/kitchen.pddl"


def text_of(record: dict[str, Any]) -> GameText:
    return GameText(
        record["id"], Kind(record["kind"]), record["task"], record["problem"], Rules(record["rules"])
    )


@pytest.mark.parametrize("record", WALKS, ids=[record["id"] for record in WALKS])
def test_recorded_walks_in_the_official_engine(record: dict[str, Any]) -> None:
    episode = Episode(text_of(record).parse())
    for number, (command, text, won, admissible) in enumerate(record["states"]):
        assert (episode.step(command) if number else episode.reset()) == text, command
        assert episode.won == won, command
        assert list(episode.admissible) == admissible, command


def test_the_recorded_walks_cover_everything() -> None:
    verbs = {
        state[0].split()[0]
        for record in WALKS
        for before, state in zip(record["states"], record["states"][1:], strict=False)
        if state[0].strip() in before[3]
    }
    assert verbs == {
        "go", "open", "close", "take", "put", "move", "examine", "use", "clean", "heat", "cool", "slice",
        "look", "inventory", "help",
    }  # fmt: skip
    won = {(walk["kind"], walk["rules"]) for walk in WALKS if any(s[2] for s in walk["states"])}
    assert won == {(kind.value, rules.value) for kind in Kind for rules in Rules}


def test_recorded_expert_episodes(shared_data: Path) -> None:
    """Every sixth; the recordings leave out "You arrive at loc N."."""
    data = shared_data / "alfworld"
    games = {game.id: game for game in open_games(data, "train")}
    lines = lzma.decompress((data / "expert_dialogues.jsonl.xz").read_bytes()).splitlines()
    for record in map(json.loads, islice(lines, 0, None, 6)):
        episode = Episode(games[record["id"]].text().parse(Rules.V2_1_1))
        assert episode.reset() == record["intro"]
        for command, seen in record["turns"]:
            assert not episode.won
            assert command in episode.admissible
            text = episode.step(command)
            assert (text.partition(". ")[2] if command.startswith("go to") else text) == seen
        assert episode.won


@pytest.fixture(scope="module")
def _official_engine() -> None:
    pytest.importorskip("textworld", reason="pip install 'sdar[textworld]'")
    pytest.importorskip("alfworld", reason="pip install 'sdar[textworld]'")


@pytest.mark.usefixtures("_official_engine")
@pytest.mark.parametrize("rules", list(Rules))
@pytest.mark.parametrize("expert", [True, False])
def test_new_walks_in_both_engines(rules: Rules, expert: bool) -> None:
    kitchen = GameText("kitchen", Kind.PUT, "put some mug on sidetable", KITCHEN.read_text())
    report = compare(kitchen, rules, "new", steps=60, expert=expert)
    assert report.differences == []
    assert report.steps == 60


@pytest.mark.slow
@pytest.mark.usefixtures("_official_engine")
@pytest.mark.parametrize("rules", list(Rules))
def test_an_official_game_in_both_engines(shared_data: Path, rules: Rules) -> None:
    game = open_games(shared_data / "alfworld", "valid_seen")[50]
    assert compare(game.text(), rules, "official", steps=20).differences == []


@pytest.mark.usefixtures("_official_engine")
def test_the_official_engine_can_be_copied_and_started_over() -> None:
    from sdar.envs.alfworld.textworld import TextWorldEpisode

    kitchen = GameText("kitchen", Kind.PUT, "put some mug on sidetable", KITCHEN.read_text(), Rules.V2_1_2)
    first = TextWorldEpisode(kitchen)
    intro = first.reset()
    first.step("go to fridge 1")
    second = first.copy()
    second.step("open fridge 1")
    assert "open fridge 1" in first.admissible
    assert "close fridge 1" in second.admissible
    assert second.reset() == intro
    assert "open fridge 1" not in second.admissible
