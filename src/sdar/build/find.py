"""The model that a user names: a run, one of its checkpoints, a directory, or a name on the hub. No torch.

A name may also be that of a model in the data directory, such as smollm2.
"""

import re
from pathlib import Path

from sdar.errors import CheckpointError, suggest
from sdar.model.settings import downloaded
from sdar.runs.checkpoints import check_whole, complete, step_of
from sdar.runs.rundir import RunDir, find_run
from sdar.settings.config import Layer, read_toml

HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
"""How models on the Hugging Face hub are called: OWNER/NAME."""


def find_model(target: str, step: int | None, out: Path) -> tuple[Layer, Path, Path]:
    """Settings, model directory and (without its ending) place for results of what the user names."""
    path = Path(target)
    if not path.exists() and not (out / target).exists():
        path = downloaded(target) or path
    if (path / "model").is_dir() and path.parent.name == "checkpoints":
        run, checkpoint = RunDir.open(path.parent.parent), path
    elif (path / "config.json").is_file() and not (path / "meta.json").is_file():
        return Layer(target, {"model": {"path": str(path)}}), path, out / "eval" / path.name
    elif HUB_NAME.fullmatch(target) and not path.parent.is_dir() and not (out / target).exists():
        return Layer(target, {"model": {"path": target}}), path, out / "eval" / target.replace("/", "-")
    else:
        run = find_run(target, out)
        saved = {step_of(path): path for path in complete(run.checkpoints)}
        wanted = max(saved, default=0) if step is None else step
        if wanted not in saved:
            advice = suggest(str(wanted), map(str, saved), f"train on with sdar train --resume {run.path}")
            raise CheckpointError(f"{run.path} has no checkpoint of step {wanted}: {advice}")
        checkpoint = saved[wanted]
    check_whole(checkpoint)
    return read_toml(run.config_file), checkpoint / "model", run.path / "eval" / checkpoint.name
