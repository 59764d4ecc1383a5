"""The vLLM engine for real. `python tests/real_vllm/run.py` makes an environment that has it."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "studies" / "models" / "skill_quality"

pytestmark = pytest.mark.skipif(
    find_spec("vllm") is None,
    reason="vllm is not installed: python tests/real_vllm/run.py makes an environment",
)


def run(words: list[str], ranks: int = 1) -> str:
    """The output of `sdar` in processes of its own: vLLM leaves traces in one."""
    start = [sys.executable, "-m"]
    if ranks > 1:
        start += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks), "-m"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*start, "sdar", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def test_the_battery() -> None:
    said = run(["check", "engine", "vllm"])
    assert "engine vllm keeps its contract" in said
    assert "FAIL" not in said


@pytest.mark.parametrize(("ranks", "sharers"), [(1, 1), (2, 1), (2, 2)])
def test_a_run_plays_and_learns_as_with_hf(ranks: int, sharers: int, tmp_path: Path) -> None:
    metrics = {}
    for engine in ("hf", "vllm"):
        words = ["train", "--model.path", str(MODEL), "--rollout.engine", engine, "--out", str(tmp_path)]
        words += ["--rollout.tasks-per-step", "2", "--rollout.group-size", "4", "--env.max-turns", "4"]
        words += ["--train.steps", "2", "--train.eval-every", "0", "--env", "alfworld", "--name", engine]
        if engine == "vllm":
            words += ["--rollout.engine.tensor-parallel", str(sharers)]
        run(words, ranks)
        lines = (tmp_path / engine / "metrics.jsonl").read_text().splitlines()
        metrics[engine] = [json.loads(line) for line in lines]
    for step in metrics["vllm"][1:]:
        assert step["mismatch/max"] < 1e-4, "after a weight sync the engine still samples from the policy"
    hf, vllm = (metrics[engine][1] for engine in ("hf", "vllm"))
    assert vllm["rollout/entropy"] == pytest.approx(hf["rollout/entropy"], rel=0.5)
    assert vllm["batch/samples"] == hf["batch/samples"]
