"""The model that a run starts from; the embedded one is made where it is missing."""

from dataclasses import replace
from pathlib import Path

from sdar.build.skills import skill_context
from sdar.build.stage import stage
from sdar.model.settings import EMBEDDED
from sdar.recipe import RunConfig
from sdar.runs.progress import Display
from sdar.trainer.distributed import World
from sdar.trainer.warm_start import WarmStart


def warm_start(config: RunConfig) -> Path:
    """Make the embedded model where it is missing; its directory."""
    with stage(config) as (world, shown):
        return start_model(replace(config, model=replace(config.model, path=EMBEDDED)), world, shown)


def start_model(config: RunConfig, world: World, shown: Display) -> Path:
    """The directory (or hub name) of the initial policy; the embedded one is made where it is missing."""
    if config.model.path != EMBEDDED:
        return Path(config.model.path)
    warm_start = WarmStart(
        spec=config.env,
        skills=replace(skill_context(config), wrong_rate=0.0),
        rollout=config.rollout,
        config=config.warm_start,
    )
    if world.is_main:
        warm_start.ensure(
            world.device, lambda done, total, loss: shown.phase("warm start", done, total), shown.message
        )
    world.barrier()
    return warm_start.directory
