"""A chat template sees stand-ins for the contents; what it makes of them is template and content, apart.

So the template decides where contents go, trims them and drops earlier thoughts, and no content, whatever it
spells, has a say over the template or looks like a part of it. Stand-ins are runs of two private characters
and a number. White space around a content and the tags of an assistant's thought are shown to the template,
because templates look for these; nothing else is.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sdar.errors import ConfigError
from sdar.types import Message

Render = Callable[[Sequence[Message]], str]
"""The chat template."""

_STAND_IN = re.compile("\ue000([0-9]+)\ue001")
_TAG = re.compile("(</?think>)")


@dataclass(frozen=True)
class Segment:
    """A piece of a rendered conversation."""

    text: str
    message: int | None = None
    """Index of the message whose content it is; None: the template's own text."""


@dataclass(frozen=True)
class _Part:
    """A text between the thought tags of one message, its outer white space apart."""

    message: int
    lead: str
    core: str
    trail: str
    tag: str
    """The tag behind it in its message, or nothing."""

    @classmethod
    def of(cls, message: int, text: str, tag: str) -> "_Part":
        left = text.lstrip()
        core = left.rstrip()
        return cls(message, text[: len(text) - len(left)], core, left[len(core) :], tag)


def segments(messages: Sequence[Message], render: Render) -> list[Segment]:
    """The rendered conversation in pieces, in order, none empty.

    Raises `ConfigError` for a template that cuts or rewrites contents.
    """
    parts: list[_Part] = []
    bare, spaced = [], []
    for number, message in enumerate(messages):
        mine = _parts(number, message)
        stand_ins = [f"\ue000{at}\ue001" for at in range(len(parts), len(parts) + len(mine))]
        pairs = list(zip(mine, stand_ins, strict=True))
        bare.append("".join(stand_in + part.tag for part, stand_in in pairs) or message.content)
        spaced.append(
            "".join(part.lead + stand_in + part.trail + part.tag for part, stand_in in pairs)
            or message.content
        )
        parts += mine

    def rendered(contents: Sequence[str]) -> list[str]:
        shown = [Message(message.role, text) for message, text in zip(messages, contents, strict=True)]
        return _STAND_IN.split(render(shown))

    plain = rendered(bare)
    return _joined(plain, plain if spaced == bare else rendered(spaced), parts)


def _parts(number: int, message: Message) -> list[_Part]:
    """The texts of a message that the template does not see; none of an empty one."""
    if not message.content.strip():
        return []
    pieces = _TAG.split(message.content) if message.role == "assistant" else [message.content]
    tags = [*pieces[1::2], ""]
    return [_Part.of(number, text, tag) for text, tag in zip(pieces[::2], tags, strict=True)]


def _joined(plain: list[str], spaced: list[str], parts: Sequence[_Part]) -> list[Segment]:
    """The pieces of a rendering, given what is around the stand-ins without and with white space."""
    strays = "".join(plain[::2]) + "".join(spaced[::2])
    if plain[1::2] != spaced[1::2] or "\ue000" in strays or "\ue001" in strays:
        raise ConfigError("the chat template cuts or rewrites what messages say, so its turns cannot be told")
    order = [int(number) for number in plain[1::2]]
    found: list[Segment] = []
    content, whole = "", False  # of the message at hand, and whether it is there from its beginning
    for place, (own, shown) in enumerate(zip(plain[::2], spaced[::2], strict=True)):
        before = order[place - 1] if place else None
        after = order[place] if place < len(order) else None
        trail = parts[before].trail if before is not None else ""
        lead = parts[after].lead if after is not None else ""
        trail, lead = _kept(own, shown, trail, lead)
        content += trail
        if before is not None and after == before + 1 and parts[before].tag == own != "" and whole:
            content += own
        else:
            if before is not None:
                found.append(Segment(content, parts[before].message))
            found.append(Segment(own))
            content = ""
            whole = after is not None and (not after or parts[after - 1].message != parts[after].message)
        if after is not None:
            content += lead + parts[after].core
    return [segment for segment in found if segment.text]


def _kept(own: str, shown: str, trail: str, lead: str) -> tuple[str, str]:
    r"""How much the template left of the white space behind one content and before the next.

    `own` is its text between the two without that white space, `shown` its text with it.

    >>> _kept("<end>\\n", " <end>\\n", trail=" ", lead="\\n")
    (' ', '')
    """
    for length in range(len(trail), -1, -1):
        head = trail[:length] + own
        if shown.startswith(head) and lead.endswith(shown[len(head) :]):
            return trail[:length], shown[len(head) :]
    raise ConfigError("the chat template rewrites the white space of messages, so its turns cannot be told")
