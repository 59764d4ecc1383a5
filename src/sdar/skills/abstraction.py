"""Episodes in general terms: what differs from task to task in an action becomes a slot.

Nothing here knows an environment. Slots come from comparing the episodes of one kind of task:

- `<1>`, `<2>`: what the task sentence names first, second; `<task>` where sentences name different numbers
  of things. A word of the sentence counts when actions use it as an argument and other sentences lack it.
- `<any>`: any other argument that differs from success to success.

An action that most successes contain as it is, up to the things named, stays whole: `go to microwave 1`.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

ANY, NAMED = "<any>", "<task>"
SUPPORT = 0.6
"""Share of the successes that have to agree before something is taken for the rule."""

SLOT = re.compile(r"<\w+>")
_WORD = re.compile(r"[^\s\[\]\"'`,;:?!()<>]*[^\s\[\]\"'`,;:?!()<>.]")


@dataclass(frozen=True, slots=True)
class Episode:
    """What is read out of the record of a trajectory.

    `actions` are the valid ones, in order; `shown` is the observation before each.
    """

    task: str
    kind: str
    goal: str
    success: bool
    truncated: bool
    actions: tuple[str, ...]
    shown: tuple[str, ...]
    num_turns: int

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> "Episode":
        """From `sdar.runs.rundir.trajectory_record`."""
        turns = record["turns"]
        valid = [turn for turn in turns if turn["valid"] and words(turn["action"])]
        return cls(
            task=record["task"],
            kind=record["kind"],
            goal=record["goal"],
            success=record["success"],
            truncated=record["end"] != "done",
            actions=tuple(turn["action"] for turn in valid),
            shown=tuple(turn["observation"] for turn in valid),
            num_turns=len(turns),
        )

    @property
    def repeats(self) -> int:
        """Actions that were given before in the same episode."""
        return len(self.actions) - len(set(self.actions))


class Filler(NamedTuple):
    """One use of a step with an `<any>`: what stood for it, what is named beside it, whether it was shown."""

    text: str
    named: str
    shown: bool


@dataclass(frozen=True)
class Abstraction:
    """The general terms of one kind of task; made by `of`."""

    named: frozenset[str]
    """Words that tell the tasks apart."""
    numbered: bool
    """Whether all task sentences name the same number of things."""
    fixed: Mapping[str, frozenset[str]]
    """First word of an action -> words that most actions with it contain, such as prepositions."""
    whole: frozenset[str]
    """Actions that most successes contain as they are."""
    searching: frozenset[str] = frozenset()
    """Steps that name nothing and that a success takes several times: `go to <any>`."""
    fillers: dict[str, list["Filler"]] = field(default_factory=lambda: defaultdict(list))
    """Step -> what stood for its one `<any>`, at every use in a success."""

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> "Abstraction":
        """Learn the terms from the episodes of one kind."""
        won = [episode for episode in episodes if episode.success]
        named = _named(episodes)
        counts = {len(_things(goal, named)) for goal in {episode.goal for episode in episodes}}
        draft = cls(named, len(counts) == 1, _fixed(episodes), frozenset())
        forms = Counter(form for episode in won for form in draft._distinct_forms(episode))
        whole = frozenset(form for form, number in forms.items() if number >= SUPPORT * len(won))
        learned = cls(named, draft.numbered, draft.fixed, whole)
        for episode in won:
            slots = learned._slots(episode.goal)
            for action, shown in zip(episode.actions, episode.shown, strict=True):
                learned._note_filler(action, shown, slots)
        return replace(learned, searching=_searching([learned.steps(episode) for episode in won]))

    def steps(self, episode: Episode) -> list[str]:
        """The episode's actions in general terms."""
        slots = self._slots(episode.goal)
        return [self._general(action, slots) for action in episode.actions]

    def course(self, episode: Episode) -> list[str]:
        """The steps without the search; equal ones that follow one another are one."""
        telling = [step for step in self.steps(episode) if step not in self.searching]
        return [step for step, _ in groupby(telling)]

    def _slots(self, goal: str) -> dict[str, str]:
        """Word of the task sentence -> slot."""
        things = _things(goal, self.named)
        return {
            word: f"<{place}>" if self.numbered else NAMED
            for place, thing in enumerate(things, 1)
            for word in reversed(thing)
        }

    def _general(self, action: str, slots: Mapping[str, str]) -> str:
        exact, plain = _forms(action, slots)
        if exact in self.whole or plain in self.whole:
            return exact if exact in self.whole else plain
        verb = words(action)[0]
        kept = self.fixed.get(verb, frozenset()) | {verb}
        return _rewrite(plain, lambda word: word if word in kept else ANY)

    def _distinct_forms(self, episode: Episode) -> set[str]:
        slots = self._slots(episode.goal)
        return {form for action in episode.actions for form in _forms(action, slots) if ANY not in form}

    def _note_filler(self, action: str, shown: str, slots: Mapping[str, str]) -> None:
        step = self._general(action, slots)
        if step.count(ANY) == 1:
            known = {*words(SLOT.sub(" ", step)), *slots}
            filler = " ".join(word for word in words(action) if word not in known and not word.isdigit())
            named = " ".join(word for word in words(action) if word in slots)
            self.fillers[step].append(Filler(filler, named, filler in words(shown)))


def words(text: str) -> list[str]:
    """The words of a text in lower case, numbers among them, without punctuation.

    >>> words("Put 2 apples in/on desk 1.")
    ['put', '2', 'apples', 'in/on', 'desk', '1']
    """
    return _WORD.findall(text.lower())


def longest_common(sequences: Sequence[Sequence[str]], share: float = SUPPORT) -> list[str]:
    """The longest list of items that occurs in order, with gaps, in `share` of the sequences.

    Of several equally long ones the most frequent, then the first in the alphabet.

    >>> longest_common(["abcd", "axcd", "bcad"], share=1.0)
    ['a', 'd']
    """
    least = share * len(sequences)

    @cache
    def best(rests: tuple[tuple[str, ...], ...]) -> tuple[int, int, tuple[str, ...]]:
        """Minus its length, minus the sequences that have it, and the list, out of what is left of them."""
        found: list[tuple[int, int, tuple[str, ...]]] = [(0, -len(rests), ())]
        counts = Counter(item for rest in rests for item in set(rest))
        for item in sorted(item for item, number in counts.items() if number >= least):
            length, number, items = best(
                tuple(rest[rest.index(item) + 1 :] for rest in rests if item in rest)
            )
            found.append((length - 1, number, (item, *items)))
        return min(found)

    return list(best(tuple(map(tuple, sequences)))[2]) if sequences else []


def progress(pattern: Sequence[str], steps: Iterable[str]) -> int:
    """How many items of `pattern` occur in `steps`, in order, from its start.

    >>> progress(["a", "b", "c"], ["a", "x", "b"])
    2
    """
    done = 0
    for step in steps:
        done += done < len(pattern) and step == pattern[done]
    return done


def _searching(won: Sequence[Sequence[str]]) -> frozenset[str]:
    uses = Counter(step for steps in won for step in steps)
    spread = Counter(step for steps in won for step in set(steps))
    bare = (step for step in uses if set(SLOT.findall(step)) == {ANY})
    return frozenset(step for step in bare if uses[step] > 1.5 * spread[step])


def _named(episodes: Sequence[Episode]) -> frozenset[str]:
    """Words of task sentences that actions use as arguments and that most other sentences lack."""
    verbs = {words(action)[0] for episode in episodes for action in episode.actions}
    used = {word for episode in episodes for action in episode.actions for word in words(action)[1:]}
    goals = {episode.goal for episode in episodes}
    spread = Counter(word for goal in goals for word in set(words(goal)))
    rare = {word for word, number in spread.items() if number <= max(1, len(goals) / 2)}
    return frozenset(word for word in (used - verbs) & rare if not word.isdigit())


def _things(goal: str, named: frozenset[str]) -> list[list[str]]:
    """The runs of named words in a task sentence, in order."""
    runs: list[list[str]] = [[]]
    for word in words(goal):
        if word in named:
            runs[-1].append(word)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _fixed(episodes: Sequence[Episode]) -> dict[str, frozenset[str]]:
    uses: dict[str, list[set[str]]] = defaultdict(list)
    for episode in episodes:
        for action in episode.actions:
            verb, *arguments = words(action)
            uses[verb].append(set(arguments))
    counts = {verb: Counter(word for use in all_uses for word in use) for verb, all_uses in uses.items()}
    return {
        verb: frozenset(word for word, number in counts[verb].items() if number >= 0.8 * len(uses[verb]))
        for verb in uses
    }


def _forms(action: str, slots: Mapping[str, str]) -> tuple[str, str]:
    """The action with its slots, and without the numbers of the names in it."""
    plain = SLOT.sub(lambda match: match[0][1:-1], " ".join(action.lower().split()))
    slotted = _rewrite(plain, lambda word: slots.get(word, word))
    exact = re.sub(r"(<\w+>) \d+\b", r"\1", slotted)
    return exact, re.sub(r"(?<=\w) \d+\b", "", exact)


def _rewrite(text: str, change: Callable[[str], str]) -> str:
    """`text` with its words changed; equal slots side by side become one."""
    changed = "".join(
        part if SLOT.fullmatch(part) else _WORD.sub(lambda match: change(match[0]), part)
        for part in re.split(f"({SLOT.pattern})", text)
    )
    return re.sub(r"(<\w+>)(?: \1)+", r"\1", changed)
