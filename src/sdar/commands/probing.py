"""`sdar gap`."""

import json
from dataclasses import asdict, dataclass

from sdar.commands.base import IS_MAIN, TableOptions, configure, runs_dir, short, show, warn
from sdar.commands.evaluation import split_words
from sdar.errors import ConfigError
from sdar.settings.config import Layer, to_table


@dataclass(frozen=True, kw_only=True)
class GapOptions(TableOptions):
    """Options of `sdar gap`."""

    limit: int | None = None
    """Short for --eval.tasks: cut the panel to about so many tasks, each kind with its share."""
    turns: int = 8
    """Places of each expert's episode, spread over it."""
    beta: float = 5.0
    """Slope of the gate that is shown."""
    step: int | None = None
    """Checkpoint of the run, by its step; the newest by default."""


def gap(words: list[str], options: GapOptions, flags: Layer) -> int:
    """Show, before any training, whether a teacher with skills has something to teach this model.

    An expert plays the panel. In places of its episodes its own answer, a plausible mistake and a random
    action are scored without skills and with each kind of them: right ones, the same in held-out words,
    those of another kind of task, unrelated text. The gap is the difference; its AUC is the chance that the
    expert's answer has the larger one. MODEL is as in `sdar eval`.
    """
    from sdar.build.checks import check_panel
    from sdar.build.find import find_model

    target, recipes = split_words(words)
    if options.turns < 1:
        raise ConfigError(f"--turns must be at least 1, not {options.turns}")
    settings, model, place = find_model(target, options.step, runs_dir(flags))
    config = configure([settings, *recipes, short(options, "limit")], flags, GapOptions)
    check_panel(config)
    if "random" not in config.env.experts():
        raise ConfigError("sdar gap needs an environment with the expert 'random', which acts by chance")
    from sdar.build.gap import measure_gap
    from sdar.evaluation.curves import draw_gap
    from sdar.evaluation.gap import gap_sheet, warning
    from sdar.runs.files import write_atomic

    gaps = measure_gap(model, config, options.turns, options.beta)
    if IS_MAIN:
        answers = sum(len(found.gap_N) for found in gaps.values()) // len(gaps)
        title = f"{config.panel.name}: {answers} answers in {len(config.panel.tasks)} tasks, 95 % intervals"
        warn(warning(gaps["right"], gaps["junk"]))
        file = runs_dir(flags) / "gap" / f"{config.panel.name}-{place.name}.json"
        rows = {name: found.to_json() for name, found in gaps.items()}
        made = {"model": str(model), "options": asdict(options), "settings": to_table(config), "gaps": rows}
        write_atomic(file, json.dumps(made) + "\n")
        picture = draw_gap(gaps, file.with_suffix(".png"), title)
        show([gap_sheet(title, gaps)], options.format, [str(picture), str(file)])
    return 0
