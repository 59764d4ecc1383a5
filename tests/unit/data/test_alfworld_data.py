"""Importing and downloading the official ALFWorld games."""

import functools
import hashlib
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sdar.cli import main
from sdar.data.alfworld_data import ANNOTATIONS, GAMES, download_alfworld, import_alfworld
from sdar.envs.alfworld import official
from sdar.envs.alfworld.engine import Rules
from sdar.envs.alfworld.games import open_games
from sdar.errors import DataError

KITCHEN = (Path(__file__).parents[1] / "envs/alfworld/kitchen.pddl").read_text()
DOMAIN = "(define (domain alfred))"
GRAMMAR = '{"task": [{"rhs": "Your task is to: UNKNOWN GOAL."}]}'
TASK = "pick_and_place_simple-Mug-None-SideTable-1"
PEOPLE = {
    "pddl_params": {"object_target": "Mug"},
    "turk_annotations": {"anns": [{"task_desc": "Move a mug."}, {"task_desc": "Put it there."}]},
}


@pytest.fixture(autouse=True)
def _small_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdar.envs.alfworld.index.user_cache_dir", lambda name: str(tmp_path / "cache"))
    monkeypatch.setitem(official.DOMAINS, official.digest_domain(DOMAIN), Rules.V2_1_2)
    monkeypatch.setitem(official.GRAMMARS, official.digest_grammar(GRAMMAR), Rules.V2_1_2)


def game(grammar: str = GRAMMAR) -> str:
    grammar = grammar.replace("UNKNOWN GOAL", "put some mug on sidetable")
    return json.dumps({"pddl_domain": DOMAIN, "grammar": grammar, "pddl_problem": KITCHEN, "solvable": True})


def files(*trials: str, people: bool = True) -> dict[str, str]:
    """An official release: path to content."""
    made = {}
    for trial in trials:
        made[f"json_2.1.1/{trial}/game.tw-pddl"] = game()
        if people:
            made[f"json_2.1.1/{trial}/traj_data.json"] = json.dumps(PEOPLE)
    return made


def lay_out(root: Path, content: dict[str, str]) -> Path:
    for name, text in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_the_official_layout_becomes_packs(tmp_path: Path) -> None:
    content = files(f"train/{TASK}/trial_2", f"train/{TASK}/trial_1") | files(
        f"valid_unseen/{TASK}/trial_3", people=False
    )
    source, target = lay_out(tmp_path / "source", content), tmp_path / "new/packs"
    seen: list[tuple[int, int]] = []
    report = import_alfworld(source, target, lambda *at: seen.append(at))
    assert report.counts == {"games in train": 2, "games in valid_unseen": 1}
    assert report.notes == []
    assert seen == [(1, 2), (2, 2), (1, 1)]
    assert sorted(path.name for path in target.iterdir()) == ["train.jsonl.xz", "valid_unseen.jsonl.xz"]
    for split in ("train", "valid_unseen"):
        before, after = open_games(source, split), open_games(target, split)
        assert [game.text() for game in before] == [game.text() for game in after]
    assert open_games(target, "train")[0].game().rules is Rules.V2_1_2


def test_games_of_unknown_releases_are_reported(tmp_path: Path) -> None:
    content = files(f"train/{TASK}/trial_1")
    content[f"json_2.1.1/train/{TASK}/trial_2/game.tw-pddl"] = game(GRAMMAR + " ")
    content[f"json_2.1.1/train/{TASK}/trial_3/game.tw-pddl"] = game(GRAMMAR + "x")
    report = import_alfworld(lay_out(tmp_path / "source", content), tmp_path)
    assert report.counts == {"games in train": 2}
    assert len(report.notes) == 1
    assert "trial_3" in report.notes[0]


def test_a_directory_without_games_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no games in the official layout"):
        import_alfworld(tmp_path, tmp_path / "packs")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """A directory that is served at `site.url`."""
    root = tmp_path / "site"
    root.mkdir()
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *args: None})
    http = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(root)))
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    (tmp_path / "url").write_text(f"http://127.0.0.1:{http.server_port}")
    yield root
    http.shutdown()
    http.server_close()


def publish(site: Path, name: str, content: dict[str, str]) -> str:
    (site / name).parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(site / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in content.items():
            archive.writestr(path, text)
    return hashlib.sha256((site / name).read_bytes()).hexdigest()


def test_a_release_is_downloaded_and_packed(tmp_path: Path, site: Path) -> None:
    trials = (f"train/{TASK}/trial_1", f"valid_seen/{TASK}/trial_2")
    digest = publish(
        site, GAMES[Rules.V2_1_2], files(*trials, people=False) | {"../evil": "x", "readme": "x"}
    )
    publish(site, ANNOTATIONS, files(*trials))
    report = download_alfworld(
        tmp_path / "data",
        everything=True,
        base=(tmp_path / "url").read_text(),
        sha256={"json_2.1.3_tw-pddl.zip": digest},
    )
    assert report.counts == {"games in train": 1, "games in valid_seen": 1}
    names = sorted(path.name for path in (tmp_path / "data").iterdir())
    assert names == ["source.json", "train.jsonl.xz", "valid_seen.jsonl.xz"]
    assert not (tmp_path / "evil").exists()
    assert json.loads((tmp_path / "data/source.json").read_text())["sources"][0]["sha256"] == digest
    assert open_games(tmp_path / "data", "train")[0].game().rules is Rules.V2_1_2


def test_a_wrong_checksum_packs_nothing(tmp_path: Path, site: Path) -> None:
    publish(site, GAMES[Rules.V2_1_2], files(f"train/{TASK}/trial_1"))
    with pytest.raises(DataError, match="expected 1234"):
        download_alfworld(
            tmp_path / "data",
            base=(tmp_path / "url").read_text(),
            sha256={"json_2.1.3_tw-pddl.zip": "1234"},
        )
    assert not list((tmp_path / "data").glob("*.xz"))


def test_a_damaged_archive_is_thrown_away_and_old_packs_stay(tmp_path: Path, site: Path) -> None:
    data, url = tmp_path / "data", (tmp_path / "url").read_text()
    name = GAMES[Rules.V2_1_2]
    publish(site, name, files(f"train/{TASK}/trial_1"))
    download_alfworld(data, base=url)
    before = (data / "train.jsonl.xz").read_bytes()
    publish(site, name, files(f"train/{TASK}/trial_1", f"train/{TASK}/trial_2"))
    content = bytearray((site / name).read_bytes())
    content[200:260] = bytes(60)
    (site / name).write_bytes(content)
    with pytest.raises(DataError, match=r"json_2\.1\.3_tw-pddl\.zip is damaged"):
        download_alfworld(data, base=url)
    assert (data / "train.jsonl.xz").read_bytes() == before
    publish(site, name, files(f"train/{TASK}/trial_1", f"train/{TASK}/trial_2"))
    assert download_alfworld(data, base=url).counts == {"games in train": 2}


def test_the_command(tmp_path: Path, site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = files(f"train/{TASK}/trial_1", f"train/{TASK}/trial_2")
    content[f"json_2.1.1/train/{TASK}/trial_3/game.tw-pddl"] = game(GRAMMAR + "x")
    source, url = lay_out(tmp_path / "source", content), (tmp_path / "url").read_text()
    assert main(["data", "import", "alfworld", str(source), "--out", str(tmp_path / "packs")]) == 0
    counted, left_out, place = capsys.readouterr().out.splitlines()
    assert left_out.startswith("left out: ")
    assert (counted.rsplit(maxsplit=1), place) == (["games in train", "2"], str(tmp_path / "packs"))
    publish(site, GAMES[Rules.V2_1_1], files(f"valid_seen/{TASK}/trial_1"))
    flags = ["--out", str(tmp_path / "old"), "--base", url, "--rules", "2.1.1"]
    assert main(["data", "download", "alfworld", *flags]) == 0
    assert (tmp_path / "old" / "valid_seen.jsonl.xz").is_file()
