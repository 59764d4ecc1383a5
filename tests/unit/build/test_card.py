"""The model card of a checkpoint."""

from dataclasses import replace
from pathlib import Path

from tests.outcomes import result_of

from sdar.build.card import model_card
from sdar.build.train import header
from sdar.model.settings import ModelConfig
from sdar.recipe import RunConfig, load_config
from sdar.runs.rundir import RunDir


def test_a_card_says_what_the_model_is_and_how_well_it_plays(tmp_path: Path) -> None:
    config = replace(RunConfig(), model=ModelConfig(path="Qwen/Qwen2.5-3B-Instruct"))
    run = RunDir.create(tmp_path, "mine", "")
    run.write_eval(10, result_of([[1], [0]]).to_json())
    card = model_card(config, run, 10)
    head = card.split("---\n")[1]
    assert "base_model: Qwen/Qwen2.5-3B-Instruct\n" in head
    assert "- sdar\n- reinforcement-learning\n- alfworld\n- sdar\n" in head
    assert "# mine, step 10\n" in card
    assert "for 10 of 30 steps" in card
    assert "50.0 % [" in card
    assert run.id in card
    assert "[optim]\nlr = 0.0004\n" in card
    assert "Success" not in model_card(config, run, 20)


def test_a_model_of_demonstrations_has_the_base_it_was_made_from(tmp_path: Path) -> None:
    config = load_config({"warm_start": {"from": "smollm2"}})
    card = model_card(config, RunDir.create(tmp_path, "mine", ""), 1)
    assert "base_model: smollm2\n" in card
    assert "from `smollm2`." in card
    assert ", model smollm2, " in header(config, RunDir.create(tmp_path, "other", ""))


def test_the_embedded_model_has_no_base(tmp_path: Path) -> None:
    card = model_card(RunConfig(), RunDir.create(tmp_path, "mine", ""), 1)
    assert "base_model" not in card
    assert "the small model that sdar makes itself" in card
