import json
from pathlib import Path

import pytest
from huggingface_hub import constants
from tests.tiny import tiny_model

from sdar.errors import ConfigError
from sdar.plan.shapes import ModelShape, model_shape, shape_of, table
from sdar.recipe import load_config


@pytest.mark.parametrize(
    ("kind", "tied"), [("qwen2", True), ("qwen2", False), ("qwen3", True), ("llama", False)]
)
def test_parameters_are_those_of_the_real_model(kind: str, tied: bool, tmp_path: Path) -> None:
    model = tiny_model(kind, tie_word_embeddings=tied)
    model.config.save_pretrained(tmp_path)
    shape = model_shape(str(tmp_path))
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert shape.layer == sum(parameter.numel() for parameter in model.model.layers[0].parameters())


def test_the_table_has_the_published_numbers_of_parameters() -> None:
    assert {name: model_shape(name).parameters for name in table() if "/" in name} == {
        "Qwen/Qwen2.5-3B-Instruct": 3_085_938_688,
        "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
        "Qwen/Qwen3-1.7B": 1_720_574_976,
    }
    assert ModelShape.of(table()["smollm2"], "smollm2").parameters == 134_515_008


def test_adapters_are_counted_as_peft_makes_them() -> None:
    from sdar.model.load import add_lora
    from sdar.model.settings import ModelConfig

    for names in (("all-linear",), ("q_proj", "down_proj")):
        model = add_lora(tiny_model(), ModelConfig(lora_rank=4, lora_targets=names))
        shape = ModelShape.of(model.config.to_dict(), "tiny")
        made = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        assert shape.adapters(4, names) == made


def test_the_embedded_model_has_the_shape_that_is_built() -> None:
    from sdar.model.embedded import build_model, build_tokenizer

    config = load_config()
    tokenizer = build_tokenizer(["a room with a fridge 1"], config.warm_start.model)
    model = build_model(tokenizer, config.warm_start.model, seed=0)
    missing = config.warm_start.model.vocab_size - len(tokenizer)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert shape_of(config).parameters == count + missing * config.warm_start.model.hidden_size


def test_the_hub_cache_wins_over_the_table_and_unknown_models_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"no config.json of a/b on this machine: .*Qwen/Qwen3-1.7B"):
        model_shape("a/b")
    home = tmp_path / "models--a--b"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("c0ffee")
    place = home / "snapshots" / "c0ffee"
    place.mkdir(parents=True)
    (place / "config.json").write_text(json.dumps(table()["Qwen/Qwen3-1.7B"] | {"num_hidden_layers": 1}))
    assert model_shape("a/b").layers == 1
    (place / "config.json").write_text('{"model_type": "quen2"}')
    with pytest.raises(ConfigError, match="model type 'quen2': did you mean 'qwen2'"):
        model_shape("a/b")
