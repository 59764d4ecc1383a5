"""BM25 against the formula, on disk as in memory; indexes are built once and never seen half-done."""

import gzip
import json
import lzma
import math
import os

import pytest

from sdar.envs.search_qa.bm25 import BM25, BM25Config
from sdar.envs.search_qa.passages import PassageStore, find_corpus, read_corpus, write_passages
from sdar.envs.search_qa.retrieval import Passage
from sdar.errors import ConfigError, DataError

PASSAGES = [
    Passage("a", '"Emma"\nEmma is a novel by Jane Austen about Emma.'),
    Passage("b", '"Bath"\nBath is a town. Austen lived in Bath.'),
    Passage("c", '"Zürich"\nZürich is a town\u2028 in Switzerland.'),
    Passage("d", '""\n'),
    Passage("e", '"Bath"\nBath is a town. Austen lived in Bath.'),
]


def line(passage):
    return json.dumps({"id": passage.id, "contents": passage.contents}) + "\n"


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    monkeypatch.setenv("SDAR_DATA", str(tmp_path / "cache"))
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(map(line, PASSAGES)))
    return path


def test_scores_follow_the_formula():
    """Lucene's BM25, written out for one query."""
    words = [
        ["emma", "emma", "novel", "jane", "austen", "about", "emma"],
        ["bath"] * 3 + ["town", "austen", "live"],
    ]
    words += [["zürich", "zürich", "town", "switzerland"], [], words[1]]
    mean = sum(map(len, words)) / len(words)

    def score(terms, query):
        total = 0.0
        for word in query:
            containing = sum(word in row for row in words)
            weight = math.log(1 + (len(words) - containing + 0.5) / (containing + 0.5))
            often = terms.count(word)
            total += weight * often / (often + 0.9 * (1 - 0.4 + 0.4 * len(terms) / mean)) if often else 0.0
        return total

    (found,) = BM25.of(PASSAGES).search(["Towns of Austen, towns!"], 5)
    expected = [score(row, ["town", "austen", "town"]) for row in words]
    assert [passage.id for passage in found] == ["b", "e", "c", "a"]
    assert [passage.score for passage in found] == pytest.approx(
        [expected[i] for i in (1, 4, 2, 0)], rel=1e-5
    )


def test_only_what_matches_is_found_and_ties_go_in_order():
    engine = BM25.of(PASSAGES)
    assert [[p.id for p in found] for found in engine.search(["bath", "the of", "", "lived", "xyz"], 1)] == [
        ["b"], [], [], ["b"], [],
    ]  # fmt: skip
    assert [p.id for p in engine.search(["bath"], 50)[0]] == ["b", "e"]
    assert engine.search([], 3) == []


@pytest.mark.parametrize("end", [".jsonl", ".jsonl.gz", ".jsonl.xz"])
def test_from_disk_as_from_memory(corpus, tmp_path, end):
    home = tmp_path / "packed"
    home.mkdir()
    path = home / f"corpus{end}"
    path.write_bytes(
        {".jsonl": bytes, ".jsonl.gz": gzip.compress, ".jsonl.xz": lzma.compress}[end](corpus.read_bytes())
    )
    assert find_corpus(home) == path
    queries = ["austen novel", "town switzerland", "bath", "nothing"]
    assert BM25Config().open(path).search(queries, 3) == BM25.of(PASSAGES).search(queries, 3)


def test_the_index_is_built_once_and_again_for_a_changed_corpus(corpus, tmp_path, monkeypatch):
    assert BM25Config().open(corpus).search(["emma"], 1)[0][0].id == "a"
    built = set((tmp_path / "cache" / "search_qa").glob("bm25-*[0-9a-f]"))
    assert len(built) == 1
    with monkeypatch.context() as frozen:
        frozen.setattr("sdar.envs.search_qa.bm25._index", None)
        assert BM25Config().open(corpus).search(["emma"], 1)[0][0].id == "a"
    corpus.write_text(line(Passage("new", '"Emma"\nEmma.')))
    os.utime(corpus, (1, 1))
    assert BM25Config().open(corpus).search(["emma"], 1)[0][0].id == "new"
    assert BM25Config(b=0.5).open(corpus).search(["emma"], 1)[0][0].id == "new"
    assert len(set((tmp_path / "cache" / "search_qa").glob("bm25-*[0-9a-f]"))) == 3


def test_an_index_that_breaks_off_leaves_nothing(corpus, tmp_path):
    with corpus.open("a") as file:
        file.write('{"id": "z"}\n')
    with pytest.raises(DataError, match=r"corpus.jsonl is damaged after line 6: KeyError"):
        BM25Config().open(corpus)
    assert [path.suffix for path in (tmp_path / "cache" / "search_qa").iterdir()] == [".lock"]


def test_what_cannot_be_searched_is_refused(tmp_path):
    with pytest.raises(DataError, match="no passage with a word"):
        BM25.of([Passage("d", '""\nthe')])
    with pytest.raises(DataError, match="there is no corpus"):
        BM25Config(corpus=str(tmp_path / "none.jsonl")).open(None)
    with pytest.raises(DataError, match="beside the questions"):
        BM25Config().require(None)
    with pytest.raises(ConfigError, match="k1 above 0"):
        BM25Config(k1=0)


def test_a_damaged_archive_is_named(tmp_path):
    path = tmp_path / "corpus.jsonl.xz"
    path.write_bytes(lzma.compress("".join(map(line, PASSAGES)).encode())[:-40])
    with pytest.raises(DataError, match=r"corpus.jsonl.xz is damaged"):
        list(read_corpus(path))


def test_the_store_gives_back_every_passage(tmp_path):
    assert list(write_passages(tmp_path, iter(PASSAGES))) == PASSAGES
    store = PassageStore(tmp_path)
    assert list(store) == PASSAGES
    assert (store[-1], store[1:3], len(store)) == (PASSAGES[-1], PASSAGES[1:3], 5)
    with pytest.raises(IndexError):
        store[5]
