"""Prompts that do not fit are found before the weights are loaded, where none fits."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.runs import LongSpec
from tests.tiny import tiny_model, tiny_tokenizer

from sdar.build.prompts import check_prompts
from sdar.errors import ContextOverflow
from sdar.evaluation.evaluate import EvalConfig
from sdar.model.chat import Chat
from sdar.recipe import RunConfig
from sdar.rollout.settings import RolloutConfig

TRAIN, PANEL = (1, -1, 2, -2, 3, -3), (4, -4, 5, -5)


@pytest.mark.parametrize(
    ("long", "said"),
    [
        (TRAIN[:-1] + PANEL[:-1], ""),
        (TRAIN, "of 6 tasks of the training split none fits: the shortest first prompt and an answer of 64"),
        (PANEL, "of 4 tasks of panel 'held_out' none fits: the shortest first prompt and an answer of 64"),
    ],
)
def test_what_has_no_prompt_that_fits_is_named(long: tuple[int, ...], said: str, tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    config = RunConfig(env=LongSpec(long=long), rollout=RolloutConfig(max_tokens=64))
    chat = Chat(tiny_tokenizer())
    if not said:
        check_prompts(config, tmp_path, chat, None)
        return
    with pytest.raises(ContextOverflow, match=said):
        check_prompts(config, tmp_path, chat, None)


def test_a_run_without_a_panel_looks_at_its_training_tasks_alone(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    config = RunConfig(env=LongSpec(long=PANEL))
    check_prompts(replace(config, eval=EvalConfig(panel="none")), tmp_path, Chat(tiny_tokenizer()), None)
