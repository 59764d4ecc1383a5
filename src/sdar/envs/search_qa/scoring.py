"""Whether an answer is right: exact match and F1 after the usual normalisation.

Source: the SQuAD v1.1 evaluation (Rajpurkar et al., 2016), which Search-R1 and its descendants use.
"""

import re
import string
from collections import Counter
from collections.abc import Iterable

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(a|an|the)\b")


def normalize(text: str) -> str:
    """Lower case, without punctuation, without articles, single spaces.

    >>> normalize("The  Lord of the Rings, U.S.")
    'lord of rings us'
    """
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, golden: Iterable[str]) -> bool:
    """Whether the answer is one of the golden ones.

    A text of which normalisation leaves nothing (`A`, `!!!`) is compared as it is, so that an empty answer is
    never right; in the published evaluation it is, where a golden answer is of that kind.
    """
    return any(_key(answer) == _key(one) != "" for one in golden)


def _key(text: str) -> str:
    return normalize(text) or text.strip().lower()


def f1(answer: str, golden: Iterable[str]) -> float:
    """Harmonic mean of word precision and recall, against the golden answer that fits best.

    >>> f1("the red house", ["house", "blue house"])
    0.6666666666666666
    """
    return max((_overlap(normalize(answer).split(), normalize(one).split()) for one in golden), default=0.0)


def _overlap(said: list[str], right: list[str]) -> float:
    common = (Counter(said) & Counter(right)).total()
    return 2 * common / (len(said) + len(right)) if common else 0.0
