"""Import of the official WebShop files, and their download from a local server."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.unit.envs.webshop.shops import EXTRA, HUMAN, ITEMS

from sdar.cli import main
from sdar.data import webshop_data
from sdar.data.webshop_data import SMALL, download_webshop, import_webshop
from sdar.envs.webshop.catalogue import open_catalogue
from sdar.envs.webshop.nouns import installed_model
from sdar.errors import DataError

CONTENT = {
    "items_shuffle_1000.json": [{**item, "images": ["x"], "seller_name": "y"} for item in ITEMS],
    "items_ins_v2_1000.json": EXTRA,
    "items_human_ins.json": HUMAN,
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for name, content in CONTENT.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def test_import_keeps_what_the_shop_reads(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    report = import_webshop(source, target)
    assert report.counts == {"products": 5, "goals": 6, "goals by people": 2}
    assert "seller_name" not in (target / "items_shuffle_1000.json").read_text()
    original, slim = open_catalogue(source, 1000), open_catalogue(target, 1000)
    assert original.products == slim.products or installed_model()
    assert import_webshop(source, target) == report
    assert not list(target.glob("*.part"))


def test_import_of_real_files(shared_data: Path, tmp_path: Path) -> None:
    report = import_webshop(shared_data / "webshop", tmp_path)
    assert report.counts == {"products": 1000, "goals": 6910, "goals by people": 13}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("items_ins_v2_1000.json", None, "no items_shuffle.* with its items_ins_v2"),
        ("items_shuffle_1000.json", "[1]", "a product is not as WebShop's files have it"),
        ("items_shuffle_1000.json", "{}", "holds a dict, not a list"),
        ("items_ins_v2_1000.json", "[]", "holds a list, not a dict"),
        ("items_human_ins.json", "no", "cannot read"),
    ],
)
def test_bad_files_are_refused(source: Path, name: str, content: str | None, message: str) -> None:
    (source / name).unlink() if content is None else (source / name).write_text(content)
    with pytest.raises(DataError, match=message):
        import_webshop(source, source.parent / "target")


class Drive(BaseHTTPRequestHandler):
    """Sends a file by its key, as the authors' storage does; a page instead of the files in `full`."""

    full: tuple[str, ...] = ()

    def do_GET(self) -> None:
        key = self.path.rpartition("id=")[2]
        name = {key: name for name, key in (SMALL | webshop_data.HUMAN).items()}[key]
        body = b"<html>Quota exceeded" if name in self.full else json.dumps(CONTENT[name]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def drive() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Drive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/download?id="
    server.shutdown()


def test_download(drive: str, tmp_path: Path) -> None:
    report = download_webshop(tmp_path, base=drive, pause=0)
    assert report.counts == {"products": 5, "goals": 6, "goals by people": 2}
    sources = json.loads((tmp_path / "source.json").read_text())["sources"]
    assert [entry["file"] for entry in sources] == list(CONTENT)
    assert not (tmp_path / ".download").exists()


def test_a_page_instead_of_a_file(drive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drive, "full", ("items_ins_v2_1000.json",))
    with pytest.raises(DataError, match=r"is not items_ins_v2_1000.json: get it with a browser"):
        download_webshop(tmp_path, base=drive, pause=0)
    monkeypatch.setattr(Drive, "full", ())
    assert download_webshop(tmp_path, base=drive, pause=0).counts["products"] == 5


def test_the_command(
    source: Path,
    drive: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SDAR_DATA", str(source.parent))
    for words in (["import", "webshop", str(source)], ["download", "webshop", "--base", drive]):
        assert main(["data", *words]) == 0
        shown = capsys.readouterr().out.splitlines()
        assert [line.rsplit(maxsplit=1) for line in shown[:3]] == [
            ["products", "5"],
            ["goals", "6"],
            ["goals by people", "2"],
        ]
        assert shown[-1] == str(source.parent / "webshop")
    before = (source / "items_shuffle_1000.json").read_bytes()
    assert main(["data", "import", "webshop", str(source), "--out", str(source)]) == 2
    assert "cannot be imported into itself" in capsys.readouterr().err
    assert (source / "items_shuffle_1000.json").read_bytes() == before
