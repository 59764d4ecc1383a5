"""`sdar skills`: look at, check, import and distil banks, and see what a run says about its skills."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from sdar.commands.base import FAIL, TableOptions, configure, findings_sheet, runs_dir, say, show
from sdar.envs.base import envs
from sdar.errors import ConfigError, suggest
from sdar.settings.config import Layer
from sdar.text.sheets import Column, Sheet


def skills(words: list[str], options: TableOptions, flags: Layer) -> int:
    """Look at, check, import and distil skill banks.

    show BANK: the skills with their summaries. check BANK: every broken file and, with --env NAME, every kind
    of its tasks without a skill. stats RUN: how often each skill was seen, the mean gap, and success with and
    without it. import SOURCE TARGET: a published bank (a directory with skill_mapping.json, or a JSON file)
    becomes a directory of ours, whole; --env NAME keeps the published rule of that environment. distil RUN
    TARGET: a bank out of the run's own recorded episodes.
    """
    verb, *rest = words or [""]
    if verb not in VERBS:
        raise ConfigError(f"sdar skills cannot '{verb}': {suggest(verb, VERBS)}")
    usage, action = VERBS[verb]
    if len(rest) != len(usage.split()):
        raise ConfigError(f"usage: sdar skills {verb} {usage}")
    return action(*rest, flags, options)


def show_bank(bank: str, flags: Layer, options: TableOptions) -> int:
    """Print the skills of a bank."""
    from sdar.skills.bank import SkillBank

    skills = SkillBank.load(bank).skills
    show([bank_sheet([(skill.name, skill.kind, skill.summary) for skill in skills])], options.format)
    return 0


def bank_sheet(rows: Sequence[Sequence[str]]) -> Sheet:
    """Skills with the kind of task that they are for and what they say."""
    columns = (Column("skill"), Column("kind", is_text=True), Column("summary", is_text=True))
    return Sheet("skills", "", columns, rows)


def check(bank: str, flags: Layer, options: TableOptions) -> int:
    """Print what is wrong with a bank."""
    from sdar.skills.bank import find_problems

    problems = find_problems(bank, _kinds(flags))
    verdict = f"skill bank {bank} {'cannot be used' if problems else 'can be used'}"
    show([findings_sheet([(FAIL, problem) for problem in problems])], options.format, [verdict])
    return 1 if problems else 0


def stats(run: str, flags: Layer, options: TableOptions) -> int:
    """Print the statistics of a run's skills."""
    from sdar.runs.rundir import find_run, read_episodes
    from sdar.skills.stats import skill_stats

    found = find_run(run, runs_dir(flags))
    columns = (
        Column("skill"),
        Column("seen"),
        Column("gap", lambda gap: "-" if math.isnan(gap) else f"{gap:+.3f}"),
        Column("success", _percent),
        Column("not seen"),
        Column("success without", _percent),
    )
    rows = [
        (skill.name, skill.seen, skill.gap, skill.success, skill.without, skill.success_without)
        for skill in skill_stats(read_episodes(found))
    ]
    if not rows:
        raise ConfigError(f"{found.path} has no record of a skill that was seen")
    show([Sheet("skills", "", columns, rows)], options.format)
    return 0


def import_bank(source: str, target: str, flags: Layer, options: TableOptions) -> int:
    """Save a published bank in our format, and say by which rule it is to be used."""
    from sdar.skills import published

    rule = published.RULES.get(_env_name(flags), "by-kind")
    kinds = _kinds(flags) if rule == "by-kind" else ()
    bank = published.import_bank(Path(source), kinds)
    bank.save(Path(target))
    for kind in sorted(set(kinds) - set(bank.kinds)):
        say(f"no skill for task kind '{kind}'")
    if unnamed := published.unnamed_files(Path(source)):
        say(f"left out, as {published.MAPPING} does not name them: {', '.join(unnamed)}")
    say(f"{len(bank.skills)} skills: {', '.join(skill.name for skill in bank.skills)}")
    say(f"use it with --skills.bank {target} --skills.retrieval {rule}")
    say(target)
    return 0


def distil(run: str, target: str, flags: Layer, options: TableOptions) -> int:
    """Save a bank made of a run's recorded episodes."""
    from sdar.runs.rundir import find_run, read_trajectories, trajectory_steps
    from sdar.skills.distil import distil

    found = find_run(run, runs_dir(flags))
    records = (record for step in trajectory_steps(found) for record in read_trajectories(found, step))
    bank = distil(records, Path(target).name)
    bank.save(Path(target))
    show([bank_sheet([(s.name, s.kind, s.summary) for s in bank.skills])], options.format, [target])
    return 0


VERBS: Mapping[str, tuple[str, Callable[..., int]]] = {
    "show": ("BANK", show_bank),
    "check": ("BANK", check),
    "stats": ("RUN", stats),
    "import": ("SOURCE TARGET", import_bank),
    "distil": ("RUN TARGET", distil),
}


def _env_name(flags: Layer) -> str:
    """The name of the environment that was chosen by a flag; empty where none was."""
    if "env" not in flags.values:
        return ""
    return envs.name_of(type(configure([], flags).env))


def _kinds(flags: Layer) -> Collection[str]:
    """The kinds of task of the environment that was named; empty where none was."""
    if "env" not in flags.values:
        return ()
    return {task.kind for task in configure([], flags).panel.tasks}


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f} %"
