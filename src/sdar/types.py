"""The records that layers hand to one another. Frozen, picklable, free of torch.

Words: a *task* is what to solve; an *episode* is one attempt at it, recorded as a *trajectory* of *turns*;
a *group* is several trajectories of one task. Tokens are kept exactly as they were sampled.
"""

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from numbers import Real
from typing import Any


def is_number(value: object) -> bool:
    """Whether `value` is a finite real number.

    >>> [is_number(value) for value in (1, 0.5, math.nan, math.inf, None, "1")]
    [True, True, False, False, False, False]
    """
    return isinstance(value, Real) and math.isfinite(value)


def compact(record: object, kind: str, *fields: str) -> None:
    """Keep these fields of a frozen record, which were given as any sequence, as arrays of a `kind`.

    "i" are tokens, of 4 bytes each where a tuple takes 40, and "d" log-probs. Records travel between ranks
    and are held for a whole step.
    """
    for name in fields:
        if not isinstance(given := getattr(record, name), array):
            object.__setattr__(record, name, array(kind, given))


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message, before any template.

    >>> Message("user", "go on").role
    'user'
    """

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Task:
    """What to solve. `id` is unique in its split; `kind` is the key for skills and per-kind success.

    `payload` belongs to the environment that made the task; it must be picklable.

    >>> Task("train/0", "heat").kind
    'heat'
    """

    id: str
    kind: str
    payload: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Observation:
    """What an environment shows: its text, the task sentence, and the commands it would accept now.

    >>> Observation("You see a door.", goal="leave", admissible=("open door",)).goal
    'leave'
    """

    text: str
    goal: str = ""
    admissible: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """The answer to one action.

    `action` is the command that the environment read out of the text; `reward` is the environment's own,
    before any penalty; `valid` says that the text had the required form; `truncated` that the turn limit was
    reached. `metrics` is what else the environment measures. Like the reward, a metric of an episode is the
    sum over its steps, and 0 where no step has it; a number that is known at the end is given there.
    """

    observation: Observation
    action: str
    reward: float = 0.0
    done: bool = False
    success: bool = False
    valid: bool = True
    truncated: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)


class StopReason(StrEnum):
    """Why a completion ended."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True, slots=True)
class Completion:
    """Sampled tokens with the log-probability each had in the distribution it was drawn from.

    A completion that ended by itself (`STOP`) includes its end-of-turn token.
    """

    tokens: Sequence[int]
    logps: Sequence[float]
    stop_reason: StopReason
    hidden: int = 0
    """Tokens that are counted and not here, as an endpoint does not show them; then `tokens` is empty."""

    def __post_init__(self) -> None:
        compact(self, "i", "tokens")
        compact(self, "d", "logps")

    @property
    def num_tokens(self) -> int:
        """How many were sampled."""
        return len(self.tokens) + self.hidden


NOTHING = Completion((), (), StopReason.STOP)
"""A completion without tokens."""


class ContextMode(StrEnum):
    """How an episode becomes token sequences.

    `WINDOW`: each turn is its own prompt with the last k turns in it; one sample per turn.
    `TRANSCRIPT`: the episode is one growing sequence; one sample per episode.
    """

    WINDOW = "window"
    TRANSCRIPT = "transcript"


class EndReason(StrEnum):
    """Why an episode ended."""

    DONE = "done"
    MAX_TURNS = "max_turns"
    CONTEXT_FULL = "context_full"
    OVERLONG = "overlong"
    """It never began: the first prompt does not fit the player's context."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One exchange.

    `messages` and `prompt` are what was put before the completion: the whole prompt in window mode; in
    transcript mode the whole prompt for the first turn, and for later ones only what was added since the last
    completion.
    """

    observation: Observation
    messages: tuple[Message, ...]
    prompt: Sequence[int]
    completion: Completion
    text: str
    action: str
    reward: float
    valid: bool
    metrics: Mapping[str, float] = field(default_factory=dict)
    shown: str = ""
    """What the player was shown at the head of the first user message, such as skills."""

    def __post_init__(self) -> None:
        compact(self, "i", "prompt")

    @property
    def plain(self) -> tuple[Message, ...]:
        r"""The messages without what was shown.

        >>> seen = (Message("user", "Hint.\n\nx"),)
        >>> Turn(Observation("x"), seen, (), NOTHING, "", "", 0.0, True, shown="Hint.").plain
        (Message(role='user', content='x'),)
        """
        first = next((i for i, message in enumerate(self.messages) if message.role == "user"), 0)
        if not self.shown:
            return self.messages
        told = self.messages[first]
        bare = Message(told.role, told.content.removeprefix(f"{self.shown}\n\n"))
        return (*self.messages[:first], bare, *self.messages[first + 1 :])


@dataclass(frozen=True, slots=True)
class Trajectory:
    """The record of one episode. `index` is its place in its group."""

    task: Task
    index: int
    context: ContextMode
    turns: tuple[Turn, ...]
    success: bool
    end: EndReason
    final: Observation = Observation("")
    """What was shown after the last action."""
    facts: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Texts that a stage after the rollout has added, for teacher views to use."""
    problem: str = field(default="", compare=False)
    """Of an overlong episode, what does not fit, in words."""
    rank: int = field(default=0, compare=False)
    """The process that played it."""

    def without_tokens(self) -> "Trajectory":
        """What other ranks need to know of it: tokens are counted, their log-probs stay."""
        return replace(
            self,
            turns=tuple(
                replace(turn, prompt=(), completion=replace(done, tokens=(), hidden=done.num_tokens))
                for turn in self.turns
                for done in (turn.completion,)
            ),
        )

    @property
    def skilled(self) -> bool:
        """Whether the player saw skills."""
        return any(turn.shown for turn in self.turns)

    @property
    def reward(self) -> float:
        """Sum of the environment's rewards, before penalties."""
        return sum(turn.reward for turn in self.turns)

    @property
    def metrics(self) -> dict[str, float]:
        """What the environment measured: for each name the sum over the turns, see `Step`."""
        names = dict.fromkeys(name for turn in self.turns for name in turn.metrics)
        return {name: math.fsum(turn.metrics.get(name, 0.0) for turn in self.turns) for name in names}

    @property
    def num_invalid(self) -> int:
        """Turns whose text did not have the required form."""
        return sum(not turn.valid for turn in self.turns)

    @property
    def num_tokens(self) -> int:
        """Tokens that the policy sampled."""
        return sum(turn.completion.num_tokens for turn in self.turns)


@dataclass(frozen=True, slots=True)
class Place:
    """What stands before a turn of an episode, with another text at its head than the player saw there."""

    trajectory: Trajectory
    turn: int
    """Counted from 0."""
    note: str = ""
    """At the head of the first user message; empty: nothing."""


@dataclass(frozen=True, slots=True)
class Extra:
    """A sample beside those of the episodes: an answer in a place where it was not given."""

    at: Place
    """What the student reads."""
    answer: Completion
    teacher: Place | None = None
    """What the teacher reads in front of the same answer; None: no teacher."""
    weight: float = 1.0
    """For the objective to read."""
    adv: float | None = None
    """The advantage of its tokens; None: no policy gradient."""


@dataclass(frozen=True, slots=True)
class Group:
    """Trajectories of one task, and what else is to be learned with them."""

    task: Task
    trajectories: Sequence[Trajectory]
    extras: Sequence[Extra] = ()

    @property
    def overlong(self) -> str:
        """What does not fit of a task that cannot be played, in words; else empty."""
        return next((each.problem for each in self.trajectories if each.end is EndReason.OVERLONG), "")
