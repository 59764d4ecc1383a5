"""One training step of a real pretrained model in every environment; minutes of CPU, and so opt-in.

sdar data download smollm2
SDAR_REAL_MODEL=1 pytest tests/real_model
"""

import math
import os
from pathlib import Path

import pytest
from tests.one_step import one_step

from sdar.model.load import load_tokenizer
from sdar.runs.paths import data_dir

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("SDAR_REAL_MODEL") or not (data_dir() / "smollm2" / "config.json").is_file(),
        reason="opt-in: SDAR_REAL_MODEL=1, after sdar data download smollm2",
    ),
]


@pytest.mark.parametrize("context", ["window", "transcript"])
@pytest.mark.parametrize("env", ["alfworld", "search_qa", "webshop"])
def test_one_step(env: str, context: str, tmp_path: Path) -> None:
    run, step = one_step("smollm2", env, context, tmp_path)
    assert 0 < step["rollout/entropy"] < 5, "a language model is neither sure nor blind"
    assert step["mismatch/max"] < 0.2, "engine and trainer agree as far as bfloat16 goes"
    assert step["rollout/tokens"] >= 12
    assert math.isfinite(step["objective/loss"])
    assert step["teacher/gap_mean"] != 0, "the skills change what it would say"
    exported = run.checkpoints / "step-000001" / "model"
    assert len(load_tokenizer(exported)) == 49152
