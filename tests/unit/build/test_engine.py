"""The engine has the dtype that the settings mean."""

from pathlib import Path

import pytest
import torch
from tests.tiny import tiny_model, tiny_tokenizer

from sdar.build.engine import make_engine
from sdar.model.chat import Chat
from sdar.recipe import load_config
from sdar.trainer.distributed import World


@pytest.mark.parametrize(
    ("dtype", "fast", "expected"),
    [
        ("float32", True, "float32"),
        ("bfloat16", False, "bfloat16"),
        ("auto", True, "bfloat16"),
        ("auto", False, "float32"),
    ],
)
def test_dtype(
    dtype: str, fast: bool, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdar.model.load.has_fast_bfloat16", lambda: fast)
    tiny_model().save_pretrained(tmp_path)
    config = load_config({"model.dtype": dtype})
    engine = make_engine(config, tmp_path, World(0, 1, torch.device("cpu")), Chat(tiny_tokenizer()))
    assert engine.dtype == expected
