"""What is said before a run starts."""

import json

import pytest

from sdar.build.checks import pretrained_hint
from sdar.cli import main
from sdar.recipe import load_config
from sdar.settings.config import Layer
from sdar.settings.shipped import read_recipe


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setenv("SDAR_DATA", str(tmp_path))
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "config.json").write_text(json.dumps({"hidden_size": 576}))
    return {"model": {"path": "big"}}


def test_a_pretrained_model_with_the_embedded_ones_settings_is_remarked(model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hint = pretrained_hint(load_config([Layer("x", model)]))
    assert "optim.lr = 0.0004 and rollout.max_tokens = 16" in hint
    assert "sdar train pretrained --model.path big" in hint
    assert main(["train", "--model.path", "big", "--dry-run"]) == 0
    assert capsys.readouterr().err.strip() == hint


def test_the_preset_a_small_model_and_the_embedded_one_are_not(model, tmp_path):
    assert pretrained_hint(load_config([read_recipe("pretrained"), Layer("x", model)])) == ""
    assert pretrained_hint(load_config([])) == ""
    (tmp_path / "big" / "config.json").write_text(json.dumps({"hidden_size": 128}))
    assert pretrained_hint(load_config([Layer("x", model)])) == ""
