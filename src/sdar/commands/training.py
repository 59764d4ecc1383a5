"""`sdar train` and `sdar warm-start`."""

from dataclasses import dataclass
from pathlib import Path

from sdar.commands.base import IS_MAIN, NoOptions, configure, runs_dir, say
from sdar.config import Layer, read_toml, to_toml
from sdar.errors import ConfigError


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
    from sdar import build, recipe
    from sdar.references import references
    from sdar.report import results
    from sdar.tables import as_text, gain_sheet

    recipe.check(config)
    run, done = build.train(config, resumed)
    evals = results(run)
    if evals and IS_MAIN:
        players = references(config.env, config.panel)
        say(as_text(gain_sheet(evals[min(evals)], evals[max(evals)], players)))
    say(f"learning curve: {run.learning_curve}")
    if done < config.train.steps:
        say(f"stopped after step {done} of {config.train.steps}; go on with: sdar train --resume {run.path}")
    say(str(run.path))
    return 0


def warm_start(words: list[str], options: NoOptions, flags: Layer) -> int:
    """Make the embedded model, and show how well it plays without and with skills."""
    from sdar import build, recipe
    from sdar.skills.retrieval import retrievals

    config = configure([read_toml(Path(word)) for word in words], flags)
    recipe.check(config)
    model = build.warm_start(config)
    rule = retrievals.name_of(type(config.skills.retrieval))
    without, skilled = build.evaluate_model(model, config, ["", rule])
    say(f"panel {without.panel}: {len(without.outcomes)} tasks")
    say(f"success without skills: {without.success}")
    say(f"success with skills:    {skilled.success}")
    say(str(model))
    return 0
