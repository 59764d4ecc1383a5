"""What a warm start learns from: episodes of the environment's experts, under several kinds of skills.

Only under the right skills is the play near-expert, whatever their wording. Under nothing it errs often, and
likewise under the skills of another kind and under unrelated text, where the settings ask for such
demonstrations: then the model has to read what stands there, since that something stands there tells nothing.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from transformers import PreTrainedTokenizerBase

from sdar.envs.base import EnvSpec
from sdar.model.chat import Chat
from sdar.rollout.agent import Episode
from sdar.rollout.samples import Sample, build_samples
from sdar.rollout.settings import RolloutConfig
from sdar.skills import junk
from sdar.skills.context import Content, SkillContext
from sdar.trainer.settings import WarmStartConfig
from sdar.types import Group, Task, Trajectory

SHOWN = 256
"""Demonstrations that are looked at to find out whether a model has seen the same."""


@dataclass(frozen=True, kw_only=True)
class Demonstrations:
    """Where demonstrations come from."""

    spec: EnvSpec
    skills: SkillContext
    rollout: RolloutConfig
    config: WarmStartConfig
    context_length: int

    def samples(self, chat: Chat, tokenizer: PreTrainedTokenizerBase) -> Iterator[Sample]:
        """Samples without end, from demonstration 0 on."""
        tasks, number = self.spec.tasks(self.spec.splits()[0]), 0
        kinds = {task.kind for task in self.spec.panel(self.spec.panels()[0]).tasks}
        possible = self.skills.contents(kinds)
        while True:
            task = tasks[draw(len(tasks), self.config.seed, 2, number)]
            content = self.content(number)
            shown = content if content in possible else None
            trajectory = self._demonstrate(task, number, chat, tokenizer, shown)
            yield from build_samples(
                [Group(task, [trajectory])], chat=chat, teacher=None, context_length=self.context_length
            )[0]
            number += 1

    def digest(self, count: int, chat: Chat, tokenizer: PreTrainedTokenizerBase) -> str:
        """SHA-256 of what the first demonstrations show, token by token: at most `SHOWN` stand for all."""
        digest = hashlib.sha256()
        for sample in islice(self.samples(chat, tokenizer), min(count, SHOWN)):
            digest.update(repr((*map(tuple, (sample.prompt, sample.body, sample.policy)),)).encode())
        return digest.hexdigest()

    def content(self, number: int) -> Content | None:
        """What demonstration `number` shows; every stretch of them has about the configured shares."""
        place = spread(number)
        for content, share in zip(
            (Content.RIGHT, Content.WRONG, Content.JUNK),
            (self.config.right, self.config.wrong, self.config.junk),
            strict=True,
        ):
            if place < share:
                return content
            place -= share
        return None

    def _demonstrate(
        self,
        task: Task,
        number: int,
        chat: Chat,
        tokenizer: PreTrainedTokenizerBase,
        content: Content | None,
    ) -> Trajectory:
        config, env, prompts = self.config, self.spec.make(), self.spec.prompts()
        skills = None
        if content is not None:
            choices = len(junk.SHOWN) if content is Content.JUNK else config.wordings
            wording = draw(choices, config.seed, 3, number)
            # Another seed each time, so that a task is not always shown the same wrong kind.
            skills = replace(self.skills.showing(content, wording), seed=number)
        episode = Episode(
            env,
            task,
            0,
            prompts=prompts,
            chat=chat,
            context=self.rollout.context,
            history=self.rollout.history,
            context_length=self.context_length,
            skills=skills,
        )
        name, noise = config.plain_expert, config.plain_noise
        if content is Content.RIGHT:
            name, noise = config.skilled_expert, config.skilled_noise
        expert = self.spec.expert(name, env, task, number, noise=noise)
        while not episode.end:
            text = prompts.answer(expert.act(episode.observation))
            episode.dictate((*chat.encode(text), tokenizer.eos_token_id))
        return episode.trajectory()


def draw(size: int, *key: int) -> int:
    """An index below `size` that follows from `key`."""
    return int(np.random.default_rng(list(key)).integers(size))


def spread(number: int) -> float:
    """A place in [0, 1) for each number, such that consecutive ones lie far apart: van der Corput's.

    >>> [spread(number) for number in range(4)]
    [0.0, 0.5, 0.25, 0.75]
    """
    bits = f"{number:b}"
    return int(bits[::-1], 2) / 2 ** len(bits)
