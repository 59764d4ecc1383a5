"""Write what GRPO alone reached in studies into the package, where `sdar train` shows it at its end.

python studies/baselines.py STUDY.toml ...

Takes all arms whose objective is GRPO and that are done with every seed. How a study's model was made stands
in the recipe beside it, MODEL.toml.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from skill_quality import ROOT, Study

from sdar.evaluation.baseline import FILE, Baseline, conditions
from sdar.evaluation.compare import success
from sdar.model.load import weights_digest
from sdar.recipe import load_config
from sdar.runs.files import write_atomic
from sdar.settings.config import Layer, to_table
from sdar.settings.shipped import read_recipes


def baselines(file: Path) -> Iterator[Baseline]:
    """The baselines of one study."""
    study = Study.read(file)
    model = study.plan.model
    made = read_recipes([str(model.with_suffix(".toml"))])
    arms = dict.fromkeys(tuple(run.axes.values()) for run in study.plan.runs)
    for arm in arms:
        planned = [run for run in study.plan.runs if tuple(run.axes.values()) == arm]
        done = study.arm(*arm)
        if planned[0].settings["objective"]["name"] != "grpo" or len(done) < len(planned):
            continue
        settings = to_table(load_config([*made, Layer(str(file), planned[0].settings)]))
        yield Baseline(
            conditions=conditions(settings, study.panel.fingerprint),
            weights=weights_digest(model),
            before=round(float(np.mean([bit == "1" for run in done for bit in run["success"]["0"]])), 4),
            success=success(study.evals(*arm)),
            seeds=tuple(run["seed"] for run in done),
            command=f"sdar study {file.resolve().relative_to(ROOT)}",
            commit=", ".join(dict.fromkeys(run["commit"] for run in done)),
        )


def write(files: list[Path], out: Path) -> None:
    """Write the baselines of all studies."""
    found = [each.to_json() for file in files for each in baselines(file)]
    if not found:
        raise SystemExit("no study has GRPO with all its seeds")
    write_atomic(out, json.dumps({"baselines": found}, indent=1) + "\n")


if __name__ == "__main__":
    write([Path(word) for word in sys.argv[1:]], FILE)
