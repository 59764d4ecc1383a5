"""What kind of invalid action each is follows from the game played again."""

import importlib
from pathlib import Path

import pytest

from sdar.envs.alfworld.engine import Episode
from sdar.envs.alfworld.spec import AlfworldSpec

STUDIES = Path(__file__).parents[3] / "studies"


def test_kinds_of_invalid_actions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(STUDIES))
    module = importlib.import_module("invalid_actions")
    spec = AlfworldSpec()
    task = spec.panel("generated-compact-128").tasks[0]
    episode = Episode(spec.game(task))
    place = next(action for action in episode.admissible if action.startswith("go to "))
    name = place.removeprefix("go to ")
    thing = episode.game.names[min(episode.game.pickupable)]
    actions = [
        (place, ""),
        (place, module.HERE),
        ("dance", module.FORMLESS),
        (place, module.AGAIN),
        ("go to desk 99", module.UNKNOWN),
        (f"take sofa 99 from {name}", module.UNKNOWN),
        (f"move {thing} to {name}", module.HANDS),
        ("look", ""),
        (place, module.HERE),
    ]
    record = {"task": task.id, "success": False}
    turns = [
        {"action": action, "valid": not kind, "adv": [-1.0, -1.0], "logp": [0.0, -0.5]}
        for action, kind in actions
    ]
    found = module.replay({**record, "turns": turns})
    assert [turn.kind for turn in found] == [kind for _, kind in actions]
    assert [turn.failed for turn in found] == [0, 0, 1, 2, 3, 4, 5, 6, 0]
    assert [found[3].role, found[7].role] == ["repeated", "a valid one"]
    assert (found[0].advantage, round(found[0].probability, 3)) == (-1.0, 0.607)
    with pytest.raises(SystemExit, match="not played by these rules"):
        module.replay({**record, "turns": [{**turns[0], "valid": False}]})
