"""What the subcommands do. What takes long to import is imported by the command that needs it.

A command gets its positional words, its options, and the flags that are settings of a run; it returns the
exit status and prints what the user asked for to standard output, the path of what it made last.
"""

import dataclasses
import importlib.util
import inspect
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from sdar.config import Layer, read_toml, to_toml
from sdar.errors import CheckpointError, ConfigError, suggest
from sdar.values import convert

if TYPE_CHECKING:
    from sdar.recipe import RunConfig
    from sdar.results import EvalResult

IS_MAIN = os.environ.get("RANK", "0") == "0"
"""Under torchrun only the first process speaks."""


def say(text: str) -> None:
    """One line for the user."""
    if IS_MAIN:
        print(text, flush=True)


def first_line(item: object) -> str:
    """The first sentence of a docstring's first line."""
    return (inspect.getdoc(item) or "").partition("\n")[0].partition(". ")[0].removesuffix(".")


def configure(recipes: Sequence[Layer], flags: Layer, options: type | None = None) -> "RunConfig":
    """The settings of a run out of recipes and flags."""
    from sdar.recipe import load_config

    also = [field.name for field in dataclasses.fields(options)] if options else []
    return load_config([*recipes, flags], also=also)


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """Nothing."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of `sdar train`."""

    dry_run: bool = False
    """Print the resolved settings as TOML and stop."""
    resume: str = ""
    """Go on with this run (a path, a name, or latest) from its newest checkpoint."""


def train(words: list[str], options: TrainOptions, flags: Layer) -> int:
    """Train an agent; without arguments the default run, on a CPU, in minutes.

    Recipes are TOML files, merged from left to right; flags win. RUN/config.toml is a recipe too.
    """
    resumed = None
    if options.resume:
        from sdar.runlog import find_run

        if words:
            raise ConfigError("--resume takes its settings from the run: give no recipe beside it")
        resumed = find_run(options.resume, runs_dir(flags))
        words = [str(resumed.config_file)]
    config = configure([read_toml(Path(word)) for word in words], flags, TrainOptions)
    if options.dry_run:
        say(to_toml(config).rstrip())
        return 0
    from sdar import recipe
    from sdar.report import result_table, results

    recipe.check(config)
    run, done = recipe.train(config, resumed)
    evals = results(run)
    if evals and IS_MAIN:
        Console().print(result_table(evals[min(evals)], evals[max(evals)]))
    say(f"learning curve: {run.learning_curve}")
    if done < config.train.steps:
        say(f"stopped after step {done} of {config.train.steps}; go on with: sdar train --resume {run.path}")
    say(str(run.path))
    return 0


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """Options of `sdar eval`."""

    step: int | None = None
    """Checkpoint of the run, by its step; the newest by default."""
    panel: str | None = None
    """Short for --eval.panel."""
    samples: int | None = None
    """Short for --eval.samples."""
    temperature: float | None = None
    """Short for --eval.temperature."""
    with_skills: str = ""
    """Put skills into the model's own prompts, picked by this rule."""


def evaluate(words: list[str], options: EvalOptions, flags: Layer) -> int:
    """Play a fixed panel of tasks with a model and show its success, with intervals.

    MODEL is a run (a path, a name, or latest), one of its checkpoints, a transformers model, or one of the
    environment's experts (such as planner).
    """
    from sdar.recipe import check_panel, evaluate_expert, evaluate_model
    from sdar.report import result_table
    from sdar.runlog import versions, write_atomic

    if len(words) != 1:
        raise ConfigError("sdar eval takes one model: a run, a checkpoint, a transformers model or an expert")
    is_expert = words[0] in configure([], flags, EvalOptions).env.experts()
    if is_expert:
        settings, model, place = Layer(words[0], {}), Path(words[0]), runs_dir(flags) / "eval" / words[0]
    else:
        settings, model, place = find_model(words[0], options.step, runs_dir(flags))
    given = {name: getattr(options, name) for name in ("panel", "samples", "temperature")}
    short = Layer("sdar eval", {"eval": {name: value for name, value in given.items() if value is not None}})
    config = configure([settings, short], flags, EvalOptions)
    check_panel(config)
    if is_expert:
        result = evaluate_expert(config, words[0])
    else:
        result = evaluate_model(config, model, options.with_skills)
    file = place.with_name(f"{result.panel}-{place.name}-{result_tag(result)}.json")
    if IS_MAIN:
        Console().print(result_table(result))
        shown = ("reward", "turns", "tokens", "invalid", "truncated")
        say("  ".join(f"{name} {result.summary[name]:.3g}" for name in shown))
        source = {"model": str(model), "command": sys.argv, "versions": versions()}
        write_atomic(file, json.dumps(result.to_json() | source) + "\n")
    say(str(file))
    return 0


def result_tag(result: "EvalResult") -> str:
    """What tells two evaluations of one model on one panel apart."""
    skills = f"-{result.skills}" if result.skills else ""
    return f"{result.samples}x-t{result.temperature:g}-seed{result.seed}{skills}"


def runs_dir(flags: Layer) -> Path:
    """Where runs are looked for by name."""
    return Path(*flags.values.get("out", ["runs"]))


def find_model(target: str, step: int | None, out: Path) -> tuple[Layer, Path, Path]:
    """Settings, model directory and (without its ending) place for results of what the user names."""
    from sdar.runlog import RunDir, find_run
    from sdar.trainer.checkpoint import complete, step_of

    path = Path(target)
    if (path / "model").is_dir() and path.parent.name == "checkpoints":
        run, checkpoint = RunDir.open(path.parent.parent), path
    elif (path / "config.json").is_file() and not (path / "meta.json").is_file():
        return Layer(target, {"model": {"path": target}}), path, out / "eval" / path.name
    else:
        run = find_run(target, out)
        saved = {step_of(path): path for path in complete(run.checkpoints)}
        wanted = max(saved, default=0) if step is None else step
        if wanted not in saved:
            advice = suggest(str(wanted), map(str, saved))
            raise CheckpointError(f"{run.path} has no checkpoint of step {wanted}: {advice}")
        checkpoint = saved[wanted]
    return read_toml(run.config_file), checkpoint / "model", run.path / "eval" / checkpoint.name


def warm_start(words: list[str], options: NoOptions, flags: Layer) -> int:
    """Make the embedded model, and show how well it plays without and with skills."""
    from sdar import recipe

    config = configure([read_toml(Path(word)) for word in words], flags)
    recipe.check(config)
    model = recipe.warm_start(config)
    without = recipe.evaluate_model(config, model)
    skilled = recipe.evaluate_model(config, model, config.skills.retrieval)
    say(f"panel {without.panel}: {len(without.outcomes)} tasks")
    say(f"success without skills: {without.success}")
    say(f"success with skills:    {skilled.success}")
    say(str(model))
    return 0


def show_list(words: list[str], options: NoOptions, flags: Layer) -> int:
    """List what can be chosen by name: objectives, environments, panels, skill banks and more."""
    groups = catalogue(configure([], flags))
    for word in words:
        if word not in groups:
            raise ConfigError(f"nothing is listed under '{word}': {suggest(word, groups)}")
    table = Table(box=None, pad_edge=False, show_header=False)
    for group in words or groups:
        table.add_row(group, style="bold")
        for name, line in groups[group].items():
            table.add_row(f"  {name}", line)
    if IS_MAIN:
        Console().print(table)
    return 0


def catalogue(config: "RunConfig") -> dict[str, dict[str, str]]:
    """Group -> name -> one line."""
    from sdar.advantages import estimators
    from sdar.envs.base import envs
    from sdar.objectives.base import objectives
    from sdar.ops.gates import gates
    from sdar.skills.bank import SkillBank, builtin_banks
    from sdar.skills.retrieval import retrievals
    from sdar.trackers import trackers

    env = config.env
    return {
        "objectives": {name: first_line(objectives[name]) for name in objectives},
        "envs": {name: first_line(envs[name]) for name in envs},
        "panels": {name: f"{len(env.panel(name).tasks)} tasks" for name in env.panels()},
        "banks": {name: f"{len(SkillBank.load(name).skills)} skills" for name in builtin_banks()},
        "retrievals": {name: first_line(retrievals[name]) for name in retrievals},
        "gates": {name: first_line(gates[name].rule) for name in gates},
        "estimators": {name: first_line(estimators[name]) for name in estimators},
        "trackers": {name: first_line(trackers[name]) for name in trackers},
    }


def check(words: list[str], options: NoOptions, flags: Layer) -> int:
    """Run the conformance battery on an objective or an environment.

    For one of your own: sdar check objective NAME --plugins my_objective.py
    """
    if len(words) != 2 or words[0] not in ("env", "objective"):
        raise ConfigError("usage: sdar check env NAME, or sdar check objective NAME")
    config = configure([Layer("sdar check", {words[0]: {"name": words[1]}})], flags)
    failed = check_env(config) if words[0] == "env" else check_objective(config, words[1])
    say(f"{words[0]} {words[1]} {'breaks its contract' if failed else 'keeps its contract'}")
    return 1 if failed else 0


def check_env(config: "RunConfig") -> bool:
    """Print every broken rule; whether there was one."""
    from sdar.envs.check import find_problems

    problems = find_problems(config.env)
    for problem in problems:
        say(f"FAIL  {problem}")
    return bool(problems)


def check_objective(config: "RunConfig", name: str) -> bool:
    """Print every finding; whether a check failed."""
    from sdar.objectives.check import examine
    from sdar.objectives.oracles import oracles

    known = name in oracles
    report = examine(config.objective, oracles[name] if known else None)
    for finding in report:
        say(f"{finding.status.upper():<5} {finding.check}{f': {finding.detail}' if finding.detail else ''}")
    return not report.passed


def doctor(words: list[str], options: NoOptions, flags: Layer) -> int:
    """Show what this machine has: Python, torch, devices, cores, directories, optional packages."""
    import torch

    from sdar.paths import data_dir
    from sdar.runlog import check_writable, versions

    rows: dict[str, str] = {f"version of {name}": found for name, found in versions().items()}
    rows["machine"] = f"{platform.platform()}, {os.cpu_count()} cores"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    rows["GPUs"] = ", ".join(names) or "none: use --device cpu"
    healthy = sys.version_info >= (3, 11)
    for label, directory in (("data directory", data_dir()), ("run directory", runs_dir(flags))):
        try:
            check_writable(directory)
            rows[label] = f"{directory}, writable"
        except ConfigError as error:
            rows[label], healthy = str(error), False
    real = importlib.util.find_spec("textworld") and importlib.util.find_spec("alfworld")
    rows["official ALFWorld engine"] = "installed" if real else "not installed: pip install 'sdar[textworld]'"
    for label, text in rows.items():
        say(f"{label:<26}{text}")
    return 0 if healthy else 1


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Options of `sdar data`."""

    out: Path | None = None
    """Where the packs go; `--env.data` takes this directory. By default in the data directory."""
    rules: str | None = None
    """Release of the rules to download: 2.1.1 or 2.1.2, the newest by default."""


def data(words: list[str], options: DataOptions, flags: Layer) -> int:
    """Bring the official ALFWorld games in: from the release pages, or from a directory in their layout.

    Both make packs, a file for each split, which `--env.data` reads.
    """
    from sdar.data.alfworld_data import download_alfworld, import_alfworld
    from sdar.envs.alfworld.text import Rules
    from sdar.paths import data_dir
    from sdar.progress import display
    from sdar.runlog import check_writable

    if words[1:2] != ["alfworld"] or (words[0], len(words)) not in (("download", 2), ("import", 3)):
        raise ConfigError("usage: sdar data download alfworld, or sdar data import alfworld DIRECTORY")
    out = options.out or data_dir() / "alfworld"
    check_writable(out)
    with display(1, main=IS_MAIN) as shown:
        if words[0] == "import":
            report = import_alfworld(
                Path(words[2]), out, lambda done, total: shown.phase("packing", done, total)
            )
        else:
            rules = Rules.V2_1_2 if options.rules is None else convert(Rules, options.rules, "--rules")
            report = download_alfworld(
                out,
                rules,
                on_progress=lambda done, total: shown.phase("MiB", done >> 20, max(done, total) >> 20),
            )
    for refused in report.refused:
        say(f"left out: {refused}")
    say(", ".join(f"{split}: {games} games" for split, games in report.games.items()))
    say(str(out))
    return 0


@dataclass(frozen=True)
class Command:
    """One subcommand."""

    run: Callable[[list[str], Any, Layer], int]
    usage: str = ""
    options: type = NoOptions
    settings: bool = False
    """Whether it takes the settings of a run as flags."""


COMMANDS: Mapping[str, Command] = {
    "train": Command(train, "[RECIPE.toml ...]", TrainOptions, settings=True),
    "eval": Command(evaluate, "MODEL", EvalOptions, settings=True),
    "warm-start": Command(warm_start, "[RECIPE.toml ...]", settings=True),
    "list": Command(show_list, "[GROUP ...]", settings=True),
    "check": Command(check, "(env | objective) NAME", settings=True),
    "doctor": Command(doctor),
    "data": Command(data, "(download | import) alfworld [DIRECTORY]", DataOptions),
}
