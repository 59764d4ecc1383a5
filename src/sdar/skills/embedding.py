"""Retrieval by similarity: the task sentence and every skill as a vector, compared by their cosine."""

import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sdar.encoder import Encoder, Vectors, encoder, require_encoder
from sdar.errors import ConfigError
from sdar.skills.bank import Skill, SkillBank
from sdar.skills.retrieval import NeedsKinds, Query, retrievals


@retrievals.register("embedding")
@dataclass(frozen=True, kw_only=True)
class Embedding(NeedsKinds):
    """General skills and those most similar to the task sentence.

    A skill stands for the words of its kind, its keywords and its summary. With a sentence-transformers model
    meaning counts. Without one the vectors are TF-IDF: only the words themselves count, rare ones more, and a
    skill that shares no telling word with the sentence is not taken.
    """

    model: str = ""
    """Directory of a sentence-transformers model, or a package that ships one; empty: TF-IDF."""
    top_k: int = 1
    """Skills taken beside the general ones, at most."""

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise ConfigError(f"skills.retrieval.top_k must be at least 1, not {self.top_k}")

    def check(self, bank: SkillBank, kinds: Collection[str]) -> None:
        """There have to be skills to choose from and, where one is named, the model and its package."""
        super().check(bank, kinds)
        if self.model:
            require_encoder(self.model, "skills.retrieval.model")

    def select(self, query: Query) -> tuple[Skill, ...]:
        """See `Retrieval`."""
        return query.bank.general + _nearest(self.model, self.top_k, query.bank, query.goal)


@lru_cache(maxsize=65_536)
def _nearest(model: str, top_k: int, bank: SkillBank, goal: str) -> tuple[Skill, ...]:
    """The `top_k` skills most similar to `goal`, best first; at equal similarity in the bank's order."""
    encode, skills = _bank_vectors(model, bank)
    similarity = skills @ encode([goal])[0]
    order = np.argsort(-similarity, kind="stable")[:top_k]
    return tuple(bank.special[i] for i in order if similarity[i] > 0)


@lru_cache(maxsize=8)
def _bank_vectors(model: str, bank: SkillBank) -> tuple[Encoder, Vectors]:
    """What encodes a sentence, and the vectors of the bank's special skills, one a row."""
    texts = [
        ". ".join([skill.kind.replace("_", " "), *skill.keywords, skill.summary]) for skill in bank.special
    ]
    encode: Encoder = encoder(model) if model else TfIdf(texts)
    return encode, encode(texts)


class TfIdf:
    """Texts as unit vectors over the words of a collection; words that it lacks do not count.

    A word weighs its count in the text times ln(N / n), where n of the collection's N texts have it: one that
    they all have counts nothing.
    """

    def __init__(self, collection: Sequence[str]) -> None:
        spread = Counter(word for text in collection for word in set(_words(text)))
        self._places = {word: place for place, word in enumerate(sorted(spread))}
        self._weights = {word: math.log(len(collection) / n) for word, n in spread.items()}

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """[texts, words of the collection], float32; all zero for a text without any of those words."""
        vectors = np.zeros((len(texts), len(self._places)), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word, count in Counter(_words(text)).items():
                if word in self._places:
                    row[self._places[word]] = count * self._weights[word]
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.where(norms, norms, 1), np.float32)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
