"""Plays a fixed panel with a model, an expert or an endpoint."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sdar.build.engine import make_engine
from sdar.build.skills import student_skills
from sdar.build.stage import stage
from sdar.errors import some
from sdar.evaluation.evaluate import evaluate
from sdar.evaluation.results import EvalResult
from sdar.model.chat import Chat
from sdar.model.load import load_tokenizer
from sdar.recipe import RunConfig
from sdar.rollout.attempts import Plays
from sdar.rollout.collector import Collector
from sdar.rollout.endpoint import KEY, ChatEndpoint, EndpointCollector, EndpointConfig
from sdar.rollout.experts import ExpertCollector
from sdar.runs.checkpoints import read_returns
from sdar.runs.progress import Display
from sdar.runs.records import Notes
from sdar.trainer.distributed import World
from sdar.trainer.loop import Progress
from sdar.trainer.record import texts
from sdar.types import Trajectory


def evaluate_model(model: Path, config: RunConfig, rules: Sequence[str] = ("",)) -> list[EvalResult]:
    """Play the panel with the model in a directory, once for each rule of skills for its own prompts."""
    with stage(config) as (world, shown):
        chat = Chat(load_tokenizer(model))
        engine = make_engine(config, model, world, chat)

        def play(rule: str) -> EvalResult:
            student = student_skills(config, rule)
            if student:
                student.returns.load(read_returns(model.parent))
            collector = Collector(config.env, engine, chat, config.rollout, student)
            return play_panel(config, collector, rule, world, shown, chat)

        return [play(rule) for rule in rules]


def evaluate_expert(name: str, config: RunConfig) -> EvalResult:
    """Play the panel with one of the environment's scripted experts."""
    with stage(config) as (world, shown):
        return play_panel(config, ExpertCollector(config.env, name), "", world, shown)


def evaluate_endpoint(
    endpoint: EndpointConfig, config: RunConfig, rules: Sequence[str] = ("",)
) -> list[EvalResult]:
    """Play the panel with a chat endpoint, once for each rule of skills; its key is in the environment."""
    player = ChatEndpoint(endpoint, os.environ.get(KEY, ""))
    with stage(config) as (world, shown):

        def play(rule: str) -> EvalResult:
            collector = EndpointCollector(config.env, player, config.rollout, student_skills(config, rule))
            return play_panel(config, collector, rule, world, shown)

        return [play(rule) for rule in rules]


def play_panel(
    config: RunConfig,
    collector: Plays,
    skills: str,
    world: World,
    progress: Progress | Display,
    chat: Chat | None = None,
) -> EvalResult:
    """The result of the collector's policy on the panel (collective); `chat` can read its tokens."""
    shown = collector.skills if isinstance(collector, Collector) else None

    def note(trajectory: Trajectory) -> Notes:
        seen = shown.shown_in(trajectory.turns[0].messages) if shown and trajectory.turns else ()
        return replace(texts(trajectory, chat) if chat else Notes(), skills=[skill.name for skill in seen])

    result = evaluate(
        config.panel,
        collector,
        config.eval,
        max_tokens=config.rollout.max_tokens,
        skills=skills,
        ranks=world,
        on_progress=lambda done, total, won: progress.phase("evaluation", done, total, won),
        note=note,
    )
    if lost := result.overlong:
        progress.message(
            f"{len(lost)} of {len(result.outcomes)} tasks of panel {result.panel} do not fit the context and "
            f"count as failures: {some(lost)}"
        )
    return result
