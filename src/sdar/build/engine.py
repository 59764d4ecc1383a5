"""What generates: the engine that plays a run's episodes, and who writes texts."""

import os
from pathlib import Path

from sdar.model.chat import Chat
from sdar.model.load import compute_dtype
from sdar.recipe import RunConfig
from sdar.rollout.endpoint import KEY, ChatEndpoint, EndpointConfig
from sdar.rollout.engine import Engine
from sdar.rollout.engines.settings import EngineParts
from sdar.rollout.settings import WriterConfig
from sdar.rollout.writing import Author, EndpointAuthor, PolicyAuthor
from sdar.trainer.distributed import World


def make_engine(config: RunConfig, model: Path, world: World, chat: Chat) -> Engine:
    """The configured engine of this rank, with weights of its own. `ConfigError` if ranks cannot share it."""
    config.rollout.engine.check_split(world.size, {})
    return config.rollout.engine.make(
        EngineParts(
            model=str(model),
            dtype=str(compute_dtype(config.model)).removeprefix("torch."),
            device=world.device,
            stop_ids=chat.stop_ids,
            max_live=config.rollout.max_live,
            timeout=config.ranks.timeout,
        )
    )


def make_author(config: WriterConfig, engine: Engine, chat: Chat) -> Author:
    """Who writes the texts that stages ask for: the policy, or the endpoint that is named."""
    if not config.base_url:
        return PolicyAuthor(engine, chat)
    endpoint = EndpointConfig(
        model=config.model,
        base_url=config.base_url,
        concurrency=config.concurrency,
        timeout=config.timeout,
        retries=config.retries,
    )
    return EndpointAuthor(ChatEndpoint(endpoint, os.environ.get(KEY, "")))
