"""What is put together fits together."""

from pathlib import Path

from tests.tiny import tiny_model, tiny_tokenizer

from sdar.build.engine import make_engine
from sdar.model.chat import Chat
from sdar.recipe import RunConfig
from sdar.rollout.settings import RolloutConfig
from sdar.trainer.distributed import join


def test_the_engine_keeps_every_live_episode(tmp_path: Path) -> None:
    """Else episodes would push one another's cache out, and be computed from the start each turn."""
    tiny_model().save_pretrained(tmp_path)
    config = RunConfig(rollout=RolloutConfig(max_live=300))
    with join("cpu") as world:
        engine = make_engine(config, tmp_path, world, Chat(tiny_tokenizer()))
    assert engine._cache.max_rows == 300
