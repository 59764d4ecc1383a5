"""`sdar eval`."""

import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdar.commands.base import IS_MAIN, TableOptions, configure, runs_dir, short, show
from sdar.errors import ConfigError, suggest
from sdar.settings.config import Layer, to_table
from sdar.settings.shipped import read_recipes

if TYPE_CHECKING:
    from sdar.evaluation.results import EvalResult
    from sdar.recipe import RunConfig
    from sdar.rollout.endpoint import EndpointConfig
    from sdar.text.sheets import Sheet

ENDPOINT = "openai"
"""The engine that is not here."""


@dataclass(frozen=True, kw_only=True)
class EvalOptions(TableOptions):
    """Options of `sdar eval`."""

    step: int | None = None
    """Checkpoint of the run, by its step; the newest by default."""
    panel: str | None = None
    """Short for --eval.panel."""
    limit: int | None = None
    """Short for --eval.tasks: cut the panel to about so many tasks, each kind with its share."""
    samples: int | None = None
    """Short for --eval.samples."""
    temperature: float | None = None
    """Short for --eval.temperature."""
    with_skills: str = ""
    """Play a second time, with skills in the model's own prompts, picked by this rule."""
    skill_contents: bool = False
    """Play with the task's skills in the model's own prompts, with the same in held-out words, with those of
    another kind of task and with unrelated text, and show what each is worth beside none."""
    engine: str = ""
    """Short for --rollout.engine; "openai": the model is behind an endpoint with the OpenAI API."""
    base_url: str = ""
    """The endpoint's address, such as http://localhost:8000/v1."""
    concurrency: int = 8
    """Requests to the endpoint at a time."""
    timeout: float = 120.0
    """Seconds after which a request to the endpoint is given up and tried again."""
    retries: int = 6
    """Times that a request is tried again when the endpoint is busy or does not answer."""


SHORT_OPTIONS = ("panel", "limit", "samples", "temperature")


@dataclass(frozen=True)
class Player:
    """Who plays the panel."""

    name: str
    """Tells players with the same settings apart: the step of a run's checkpoint, or a name."""
    model: str
    settings: Layer
    place: Path
    """Where results go, but for what is put before and after its name."""
    play: Callable[["RunConfig", Sequence[str]], list["EvalResult"]]
    """Plays the panel once for each rule of skills, '' for none."""


def evaluate(words: list[str], options: EvalOptions, flags: Layer) -> int:
    """Play a fixed panel of tasks with a model and show its success, with intervals.

    MODEL is a run (a path, a name, or latest), one of its checkpoints, a transformers model in a directory or
    on the Hugging Face hub (OWNER/NAME), or one of the environment's experts (such as planner). With --engine
    openai it is the name of a model behind a chat endpoint at --base-url; the key comes from the environment
    variable OPENAI_API_KEY.
    """
    from sdar.build.checks import check_context, check_panel
    from sdar.build.skills import content_rules, student_skills
    from sdar.runs.files import check_writable

    target, recipes = split_words(words)
    player = find_player(target, recipes, options, flags)
    config = configure(
        [player.settings, *recipes, short(options, *SHORT_OPTIONS), chosen_engine(options)],
        flags,
        EvalOptions,
    )
    check_panel(config)
    check_context(config)
    check_writable(player.place.parent)
    rules = ["", options.with_skills] if options.with_skills else [""]
    if options.skill_contents:
        if options.with_skills:
            raise ConfigError("--skill-contents plays with the recipe's rule: leave out --with-skills")
        rules = content_rules(config)
    for rule in rules:
        student_skills(config, rule)
    results = player.play(config, rules)
    if IS_MAIN:
        sheets, lines = tables(config, player.name, results)
        source = {"model": player.model, "player": player.name, "settings": to_table(config)}
        lines += [str(save(result, player.place, source)) for result in results]
        show(sheets, options.format, lines)
    return 0


def find_player(target: str, recipes: Sequence[Layer], options: EvalOptions, flags: Layer) -> Player:
    """Whom `target` names."""
    own, out = Layer(target, {}), runs_dir(flags) / "eval"
    if options.engine == ENDPOINT:
        from sdar.rollout.endpoint import EndpointConfig

        given = {name: getattr(options, name) for name in ("base_url", "concurrency", "timeout", "retries")}
        endpoint = EndpointConfig(model=target, **given)
        place = out / re.sub(r"[^\w.-]+", "-", target)
        play = partial(play_endpoint, endpoint)
        return Player(f"{target} at {endpoint.base_url}", target, own, place, play)
    if options.base_url:
        raise ConfigError("--base-url is the address of a chat endpoint: it needs --engine openai")
    if target in configure(recipes, flags, EvalOptions).env.experts():
        if options.with_skills or options.skill_contents:
            raise ConfigError(
                f"--with-skills and --skill-contents are for models: the expert '{target}' reads no prompt"
            )
        return Player(target, target, own, out / target, partial(play_expert, target))
    from sdar.build.find import find_model

    settings, model, place = find_model(target, options.step, runs_dir(flags))
    step = model.parent.name
    of_run = model.parent.parent.name == "checkpoints"
    name = f"{model.absolute().parents[2].name} step {int(step[5:])}" if of_run else model.name
    return Player(name, str(model), settings, place, partial(play_model, model))


def play_model(model: Path, config: "RunConfig", rules: Sequence[str]) -> list["EvalResult"]:
    """See `sdar.build.evaluate`, which is imported when all settings are known to be right; so below."""
    from sdar.build.evaluate import evaluate_model

    return evaluate_model(model, config, rules)


def play_endpoint(
    endpoint: "EndpointConfig", config: "RunConfig", rules: Sequence[str]
) -> list["EvalResult"]:
    """See `play_model`."""
    from sdar.build.evaluate import evaluate_endpoint

    return evaluate_endpoint(endpoint, config, rules)


def play_expert(name: str, config: "RunConfig", rules: Sequence[str]) -> list["EvalResult"]:
    """See `play_model`; experts read no skills."""
    from sdar.build.evaluate import evaluate_expert

    return [evaluate_expert(name, config)]


def split_words(words: list[str]) -> tuple[str, list[Layer]]:
    """The model, and the recipes after it."""
    if not words or words[0].endswith(".toml"):
        raise ConfigError(
            "sdar eval takes one model, first: a run, a checkpoint, a transformers model or an expert"
        )
    return words[0], read_recipes(words[1:])


def chosen_engine(options: EvalOptions) -> Layer:
    """The engine that --engine names, as a setting."""
    from sdar.rollout.engines.settings import engines

    if options.engine in ("", ENDPOINT):
        return Layer("sdar eval", {})
    if options.engine not in engines:
        advice = suggest(options.engine, [*engines, ENDPOINT])
        raise ConfigError(f"--engine: unknown engine '{options.engine}': {advice}")
    return Layer("sdar eval", {"rollout": {"engine": {"name": options.engine}}})


def tables(
    config: "RunConfig", name: str, results: Sequence["EvalResult"]
) -> tuple[list["Sheet"], list[str]]:
    """The tables, and sentences about what skills in the prompt change."""
    from sdar.evaluation.compare import compare
    from sdar.evaluation.references import references
    from sdar.evaluation.tables import content_sheet, kind_sheet, method_sheet

    methods = {f"{name} with skills" if result.skills else name: [result] for result in results}
    sheets = []
    if len(results) > 2:
        methods = {f"{name} {result.skills}".rstrip(): [result] for result in results}
        sheets.append(content_sheet(results))
    players = references(config.env, config.panel)
    others = {player: found for player, found in players.items() if player not in methods}
    sheets += [method_sheet(methods, others), kind_sheet(methods, others)]
    return sheets, [pair.sentence for pair in compare(methods)]


def save(result: "EvalResult", place: Path, source: dict[str, Any]) -> Path:
    """Write a result beside the others of its model, under a name of its own; the file."""
    from sdar.runs.rundir import write_eval
    from sdar.runs.versions import versions

    tag = f"{result_tag(result)}-{settings_tag(result, source)}"
    file = place.with_name(f"{result.panel}-{place.name}-{tag}.json")
    made = {**source, "command": sys.argv, "versions": versions()}
    write_eval(file, result.to_json() | made, result.episodes)
    return file


def result_tag(result: "EvalResult") -> str:
    """What a reader tells two evaluations of one model on one panel apart by."""
    skills = f"-{result.skills.replace(' ', '-')}" if result.skills else ""
    return f"{result.samples}x-t{result.temperature:g}-seed{result.seed}{skills}"


def settings_tag(result: "EvalResult", source: Mapping[str, Any]) -> str:
    """Eight characters that follow from what was played how and by whom, and not from where files go."""
    parts = {name: source["settings"].get(name) for name in ("env", "rollout", "eval", "model", "skills")}
    parts["eval"] = {name: value for name, value in parts["eval"].items() if name != "record"}
    told = [source["model"], source["player"], result.fingerprint, parts]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:8]
