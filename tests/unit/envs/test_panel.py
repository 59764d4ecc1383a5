"""Panels cut to a size."""

from collections import Counter

from sdar.envs.alfworld.spec import AlfworldSpec
from sdar.envs.base import Panel
from sdar.recipe import load_config
from sdar.settings.config import Layer
from sdar.types import Task


def test_a_cut_keeps_each_kinds_share_and_the_order():
    panel = AlfworldSpec().panel("generated-compact-128")
    whole, cut = Counter(task.kind for task in panel.tasks), panel.cut(32)
    kept = Counter(task.kind for task in cut.tasks)
    assert cut.name == "generated-compact-128-cut32"
    assert len(cut.tasks) == 32
    assert all(abs(kept[kind] - whole[kind] / 4) <= 1 for kind in whole)
    places = [task.id for task in panel.tasks]
    assert sorted(cut.tasks, key=lambda task: places.index(task.id)) == list(cut.tasks)
    for kind in whole:
        first = [task.id for task in panel.tasks if task.kind == kind][: kept[kind]]
        assert [task.id for task in cut.tasks if task.kind == kind] == first
    assert cut.fingerprint != panel.fingerprint
    found = AlfworldSpec().find_panel(cut.name)
    assert (found.name, found.fingerprint) == (cut.name, cut.fingerprint)
    assert AlfworldSpec().find_panel(panel.name).fingerprint == panel.fingerprint


def test_each_kind_keeps_a_task_and_no_cut_is_larger_than_the_panel():
    panel = Panel("p", [Task(f"{kind}{i}", kind) for i, kind in enumerate("aaaabc")])
    assert [task.id for task in panel.cut(1).tasks] == ["a0", "b4", "c5"]
    assert panel.cut(1).name == panel.cut(1).cut(3).name == "p-cut3"
    assert panel.cut(0) is panel.cut(6) is panel


def test_the_setting_cuts_the_panel_of_a_run():
    config = load_config([Layer("x", {"eval": {"tasks": 12}})])
    assert (config.panel.name, len(config.panel.tasks)) == ("generated-compact-128-cut12", 12)
