"""The parts of an answer: reasoning, action, query. No torch."""

import re
from collections.abc import Sequence
from enum import IntEnum


class Span(IntEnum):
    """What a token is a part of."""

    OTHER = 0
    REASONING = 1
    ACTION = 2
    """What the environment acts on, a final answer among it."""
    QUERY = 3
    """What is searched for in an outside source."""


TAGS = {
    "think": Span.REASONING,
    "action": Span.ACTION,
    "answer": Span.ACTION,
    "search": Span.QUERY,
}
_TAG = re.compile(rf"</?({'|'.join(TAGS)})>", re.IGNORECASE)


def token_spans(pieces: Sequence[str]) -> list[Span]:
    """The span of each token of an answer, whose texts these are; a token belongs where its text ends.

    The tags themselves are `OTHER`. An answer without any tag is an action as a whole; what stands before the
    first `</think>` is reasoning, even where the template opened it.

    >>> [span.name for span in token_spans(["so", "</think>", "<action>", "go", "</action>"])]
    ['REASONING', 'OTHER', 'OTHER', 'ACTION', 'OTHER']
    """
    text = "".join(pieces)
    tags = list(_TAG.finditer(text))
    if not tags:
        return [Span.ACTION] * len(pieces)
    closes_first = tags[0][0].lower() == "</think>"
    spans, start, now = [], 0, Span.REASONING if closes_first else Span.OTHER
    for tag in tags:
        spans += [now] * (tag.start() - start) + [Span.OTHER] * len(tag[0])
        start, now = tag.end(), Span.OTHER if tag[0][1] == "/" else TAGS[tag[1].lower()]
    spans += [now] * (len(text) - start)
    found, end = [], 0
    for piece in pieces:
        end += len(piece)
        found.append(spans[end - 1] if end else Span.OTHER)
    return found
