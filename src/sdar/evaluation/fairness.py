"""What differs between compared runs besides the method, and where a verdict would be unfair. No torch.

The method is what the tables `METHOD` set. Everything else should be equal: how long was trained, on how many
episodes, from which start, on which data, by which versions. A verdict across budgets would credit a method
with what more training did.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from sdar.evaluation.grouping import FREE, PLAY, Entry
from sdar.text.sheets import Column, Sheet

METHOD = ("objective", "advantage", "teacher", "views", "skills")
BUDGET = ("steps", "episodes")
"""Facts of which each makes a verdict unfair."""
Groups = Mapping[str, Sequence[Entry]]


def facts(entry: Entry) -> Iterator[tuple[str, Any]]:
    """Everything besides the method that is known of how a result came about."""
    settings = entry.settings
    if entry.step is not None:
        episodes = settings.get("rollout.tasks_per_step", 0) * settings.get("rollout.group_size", 0)
        yield "steps", entry.step
        if episodes:
            yield "episodes", entry.step * episodes
    elif entry.source:
        yield "evaluated", entry.source
    if entry.start:
        yield "started from", entry.start
    for name, value in settings.items():
        if name.partition(".")[0] not in (*METHOD, "eval", "plugins") and name not in (*FREE, "train.steps"):
            yield name, value
    for name in PLAY:
        yield f"played with {name}", getattr(entry.result, name) or "none"
    yield from (("version of " + name, value) for name, value in entry.versions.items())


def differences(groups: Groups) -> dict[str, dict[str, list[Any]]]:
    """Fact -> label -> its values in that method's runs, of the facts that are not the same everywhere.

    A method of which a fact is not known has no value, and does not make it differ.
    """
    known = {label: [dict(facts(entry)) for entry in entries] for label, entries in groups.items()}
    found: dict[str, dict[str, list[Any]]] = {}
    for name in dict.fromkeys(name for each in known.values() for one in each for name in one):
        values = {
            label: list(dict.fromkeys(str(one[name]) for one in each if name in one))
            for label, each in known.items()
        }
        sets = [frozenset(own) for own in values.values() if own]
        if len(set(sets)) > 1 or any(len(own) > 1 for own in sets):
            found[name] = values
    return found


def difference_sheet(groups: Groups) -> Sheet:
    """One row for each fact that differs, budgets first, one column for each method."""
    columns = [Column("besides the method"), *(Column(label, is_text=True) for label in groups)]
    rows = [
        [name, *(" or ".join(values[label]) or None for label in groups)]
        for name, values in differences(groups).items()
    ]
    return Sheet("differences", "what differs besides the method", columns, rows)


def unfair(groups: Groups) -> dict[frozenset[str], str]:
    """Pair of methods -> how their budgets differ, in words; without equal and unknown ones."""
    differ = differences(groups)
    found = {}
    for a, b in combinations(groups, 2):
        told = [
            f"{a} {' or '.join(differ[name][a])} and {b} {' or '.join(differ[name][b])} {name}"
            for name in BUDGET
            if name in differ and differ[name][a] and differ[name][b] and differ[name][a] != differ[name][b]
        ]
        if told:
            found[frozenset((a, b))] = f"they had {', '.join(told)}"
    return found
