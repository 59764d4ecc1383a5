"""The training loop. Read this first: `Trainer.step` is one step of the algorithm, top to bottom.

Nothing here knows which objective is used: it says which log-prob streams it needs, and those are scored. All
randomness follows from (seed, step), so the weights, the optimizer's state, the step number and the returns
observed with each skill are the whole state.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import count
from typing import Protocol

import numpy as np
import torch
from torch.optim import Optimizer

from sdar.errors import ConfigError, ContextOverflow
from sdar.model.chat import Chat
from sdar.model.policy import Policy
from sdar.objectives.advantages import AdvantageConfig, advantages
from sdar.objectives.base import Stream
from sdar.rollout.attempts import all_attempts, grouped, share, unshare, work_out
from sdar.rollout.collector import Collector
from sdar.rollout.engine import Engine
from sdar.rollout.kept import of_groups
from sdar.rollout.samples import SampleReport, build_samples
from sdar.rollout.stages import Ask, Tools, run_stages
from sdar.rollout.views import Views
from sdar.rollout.writing import Writing
from sdar.runs.checkpoints import read_returns, step_of
from sdar.runs.rundir import RunDir
from sdar.skills.context import SkillContext
from sdar.trainer.average import Average
from sdar.trainer.batch import Batch, step_inputs
from sdar.trainer.checkpoint import Checkpoints
from sdar.trainer.divergence import Watch
from sdar.trainer.interrupt import graceful
from sdar.trainer.metrics import episode_gaps, rollout_metrics, score_metrics, teacher_metrics
from sdar.trainer.record import take_notes
from sdar.trainer.settings import OldLogps, TrainConfig
from sdar.trainer.step import Learner
from sdar.trainer.tally import Clock, Tally
from sdar.trainer.weight_sync import sync_weights
from sdar.types import Group, Place, Task, Trajectory

TRIED = 128
"""Of more tasks than that, drawn by chance, at least one must fit the context."""


class Progress(Protocol):
    """Is told what goes on; the command line draws it."""

    def begin(self, done: int) -> None:
        """Training begins, or goes on after `done` steps."""

    def phase(self, name: str, done: int, total: int, successes: int = 0) -> None:
        """Phase `name` of the current step has done so many of its units."""

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Training step `step` is over; step 0 is the evaluation before training."""

    def message(self, text: str) -> None:
        """One line for the user."""


@dataclass(kw_only=True)
class Trainer:
    """The parts of a run, built by `sdar.build`, and the loop over them. The methods are collective."""

    config: TrainConfig
    advantage: AdvantageConfig
    tasks: Sequence[Task]
    """The training tasks."""
    collector: Collector
    engine: Engine
    """The collector's engine; it is given the policy's weights at the start and after every step."""
    chat: Chat
    teacher: Views | None
    """What the teachers see and the student does not; needed where the objective needs a teacher."""
    learner: Learner
    checkpoints: Checkpoints
    run: RunDir
    writing: Writing
    """Writes what stages ask for."""
    evaluate: Callable[[int], Mapping[str, float]]
    """Metrics of the policy after so many steps; called on every rank, those of the main rank are logged."""
    progress: Progress

    def __post_init__(self) -> None:
        self._watch = Watch(self.config.max_skipped, self.run.checkpoints)
        self._told_overlong = False
        per_step = self.collector.config.tasks_per_step
        if per_step > len(self.tasks):
            raise ConfigError(
                f"rollout.tasks_per_step is {per_step}, but there are {len(self.tasks)} training tasks"
            )
        if self._taught and self.learner.objective.views and self.teacher is None:
            raise ConfigError("the objective needs a teacher, and no views were given")

    @property
    def stages(self) -> tuple[str, ...]:
        """What is done between rollout and learning: the run's stages, or else the objective's."""
        return self.config.stages or self.learner.objective.stages

    @property
    def _taught(self) -> bool:
        return Stream.TEACHER in self.learner.objective.needs

    @property
    def _further(self) -> tuple[str, ...]:
        """The views beside the main teacher's."""
        return self.teacher.names[1:] if self.teacher and self._taught else ()

    @property
    def skills(self) -> SkillContext | None:
        """What the teachers may be shown or, where the objective needs none, the student."""
        return self.teacher.skills if self.teacher and self._taught else self.collector.skills

    def train(self) -> int:
        """Train from the newest checkpoint, or from the start, to the last step; the number of steps done.

        It is less than `config.steps` when the user asked to stop.
        """
        done, steps = self._restore(), self.config.steps
        self.progress.begin(done)
        with graceful(self.progress.message) as asked:
            if done == 0:
                self._log(0, self._evaluate(0))
            stop = self.learner.world.any(asked())
            while done < steps and not stop:
                done += 1
                metrics = self.step(done)
                if self.config.evaluates_after(done):
                    metrics |= self._evaluate(done)
                self._log(done, metrics)
                stop, due = self.learner.world.any(asked()), done % self.checkpoints.config.every == 0
                if self._watch.is_well:
                    # This step shows that the weights saved before it work: older ones may go now.
                    self.checkpoints.rotate()
                if stop or done == steps or (due and self._watch.is_well):
                    returns = self.skills.returns.state() if self.skills else {}
                    self.checkpoints.save(done, *self._state, returns=returns)
        if self._watch.is_well:
            self.checkpoints.rotate()
        return done

    def step(self, step: int) -> dict[str, float]:
        """Training step `step`, counted from 1; its metrics."""
        clock, learner = Clock(), self.learner
        with clock.phase("step"):
            with clock.phase("rollout"):
                played, overlong = self._collect(step)
                groups, staged = self._stage(played, step)
                self.engine.sleep()
            with clock.phase("score"):
                batch, report = self._assemble(groups)
                self._score(batch)
                credited = self._credit(batch, groups, step)
            with clock.phase("train"):
                learned = learner.learn(batch, step, self.config.steps, self._telling("train"))
            with clock.phase("sync"):
                self.engine.wake()
                sync_weights(learner.policy, self.engine)
        episodes = flatten(groups)
        if why := self._watch.look(step, batch, learned, [episode.task.id for episode in episodes]):
            self.progress.message(f"step {step} changed nothing: {why}")
        batch = batch.own()
        learned = learned.about(batch)
        seen = self._skills_seen(episodes, report)
        kept = of_groups(groups, self.config.record)
        owners = [episodes[place].rank for place in kept]
        told = work_out(kept, episodes.__getitem__, learner.world, owners)
        for place, whole in zip(kept, told, strict=True):
            episodes[place] = whole
        if learner.world.is_main:
            self.run.write_episodes(step, episodes, seen, episode_gaps(batch, learned, len(episodes)), kept)
            notes = take_notes(kept, episodes, batch, learned, seen, self.chat, self._further)
            self.run.write_trajectories(step, [episodes[i] for i in kept], notes)
        if self.skills:
            for episode, names in zip(episodes, seen, strict=True):
                self.skills.returns.observe(episode.task.kind, names, episode.reward)
        return {
            **rollout_metrics(played, overlong),
            **teacher_metrics(report),
            **score_metrics(batch, learned),
            **staged,
            **credited,
            **learned.metrics,
            **clock.seconds,
        }

    def _collect(self, step: int) -> tuple[list[Group], int]:
        """The groups of a step, and how many of its tasks were left out because they do not fit the context.

        Where none of them fits, others are drawn. Raises `ContextOverflow` when those do not fit either.
        """
        left_out: dict[str, str] = {}
        draw = (len(self.tasks), self.collector.config.tasks_per_step, self.config.seed, step)
        for places in (step_tasks(*draw), *other_tasks(*draw)):
            groups = self._play(step, places)
            left_out |= {group.task.id: group.overlong for group in groups if group.overlong}
            if left_out and not self._told_overlong:
                self._told_overlong = True
                self.progress.message(
                    f"step {step} leaves out a task, and rollout/overlong counts all such: "
                    f"{next(iter(left_out.values()))}"
                )
            if fit := [group for group in groups if not group.overlong]:
                return fit, len(left_out)
        raise ContextOverflow(
            f"no training task fits the context, {len(left_out)} were tried: {next(iter(left_out.values()))}"
        )

    def _play(self, step: int, chosen: Sequence[int]) -> list[Group]:
        """The groups of these tasks in their order; every rank plays its share of them and hears of all.

        The tokens of an episode stay on the rank that played it, unless a stage may want them.
        """
        world, rollout = self.learner.world, self.collector.config
        attempts = all_attempts([self.tasks[i] for i in chosen], rollout.group_size)
        mine = share(attempts, world.rank, world.size)

        def show(done: int, total: int, successes: int) -> None:
            self.progress.phase("rollout", done, total, successes)

        played = self._here(self.collector.play(mine, derive(self.config.seed, step), on_progress=show))
        shares = world.gather(played if self.stages else [episode.without_tokens() for episode in played])
        shares[world.rank] = played
        return grouped(unshare(shares), rollout.group_size)

    def _here(self, played: Sequence[Trajectory]) -> list[Trajectory]:
        """These episodes, as played on this rank."""
        return [replace(episode, rank=self.learner.world.rank) for episode in played]

    def _stage(self, played: Sequence[Group], step: int) -> tuple[list[Group], dict[str, float]]:
        """What the stages leave of the groups and add to them, and how many texts ended in which way."""
        ends: Counter[str] = Counter()

        def write(asks: Sequence[Ask]) -> list[str]:
            return self.writing.write(asks, step, lambda end: ends.update([end]))

        def play_on(places: Sequence[Place]) -> list[Trajectory]:
            first = self.collector.config.group_size
            mine = share(list(zip(places, count(first), strict=False)), world.rank, world.size)
            played = self._here(self.collector.play_on(mine, derive(self.config.seed, step)))
            return unshare(world.gather(played))

        world = self.learner.world
        objective = self.learner.objective
        settings = {each.name: getattr(objective, each.name) for each in fields(objective)}
        tools = Tools(bank=self.skills, write=write, play_on=play_on, settings=settings)
        groups = run_stages(self.stages, played, tools)
        return groups, {f"texts/{end}": float(count) for end, count in sorted(ends.items())}

    def _assemble(self, groups: Sequence[Group]) -> tuple[Batch, SampleReport]:
        """The samples of all groups, with their advantages."""
        objective = self.learner.objective
        if not objective.extras and any(group.extras for group in groups):
            raise ConfigError(
                f"train.stages {', '.join(self.stages)} adds samples, and the objective learns from episodes "
                "alone: leave it out, or choose an objective with extra samples"
            )
        samples, report = build_samples(
            groups,
            chat=self.chat,
            teacher=self.teacher if self._taught else None,
            context_length=self.engine.context_length,
            overflow=self.config.teacher_overflow,
            with_spans=Stream.SPAN in objective.needs,
            ranks=self.learner.world,
        )
        return Batch.build(samples, advantages(groups, self.advantage), self.learner.world.device), report

    def _score(self, batch: Batch) -> None:
        """Fill in the streams that the objective needs, all at the weights of the start of the step."""
        needs = self.learner.objective.needs
        if Stream.ROLLOUT in needs:
            batch.streams[Stream.ROLLOUT] = batch.rollout_M
        if Stream.SPAN in needs:
            spans = [span for sample in batch.samples for span in sample.spans]
            batch.streams[Stream.SPAN] = batch.turn_M.new_tensor(spans)
        for stream in (Stream.OLD, Stream.REF, Stream.TEACHER):
            if stream is Stream.OLD and self.config.old_logps is OldLogps.ROLLOUT:
                batch.streams[stream] = batch.rollout_M
                if stream in needs and batch.extras:
                    # No engine has drawn these answers in these places.
                    batch.put(stream, self.learner.score(batch, stream, rows=batch.extras), batch.extras)
            elif stream in needs:
                told = self._telling(f"score {stream.value}")
                batch.put(stream, self.learner.score(batch, stream, told))
        for view, name in enumerate(self._further, 1):
            told = self._telling(f"score {name}")
            batch.more_teachers.append(self.learner.score(batch, Stream.TEACHER, told, view=view).logp)

    def _credit(self, batch: Batch, groups: Sequence[Group], step: int) -> dict[str, float]:
        """Let the objective, which now sees the whole step, set the advantages; its metrics."""
        objective, tally = self.learner.objective, Tally()
        when = (step - 1, self.config.steps)
        own = batch.own()
        given_M, metrics = objective.credit(step_inputs(own, groups, objective.needs, when))
        batch.given_M = None if torch.equal(given_M, own.adv_M) else batch.adv_M
        batch.adv_M = torch.cat([given_M, batch.adv_M[len(given_M) :]])
        tally.add(metrics)
        return tally.values(None)

    def _skills_seen(self, episodes: Sequence[Trajectory], report: SampleReport) -> list[tuple[str, ...]]:
        """For each episode, the names of the skills that the student saw, or else the teacher."""
        if self.skills is None or (report.views and not self.learner.objective.student_skills):
            return list(report.skills)
        chosen = [self.skills.shown_in(episode.turns[0].messages) for episode in episodes]
        return [tuple(skill.name for skill in skills) for skills in chosen]

    def _telling(self, phase: str) -> Callable[[int, int], None]:
        return lambda done, total: self.progress.phase(phase, done, total)

    def _evaluate(self, step: int) -> dict[str, float]:
        clock = Clock()
        with clock.phase("eval"):
            metrics = self.evaluate(step)
        return {**metrics, **clock.seconds}

    def _log(self, step: int, metrics: Mapping[str, float]) -> None:
        if self.learner.world.is_main:
            self.run.log_metrics(step, metrics)
            self.progress.step(step, metrics)

    @property
    def _state(self) -> tuple[Policy, Optimizer, Average | None]:
        """What a checkpoint holds beside the step."""
        return self.learner.policy, self.learner.optimizer, self.learner.teacher.average

    def _restore(self) -> int:
        """Load the newest checkpoint, forget what was logged after it, and give the engine the weights."""
        path = self.checkpoints.restore(*self._state, tell=self.progress.message)
        done = step_of(path) if path else 0
        if path and self.skills:
            self.skills.returns.load(read_returns(path))
        if self.learner.world.is_main and (lost := self.run.truncate_after(done if path else -1)):
            self.progress.message(
                f"{self.run.metrics_file} was damaged: it lacks {len(lost)} of the steps up to {done}, "
                f"the first of them step {lost[0]}; they stay out, and the run goes on"
            )
        sync_weights(self.learner.policy, self.engine)
        return done


def flatten(groups: Sequence[Group]) -> list[Trajectory]:
    """All trajectories, group after group."""
    return [trajectory for group in groups for trajectory in group.trajectories]


def step_tasks(num_tasks: int, per_step: int, seed: int, step: int) -> list[int]:
    """Indices of the tasks of training step `step`, counted from 1.

    Epoch by epoch through a new permutation each; a rest that is smaller than a step is left out, so that no
    task occurs twice in a step.

    >>> sorted(step_tasks(4, 2, 0, 1) + step_tasks(4, 2, 0, 2))
    [0, 1, 2, 3]
    """
    epoch, place = divmod(step - 1, num_tasks // per_step)
    return list(_permutation(num_tasks, seed, epoch)[place * per_step : (place + 1) * per_step])


def other_tasks(num_tasks: int, per_step: int, seed: int, step: int) -> Iterator[list[int]]:
    """Indices of tasks to take when none of those of a step can be played; about `TRIED` in all.

    >>> sorted(place for places in other_tasks(4, 2, 0, 1) for place in places)
    [0, 1, 2, 3]
    """
    order = np.random.default_rng([seed, step, 1]).permutation(num_tasks)[:TRIED].tolist()
    for start in range(0, len(order), per_step):
        yield order[start : start + per_step]


@lru_cache(maxsize=2)
def _permutation(length: int, seed: int, epoch: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng([seed, epoch]).permutation(length).tolist())


def derive(*numbers: int) -> int:
    """A seed of 63 bits out of several numbers, the same on every machine."""
    digest = hashlib.blake2b("/".join(map(str, numbers)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
