"""Answers of an expert and worse ones in the same places, to see what a teacher thinks of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from sdar.envs.base import EnvSpec
from sdar.model.chat import Chat
from sdar.rollout.agent import Episode, Shows, turn_seed
from sdar.rollout.samples import Sample, prompt_before
from sdar.rollout.settings import RolloutConfig
from sdar.types import ContextMode, Place, Task, Trajectory


class Answer(StrEnum):
    """Whose answer it is."""

    EXPERT = "expert"
    MISTAKE = "mistake"
    """What the same expert does when it errs: plausible, and wrong."""
    RANDOM = "random"
    """Any valid action."""


@dataclass(frozen=True)
class Probe:
    """One answer in one place of an expert's episode, which itself goes on with the expert's."""

    task: int
    """Index of the task."""
    answer: Answer
    sample: Sample
    """The student's prompt has no skills; that of teacher view k has the k-th text."""


@dataclass(frozen=True, kw_only=True)
class Prober:
    """Where probes come from."""

    spec: EnvSpec
    rollout: RolloutConfig
    expert: str
    chat: Chat
    end: int
    """The token that ends an answer."""
    context_length: int
    turns: int
    """Places of each episode at most, spread over it evenly."""

    def probe(self, task: Task, index: int, texts: Sequence[Shows]) -> Iterator[Probe]:
        """The probes of one task; what equals a better answer or exceeds the context is left out."""
        trajectory, others = self._play(task)
        places = np.unique(np.linspace(0, len(others) - 1, min(self.turns, len(others))).round().astype(int))
        for number in places.tolist():
            turn = trajectory.turns[number]
            head = turn if trajectory.context is ContextMode.WINDOW else trajectory.turns[0]
            notes = [text.note(task, trajectory.turns[0].observation.goal, head.plain) for text in texts]
            student, *teachers = [
                prompt_before(Place(trajectory, number, note), self.chat) for note in ("", *notes)
            ]
            answers = {Answer.EXPERT: tuple(turn.completion.tokens)}
            for name, tokens in others[number].items():
                if tokens not in answers.values():
                    answers[name] = tokens
            room = self.context_length - max(map(len, (student, *teachers)))
            for name, tokens in answers.items():
                if len(tokens) <= room:
                    first, *more = teachers
                    sample = Sample.of_answer(student, tokens, teacher_prompt=first, more_prompts=tuple(more))
                    yield Probe(index, name, sample)

    def _play(self, task: Task) -> tuple[Trajectory, list[dict[Answer, tuple[int, ...]]]]:
        """An expert's episode, and what others would have answered in each of its turns."""
        env, prompts = self.spec.make(), self.spec.prompts()
        episode = Episode(
            env,
            task,
            0,
            prompts=prompts,
            chat=self.chat,
            context=self.rollout.context,
            history=self.rollout.history,
            context_length=self.context_length,
        )
        seed = turn_seed(0, task.id, 0, 0)
        expert = self.spec.expert(self.expert, env, task, seed)
        worse = {
            Answer.MISTAKE: self.spec.expert(self.expert, env, task, seed, noise=1.0),
            Answer.RANDOM: self.spec.expert("random", env, task, seed),
        }
        others: list[dict[Answer, tuple[int, ...]]] = []
        while not episode.end:
            seen = episode.observation
            others.append({name: self._tokens(prompts.answer(who.act(seen))) for name, who in worse.items()})
            episode.dictate(self._tokens(prompts.answer(expert.act(seen))))
        return episode.trajectory(), others

    def _tokens(self, text: str) -> tuple[int, ...]:
        return (*self.chat.encode(text), self.end)
