"""Retrieval by similarity: the task sentence and every skill as a vector, compared by their cosine."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from sdar.errors import ConfigError
from sdar.skills.bank import Skill, SkillBank
from sdar.skills.retrieval import NeedsKinds, Query, retrievals
from sdar.text.encoder import Encoder, Vectors, encoder, require_encoder


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
    order = (-similarity).argsort(kind="stable")[:top_k]
    return tuple(bank.special[i] for i in order if similarity[i] > 0)


@lru_cache(maxsize=8)
def _bank_vectors(model: str, bank: SkillBank) -> tuple[Encoder, Vectors]:
    """What encodes a sentence, and the vectors of the bank's special skills, one a row."""
    texts = [
        ". ".join([skill.kind.replace("_", " "), *skill.keywords, skill.summary]) for skill in bank.special
    ]
    from sdar.text.tfidf import TfIdf

    encode: Encoder = encoder(model) if model else TfIdf(texts)
    return encode, encode(texts)
