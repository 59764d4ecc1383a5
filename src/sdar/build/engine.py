"""The engine that plays a run's episodes."""

from pathlib import Path

from sdar.model.chat import Chat
from sdar.model.load import compute_dtype
from sdar.recipe import RunConfig
from sdar.rollout.engine import Engine
from sdar.rollout.engines.settings import EngineParts
from sdar.trainer.distributed import World


def make_engine(config: RunConfig, model: Path, world: World, chat: Chat) -> Engine:
    """The configured engine of this rank, with weights of its own."""
    return config.rollout.engine.make(
        EngineParts(
            model=str(model),
            dtype=str(compute_dtype(config.model)).removeprefix("torch."),
            device=world.device,
            stop_ids=chat.stop_ids,
            max_live=config.rollout.max_live,
        )
    )
