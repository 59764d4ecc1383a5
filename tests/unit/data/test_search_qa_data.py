"""Import of questions from loose files and from Search-R1's own, and their download from a local server."""

import functools
import gzip
import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

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
    assert report.questions == {
        "test": {"nq": 1, "bamboogle": 1},
        "train": {"popqa": 1, "hotpotqa": 1, "nq": 1},
    }
    assert report.left_out == 1
    assert report.corpus == target / "corpus.jsonl"
    assert report.corpus.read_text() == PASSAGE
    train = {question.kind: question for question in open_questions(target, "train")}
    assert (train["nq"].text, train["nq"].answers) == ("where is Bath", ("England",))
    assert train["hotpotqa"].answers == ("[1] of them",)
    assert train["popqa"].answers == ("a", "b")
    assert [question.kind for question in open_questions(target, "test")] == ["nq", "bamboogle"]
    assert import_search_qa(loose, target) == report
    assert not list(target.glob("*.part"))


def test_real_files(shared_data: Path, tmp_path: Path) -> None:
    report = import_search_qa(shared_data / "searchqa", tmp_path)
    assert report.questions["test"] == {name: 125 if name == "bamboogle" else 500 for name in SETS}
    assert sum(report.questions["train"].values()) == 12_549
    assert report.left_out == 1_566
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
    report = download_search_qa(target, hub=hub)
    assert report.questions == {"test": {"nq": 1}, "train": {"nq": 1}}
    assert (report.left_out, report.corpus) == (2, None)
    assert [question.text for question in open_questions(target, "train")] == ["a b?"]
    report = download_search_qa(target, hub=hub, corpus=True)
    assert report.corpus == target / "corpus.jsonl.gz"
    assert gzip.decompress(report.corpus.read_bytes()).decode() == PASSAGE
    assert sorted(path.name for path in target.iterdir()) == [
        "corpus.jsonl.gz",
        "test.jsonl.xz",
        "train.jsonl.xz",
    ]


def test_a_download_that_fails_leaves_what_was_there(hub: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    download_search_qa(target, hub=hub)
    with pytest.raises(DataError, match="HTTP status 404"):
        download_search_qa(target, hub=f"{hub}/nowhere", pause=0.0)
    assert len(open_questions(target, "train")) == 1
