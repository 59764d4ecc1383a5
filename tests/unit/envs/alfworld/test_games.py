"""Opening official games: packs, the official layout, the cached index, and what is refused."""

import json
import lzma
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from sdar.envs.alfworld import official
from sdar.envs.alfworld.engine import Rules
from sdar.envs.alfworld.games import open_games, splits
from sdar.envs.alfworld.problem import Kind
from sdar.errors import DataError
from sdar.text.records import left_out

KITCHEN = (Path(__file__).parent / "kitchen.pddl").read_text()
DOMAIN = "(define (domain alfred) ; any domain\n)"
GRAMMAR = '{"task": [{"rhs": "Your task is to: UNKNOWN GOAL."}]}'
CUT = json.dumps({"solvable": True, "grammar": GRAMMAR, "pddl_problem": KITCHEN[:900]})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setattr(
        "sdar.envs.alfworld.index.user_cache_dir", lambda name: str(tmp_path / "cache" / name)
    )
    return tmp_path / "cache/sdar/alfworld"


@pytest.fixture
def known_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """The short domain and grammar of these tests count as release 2.1.2."""
    monkeypatch.setitem(official.DOMAINS, official.digest_domain(DOMAIN), Rules.V2_1_2)
    monkeypatch.setitem(official.GRAMMARS, official.digest_grammar(GRAMMAR), Rules.V2_1_2)


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"train/pick_and_place_simple-Mug-None-SideTable-1/trial_{number}",
        "task_type": "pick_and_place_simple",
        "task": "put some mug on sidetable",
        "pddl_params": {},
        "annotations": [],
        "pddl_problem": KITCHEN,
    } | changes


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_bytes(lzma.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


def trial(folder: Path, task: str = "put some mug on sidetable", **changes: Any) -> None:
    folder.mkdir(parents=True)
    grammar = GRAMMAR.replace("UNKNOWN GOAL", json.dumps(task)[1:-1])
    game = {"pddl_domain": DOMAIN, "grammar": grammar, "pddl_problem": KITCHEN, "solvable": True}
    (folder / "game.tw-pddl").write_text(
        json.dumps({k: v for k, v in (game | changes).items() if v is not None})
    )


def test_a_pack_is_opened_in_order_of_id_and_played(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl.xz", [row(2, rules="2.1.2"), row(1)])
    assert splits(tmp_path) == ("train",)
    first, second = open_games(tmp_path, "train")
    assert first.id < second.id
    assert (first.kind, first.task) == (Kind.PUT, "put some mug on sidetable")
    assert first.game().rules is Rules.V2_1_1
    assert second.game().rules is Rules.V2_1_2
    assert first.game(Rules.V2_1_2).rules is Rules.V2_1_2
    assert first.game() is first.game()
    assert pickle.loads(pickle.dumps(second)).text().problem == KITCHEN


def test_the_index_is_built_once_and_again_when_the_pack_changes(tmp_path: Path, cache: Path) -> None:
    pack = tmp_path / "train.jsonl.xz"
    write(pack, [row(1)])
    games = open_games(tmp_path, "train")
    (index,) = cache.iterdir()
    built = index.stat().st_mtime_ns
    assert open_games(tmp_path, "train") == games
    assert index.stat().st_mtime_ns == built
    write(pack, [row(1), row(2)])
    assert len(open_games(tmp_path, "train")) == 2
    assert [path.name for path in cache.iterdir()] == [index.name]


@pytest.mark.parametrize("damage", [b"", b"{}\n", b'{"format": 0}\n', b"\xff\xfe\n", b"null\n"])
def test_a_useless_cache_is_built_again(tmp_path: Path, cache: Path, damage: bytes) -> None:
    write(tmp_path / "train.jsonl.xz", [row(1)])
    games = open_games(tmp_path, "train")
    (index,) = cache.iterdir()
    index.write_bytes(damage)
    assert open_games(tmp_path, "train") == games
    assert games[0].text().problem == KITCHEN


def test_a_damaged_cached_game_is_named(tmp_path: Path, cache: Path) -> None:
    write(tmp_path / "train.jsonl.xz", [row(1)])
    open_games(tmp_path, "train")
    (index,) = cache.iterdir()
    data = bytearray(index.read_bytes())
    data[-100:] = bytes(100)
    index.write_bytes(data)
    with pytest.raises(DataError, match=r"trial_1 is damaged.*delete"):
        open_games(tmp_path, "train")[0].text()


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, cache: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the directory should be")
    write(tmp_path / "train.jsonl.xz", [row(1)])
    assert open_games(tmp_path, "train")[0].game().names


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lzma.compress(json.dumps(row(1)).encode())[:-20], "not a pack of ALFWorld games"),
        (b"plain text", "not a pack of ALFWorld games"),
        (lzma.compress(b"{}\n"), r"game 1: KeyError"),
        (lzma.compress(json.dumps(row(1, task_type="pick_and_eat")).encode()), "pick_and_eat"),
        (lzma.compress((json.dumps(row(1)) + "\n").encode() * 2), "trial_1 is there twice"),
    ],
)
def test_what_is_not_a_pack_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "train.jsonl.xz").write_bytes(content)
    with pytest.raises(DataError, match=reason):
        open_games(tmp_path, "train")


def test_a_game_that_is_not_covered_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    problem = KITCHEN.replace("(:init", "(:init (full Fridge_bar_1)")
    write(tmp_path / "train.jsonl.xz", [row(1, pddl_problem=problem), row(2, task_type=Kind.TWO)])
    first, second = open_games(tmp_path, "train")
    with pytest.raises(DataError, match=r"trial_1 .*\(full"):
        first.game()
    with pytest.raises(DataError, match=r"trial_2 is stored as pick_two_obj_and_place but its goal"):
        second.game()


def test_a_split_that_is_not_there_names_what_is(tmp_path: Path) -> None:
    write(tmp_path / "valid_seen.jsonl.xz", [row(1)])
    with pytest.raises(DataError, match=r"did you mean 'valid_seen'\?.*sdar data download alfworld"):
        open_games(tmp_path, "valid_unseen")


@pytest.mark.parametrize("folder", ["json_2.1.1", "."])
@pytest.mark.usefixtures("known_release")
def test_the_official_layout_is_filtered_as_officially(tmp_path: Path, folder: str) -> None:
    split = tmp_path / folder / "valid_seen"
    put = split / "pick_and_place_simple-Mug-None-SideTable-1"
    trial(put / "trial_2", task='put "some" mug')
    trial(put / "trial_1")
    trial(put / "trial_unsolvable", solvable=False)
    trial(put / "trial_unknown", solvable=None)
    (put / "trial_without_game").mkdir()
    trial(split / "pick_and_place_with_movable_recep-Mug-Pot-SideTable-1/trial_3")
    trial(split / "pick_clean_then_place_in_recep-AppleSliced-None-Fridge-1/trial_4")
    trial(split / "pick_and_eat-Apple-None-Table-1/trial_5")
    (split / "notes.txt").write_text("not a task")
    games = open_games(tmp_path, "valid_seen")
    assert [game.id.rpartition("/")[2] for game in games] == ["trial_1", "trial_2"]
    assert games[0].id == "valid_seen/pick_and_place_simple-Mug-None-SideTable-1/trial_1"
    assert games[1].task == 'put "some" mug'
    assert games[0].game().rules is Rules.V2_1_2
    trial(put / "trial_6")
    assert len(open_games(tmp_path, "valid_seen")) == 3


@pytest.mark.usefixtures("known_release")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "cannot read the ALFWorld game"),
        ('{"solvable": tr', "cannot read the ALFWorld game"),
        ("[]", "is not an ALFWorld game"),
        ('{"solvable": true}', "is not an ALFWorld game: KeyError('grammar')"),
        ('{"solvable": true, "grammar": "x"}', "the grammar has no goal sentence"),
        ('{"solvable": true, "grammar": 3}', "is not an ALFWorld game: TypeError"),
        (CUT, "is not an ALFWorld game: ValueError('its problem text was cut short')"),
    ],
)
def test_a_broken_game_is_left_out_and_named_each_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str, reason: str
) -> None:
    put = tmp_path / "train/pick_and_place_simple-Mug-None-SideTable-1"
    for number in (1, 2, 3):
        trial(put / f"trial_{number}")
    (put / "trial_2/game.tw-pddl").write_text(content)
    for _ in range(2):  # read, and from the cache
        games = open_games(tmp_path, "train")
        assert [game.id.rpartition("/")[2] for game in games] == ["trial_1", "trial_3"]
        assert all(game.game().names for game in games)
    first, second = caplog.messages
    assert first == second
    assert first.startswith(f"{tmp_path / 'train'}: 1 games cannot be read: ")
    assert f"{put / 'trial_2/game.tw-pddl'}" in first
    assert reason in first
    for number in (1, 3):
        (put / f"trial_{number}/game.tw-pddl").unlink()
    with pytest.raises(DataError, match=r"1 games cannot be read: .*trial_2"):
        open_games(tmp_path, "train")


def test_a_broken_line_of_a_pack_is_left_out_counted_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cut = row(3, pddl_problem=KITCHEN[: len(KITCHEN) // 2])
    rows = [row(1), row(2, pddl_problem=None), cut, {"id": "x"}, [], row(4)]
    lines = [*map(json.dumps, rows), '{"id": "cut', ""]
    pack = tmp_path / "train.jsonl.xz"
    pack.write_bytes(lzma.compress("\n".join(lines).encode()))
    for _ in range(2):  # read, and from the cache
        games = open_games(tmp_path, "train")
        assert [game.id.rpartition("/")[2] for game in games] == ["trial_1", "trial_4"]
        assert all(game.game().names for game in games)
    first, second = caplog.messages
    assert first == second
    assert first.startswith(f"{pack}: 5 games cannot be read: game 2: TypeError(")
    assert "game 3: ValueError('its problem text was cut short')" in first
    assert left_out()[str(pack)] == 5
    write(pack, [row(1)])
    open_games(tmp_path, "train")
    assert str(pack) not in left_out()


@pytest.mark.usefixtures("known_release")
def test_a_game_that_changes_in_place_is_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "train/pick_and_place_simple-Mug-None-SideTable-1/trial_1"
    trial(folder)
    (game,) = open_games(tmp_path, "train")
    assert game.task == "put some mug on sidetable"
    file = folder / "game.tw-pddl"
    file.write_text(file.read_text().replace("some mug", "one mug"))
    (game,) = open_games(tmp_path, "train")
    assert game.task == "put one mug on sidetable"


@pytest.mark.usefixtures("known_release")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pddl_domain": DOMAIN + "(:action fly)"}, "no known release"),
        ({"grammar": GRAMMAR + "more"}, "no known release"),
        ({"pddl_problem": KITCHEN.replace("SinkBasinType)", "SinkType)")}, "whether its sinks clean"),
        ({"pddl_domain": None}, "pddl_domain"),
    ],
)
def test_games_of_other_releases_are_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    trial(tmp_path / "train/pick_and_place_simple-Mug-None-SideTable-1/trial_1", **changes)
    (game,) = open_games(tmp_path, "train")
    with pytest.raises(DataError, match=f"trial_1 is refused: .*{reason}"):
        game.game()


@pytest.mark.usefixtures("known_release")
def test_a_game_that_has_gone_since_is_named(tmp_path: Path) -> None:
    trial(tmp_path / "train/pick_and_place_simple-Mug-None-SideTable-1/trial_1")
    write(tmp_path / "valid_seen.jsonl.xz", [row(1)])
    (listed,) = open_games(tmp_path, "train")
    (packed,) = open_games(tmp_path, "valid_seen")
    os.remove(tmp_path / listed.id / "game.tw-pddl")
    with pytest.raises(DataError, match=r"cannot read.*trial_1"):
        listed.game()
    write(tmp_path / "valid_seen.jsonl.xz", [row(2)])
    open_games(tmp_path, "valid_seen")
    with pytest.raises(DataError, match=r"no ALFWorld game .*trial_1 in"):
        packed.text()


def test_all_games_of_the_shared_data(shared_data: Path) -> None:
    games = open_games(shared_data / "alfworld", "valid_seen")
    assert len(games) == 140
    for game in games:
        assert game.game(Rules.V2_1_1).target.kind is game.kind
    assert len(open_games(shared_data / "alfworld", "train")) == 3554
