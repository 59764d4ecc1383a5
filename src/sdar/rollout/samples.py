"""Turns trajectories into token sequences to train on, with the teacher's prompt in front of the same body.

Only the teacher's prompts are tokenised here: a body is made of the tokens of the episode, as they were.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from sdar.errors import ContextOverflow, DataError
from sdar.model.chat import Chat
from sdar.skills.context import SkillContext
from sdar.types import ContextMode, Message, Trajectory, Turn


class Overflow(StrEnum):
    """What happens when a teacher's prompt and the body do not fit the context: an error, or no teacher."""

    RAISE = "raise"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Sample:
    """A prompt and what followed it. `logps` and `turns` run over the policy tokens of the body, in order.

    Raises `DataError` when the parts do not match.
    """

    prompt: tuple[int, ...]
    body: tuple[int, ...]
    policy: tuple[bool, ...]
    """Over `body`: the policy chose this token."""
    logps: tuple[float, ...]
    """Log-probs as sampled."""
    turns: tuple[int, ...]
    """The turn, counted from 0, of which each policy token is a part."""
    trajectory: int
    """Index into the batch's trajectories."""
    teacher_prompt: tuple[int, ...] = ()
    """In front of the same body for the teacher; empty without a teacher."""

    def __post_init__(self) -> None:
        if len(self.policy) != len(self.body):
            raise DataError(f"a sample has {len(self.body)} body tokens and {len(self.policy)} policy marks")
        if not sum(self.policy) == len(self.logps) == len(self.turns):
            raise DataError(
                f"a sample has {sum(self.policy)} policy tokens, {len(self.logps)} log-probs "
                f"and {len(self.turns)} turn numbers"
            )

    @property
    def num_policy(self) -> int:
        """Tokens that the policy chose."""
        return len(self.logps)

    @property
    def length(self) -> int:
        """Tokens of prompt and body."""
        return len(self.prompt) + len(self.body)


@dataclass(frozen=True, slots=True)
class SampleReport:
    """What the teacher saw."""

    kinds: tuple[str, ...]
    """Task kind of each trajectory."""
    skills: tuple[tuple[str, ...], ...]
    """Names of the skills in the teacher's prompts of each trajectory; empty where it had no teacher."""
    teacher_prompt_tokens: int
    """Tokens of all teacher prompts."""
    teacher_overflow: int
    """Samples that lost their teacher because its prompt and the body do not fit the context."""

    @property
    def skills_seen(self) -> Mapping[str, Counter[str]]:
        """Task kind -> skill name -> trajectories whose teacher saw it."""
        seen: dict[str, Counter[str]] = {}
        for kind, names in zip(self.kinds, self.skills, strict=True):
            seen.setdefault(kind, Counter()).update(names)
        return seen


def build_samples(
    trajectories: Sequence[Trajectory],
    *,
    chat: Chat,
    teacher: SkillContext | None,
    context_length: int,
    overflow: Overflow = Overflow.RAISE,
) -> tuple[list[Sample], SampleReport]:
    """The samples of all trajectories, in order: one a turn in window mode, one an episode in a transcript.

    With a `teacher`, its prompt is the student's messages with the task's skills put in. One that leaves the
    body no room in `context_length` raises `ContextOverflow`, or with `drop` the sample has no teacher; it is
    never cut.
    """
    samples: list[Sample] = []
    skills: list[tuple[str, ...]] = []
    lost = 0
    for index, trajectory in enumerate(trajectories):
        chosen = teacher.select(trajectory.task, trajectory.turns[0].observation.goal) if teacher else ()
        seen = False
        for sample, messages in _plain(trajectory, index):
            if teacher is None:
                samples.append(sample)
                continue
            prompt = tuple(chat.render(teacher.apply(messages, chosen)))
            fits = _fits(prompt, sample, trajectory, context_length, overflow)
            samples.append(replace(sample, teacher_prompt=prompt) if fits else sample)
            seen, lost = seen or fits, lost + (not fits)
        skills.append(tuple(skill.name for skill in chosen) if seen else ())
    kinds = tuple(trajectory.task.kind for trajectory in trajectories)
    tokens = sum(len(sample.teacher_prompt) for sample in samples)
    return samples, SampleReport(kinds, tuple(skills), tokens, lost)


def _plain(trajectory: Trajectory, index: int) -> Iterator[tuple[Sample, tuple[Message, ...]]]:
    """Samples without a teacher, each with the messages of its prompt."""
    if trajectory.context is ContextMode.WINDOW:
        for number, turn in enumerate(trajectory.turns):
            yield _sample(turn.prompt, [turn], number, index), turn.messages
    else:
        yield _sample(trajectory.turns[0].prompt, trajectory.turns, 0, index), trajectory.turns[0].messages


def _sample(prompt: tuple[int, ...], turns: Sequence[Turn], first: int, index: int) -> Sample:
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
    return Sample(prompt, tuple(body), tuple(policy), tuple(logps), tuple(numbers), index)


def _fits(
    prompt: tuple[int, ...], sample: Sample, trajectory: Trajectory, context_length: int, overflow: Overflow
) -> bool:
    if prompt[-1] != sample.prompt[-1]:
        raise DataError("the teacher's prompt does not end like the student's; the chat template is at fault")
    length = len(prompt) + len(sample.body)
    if length > context_length and overflow is Overflow.RAISE:
        raise ContextOverflow(
            f"the teacher's prompt of {len(prompt)} tokens and the {len(sample.body)} tokens that follow it "
            f"in task '{trajectory.task.id}' exceed the context of {context_length}"
        )
    return length <= context_length
