"""The report of the study says what made-up results hold."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sdar.study.plan import Planned, read_plan

ROOT = Path(__file__).parents[3]
FILE = ROOT / "studies" / "skill_quality.toml"
RATES = {"opsd": 0.1, "grpo": 0.5, "sdar": 0.7}
WRONG = {"right": 0.0, "half": -0.1, "wrong": -0.2}


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "studies"))
    return importlib.import_module("skill_quality")


def made_up(run: Planned, panel: Any) -> dict[str, Any]:
    """SDAR wins and loses nothing to wrong skills; OPSD is poor; the others are as GRPO and lose."""
    method = run.axes["method"]
    rate = RATES.get(method, 0.5) + (0.0 if method == "sdar" else WRONG.get(run.axes.get("skills", ""), 0.0))
    rate -= 0.4 * ("coef-1" in run.axes.values())
    draw = np.random.default_rng([run.seed, len(method)])
    end = "".join(str(int(value)) for value in draw.random(128) < rate)
    turns = [{"steps": [1, 30], "tokens": [9, 9], "gap": [0.1, None], "gate": [0.6, 0.5]}]
    return {
        "name": run.name,
        "part": run.part,
        "axes": dict(run.axes),
        "seed": run.seed,
        "settings": run.settings,
        "commit": "abc",
        "model": "0" * 64,
        "versions": {"python": "3", "torch": "2"},
        "machine": {"platform": "here", "cores": 2},
        "status": "done",
        "seconds": {"step": 60.0, "eval": 4.0},
        "panel": {
            "panel": panel.name,
            "fingerprint": panel.fingerprint,
            "samples": 1,
            "temperature": 0.4,
            "seed": 0,
        },
        "student_skills": "",
        "success": {"0": "0011" * 32, "30": end},
        "last": {name: [1] * 128 for name in ("turns", "tokens", "invalid", "reward")}
        | {"truncated": "0" * 128},
        "curves": {"rollout/success": [rate] * 30},
        "turns": turns if method != "grpo" else [],
    }


def study(report: ModuleType, path: Path, *, seeds: tuple[int, ...] = (0, 1, 2)) -> Any:
    """A study in `path` with results of these seeds."""
    file = path / FILE.name
    file.write_text(FILE.read_text())
    plan = read_plan(file)
    plan.results.mkdir(parents=True)
    panel = report.Study.read(file).panel
    for run in plan.runs:
        if run.seed in seeds:
            (plan.results / f"{run.name}.json").write_text(json.dumps(made_up(run, panel)))
    return report.Study.read(file)


def test_verdicts_follow_the_results(report: ModuleType, tmp_path: Path) -> None:
    lines = report.claims_table(study(report, tmp_path)).splitlines()
    verdicts = {line.split("|")[1].strip(): line.split("|")[-2].strip() for line in lines[2:]}
    assert verdicts["OPSD alone collapses (right skills)"] == "holds"
    assert verdicts["SDAR is better than GRPO, all wrong"] == "holds"
    assert verdicts["SDAR degrades least with wrong skills"] == "holds"
    assert verdicts["beta 5 is best"] == "not decided"


def test_an_unfinished_study_says_so(report: ModuleType, tmp_path: Path) -> None:
    partial = study(report, tmp_path, seeds=(0,))
    status = report.status_table(partial).splitlines()
    planned = len(partial.plan.runs)
    assert status[-1] == f"| all | {sum(run.seed == 0 for run in partial.plan.runs)} | 0 | {planned} |"
    assert "| SDAR, right | 1 |" in report.main_table(partial)
    assert report.claims_table(partial).count("too few runs yet") == 8
    assert report.excess_losses(partial) == {}


def test_the_page_keeps_its_text_and_gets_tables_and_figures(report: ModuleType, tmp_path: Path) -> None:
    made = study(report, tmp_path)
    page = tmp_path / "docs" / "study.md"
    page.parent.mkdir()
    page.write_text((ROOT / "docs" / "study.md").read_text())
    report.write_report(made.plan.file, page)
    first = page.read_text()
    assert "# Study" in first
    assert "| GRPO | 3 |" in first
    assert len(list((page.parent / "images").glob("study-*.png"))) == 4
    report.write_report(made.plan.file, page)
    assert page.read_text() == first


def test_a_page_without_a_block_is_an_error(report: ModuleType) -> None:
    assert report.fill("<!-- a -->\nold\n<!-- /a -->", {"a": "new"}) == "<!-- a -->\n\nnew\n\n<!-- /a -->"
    with pytest.raises(SystemExit, match="has the block 'b' 0 times"):
        report.fill("", {"b": ""})
