"""`sdar study`."""

from dataclasses import dataclass
from pathlib import Path

from sdar.commands.base import configure, say
from sdar.errors import ConfigError, suggest
from sdar.settings.config import FLAGS, Layer
from sdar.settings.shipped import find_file


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Options of `sdar study`."""

    jobs: int = 1
    """Runs at a time; each is a process with one thread."""
    executor: str = "local"
    """Where runs work: local is this machine; ray is the cluster of RAY_ADDRESS, whose machines must all see
    the directories (`pip install 'sdar[ray]'`)."""
    model: Path | None = None
    """Directory of the model that all runs start from; default: the study's, or else the embedded one."""
    runs: Path = Path("runs/study")
    """Where run directories go; only the small result files beside FILE are worth keeping."""
    plugins: tuple[str, ...] = ()
    """Python files or modules that FILE may name as plugins. Their code runs."""
    dry_run: bool = False
    """Print what is left to do, as commands, and stop."""

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise ConfigError(f"--jobs must be at least 1, not {self.jobs}")


def study(words: list[str], options: StudyOptions, flags: Layer) -> int:
    """Do all runs that a study's file asks for and that have no result yet, and keep a small file of each.

    Ctrl-C stops it; the same command goes on. A run that failed is tried again.
    """
    from sdar.recipe import name_plugins
    from sdar.study.plan import flags as as_flags
    from sdar.study.plan import read_plan
    from sdar.study.processes import EXECUTORS
    from sdar.study.run import Runner, hours_left, missing, starting_model

    if len(words) != 1:
        raise ConfigError("usage: sdar study FILE.toml")
    if options.executor not in EXECUTORS:
        advice = suggest(options.executor, EXECUTORS)
        raise ConfigError(f"--executor: unknown executor '{options.executor}': {advice}")
    plan = read_plan(find_file(words[0]))
    for run in plan.runs:
        own = Layer(f"{plan.file}: {run.name}", run.settings)
        config = configure([own], Layer(FLAGS, {"plugins": list(options.plugins)} if options.plugins else {}))
        unnamed = set(run.settings.get("plugins", ())) - set(config.plugins if options.plugins else ())
        if unnamed:
            raise ConfigError(name_plugins(own.source, sorted(unnamed)))
    todo = missing(plan)
    if options.dry_run:
        for run in todo:
            say(" ".join(["sdar train", *as_flags(run.settings)]))
        hours = hours_left(plan, options.jobs)
        about = "" if hours is None else f", about {hours:.1f} hours"
        say(f"{len(todo)} of {len(plan.runs)} runs are left{about}")
        return 0
    if not todo:
        say(f"all {len(plan.runs)} runs are done: {plan.results}")
        return 0
    execute = EXECUTORS[options.executor]()
    place = options.runs.absolute() / plan.file.stem
    model = starting_model(plan, options.model, place)
    runner = Runner(plan=plan, model=model, runs=place, jobs=options.jobs, tell=say, execute=execute)
    failed = runner.run()
    say(f"{failed} runs failed" if failed else str(plan.results))
    return 1 if failed else 0
