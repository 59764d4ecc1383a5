"""Plays episodes, each at its own pace: answered, it goes on at once, and when it ends, another one starts.

Nothing here depends on when an answer comes: what an episode is follows from its task, its place in the group
and the seed.
"""

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from math import floor
from typing import Generic, TypeVar

from sdar.envs.base import EnvSpec
from sdar.errors import ContextOverflow, DataError
from sdar.model.chat import Chat
from sdar.rollout.agent import Always, Dialogue, Episode, Shows
from sdar.rollout.attempts import Attempt, Plays, Progress
from sdar.rollout.engine import Engine, Sampling
from sdar.rollout.settings import RolloutConfig
from sdar.skills.context import SkillContext
from sdar.types import Completion, EndReason, Place, Step, Task, Trajectory

D = TypeVar("D", bound=Dialogue)
Answer = tuple[str, Completion]
"""What was written, and the record of it."""


class Player(Plays, Generic[D]):
    """Plays tasks of one environment. Subclasses say who answers."""

    def __init__(self, spec: EnvSpec, config: RolloutConfig, skills: SkillContext | None) -> None:
        """`skills` are shown to the player itself."""
        self.spec, self.config, self.skills = spec, config, skills
        self._problems: dict[str, str] = {}

    def play(
        self,
        attempts: Sequence[Attempt],
        seed: int,
        sampling: Sampling | None = None,
        on_progress: Progress | None = None,
    ) -> list[Trajectory]:
        """See `Plays.play`; `sampling` is the config's by default."""
        starts = [partial(self._start, task, index) for task, index in attempts]
        return self._play(attempts, starts, seed, sampling, on_progress)

    def _play(
        self,
        attempts: Sequence[Attempt],
        starts: Sequence[Callable[[], D]],
        seed: int,
        sampling: Sampling | None = None,
        on_progress: Progress | None = None,
    ) -> list[Trajectory]:
        """Play episodes that begin as `starts` say, one for each attempt; no two attempts are alike."""
        config = self.config
        sampling = sampling or Sampling(temperature=config.temperature, max_tokens=config.max_tokens)
        waiting, won = deque(zip(attempts, starts, strict=True)), 0
        ended: dict[tuple[str, int], Trajectory] = {}
        table = _Table(self)
        self._problems = {}
        try:
            while waiting or table.live:
                started: list[D] = []
                while waiting and len(table.live) + len(started) < config.max_live:
                    (task, index), start = waiting.popleft()
                    try:
                        started.append(start())
                    except ContextOverflow as error:
                        ended[task.id, index] = Trajectory(
                            task, index, config.context, (), False, EndReason.OVERLONG, problem=str(error)
                        )
                table.seat(started, seed, sampling)
                over = table.turn(seed, sampling) if table.live else []
                for episode in over:
                    problem = self._problems.get(episode.task.id, "")
                    ended[episode.task.id, episode.index] = replace(episode.trajectory(), problem=problem)
                    won += episode.success
                if over and on_progress:
                    on_progress(len(ended), len(attempts), won)
        finally:
            table.close()
        return [ended[task.id, index] for task, index in attempts]

    @property
    def _patience(self) -> float | None:
        """Seconds until answers must be listened for though nothing was asked; None: they need not be."""
        return None

    def _settle(self) -> None:
        """Nothing more is asked in this play."""

    @abstractmethod
    def _start(self, task: Task, index: int) -> D:
        """A fresh episode. Raises `ContextOverflow` for a first prompt that does not fit."""

    @abstractmethod
    def _ask(self, episodes: Sequence[D], seed: int, sampling: Sampling) -> None:
        """Ask for the coming turn of these episodes."""

    @abstractmethod
    def _hear(self, at_once: bool) -> list[tuple[D, Answer | None]]:
        """The answers that have come since; waits for one unless `at_once`. None: the episode has ended."""

    @abstractmethod
    def _take(self, episode: D, answer: Answer, step: Step) -> None:
        """Let an episode go on by a turn."""

    @abstractmethod
    def _forget(self, episodes: Iterable[D]) -> None:
        """Free what was kept for these episodes; those that have not ended go with all that was asked."""


class _Table(Generic[D]):
    """The live episodes: some wait for their player's answer, some for their environment's."""

    def __init__(self, player: Player[D]) -> None:
        self.live: dict[int, D] = {}
        self._player = player
        self._acting: dict[Future[Step], tuple[D, Answer]] = {}
        self._threads = ThreadPoolExecutor(player.config.max_live)  # makes a thread when one is missing

    def seat(self, episodes: Sequence[D], seed: int, sampling: Sampling) -> None:
        """Begin episodes."""
        self.live |= {id(episode): episode for episode in episodes}
        if episodes:
            self._player._ask(episodes, seed, sampling)

    def turn(self, seed: int, sampling: Sampling) -> list[D]:
        """Pass on what has come from players and environments; the episodes that ended."""
        asked = len(self.live) > len(self._acting)
        listens = asked or self._player._patience is not None
        heard = self._player._hear(at_once=bool(self._acting)) if listens else []
        going = [episode for episode, answer in heard if answer is None]
        for episode, answer, step in self._acted([pair for pair in heard if pair[1] is not None], asked):
            self._player._take(episode, answer, step)
            going.append(episode)
        over = [episode for episode in going if episode.end]
        for episode in over:
            del self.live[id(episode)]
        self._player._forget(over)
        going = [episode for episode in going if not episode.end]
        if going:
            self._player._ask(going, seed, sampling)
        return over

    def _acted(self, heard: Sequence[tuple[D, Answer | None]], asked: bool) -> list[tuple[D, Answer, Step]]:
        """What environments did; those that wait for something outside do it in threads, for later turns."""
        answers = [(episode, answer) for episode, answer in heard if answer is not None]
        if not self._player.spec.waits:
            self._player.spec.prefetch(text for _, (text, _) in answers)
            return [(episode, answer, episode.act(answer[0])) for episode, answer in answers]
        for episode, answer in answers:
            self._acting[self._threads.submit(episode.act, answer[0])] = (episode, answer)
        done, _ = wait(self._acting, 0 if asked else self._player._patience, FIRST_COMPLETED)
        ready = [future for future in self._acting if future in done]
        return [(*self._acting.pop(future), future.result()) for future in ready]

    def close(self) -> None:
        """Leave nothing behind, whatever happened."""
        self._threads.shutdown(cancel_futures=True)
        self._player._forget(self.live.values())
        self._player._settle()


class Collector(Player[Episode]):
    """Plays tasks with an engine, in tokens."""

    def __init__(
        self,
        spec: EnvSpec,
        engine: Engine,
        chat: Chat,
        config: RolloutConfig,
        skills: SkillContext | None = None,
        share: float = 1.0,
    ) -> None:
        """`skills` are shown to the player itself, in this share of each group's episodes."""
        super().__init__(spec, config, skills)
        self.engine, self.chat, self.share = engine, chat, share
        self._asked: dict[int, Episode] = {}

    def play_on(self, branches: Sequence[tuple[Place, int]], seed: int) -> list[Trajectory]:
        """Play on from places in episodes, each with a number that no other episode of its task has.

        Environments repeat themselves, so the turns before the place are played again, with the note in place
        of what the player saw then. Raises `DataError` for an environment that comes to another place.
        """
        starts = [partial(self._branch, place, number) for place, number in branches]
        return self._play([(place.trajectory.task, number) for place, number in branches], starts, seed)

    def _branch(self, place: Place, number: int) -> Episode:
        past, here = place.trajectory.turns[: place.turn], place.trajectory.turns[place.turn]
        episode = self._episode(place.trajectory.task, number, Always(place.note))
        for turn in past:
            episode.accept(turn.text, turn.completion, episode.act(turn.text))
            if episode.end is EndReason.CONTEXT_FULL:
                raise ContextOverflow(f"turn {place.turn} with a note of {len(place.note)} characters")
        if episode.end or episode.observation.text != here.observation.text:
            raise DataError(
                f"the environment comes to another place when task '{episode.task.id}' is played again up to "
                f"turn {place.turn}; sdar check env finds such faults"
            )
        return episode

    def _start(self, task: Task, index: int) -> Episode:
        shown = floor(self.share * (index + 1)) > floor(self.share * index)
        return self._episode(task, index, self.skills if shown else None)

    def _episode(self, task: Task, index: int, skills: Shows | None) -> Episode:
        return Episode(
            self.spec.make(),
            task,
            index,
            prompts=self.spec.prompts(),
            chat=self.chat,
            context=self.config.context,
            history=self.config.history,
            context_length=self.engine.context_length,
            max_prompt=self.config.max_prompt,
            long_prompt=self.config.long_prompt,
            skills=skills,
        )

    @property
    def _patience(self) -> float | None:
        return self.engine.patience

    def _settle(self) -> None:
        self.engine.settle()

    def _ask(self, episodes: Sequence[Episode], seed: int, sampling: Sampling) -> None:
        tickets = self.engine.submit([episode.request(seed) for episode in episodes], sampling)
        self._asked |= dict(zip(tickets, episodes, strict=True))

    def _hear(self, at_once: bool) -> list[tuple[Episode, Answer | None]]:
        done = self.engine.step()
        return [(self._asked.pop(ticket), (self.chat.decode(c.tokens), c)) for ticket, c in done]

    def _take(self, episode: Episode, answer: Answer, step: Step) -> None:
        episode.accept(*answer, step)

    def _forget(self, episodes: Iterable[Episode]) -> None:
        left = list(episodes)
        if any(not episode.end for episode in left):
            self.engine.abort()
            self._asked = {}
        self.engine.release([episode.session for episode in left if episode.session is not None])
