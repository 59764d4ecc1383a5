"""A short stretch of `benchmarks/published_tags.py`: tags of Search-QA read as published."""

import sys
from pathlib import Path

from sdar.envs.search_qa.spec import SearchQASpec

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from published_tags import described, differing


def test_tags_are_read_as_published() -> None:
    assert differing(5_000, seed=1)["published"] == 0
    assert described("</SEARCH><search>a <answer> b</answer><answer>c") == ("answer b", False)


def test_the_setting_chooses_the_reading() -> None:
    text = "</SEARCH><search>ruler of velm</search>"
    for parsing, action in {"published": "search ruler of velm", "any-case": ""}.items():
        spec = SearchQASpec(prompt="full", parsing=parsing)
        env = spec.make()
        env.reset(spec.tasks("train")[0])
        assert env.step(text).action == action
