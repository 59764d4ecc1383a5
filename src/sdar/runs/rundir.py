"""The run directory: all that a run leaves behind, and the only link between training and reading. No torch.

    meta.json                       format, id, creation time, command line, commit, versions
    config.toml                     the resolved settings; `sdar train RUN/config.toml` repeats the run
    metrics.jsonl                   one object a step, such as {"step": 1, "rollout/success": 0.3}
    episodes/step-000001.jsonl.gz   one short object for every episode of the step, see `sdar.runs.records`
    trajectories/step-000001.jsonl.gz   one object for each of the first of them, see `sdar.runs.records`
    eval/step-000000.json           the fixed panel at that step, see `sdar.evaluation.results.EvalResult`
    eval/*.json                     evaluations made later by `sdar eval`
    checkpoints/                    model, tokenizer and trainer state
    tensorboard/                    the metrics once more, as events
    learning_curve.png              drawn at the end

Files appear whole: each is written beside its place and moved there. Only `metrics.jsonl` grows by lines.
A number that is not finite is null.

Formats: 2 added `id` to meta.json, `episodes/`, the texts `pieces`, `prompt` and `teacher_prompt` and the
`metrics` of a trajectory's turns, and the streams `gate` and `entropy`. Everything here reads
format 1 too; what a run lacks is left out.
"""

import gzip
import json
import math
import platform
import sys
import tomllib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sdar.errors import CheckpointError, ConfigError
from sdar.runs.files import write_atomic
from sdar.runs.records import Notes, episode_record, trajectory_record
from sdar.runs.versions import commit, versions
from sdar.types import Trajectory

FORMAT = 2


@dataclass(frozen=True)
class RunDir:
    """One run's directory. Make a new one with `create`, get at an old one with `open`."""

    path: Path

    @classmethod
    def create(cls, out: Path, name: str, config: str, *, exact: bool = False) -> "RunDir":
        """Make `out/name` with `config` (TOML) in it; unless `exact`, a taken name gets a number."""
        run = cls(_claim(out, name, exact))
        meta = {
            "format": FORMAT,
            "id": uuid.uuid4().hex,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": sys.argv,
            "platform": platform.platform(),
            "versions": versions(),
            "commit": commit(),
        }
        write_atomic(run.config_file, config)
        write_atomic(run.path / "meta.json", json.dumps(meta, indent=1) + "\n")
        return run

    @classmethod
    def open(cls, path: Path) -> "RunDir":
        """An existing run. Raises `CheckpointError` when it is none, or one of a newer format."""
        run = cls(path)
        if not (path / "meta.json").is_file():
            raise CheckpointError(f"{path} is not a run directory (it has no meta.json)")
        found = run.meta["format"]
        if found > FORMAT:
            raise CheckpointError(f"{path} has run format {found}; this sdar reads up to {FORMAT}: update it")
        return run

    @property
    def meta(self) -> dict[str, Any]:
        """What `meta.json` holds."""
        meta: dict[str, Any] = json.loads((self.path / "meta.json").read_text(encoding="utf-8"))
        return meta

    @property
    def id(self) -> str:
        """What no other run is called; a run of format 1 has only its name."""
        return str(self.meta.get("id", self.path.name))

    @property
    def config_file(self) -> Path:
        """The resolved settings."""
        return self.path / "config.toml"

    @property
    def settings(self) -> dict[str, Any]:
        """The resolved settings, as tables."""
        return tomllib.loads(self.config_file.read_text(encoding="utf-8"))

    @property
    def metrics_file(self) -> Path:
        """One JSON object a step."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints go."""
        return self.path / "checkpoints"

    @property
    def learning_curve(self) -> Path:
        """The picture drawn at the end."""
        return self.path / "learning_curve.png"

    def trajectories_file(self, step: int) -> Path:
        """The episodes of a step."""
        return self.path / "trajectories" / f"step-{step:06d}.jsonl.gz"

    def episodes_file(self, step: int) -> Path:
        """One short record for every episode of a step."""
        return self.path / "episodes" / f"step-{step:06d}.jsonl.gz"

    def eval_file(self, step: int) -> Path:
        """The fixed panel's result at a step."""
        return self.path / "eval" / f"step-{step:06d}.json"

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one line; it is on its way to the disk when this returns."""
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(_line({"step": step, **metrics}))

    def write_trajectories(
        self,
        step: int,
        trajectories: Sequence[Trajectory],
        notes: Sequence[Notes] = (),
    ) -> None:
        """Keep a step's episodes; `notes` are one for each trajectory, or none."""
        notes = notes or [Notes()] * len(trajectories)
        records = [trajectory_record(*pair) for pair in zip(trajectories, notes, strict=True)]
        _write_lines(self.trajectories_file(step), records)

    def write_episodes(
        self,
        step: int,
        trajectories: Sequence[Trajectory],
        skills: Sequence[Sequence[str]],
        gaps: Sequence[float],
    ) -> None:
        """Note how every episode of a step went, the names of the skills seen, and the mean gap."""
        records = map(episode_record, trajectories, skills, gaps)
        _write_lines(self.episodes_file(step), [{"step": step, **record} for record in records])

    def write_eval(self, step: int, result: Mapping[str, Any]) -> None:
        """Keep the fixed panel's result at a step."""
        write_atomic(self.eval_file(step), json.dumps(result) + "\n")

    def truncate_after(self, step: int) -> None:
        """Forget everything later than `step`, so that a resumed run continues as if it had stopped there."""
        kept = [line for line in read_metrics(self) if line["step"] <= step]
        write_atomic(self.metrics_file, "".join(map(_line, kept)))
        for part in ("trajectories", "episodes", "eval"):
            for file in self.path.glob(f"{part}/step-*"):
                if _step_of(file) > step:
                    file.unlink()


# ---- reading


def read_metrics(run: RunDir) -> list[dict[str, float]]:
    """The metrics of every step, in order; a line cut short by a crash is left out."""
    if not run.metrics_file.exists():
        return []
    whole = run.metrics_file.read_text(encoding="utf-8").rpartition("\n")[0]
    lines = [json.loads(line) for line in whole.splitlines()]
    return [{name: math.nan if value is None else value for name, value in line.items()} for line in lines]


def read_trajectories(run: RunDir, step: int) -> list[dict[str, Any]]:
    """The records of a step's episodes."""
    with gzip.open(run.trajectories_file(step), "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def read_episodes(run: RunDir) -> Iterator[dict[str, Any]]:
    """The records of all episodes of a run, step after step; each has its `step`."""
    for file in sorted(run.path.glob("episodes/step-*.jsonl.gz"), key=_step_of):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def trajectory_steps(run: RunDir) -> list[int]:
    """Steps whose episodes were kept."""
    return sorted(_step_of(file) for file in run.path.glob("trajectories/step-*.jsonl.gz"))


def read_evals(run: RunDir) -> dict[int, dict[str, Any]]:
    """Step -> result of the fixed panel, in order of steps."""
    files = sorted(run.path.glob("eval/step-*.json"))
    return {_step_of(file): json.loads(file.read_text(encoding="utf-8")) for file in files}


def find_run(name: str, out: Path) -> RunDir:
    """A run by path, by its name under `out`, or `latest`."""
    if name == "latest":
        runs = sorted(out.glob("*/meta.json"), key=lambda meta: meta.stat().st_mtime_ns)
        if not runs:
            raise CheckpointError(f"there is no run in {out}")
        return RunDir.open(runs[-1].parent)
    return RunDir.open(out / name if not Path(name).exists() and (out / name).exists() else Path(name))


def check_run_name(name: str) -> None:
    """Raise `ConfigError` for a name that is not that of one directory."""
    if name in ("", ".", "..") or not name.isprintable() or set(name) & {"/", "\\"}:
        raise ConfigError(
            f"a run's name must be that of one directory, without / or \\, not {name!r}: see --out"
        )


def _claim(out: Path, name: str, exact: bool) -> Path:
    """Make a directory that nobody else has."""
    check_run_name(name)
    number = 1
    while True:
        path = out / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            if exact:
                raise ConfigError(f"{path} exists: choose another --name, or --resume {path}") from None
            number += 1
        except OSError as error:
            raise ConfigError(f"cannot write to {out}: {error.strerror}") from error


def _step_of(file: Path) -> int:
    return int(file.name.split(".")[0].removeprefix("step-"))


def _write_lines(file: Path, records: Sequence[Mapping[str, Any]]) -> None:
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    write_atomic(file, gzip.compress(text.encode(), compresslevel=5, mtime=0))


def _line(metrics: Mapping[str, float]) -> str:
    finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
    return json.dumps(finite) + "\n"
