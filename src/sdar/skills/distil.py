"""A skill bank out of a run's own episodes: what its successes have in common and its failures lack.

No model is asked. For each kind of task the actions are put in general terms (`sdar.skills.abstraction`), the
longest common course of the successes becomes the plan, and the failures are compared with it
(`sdar.skills.lessons`). The text is a template around these counts, so the same episodes always give the same
bank.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from sdar.errors import DataError
from sdar.skills.abstraction import ANY, NAMED, SLOT, Abstraction, Episode, Filler, words
from sdar.skills.bank import Skill, SkillBank
from sdar.skills.lessons import Habits, Lesson

LONG = 40
"""Words of a summary above which it names no examples."""
VAGUE = "something"
"""What is said for what nobody knows."""
UNSURE = "no sure way is known, so try what was not tried."
"""The summary of a kind without a plan that can be told."""
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


def distil(records: Iterable[Mapping[str, Any]], name: str) -> SkillBank:
    """A bank with a general skill and one for each kind of task in `records`.

    `records` are those of `sdar.runs.rundir.read_trajectories`. Raises `DataError` when there is none.
    """
    episodes = [Episode.read(record) for record in records]
    if not episodes:
        raise DataError("there are no recorded episodes to distil")
    lessons = [Lesson.of(kind, episodes) for kind in sorted({episode.kind for episode in episodes})]
    return SkillBank(name, (_general(lessons), *map(_special, lessons)))


def _special(lesson: Lesson) -> Skill:
    """The skill of one kind."""
    if lesson.plan:
        told = _say(lesson.plan, lesson.terms, examples=True)
        summary = told if len(words(told)) <= LONG else _say(lesson.plan, lesson.terms, examples=False)
        summary = summary or UNSURE
        points = [_plan_point(lesson), *_filler_points(lesson.plan, lesson.terms.fillers)]
        points += [_failure_point(lesson)] if lesson.lost else []
    else:
        summary = UNSURE
        points = [f"**No plan:** {len(lesson.won)} successes are too few to learn from."]
        if tried := _say(lesson.tried, lesson.terms, examples=False):
            points.append(f"**Often tried:** {tried}")
    points += _habit_points(Habits.of(lesson.won), Habits.of(lesson.lost), len(lesson.lost))
    points.append(_evidence(lesson.won, lesson.lost, f"{lesson.num_tasks} tasks"))
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", lesson.kind)
    return Skill(name, lesson.kind, summary, _numbered(points), lesson.keywords)


def _general(lessons: Sequence[Lesson]) -> Skill:
    """What holds across kinds."""
    won = [episode for lesson in lessons for episode in lesson.won]
    lost = [episode for lesson in lessons for episode in lesson.lost]
    steps = Counter(step for lesson in lessons for step in set(lesson.plan))
    points, advice = [], []
    if any(map(SLOT.search, steps)):
        points.append(
            "**Words:** `<1>`, `<2>` are what the task names first and second, `<task>` is something that it "
            "names, `<any>` is something else that you have to find."
        )
    if any("<2>" in step for step in steps):
        advice.append("things are counted in the order in which the task names them.")
    for step in sorted(step for step, kinds in steps.items() if kinds > 1):
        found = [filler for lesson in lessons for filler in lesson.terms.fillers.get(step, [])]
        points += [point + _by_thing(found) for point in _filler_points([step], {step: found})]
    habits = Habits.of(won), Habits.of(lost), len(lost)
    points += [*_habit_points(*habits), _evidence(won, lost, f"{len(lessons)} kinds of task")]
    advice += _habit_advice(*habits)
    return Skill("general", "", " ".join(advice) or "follow the plan of the kind of task.", _numbered(points))


def _plan_point(lesson: Lesson) -> str:
    share = lesson.reached(lesson.won, len(lesson.plan))
    steps = ", ".join(f"`{step}`" for step in lesson.plan)
    return f"**Plan:** {steps}. {share:.0%} of the successes did this, in this order."


def _evidence(won: Sequence[Episode], lost: Sequence[Episode], of: str) -> str:
    return f"**Evidence:** {len(won)} successes and {len(lost)} failures, {of}."


def _failure_point(lesson: Lesson) -> str:
    """Where the failures leave the plan: the step with the largest loss of them."""
    reached = [1.0, *(lesson.reached(lesson.lost, number + 1) for number in range(len(lesson.plan)))]
    drops = [before - after for before, after in pairwise(reached)]
    place = drops.index(max(drops))
    came = f"{reached[place]:.0%} of them came up to it, " if place else ""
    return f"**Failures** lack `{lesson.plan[place]}`: {came}{reached[place + 1]:.0%} did it."


def _filler_points(plan: Sequence[str], fillers: Mapping[str, list[Filler]]) -> list[str]:
    """What stood for `<any>` in the steps of a plan, where a few names make up most of it."""
    points = []
    for step in dict.fromkeys(plan):
        found = fillers.get(step, [])
        top = Counter(filler.text for filler in found if filler.text).most_common(6)
        if top and sum(number for _, number in top) >= len(found) / 2:
            listed = ", ".join(f"{text} ({number})" for text, number in top)
            points.append(f"**`{step}`:** `{ANY}` was {listed}.")
    return points


def _by_thing(found: Sequence[Filler]) -> str:
    """What stood for `<any>` beside each named thing, as a nested list."""
    things = Counter(filler.named for filler in found if filler.named)
    lines = []
    for thing in sorted(name for name, _ in things.most_common(40)):
        beside = Counter(filler.text for filler in found if filler.named == thing and filler.text)
        lines.append(f"\n   - {thing}: {', '.join(text for text, _ in beside.most_common(4))}")
    return "".join(lines)


def _habit_points(won: Habits, lost: Habits, failures: int) -> list[str]:
    points = []
    if _worse(lost.repeated, won.repeated):
        points.append(
            f"**Failures repeat themselves:** {lost.repeated:.0%} of their actions were given before in the "
            f"same episode ({won.repeated:.0%} in successes)."
        )
    if _worse(lost.invalid, won.invalid):
        points.append(f"**Invalid actions:** {lost.invalid:.0%} of the turns of failures.")
    if lost.truncated > 0.5:
        points.append(f"**Out of turns:** so ended {lost.truncated:.0%} of {failures} failures.")
    return points


def _habit_advice(won: Habits, lost: Habits, failures: int) -> list[str]:
    advice = {
        "do not give an action again that brought nothing.": _worse(lost.repeated, won.repeated),
        "write only actions that are valid.": _worse(lost.invalid, won.invalid),
        "go straight on, the turns run out.": lost.truncated > 0.5,
    }
    return [text for text, holds in advice.items() if holds and failures]


def _worse(lost: float, won: float) -> bool:
    """Whether failures do something clearly more often."""
    return lost > won + 0.05 and lost > 1.5 * won


def _say(steps: Sequence[str], terms: Abstraction, *, examples: bool) -> str:
    """Steps as one plain sentence for a small model; a course that is one part several times is said once.

    Steps that tell nothing, as `go to something`, are left out; empty where there is no other.
    """
    lengths = range(1, len(steps) + 1)
    unit = next((steps[:n] for n in lengths if [*steps[:n]] * (len(steps) // n) == [*steps]), [])
    times = len(steps) // len(unit) if unit else 0
    alone = not any(re.search(r"<([2-9]|\d\d+)>", step) for step in steps)

    def word(step: str, slot: str, named: int) -> str:
        if slot == ANY:
            return _example(terms.fillers.get(step, []), examples)
        if slot == NAMED:
            return "another thing it names" if named else "what the task names"
        number = int(slot[1:-1])
        ordinal = _ORDINALS[number - 1] if number <= len(_ORDINALS) else f"{number}th"
        return "the thing in the task" if alone else f"the {ordinal} thing"

    def tell(step: str) -> str:
        return SLOT.sub(lambda match: word(step, match[0], step.count(NAMED, 0, match.start())), step)

    told = [text for text in map(tell, unit) if VAGUE not in text]
    repeated = {0: "", 1: "", 2: ", all twice"}.get(times, f", all {times} times")
    return f"{', '.join(told)}{repeated}." if told else ""


def _example(found: Sequence[Filler], examples: bool) -> str:
    """What `<any>` mostly is: up to three names that cover half of the uses, or where it is to be seen."""
    top = Counter(filler.text for filler in found if filler.text).most_common(3)
    if examples and sum(number for _, number in top) >= len(found) / 2 and top:
        names = [text for text, _ in top]
        return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    shown = sum(filler.shown for filler in found)
    return "what you were shown" if found and shown >= 0.8 * len(found) else VAGUE


def _numbered(points: Sequence[str]) -> str:
    return "\n".join(f"{number}. {point}" for number, point in enumerate(points, 1))
