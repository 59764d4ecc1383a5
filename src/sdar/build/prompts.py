"""What the student and its teachers read, and whether it fits the model."""

import sys
from collections.abc import Sequence
from pathlib import Path

from sdar.errors import ContextOverflow
from sdar.model.chat import Chat
from sdar.model.load import context_of
from sdar.recipe import RunConfig
from sdar.rollout.settings import LongPrompt
from sdar.rollout.views import Views
from sdar.skills.context import SkillContext, prepend
from sdar.trainer.loop import TRIED
from sdar.types import ContextMode, Message, Task


def teacher_views(config: RunConfig, skills: SkillContext | None) -> Views | None:
    """What the teachers see, where the objective needs one."""
    names = config.view_names
    if not names:
        return None
    return Views(names=names, spec=config.env, skills=skills, budgets=config.views.budgets)


def check_prompts(config: RunConfig, model: Path, chat: Chat, skills: SkillContext | None) -> None:
    """Find out before the weights are loaded that no first prompt, with its skills, fits the model.

    A few that do not fit are left out of training and fail in a panel. Of many tasks only the first are
    looked at, up to the first that fits. Raises `ContextOverflow`.
    """
    panels = [(f"panel '{config.panel.name}'", config.panel.tasks)] if config.eval.is_on else []
    for name, tasks in [*panels, ("the training split", config.env.tasks(config.env.splits()[0]))]:
        _check_some(config, model, chat, skills, name, tasks[:TRIED])


def _check_some(
    config: RunConfig, model: Path, chat: Chat, skills: SkillContext | None, name: str, tasks: Sequence[Task]
) -> None:
    limit, answer, shortest = context_of(model), config.rollout.max_tokens, sys.maxsize
    most, what = (
        config.rollout.max_prompt,
        f"of {len(tasks)} tasks of {name} none fits: the shortest first prompt",
    )
    cut = config.rollout.long_prompt is LongPrompt.CUT
    for task in tasks:
        length = len(chat.render(first_prompt(config, task, skills)))
        shortest = min(shortest, length, most if cut and most else length)
        if shortest + answer <= limit and (not most or shortest <= most):
            return
    if shortest + answer <= limit:
        raise ContextOverflow(f"{what} has {shortest} tokens, and rollout.max_prompt is {most}")
    raise ContextOverflow(
        f"{what} and an answer of {answer} tokens make {shortest + answer} tokens, "
        f"and the context of the model at {model} is {limit}"
    )


def first_prompt(config: RunConfig, task: Task, skills: SkillContext | None) -> Sequence[Message]:
    """What is read before the first answer in an episode of `task`."""
    prompts, first = config.env.prompts(), config.env.make().reset(task)
    transcript = config.rollout.context is ContextMode.TRANSCRIPT
    messages = prompts.opening(first) if transcript else prompts.window(first, [], first, 0)
    return messages if skills is None else prepend(messages, skills.note(task, first.goal, messages))
