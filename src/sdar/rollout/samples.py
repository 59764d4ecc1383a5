"""Turns trajectories into token sequences to train on, with the teachers' prompts in front of the same body.

Only the teachers' prompts are tokenised here: a body is made of the tokens of the episode, as they were.
"""

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any, cast

from sdar.errors import ContextOverflow, DataError
from sdar.model.chat import Chat
from sdar.rollout.attempts import Ranks, work_out
from sdar.rollout.settings import Overflow
from sdar.rollout.views import Note, TeacherContext, Views, views
from sdar.skills.context import prepend
from sdar.text.spans import token_spans
from sdar.types import ContextMode, Extra, Group, Place, Trajectory, Turn, compact


@dataclass(frozen=True, slots=True)
class Sample:
    """A prompt and what followed it. `logps` and `turns` run over the policy tokens of the body, in order.

    Raises `DataError` when the parts do not match.
    """

    prompt: Sequence[int]
    body: Sequence[int]
    policy: tuple[bool, ...]
    """Over `body`: the policy chose this token."""
    logps: Sequence[float]
    """Log-probs as sampled."""
    turns: Sequence[int]
    """The turn, counted from 0, of which each policy token is a part."""
    trajectory: int
    """Index into the batch's trajectories."""
    teacher_prompt: Sequence[int] = ()
    """In front of the same body for the teacher; empty without a teacher."""
    more_prompts: tuple[Sequence[int], ...] = ()
    """The same for each further teacher view."""
    spans: Sequence[int] = ()
    """Over the policy tokens: what each is a part of, see `sdar.text.spans.Span`."""
    extra: bool = False
    """Whether it stands beside the samples of the episodes; then `trajectory` is the first of its group."""
    weight: float = 1.0
    """Of an extra sample."""
    adv: float | None = None
    """The advantage of an extra sample; None: no policy gradient."""

    def __post_init__(self) -> None:
        compact(self, "i", "prompt", "body", "turns", "teacher_prompt", "spans")
        compact(self, "d", "logps")
        object.__setattr__(self, "more_prompts", tuple(array("i", prompt) for prompt in self.more_prompts))
        if len(self.policy) != len(self.body):
            raise DataError(f"a sample has {len(self.body)} body tokens and {len(self.policy)} policy marks")
        if not sum(self.policy) == len(self.logps) == len(self.turns):
            raise DataError(
                f"a sample has {sum(self.policy)} policy tokens, {len(self.logps)} log-probs "
                f"and {len(self.turns)} turn numbers"
            )

    @classmethod
    def of_answer(
        cls,
        prompt: Sequence[int],
        answer: Sequence[int],
        logps: Sequence[float] = (),
        turn: int = 0,
        **more: Any,
    ) -> "Sample":
        """One answer behind its prompt, all of it the policy's; without `logps` nobody sampled it."""
        return cls(
            prompt=prompt,
            body=answer,
            policy=(True,) * len(answer),
            logps=logps or (0.0,) * len(answer),
            turns=(turn,) * len(answer),
            **{"trajectory": 0, **more},
        )

    @property
    def num_policy(self) -> int:
        """Tokens that the policy chose."""
        return len(self.logps)

    @property
    def length(self) -> int:
        """Tokens of prompt and body."""
        return len(self.prompt) + len(self.body)

    def prompt_of(self, view: int | None) -> Sequence[int]:
        """The prompt of a teacher view, empty without that teacher; None is the student's."""
        return self.prompt if view is None else (self.teacher_prompt, *self.more_prompts)[view]

    def sequence(self, view: int | None = None) -> "array[int]":
        """The prompt of a view and the body."""
        return array("i", self.prompt_of(view)) + cast("array[int]", self.body)


@dataclass(slots=True)
class ViewReport:
    """What one teacher saw."""

    name: str
    prompt_tokens: int = 0
    """Tokens of all its prompts."""
    overflow: int = 0
    """Samples that lost this teacher because its prompt exceeds the budget or the context."""
    absent: int = 0
    """Samples for which the view had nothing to tell, and so no teacher."""


@dataclass(frozen=True, slots=True)
class SampleReport:
    """What the teachers saw."""

    kinds: tuple[str, ...]
    """Task kind of each trajectory."""
    skills: tuple[tuple[str, ...], ...]
    """Names of the skills in the teachers' prompts of each trajectory; empty where it had no teacher."""
    views: tuple[ViewReport, ...]
    """One for each teacher, the main one first."""
    extras: int = 0
    """Extra samples."""
    extras_overflow: int = 0
    """Extra samples that were left out because a prompt of theirs exceeds the context."""

    @property
    def skills_seen(self) -> Mapping[str, Counter[str]]:
        """Task kind -> skill name -> trajectories whose teacher saw it."""
        seen: dict[str, Counter[str]] = {}
        for kind, names in zip(self.kinds, self.skills, strict=True):
            seen.setdefault(kind, Counter()).update(names)
        return seen


def build_samples(
    groups: Sequence[Group],
    *,
    chat: Chat,
    teacher: Views | None,
    context_length: int,
    overflow: Overflow = Overflow.RAISE,
    with_spans: bool = False,
    ranks: Ranks | None = None,
) -> tuple[list[Sample], SampleReport]:
    """The samples of all trajectories, in order: one a turn in window mode, one an episode in a transcript.

    The extra samples of all groups follow them. With `ranks` each builds those of the episodes that it
    played, of which alone it needs the tokens, and all get all, as arrays (collective).

    With a `teacher`, each of its views makes a prompt of the student's messages and its note. One that is
    over the view's budget or leaves the body no room in `context_length` raises `ContextOverflow`, or with
    `drop` the sample has no such teacher; it is never cut.
    """
    episodes = [(group, trajectory) for group in groups for trajectory in group.trajectories]

    def build(index: int) -> _Built:
        group, trajectory = episodes[index]
        scribe = _Scribe(teacher, chat, context_length, overflow) if teacher else None
        built = _Built(scribe.reports if scribe else ())
        context = teacher.context(group, trajectory) if teacher else None
        for sample, turn in _plain(trajectory, index):
            spans = _spans(sample, chat) if with_spans else ()
            prompts: list[Sequence[int]] = [()]
            if scribe and context:
                prompts, shown = scribe.teach(sample, replace(context, turn=turn))
                built.skills |= dict.fromkeys(shown)
            taught = replace(sample, teacher_prompt=prompts[0], more_prompts=tuple(prompts[1:]), spans=spans)
            built.samples.append(taught)
        return built

    def build_extra(place: tuple[Extra, int]) -> Sample | None:
        sample = _extra(*place, chat, len(teacher.names) if teacher else 1)
        if not _has_room(sample, context_length, overflow):
            return None
        return replace(sample, spans=_spans(sample, chat)) if with_spans else sample

    every = work_out(range(len(episodes)), build, ranks, [trajectory.rank for _, trajectory in episodes])
    wanted = list(_extras(groups))
    extras: list[Sample | None] = []
    if wanted:
        extras = work_out(wanted, build_extra, ranks, [extra.at.trajectory.rank for extra, _ in wanted])
    kept = [sample for sample in extras if sample is not None]
    report = SampleReport(
        kinds=tuple(trajectory.task.kind for _, trajectory in episodes),
        skills=tuple(tuple(built.skills) for built in every),
        views=_summed([built.reports for built in every], teacher.names if teacher else ()),
        extras=len(kept),
        extras_overflow=len(wanted) - len(kept),
    )
    return [sample for built in every for sample in built.samples] + kept, report


@dataclass(slots=True)
class _Built:
    """What a rank built of an episode."""

    reports: tuple[ViewReport, ...]
    samples: list[Sample] = field(default_factory=list)
    skills: dict[str, None] = field(default_factory=dict)
    """Names of the skills in the teachers' prompts, in the order in which they were seen."""


def _summed(reports: Sequence[Sequence[ViewReport]], names: Sequence[str]) -> tuple[ViewReport, ...]:
    """The reports of all episodes, view by view."""
    return tuple(
        ViewReport(
            name,
            sum(of_one[view].prompt_tokens for of_one in reports),
            sum(of_one[view].overflow for of_one in reports),
            sum(of_one[view].absent for of_one in reports),
        )
        for view, name in enumerate(names)
    )


def _extras(groups: Sequence[Group]) -> Iterator[tuple[Extra, int]]:
    """All extras, each with the first episode of its group."""
    first = 0
    for group in groups:
        yield from ((extra, first) for extra in group.extras)
        first += len(group.trajectories)


def _extra(extra: Extra, first: int, chat: Chat, views: int) -> Sample:
    """The sample of an extra; only the first of the teachers reads it."""
    return Sample.of_answer(
        prompt_before(extra.at, chat),
        extra.answer.tokens,
        extra.answer.logps,
        extra.at.turn,
        trajectory=first,
        teacher_prompt=prompt_before(extra.teacher, chat) if extra.teacher else (),
        more_prompts=((),) * (views - 1),
        extra=True,
        weight=extra.weight,
        adv=extra.adv,
    )


def prompt_before(place: Place, chat: Chat) -> tuple[int, ...]:
    """The tokens before a turn, with the place's note instead of what the player was shown."""
    turns, number = place.trajectory.turns, place.turn
    if place.trajectory.context is ContextMode.WINDOW:
        return tuple(chat.render(prepend(turns[number].plain, place.note)))
    tokens = chat.render(prepend(turns[0].plain, place.note))
    for before, turn in pairwise(turns[: number + 1]):
        tokens += [*before.completion.tokens, *turn.prompt]
    return tuple(tokens)


def _has_room(sample: Sample, context_length: int, overflow: Overflow) -> bool:
    """Whether the context holds an extra sample; `ContextOverflow` where it may not be left out."""
    length = max(len(sample.prompt), len(sample.teacher_prompt)) + len(sample.body)
    if length > context_length and overflow is Overflow.RAISE:
        raise ContextOverflow(
            f"an extra sample has {length} tokens, which exceeds the context of {context_length}; "
            'with train.teacher_overflow = "drop" it is left out'
        )
    return length <= context_length


def _spans(sample: Sample, chat: Chat) -> tuple[int, ...]:
    """What each policy token is a part of, answer by answer."""
    spans: list[int] = []
    for chosen, run in groupby(zip(sample.policy, sample.body, strict=True), key=itemgetter(0)):
        if chosen:
            spans += token_spans(chat.pieces([token for _, token in run]))
    return tuple(spans)


class _Scribe:
    """Writes the teachers' prompts of samples, and keeps count."""

    def __init__(self, teacher: Views, chat: Chat, context_length: int, overflow: Overflow) -> None:
        self.reports = tuple(map(ViewReport, teacher.names))
        self._teacher, self._chat, self._overflow = teacher, chat, overflow
        self._context_length = context_length

    def teach(self, sample: Sample, context: TeacherContext) -> tuple[list[Sequence[int]], list[str]]:
        """The sample's prompt for each view, and the names of the skills in them."""
        prompts: list[Sequence[int]] = []
        skills: list[str] = []
        for number, report in enumerate(self.reports):
            note = views[report.name].write(context)
            prompt = array("i", self._prompt(context.start, note) if note else ())
            if note is None:
                report.absent += 1
            elif self._fits(prompt, sample, self._teacher.budget(number), context):
                skills += note.skills
            else:
                report.overflow, prompt = report.overflow + 1, array("i")
            report.prompt_tokens += len(prompt)
            prompts.append(prompt)
        return prompts, skills

    def _prompt(self, start: Turn, note: Note) -> list[int]:
        """The student's prompt with a note in it."""
        return self._chat.render(prepend(start.plain if note.instead else start.messages, note.text))

    def _fits(self, prompt: Sequence[int], sample: Sample, budget: int, context: TeacherContext) -> bool:
        """Whether budget and context hold the prompt; `ContextOverflow` where it may not be dropped."""
        if prompt[-1] != sample.prompt[-1]:
            raise DataError(
                "the teacher's prompt does not end like the student's; the chat template is at fault"
            )
        added, length = len(prompt) - len(sample.prompt), len(prompt) + len(sample.body)
        fits = length <= self._context_length and (not budget or added <= budget)
        if not fits and self._overflow is Overflow.RAISE:
            limit = f"the context of {self._context_length}"
            if length <= self._context_length:
                limit = f"its budget of {budget} more than the student's {len(sample.prompt)}"
            raise ContextOverflow(
                f"the teacher's prompt of {len(prompt)} tokens and the {len(sample.body)} tokens that follow "
                f"it in task '{context.trajectory.task.id}' exceed {limit}"
            )
        return fits


def _plain(trajectory: Trajectory, index: int) -> Iterator[tuple[Sample, int | None]]:
    """Samples without a teacher, each in window mode with its turn."""
    if trajectory.context is ContextMode.WINDOW:
        for number, turn in enumerate(trajectory.turns):
            yield _sample(turn.prompt, [turn], number, index), number
    else:
        yield _sample(trajectory.turns[0].prompt, trajectory.turns, 0, index), None


def _sample(prompt: Sequence[int], turns: Sequence[Turn], first: int, index: int) -> Sample:
    """`prompt`, then the completions of `turns`, from turn `first` on, with what was put in between them."""
    body: list[int] = []
    policy: list[bool] = []
    logps: list[float] = []
    numbers: list[int] = []
    for number, turn in enumerate(turns, first):
        added = turn.prompt if number > first else ()
        body += [*added, *turn.completion.tokens]
        policy += [False] * len(added) + [True] * len(turn.completion.tokens)
        logps += turn.completion.logps
        numbers += [number] * len(turn.completion.logps)
    return Sample(prompt, body, tuple(policy), logps, numbers, index)
