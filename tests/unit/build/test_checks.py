"""What is said before a run starts."""

import json

import pytest

from sdar.build.checks import check_offload, check_whole_vocabulary, pretrained_hint
from sdar.cli import main
from sdar.errors import ConfigError
from sdar.recipe import load_config
from sdar.settings.config import Layer


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
    assert pretrained_hint(load_config(["pretrained", Layer("x", model)])) == ""
    assert pretrained_hint(load_config([])) == ""
    (tmp_path / "big" / "config.json").write_text(json.dumps({"hidden_size": 128}))
    assert pretrained_hint(load_config([Layer("x", model)])) == ""


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"ranks.offload": "both"}, "takes memory off a GPU, and device is cpu"),
        (
            {"device": "cuda", "ranks.offload": "reference", "model.lora_rank": 4},
            "without adapters: use none",
        ),
        (
            {"device": "cuda", "ranks.offload": "both", "objective.kl_coef": 0},
            "no frozen model scores: use optimizer",
        ),
    ],
)
def test_an_offload_that_can_do_nothing_is_refused_by_name(settings, why):
    with pytest.raises(ConfigError, match=f"ranks.offload '{settings['ranks.offload']}'.*{why}"):
        check_offload(load_config(settings))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"device": "cuda", "ranks.offload": "both"},
        {"device": "cuda", "ranks.offload": "optimizer", "model.lora_rank": 4},
        {"device": "cuda", "ranks.offload": "reference", "teacher": "reference", "objective.kl_coef": 0},
        {
            "device": "cuda",
            "ranks.offload": "both",
            "teacher": {"name": "model", "path": "x"},
            "model.lora_rank": 4,
        },
    ],
)
def test_an_offload_that_moves_something_is_not(settings):
    check_offload(load_config(settings))


def test_the_whole_vocabulary_is_kept_of_small_models_only(tmp_path, monkeypatch, capsys):
    whole = {"objective.divergence": "forward-kl", "objective.top_k": 0, "rollout.max_tokens": 512}
    check_whole_vocabulary(load_config(whole, {"rollout.max_tokens": 16}), 1536)
    check_whole_vocabulary(load_config(whole, {"objective.top_k": 64}), 151_936)
    check_whole_vocabulary(load_config(whole, {"objective.divergence": "likelihood"}), 151_936)
    # 8 tasks x 8 episodes x 20 turns x 512 tokens x 151,936 numbers of 4 bytes
    with pytest.raises(ConfigError, match=r"655360 tokens, 398 GB in every rank, .* set objective\.top_k"):
        check_whole_vocabulary(load_config(whole), 151_936)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text(json.dumps({"vocab_size": 151_936}))
    words = [word for name, value in whole.items() for word in (f"--{name}", str(value))]
    for model in ("--model.path", "--warm_start.from"):
        assert main(["train", model, "./m", "--dry-run", *words]) == 2
        assert "objective.top_k 0 keeps 151936 numbers" in capsys.readouterr().err
