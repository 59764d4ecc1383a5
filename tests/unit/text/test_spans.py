"""Which token of an answer is reasoning, action or query."""

import pytest

from sdar.text.spans import token_spans

LETTERS = "ORAQ"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("go east", "AAAAAAA"),
        ("<think>hm</think><search>x y</search>", "OOOOOOORROOOOOOOOOOOOOOOOQQQOOOOOOOOO"),
        ("hm</think>\n<ACTION>go</ACTION>", "RROOOOOOOOOOOOOOOOOAAOOOOOOOOO"),
        ("<answer>Lima", "OOOOOOOOAAAA"),
    ],
)
def test_spans_letter_by_letter(text: str, expected: str) -> None:
    assert "".join(LETTERS[span] for span in token_spans(list(text))) == expected


def test_a_token_belongs_where_it_ends() -> None:
    assert [LETTERS[span] for span in token_spans(["<action>g", "", "o</action>"])] == ["A", "A", "O"]
