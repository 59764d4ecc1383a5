"""A warm start says why it makes a model, and how to do without."""

from pathlib import Path

from sdar.build.reasons import note, reason
from sdar.recipe import load_config


def test_the_reason_names_what_differs_from_the_most_similar_model(tmp_path: Path) -> None:
    new = tmp_path / "embedded-new"
    assert "once for these settings" in reason(load_config(), new)
    for name, settings, seconds in (
        ("far", {"env.max_turns": 9, "warm_start.steps": 3}, 5),
        ("near", {"warm_start.steps": 3}, 240),
    ):
        note(load_config(settings), tmp_path / f"embedded-{name}", seconds)
        (tmp_path / f"embedded-{name}").mkdir()
    config = load_config({"warm_start.steps": 3, "skills.retrieval": "all"})
    keep = f"--model.path {tmp_path}/embedded-near keeps the old one"
    assert reason(config, new) == (
        f"making another model by demonstrations: skills.retrieval differs; 4 min; {keep}"
    )
    assert "what demonstrations show" in reason(load_config({"warm_start.steps": 3}), new)
    assert "once for these settings" in reason(load_config("webshop/embedded"), new)
