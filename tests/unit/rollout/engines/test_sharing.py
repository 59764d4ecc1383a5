"""Two ranks that share one vLLM engine, in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.tiny import tiny_model

from sdar.errors import ConfigError
from sdar.rollout.engines.settings import HF, VLLM

ROOT = Path(__file__).parents[4]


def test_ranks_that_share_an_engine_get_what_each_would_get_alone(tmp_path: Path) -> None:
    tiny_model(max_position_embeddings=512).save_pretrained(tmp_path / "model")
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"WORLD_SIZE": "2", "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    command = [sys.executable, "-m", "tests.unit.rollout.engines.two_ranks"]
    how = {"env": environment, "stderr": subprocess.PIPE, "text": True}
    ranks = [subprocess.Popen([*command, str(rank), str(tmp_path)], **how) for rank in (0, 1)]
    said = [rank.communicate(timeout=120)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert len(first["alone"]) == 5
    assert max(len(turns) for turns in first["alone"].values()) > 1
    assert first["together"] == first["alone"], "the completions of one rank are not those of the other"
    assert second["together"] == second["alone"]
    assert (first["one has nothing"], second["one has nothing"]) == ({}, first["alone"])
    assert second["one fails"] == "broken"
    assert first["one fails"] == first["alone"], "the other rank plays to its end"
    assert first["after an abort"] == [True]
    assert first["most"] == second["most"] == 4, "the engine serves the episodes of both"
    assert first["weights"] == second["weights"] > 0
    assert first["left"] == second["left"] == [0, 0, 0]


MODEL = {"heads": 12, "key heads": 2, "units of an MLP": 8960}


@pytest.mark.parametrize(("size", "ranks"), [(1, 1), (1, 3), (2, 4), (4, 4)])
def test_an_engine_that_can_be_cut(size: int, ranks: int) -> None:
    VLLM(tensor_parallel=size).check_split(ranks, MODEL)
    HF().check_split(ranks, MODEL)


@pytest.mark.parametrize(
    ("size", "ranks", "said"),
    [
        (2, 1, "2, which does not cut 1 ranks, 12 heads, 2 key heads, 8960 units of an MLP: use 1"),
        (3, 6, "3, which does not cut 6 ranks, .* 2 key heads, .*: use 2"),
        (8, 8, "8, which does not cut 8 ranks, 12 heads.*: use 4"),
    ],
)
def test_an_engine_that_cannot_be_cut_is_refused_with_the_nearest(size: int, ranks: int, said: str) -> None:
    with pytest.raises(ConfigError, match=f"rollout.engine.tensor_parallel is {said}"):
        VLLM(tensor_parallel=size).check_split(ranks, MODEL)
