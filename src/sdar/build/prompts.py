"""What the student and its teachers read, and whether it fits the model."""

from pathlib import Path

from sdar.errors import ContextOverflow
from sdar.model.chat import Chat
from sdar.model.load import context_of
from sdar.recipe import RunConfig
from sdar.rollout.views import Views
from sdar.skills.context import SkillContext, prepend
from sdar.types import ContextMode


def teacher_views(config: RunConfig, skills: SkillContext | None) -> Views | None:
    """What the teachers see, where the objective needs one."""
    names = config.view_names
    if not names:
        return None
    return Views(names=names, spec=config.env, skills=skills, budgets=config.views.budgets)


def check_prompt(config: RunConfig, model: Path, chat: Chat, skills: SkillContext | None) -> None:
    """Find out before the weights are loaded that a first prompt, with its skills, does not fit."""
    task, prompts = config.panel.tasks[0], config.env.prompts()
    first = config.env.make().reset(task)
    transcript = config.rollout.context is ContextMode.TRANSCRIPT
    messages = prompts.opening(first) if transcript else prompts.window(first, [], first, 0)
    if skills is not None:
        messages = prepend(messages, skills.note(task, first.goal, messages))
    length = len(chat.render(messages)) + config.rollout.max_tokens
    limit = context_of(model)
    if length > limit:
        raise ContextOverflow(
            f"the first prompt of task '{task.id}' and an answer of {config.rollout.max_tokens} tokens make "
            f"{length} tokens, and the context of the model at {model} is {limit}"
        )
