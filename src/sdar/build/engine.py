"""The engine that plays a run's episodes."""

from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedModel

from sdar.model.chat import Chat
from sdar.model.load import compute_dtype, load_model
from sdar.recipe import RunConfig
from sdar.rollout.engines.hf import HFEngine
from sdar.trainer.distributed import World


def make_engine(config: RunConfig, model: Path, world: World, chat: Chat) -> HFEngine:
    """A rollout engine with weights of its own, plain even where the policy has adapters."""
    plain = replace(config.model, lora_rank=0, gradient_checkpointing=False)
    copy = load_model(plain, model, world.device, param_dtype=compute_dtype(config.model))
    assert isinstance(copy, PreTrainedModel)
    return HFEngine(copy, stop_ids=chat.stop_ids, max_rows=config.rollout.max_live)
