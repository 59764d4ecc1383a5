"""`sdar train` and `sdar warm-start`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdar.commands.base import IS_MAIN, STOPPED, TableOptions, configure, runs_dir, say, short, show, warn
from sdar.errors import ConfigError, DataError
from sdar.settings.config import Layer, read_toml, to_table, to_toml
from sdar.settings.shipped import read_recipes
from sdar.settings.values import Words

if TYPE_CHECKING:
    from sdar.evaluation.results import EvalResult
    from sdar.recipe import RunConfig
    from sdar.runs.rundir import RunDir


@dataclass(frozen=True, kw_only=True)
class TrainOptions(TableOptions):
    """Options of `sdar train`."""

    dry_run: bool = False
    """Check everything that a start checks, print the resolved settings as TOML and stop."""
    resume: str = ""
    """Go on with this run (a path, a name, or latest) from its newest checkpoint."""
    limit: int | None = None
    """Short for --eval.tasks: cut the panel to about so many tasks, each kind with its share."""


RECOMMENDED = "objectives/recommended"
"""The recipe of `sdar train` without recipes and settings."""


def train(words: list[str], options: TrainOptions, flags: Layer) -> int:
    """Train an agent; without arguments what our study recommends, on a CPU, in minutes.

    Recipes are merged from left to right; flags win. RECIPE is one that `sdar list recipes` shows, or a TOML
    file; RUN/config.toml is one too. `sdar train` alone is `sdar train objectives/recommended`.
    """
    from sdar.build.checks import check, pretrained_hint
    from sdar.build.resume import is_finished

    if options.resume:
        if words:
            raise ConfigError("--resume takes its settings from the run: give no recipe beside it")
        resumed, config = resumable(options.resume, flags)
    else:
        if not (words or flags.values or options.limit):
            words = [RECOMMENDED]
            warn(f"this is: sdar train {RECOMMENDED}")
        layers = [*read_recipes(words), short(options, "limit")]
        resumed, config = None, configure(layers, flags, TrainOptions)
    check_plugins(config, flags)
    try:
        check(config)
    except DataError as error:
        if not (options.dry_run and resumed):
            raise
        warn(f"warning: this run cannot go on here: {error}")
    warn(pretrained_hint(config))
    if options.dry_run:
        say(to_toml(config).rstrip())
        return 0
    from sdar.build.train import train as train_run
    from sdar.evaluation.curves import results
    from sdar.evaluation.references import references
    from sdar.evaluation.tables import gain_sheet

    if resumed and is_finished(resumed, config):
        run, done = resumed, config.train.steps
        lines = [f"{run.path} is already finished, with {done} steps; --train.steps asks for more"]
    else:
        lines, (run, done) = [], train_run(config, resumed)
    evals, sheets = results(run), []
    if evals and IS_MAIN:
        players = references(config.env, config.panel)
        before, after = evals[min(evals)], evals[max(evals)]
        sheets.append(gain_sheet(before, after, players))
        lines += story(config, before, after)
        if done == config.train.steps:
            lines += alone(config)
    lines.append(f"learning curve: {run.learning_curve}")
    if done < config.train.steps:
        go_on = f"go on with: sdar train --resume {run.path}"
        lines.append(f"stopped after step {done} of {config.train.steps}; {go_on}")
    show(sheets, options.format, [*lines, str(run.path)])
    return STOPPED if done < config.train.steps else 0


def story(config: "RunConfig", before: "EvalResult", after: "EvalResult") -> list[str]:
    """What a reader of the table wants to know beside it."""
    invalid = [100 * result.summary["invalid"] for result in (before, after)]
    lines = [f"invalid actions on the panel: {invalid[0]:.1f} % before, {invalid[1]:.1f} % trained"]
    if config.rollout.temperature != after.temperature:
        lines.append(
            f"training samples at temperature {config.rollout.temperature:g} and the panel at "
            f"{after.temperature:g}: success while training is not success on the panel"
        )
    known = config.env.experts_are
    return [*lines, f"scripted players, not models: {known}"] if known else lines


def alone(config: "RunConfig") -> list[str]:
    """What GRPO alone reaches with the run's budget, where the package knows it."""
    from sdar.evaluation.baseline import baseline_line, conditions
    from sdar.model.load import weights_digest
    from sdar.model.settings import EMBEDDED, find_model

    def digest() -> str:
        path = config.model.path
        return "" if path == EMBEDDED else weights_digest(find_model(path))

    line = baseline_line(conditions(to_table(config), config.panel.fingerprint), digest)
    return [line] if line else []


def resumable(name: str, flags: Layer) -> tuple["RunDir", "RunConfig"]:
    """The run to go on with, wherever it was moved to, and its settings with those that may change."""
    from sdar.build.resume import check_changes
    from sdar.runs.rundir import find_run

    run = find_run(name, runs_dir(flags))
    own = read_toml(run.config_file)
    place = {"out": Words([str(run.path.parent)])}
    config = configure([own], Layer("--", {**flags.values, **place}), TrainOptions)
    check_changes(run, configure([own], Layer("--", place), TrainOptions), config)
    return run, config


def check_plugins(config: "RunConfig", flags: Layer) -> None:
    """Refuse to train without plugins that only a file names: they may change what is learned."""
    from sdar.recipe import name_plugins

    if config.plugins and "plugins" not in flags.values:
        raise ConfigError(name_plugins("the recipe or run", config.plugins))


@dataclass(frozen=True, kw_only=True)
class WarmStartOptions(TableOptions):
    """Options of `sdar warm-start`."""

    texts: str = ""
    """A texts.jsonl of a run: a pretrained model (--warm_start.from) learns to write these texts, in place of
    demonstrations."""


def warm_start(words: list[str], options: WarmStartOptions, flags: Layer) -> int:
    """Train a model to start from on demonstrations, and show what skills in its prompt are worth.

    Without --warm_start.from it is the embedded model. The result is a plain model directory. With
    --eval.panel none the skills are not tried.
    """
    from sdar.build.checks import check

    config = configure(read_recipes(words), flags)
    check(config)
    from sdar.build.evaluate import evaluate_model
    from sdar.build.skills import content_rules
    from sdar.build.warm_start import warm_start as make_model
    from sdar.evaluation.tables import content_sheet

    if options.texts and not config.warm_start.from_:
        raise ConfigError("--texts is for a pretrained model: name it with --warm_start.from")
    if options.texts and not Path(options.texts).is_file():
        raise ConfigError(f"--texts: there is no file {options.texts}")
    model = make_model(config, Path(options.texts) if options.texts else None)
    sheets = []
    if config.eval.is_on:
        sheets.append(content_sheet(evaluate_model(model, config, content_rules(config))))
    show(sheets, options.format, [str(model)])
    return 0
