"""One training step of a real pretrained model in every environment; minutes of CPU, and so opt-in.

sdar data download smollm2
SDAR_REAL_MODEL=1 pytest tests/real_model
"""

import math
import os
from pathlib import Path

import pytest

from sdar.cli import main
from sdar.model.load import load_tokenizer
from sdar.runs.paths import data_dir
from sdar.runs.rundir import RunDir, read_metrics

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("SDAR_REAL_MODEL") or not (data_dir() / "smollm2" / "config.json").is_file(),
        reason="opt-in: SDAR_REAL_MODEL=1, after sdar data download smollm2",
    ),
]
SMALL = {
    "train.steps": "1",
    "rollout.tasks_per_step": "2",
    "rollout.group_size": "2",
    "rollout.max_tokens": "12",
    "env.max_turns": "3",
    "env.prompt": "compact",
    "skills.detail": "summary",
    "eval.panel": "none",
    "model.path": "smollm2",
    "model.dtype": "auto",
    "model.lora_rank": "8",
}


@pytest.mark.parametrize("context", ["window", "transcript"])
@pytest.mark.parametrize("env", ["alfworld", "search_qa", "webshop"])
def test_one_step(env: str, context: str, tmp_path: Path) -> None:
    settings = SMALL | {
        "env": env,
        "skills.bank": env,
        "rollout.context": context,
        "name": env,
        "out": str(tmp_path),
    }
    flags = [word for name, value in settings.items() for word in (f"--{name}", value)]
    assert main(["train", *flags]) == 0
    run = RunDir(tmp_path / env)
    step = read_metrics(run)[-1]
    assert step["step"] == 1
    assert 0 < step["rollout/entropy"] < 5, "a language model is neither sure nor blind"
    assert step["mismatch/max"] < 0.2, "engine and trainer agree as far as bfloat16 goes"
    assert step["rollout/tokens"] >= 12
    assert math.isfinite(step["objective/loss"])
    assert step["teacher/gap_mean"] != 0, "the skills change what it would say"
    exported = run.checkpoints / "step-000001" / "model"
    assert len(load_tokenizer(exported)) == 49152
