"""Every format that run directories had can still be read; `tests/data/run-format-N` is a run of format N."""

import re
import shutil
from pathlib import Path

import pytest
from tests.unit.runs.test_rundir import TRAJECTORY

from sdar.evaluation.curves import draw_learning_curve, results
from sdar.recipe import load_config
from sdar.runs.records import Notes, episode_record, trajectory_record
from sdar.runs.rundir import FORMAT, RunDir, read_metrics, read_trajectories, trajectory_steps
from sdar.settings.config import read_toml
from sdar.viewer.index import Index

KEPT = sorted((Path(__file__).parents[2] / "data").glob("run-format-*"))
FIELDS = {"task", "kind", "index", "goal", "context", "success", "reward", "end", "skills", "turns"}
TURN = {"messages", "observation", "text", "action", "reward", "valid", "tokens", "logp"}


@pytest.fixture(params=KEPT, ids=lambda path: path.name)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> RunDir:
    """A copy, which may be written to."""
    return RunDir.open(Path(shutil.copytree(request.param, tmp_path / request.param.name)))


def test_every_older_format_is_kept() -> None:
    assert {RunDir.open(path).meta["format"] for path in KEPT} >= set(range(1, FORMAT))


def test_settings_and_metrics(run: RunDir) -> None:
    assert run.id
    assert load_config([read_toml(run.config_file)]).run_name == "toy"
    metrics = read_metrics(run)
    assert [line["step"] for line in metrics] == [0, 1, 2]
    assert 0 <= metrics[2]["rollout/success"] <= 1


def test_trajectories(run: RunDir) -> None:
    assert trajectory_steps(run) == [1, 2]
    for record in read_trajectories(run, 2):
        assert set(record) >= FIELDS
        for turn in record["turns"]:
            assert set(turn) >= TURN | {"gap", "teacher", "adv"}
            assert len(turn["gap"]) == len(turn["tokens"]) == len(turn["logp"])


def test_evaluations(run: RunDir) -> None:
    found = results(run)
    assert list(found) == [0, 2]
    assert (found[2].panel, len(found[2].outcomes)) == ("held_out", 4)
    assert found[2].success.value == 1.0
    assert draw_learning_curve(run).stat().st_size > 10_000


def test_going_on_with_the_run(run: RunDir) -> None:
    run.truncate_after(1)
    assert [line["step"] for line in read_metrics(run)] == [0, 1]
    assert trajectory_steps(run) == [1]


def test_the_viewer(run: RunDir) -> None:
    index = Index(run)
    index.refresh()
    assert index.problems == {}
    assert {(row["part"], row["step"]) for row in index.rows} == {
        ("training", 1),
        ("training", 2),
        ("panel", 0),
        ("panel", 2),
    }
    assert index.episode("training", 2, 0)["turns"]
    assert [panel["step"] for panel in index.panels] == [0, 2]
    assert len(index.lines) == 3


def test_the_page_names_every_key(run: RunDir, tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "run_directory.md").read_text(encoding="utf-8")
    texts = {"pieces": [[""]] * 2, "prompts": [""] * 2, "teacher_prompts": [""] * 2}
    trajectory = trajectory_record(TRAJECTORY, Notes(**texts))
    result = results(run)[2].to_json()
    written = {
        "meta.json": RunDir.create(tmp_path, "new", "").meta,
        "An episode": episode_record(TRAJECTORY, (), 0.0),
        "A trajectory": trajectory | trajectory["turns"][0],
        "An evaluation": result | result["outcomes"][0],
    }
    for title, record in written.items():
        section = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        assert set(record) - set(re.findall(r"`(\w+)`", section)) == set(), title
    assert f'"format": {FORMAT}' in page
    assert f"| {FORMAT} |" in page
