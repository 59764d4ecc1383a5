"""The skills of a run. No torch."""

from dataclasses import replace

from sdar.model.settings import EMBEDDED
from sdar.recipe import RunConfig
from sdar.rollout.views import views
from sdar.skills.context import Content, SkillContext
from sdar.skills.retrieval import retrievals


def skill_context(config: RunConfig, retrieval: str = "") -> SkillContext:
    """The skills, by the configured rule or another one (its settings are used if it is the configured one).

    A kind of task without skills fails here.
    """
    settings = config.skills
    if retrieval and retrievals[retrieval] is not type(settings.retrieval):
        settings = replace(settings, retrieval=retrievals[retrieval]())
    return SkillContext.from_config(settings, {task.kind for task in config.panel.tasks}, config.train.seed)


def student_skills(config: RunConfig, rule: str) -> SkillContext | None:
    """The skills that `rule` puts into the player's own prompts; none for an empty rule.

    Behind the rule may stand what is shown in their place: `by-kind wrong`.
    """
    name, _, content = rule.partition(" ")
    if not name:
        return None
    skills = skill_context(config, name)
    return skills.showing(Content(content)) if content else skills


def content_rules(config: RunConfig) -> list[str]:
    """A rule for `student_skills` for no skills, and for everything that can stand in their place."""
    rule = retrievals.name_of(type(config.skills.retrieval))
    kinds = {task.kind for task in config.panel.tasks}
    return ["", *(f"{rule} {content}" for content in skill_context(config).contents(kinds))]


def needs_skills(config: RunConfig) -> bool:
    """Whether a teacher, the student or the embedded model's demonstrations see skills."""
    taught = any("skills" in views[name].needs for name in config.view_names)
    shown = config.objective.skilled_share > 0 or config.objective.stages_show_skills
    return taught or shown or config.model.path == EMBEDDED
