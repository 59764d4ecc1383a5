"""The run directory: all that a run leaves behind, and the only link between training and reading. No torch.

    meta.json                       format, id, creation time, command line, commit, versions
    config.toml                     the resolved settings; `sdar train RUN/config.toml` repeats the run
    segments.jsonl                  one object for each process that trained: from where, when, with what
    metrics.jsonl                   one object a step, such as {"step": 1, "rollout/success": 0.3}
    episodes/step-000001.jsonl.gz   one short object for every episode of the step, see `sdar.runs.records`
    trajectories/step-000001.jsonl.gz   one object for each of those that are kept, see `sdar.runs.records`
    texts.jsonl                     one object for each text that a stage asked for, where one did
    eval/step-000000.json           the fixed panel at that step, see `sdar.evaluation.results.EvalResult`
    eval/*.json                     evaluations made later by `sdar eval`
    eval/*.jsonl.gz                 one object for each episode that is kept of the evaluation of that name
    checkpoints/                    model, tokenizer and trainer state
    tensorboard/                    the metrics once more, as events
    learning_curve.png              drawn at the end

Files appear whole: each is written beside its place and moved there. Only `metrics.jsonl`, `segments.jsonl`
and `texts.jsonl` grow by lines. `lock` is held by the process that trains. A file that cannot be read raises
one line that names it and says what to do.
A number that is not finite is null.

Formats: 2 added `id` to meta.json, `episodes/`, the texts `pieces`, `prompt` and `teacher_prompt` and the
`metrics` of a trajectory's turns, and the streams `gate` and `entropy`. Everything here reads
format 1 too; what a run lacks is left out.
"""

import json
import math
import platform
import sys
import tomllib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sdar.errors import CheckpointError, ConfigError, DataError
from sdar.runs.files import explain, read_json, remove_leftovers, storing, write_atomic
from sdar.runs.lines import read_lines, read_packed, write_packed
from sdar.runs.links import OWNER, check_links
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
            "created": _now(),
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
        found = run.meta.get("format")
        if not isinstance(found, int):
            raise CheckpointError(f"{path / 'meta.json'} is damaged (no format): restore it from a copy")
        if found > FORMAT:
            raise CheckpointError(f"{path} has run format {found}; this sdar reads up to {FORMAT}: update it")
        check_links(path, run.id)
        return run

    @property
    def meta(self) -> dict[str, Any]:
        """What `meta.json` holds."""
        return read_json(self.path / "meta.json", CheckpointError)

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
        try:
            return tomllib.loads(self.config_file.read_text(encoding="utf-8"))
        except OSError as error:
            raise CheckpointError(explain(error, self.config_file)) from error
        except ValueError as error:
            raise CheckpointError(
                f"{self.config_file} is damaged ({error}): restore it from a copy"
            ) from error

    @property
    def segments(self) -> list[dict[str, Any]]:
        """One record for each process that trained, in order; of a run without them one that meta.json gives.

        `after` is the number of steps done before it, `started` when (UTC), `settings` all settings as
        tables, `versions`, `commit` and `command` as in meta.json, `ranks` the number of processes,
        `left_out` how many records of each file were not used.
        """
        if found := read_lines(self.segments_file):
            return found
        meta = self.meta
        known: dict[str, Any] = {
            name: meta[name] for name in ("versions", "commit", "command") if name in meta
        }
        return [{"after": 0, "started": meta.get("created", ""), "settings": self.settings, **known}]

    @property
    def segments_file(self) -> Path:
        """One JSON object for each process that trained."""
        return self.path / "segments.jsonl"

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Be the only process that trains this run; a process that died holds nothing.

        Raises `CheckpointError` when another one is at work.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.path / "lock")
        with storing(self.path / "lock"):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise CheckpointError(
                    f"{self.path} is being trained by another process: wait until it ends, or stop it"
                ) from None
        try:
            yield
        finally:
            lock.release()

    def begin_segment(
        self,
        after: int,
        config: str,
        ranks: int,
        left_out: Mapping[str, int] | None = None,
        start: str = "",
        threads: int = 0,
    ) -> None:
        """Note that a process trains on after so many steps, with these settings, which become the run's.

        `left_out`: file -> how many of its records are not used; `start`: the model that the run started
        from; `threads`: those of each rank, which decide the last bits of its numbers. What processes that
        were killed left unfinished is removed.
        """
        remove_leftovers(self.path)
        segment = {
            "after": after,
            "started": _now(),
            "ranks": ranks,
            "threads": threads,
            "start": start,
            "settings": tomllib.loads(config),
            "left_out": dict(left_out or {}),
            "versions": versions(),
            "commit": commit(),
            "command": sys.argv,
        }
        write_atomic(self.config_file, config)
        write_atomic(self.checkpoints / OWNER, self.id + "\n")
        kept = read_lines(self.segments_file)
        write_atomic(self.segments_file, "".join(json.dumps(line) + "\n" for line in [*kept, segment]))

    @property
    def metrics_file(self) -> Path:
        """One JSON object a step."""
        return self.path / "metrics.jsonl"

    @property
    def texts_file(self) -> Path:
        """One JSON object for each text that a stage asked for."""
        return self.path / "texts.jsonl"

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

    def metrics(self) -> list[dict[str, float]]:
        """The metrics of every step, one record each: `pandas.DataFrame(run.metrics())` is a table."""
        return read_metrics(self)

    def episodes(self) -> list[dict[str, Any]]:
        """One record for every training episode, as `sdar.runs.records.episode_record`, with its `step`.

        What the environment measured has columns of its own, such as `metrics/score`.
        """
        records = ((record, record.pop("metrics", {})) for record in read_episodes(self))
        return [
            record | {f"metrics/{name}": value for name, value in measured.items()}
            for record, measured in records
        ]

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one line; it is on its way to the disk when this returns."""
        with storing(self.metrics_file), self.metrics_file.open("a", encoding="utf-8") as file:
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
        write_packed(self.trajectories_file(step), records)

    def write_episodes(
        self,
        step: int,
        trajectories: Sequence[Trajectory],
        skills: Sequence[Sequence[str]],
        gaps: Sequence[float],
        kept: Sequence[int] = (),
    ) -> None:
        """Note how every episode of a step went, the names of the skills seen, and the mean gap.

        `kept` are the places of those that `write_trajectories` keeps, in its order.
        """
        lines = {place: line for line, place in enumerate(kept)}
        records = map(episode_record, trajectories, skills, gaps, map(lines.get, range(len(trajectories))))
        write_packed(self.episodes_file(step), [{"step": step, **record} for record in records])

    def write_eval(
        self, step: int, result: Mapping[str, Any], episodes: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Keep the fixed panel's result at a step, and records of some of its episodes."""
        write_eval(self.eval_file(step), result, episodes)

    def truncate_after(self, step: int) -> list[int]:
        """Forget everything later than `step`, so that a resumed run continues as if it had stopped there.

        The steps before it whose metrics are gone; they are when the file was damaged.
        """
        kept = [line for line in read_metrics(self) if line["step"] <= step]
        write_atomic(self.metrics_file, "".join(map(_line, kept)))
        with storing(self.path):
            for part in ("trajectories", "episodes", "eval"):
                for file in self.path.glob(f"{part}/step-*"):
                    if _step_of(file) > step:
                        file.unlink()
        return sorted(set(range(step + 1)) - {int(line["step"]) for line in kept})


# ---- reading


def read_metrics(run: RunDir) -> list[dict[str, float]]:
    """The metrics of every step, in order; a line cut short by a crash is left out."""
    lines = read_lines(run.metrics_file)
    return [{name: math.nan if value is None else value for name, value in line.items()} for line in lines]


def write_eval(file: Path, result: Mapping[str, Any], episodes: Sequence[Mapping[str, Any]]) -> None:
    """Write an evaluation, and beside it records of some of its episodes, where there are any."""
    if episodes:
        write_packed(episodes_beside(file), episodes)
    write_atomic(file, json.dumps(result) + "\n")


def episodes_beside(file: Path) -> Path:
    """Where the episodes of an evaluation are kept that is in `file`."""
    return file.with_suffix(".jsonl.gz")


def read_trajectories(run: RunDir, step: int) -> list[dict[str, Any]]:
    """The records of a step's episodes."""
    return read_packed(run.trajectories_file(step))


def read_episodes(run: RunDir) -> Iterator[dict[str, Any]]:
    """The records of all episodes of a run, step after step; each has its `step`."""
    for file in sorted(run.path.glob("episodes/step-*.jsonl.gz"), key=_step_of):
        yield from read_packed(file)


def trajectory_steps(run: RunDir) -> list[int]:
    """Steps whose episodes were kept."""
    return sorted(_step_of(file) for file in run.path.glob("trajectories/step-*.jsonl.gz"))


def read_evals(run: RunDir) -> dict[int, dict[str, Any]]:
    """Step -> result of the fixed panel, in order of steps."""
    files = sorted(run.path.glob("eval/step-*.json"))
    return {_step_of(file): read_json(file) for file in files}


def find_run(name: str, out: Path) -> RunDir:
    """A run by path, by its name under `out`, or `latest`."""
    if name == "latest":
        runs = sorted(out.glob("*/meta.json"), key=lambda meta: meta.stat().st_mtime_ns)
        if not runs:
            raise CheckpointError(
                f"there is no run in {out}: `sdar train` makes one, --out names another place"
            )
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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _step_of(file: Path) -> int:
    number = file.name.split(".")[0].removeprefix("step-")
    if not number.isdecimal():
        raise DataError(f"{file} is no file of this run: its name must be like step-000010; move it away")
    return int(number)


def _line(metrics: Mapping[str, float]) -> str:
    finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
    return json.dumps(finite) + "\n"
