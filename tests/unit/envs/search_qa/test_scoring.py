"""Answers are judged as the published evaluation judges them."""

import pytest

from sdar.envs.search_qa.scoring import exact_match, f1, normalize


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Beatles", "beatles"),
        ("an A-list, the best!", "alist best"),
        ("Theatre and another", "theatre and another"),
        ("U.S.A.", "usa"),
        ("Wilhelm Conrad Röntgen", "wilhelm conrad röntgen"),
        ("it\u2019s", "it\u2019s"),
        ("the", ""),
        ("a\tb\n c", "b c"),
    ],
)
def test_normalize(text, normal):
    assert normalize(text) == normal


@pytest.mark.parametrize("golden", ["A", "The The", "!!!"])
def test_an_empty_answer_is_never_right(golden):
    assert not any(exact_match(answer, [golden]) for answer in ("", " ", "the", "?", "an"))
    assert exact_match(f" {golden.lower()} ", [golden])


def test_any_golden_answer_will_do():
    assert exact_match("14 december 1972, UTC", ["December 1972", "14 December 1972 UTC"])
    assert not exact_match("1972", ["December 1972", "14 December 1972 UTC"])
    assert not exact_match("anything", [])


@pytest.mark.parametrize(
    ("answer", "golden", "value"),
    [
        ("red house", ["red house"], 1.0),
        ("red red", ["red house"], 0.5),
        ("big red house", ["house"], 0.5),
        ("tree", ["house", "big tree"], 2 / 3),
        ("", ["house"], 0.0),
        ("tree", ["house"], 0.0),
    ],
)
def test_f1(answer, golden, value):
    assert f1(answer, golden) == pytest.approx(value)
