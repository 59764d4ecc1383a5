"""Import of questions from loose files and from Search-R1's own, and their download from a local server."""

import functools
import gzip
import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sdar.cli import main
from sdar.data.search_qa_data import download_search_qa, import_search_qa
from sdar.envs.search_qa.questions import SETS, open_questions
from sdar.envs.search_qa.scoring import normalize
from sdar.errors import DataError

PASSAGE = '{"id": "1", "contents": "\\"Emma\\"\\nA novel."}\n'


def write(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.suffix == ".jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) if lines else json.dumps(rows))


@pytest.fixture
def loose(tmp_path: Path) -> Path:
    """Data sets as research code keeps them."""
    source = tmp_path / "loose"
    write(source / "QA_Datasets" / "nq.json", [{"Question": "Who wrote Emma?", "answer": ["Jane Austen"]}])
    write(source / "QA_Datasets" / "nq_pre.json", [{"Question": "where is Bath ", "answer": ["England"]}])
    write(source / "QA_Datasets" / "bamboogle_pre.json", [{"Question": "Who?", "answer": ["me"]}])
    write(source / "NQ-open.dev.jsonl", [{"question": "who wrote emma", "answer": ["Austen"]}])
    write(source / "hotpot_dev_v1_simplified.json", [{"question": "Which?", "answer": "[1] of them"}])
    write(source / "popqa_1000.json", [{"question": "What is it?", "possible_answers": '["a", "b"]'}])
    (source / "corpus.jsonl").write_text(PASSAGE)
    return source


def test_loose_files(loose: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    report = import_search_qa(loose, target)
    test, train_sets = ("nq", "bamboogle"), ("popqa", "hotpotqa", "nq")
    counts = [f"test questions of {name}" for name in test] + [
        f"train questions of {name}" for name in train_sets
    ]
    assert report.counts == dict.fromkeys(counts, 1)
    left_out = "left out: 1 training questions, known from the test or repeated"
    assert report.notes == [left_out, f"corpus: {target / 'corpus.jsonl'}"]
    assert (target / "corpus.jsonl").read_text() == PASSAGE
    train = {question.kind: question for question in open_questions(target, "train")}
    assert (train["nq"].text, train["nq"].answers) == ("where is Bath", ("England",))
    assert train["hotpotqa"].answers == ("[1] of them",)
    assert train["popqa"].answers == ("a", "b")
    assert [question.kind for question in open_questions(target, "test")] == ["nq", "bamboogle"]
    assert import_search_qa(loose, target) == report
    assert not list(target.glob("*.part"))


def test_real_files(shared_data: Path, tmp_path: Path) -> None:
    report = import_search_qa(shared_data / "searchqa", tmp_path)
    sizes = {name: 125 if name == "bamboogle" else 500 for name in SETS}
    assert {name: report.counts[f"test questions of {name}"] for name in SETS} == sizes
    assert sum(report.counts.values()) == sum(sizes.values()) + 12_549
    assert "left out: 1566 training questions" in report.notes[0]
    train, test = (open_questions(tmp_path, split) for split in ("train", "test"))
    asked = [normalize(question.text) for question in train]
    assert len(set(asked)) == len(asked) == 12_549
    assert not set(asked) & {normalize(question.text) for question in test}
    assert all(question.answers for question in (*train, *test))


def test_what_is_wrong_is_named(loose: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no test questions in .*bamboogle.json"):
        import_search_qa(tmp_path / "nothing", tmp_path / "target")
    (loose / "popqa_1000.json").write_text('[{"question": "x"}]')
    with pytest.raises(DataError, match=r"popqa_1000.json cannot be read: KeyError"):
        import_search_qa(loose, tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    """A server with Search-R1's files."""
    pyarrow = pytest.importorskip("pyarrow", reason="pip install 'sdar[retrieval]'")
    from pyarrow import parquet

    root = tmp_path / "hub"
    for split, texts in (("train", ["a b?", "The a B", "c?"]), ("test", ["C"])):
        rows = [{"question": t, "golden_answers": ["x"], "data_source": "nq", "ability": "y"} for t in texts]
        path = root / "nq_hotpotqa_train" / "resolve" / "main" / f"{split}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    corpus = root / "wiki-18-corpus" / "resolve" / "main" / "wiki-18.jsonl.gz"
    corpus.parent.mkdir(parents=True)
    corpus.write_bytes(gzip.compress(PASSAGE.encode()))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(root))) as http:
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def test_download(hub: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    report = download_search_qa(target, base=hub)
    assert report.counts == {"test questions of nq": 1, "train questions of nq": 1}
    assert report.notes[1] == "there is no corpus to search in"
    assert [question.text for question in open_questions(target, "train")] == ["a b?"]
    download_search_qa(target, base=hub, everything=True)
    assert gzip.decompress((target / "corpus.jsonl.gz").read_bytes()).decode() == PASSAGE
    assert sorted(path.name for path in target.iterdir()) == [
        "corpus.jsonl.gz",
        "test.jsonl.xz",
        "train.jsonl.xz",
    ]


def test_a_download_that_fails_leaves_what_was_there(hub: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    download_search_qa(target, base=hub)
    with pytest.raises(DataError, match="HTTP status 404"):
        download_search_qa(target, base=f"{hub}/nowhere", pause=0.0)
    assert len(open_questions(target, "train")) == 1


def test_the_command(loose: Path, hub: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "target"
    assert main(["data", "import", "search_qa", str(loose), "--out", str(target)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert f"corpus: {target / 'corpus.jsonl'}" in shown
    assert [line.rsplit(maxsplit=1) for line in shown[:2]] == [
        ["test questions of nq", "1"],
        ["test questions of bamboogle", "1"],
    ]
    assert shown[-1] == str(target)
    flags = ["--out", str(tmp_path / "hub-data"), "--base", hub, "--everything"]
    assert main(["data", "download", "search_qa", *flags]) == 0
    assert (tmp_path / "hub-data" / "corpus.jsonl.gz").is_file()
