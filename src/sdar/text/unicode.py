"""Text that can be written and sent: no half characters."""


def well_formed(text: str) -> str:
    r"""`text` with each lone surrogate replaced by U+FFFD; a pair of them becomes its character.

    JSON may hold half of an emoji; UTF-8 cannot, so nothing can tokenise it, write it or send it.

    >>> well_formed("a\ud83d b"), well_formed("\ud83d\ude00") == "\U0001f600"
    ('a\ufffd b', True)
    """
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
