"""The GPUs of this machine, and the refusal of a start that cannot fit them. No torch."""

import shutil
import subprocess

from sdar.errors import ConfigError
from sdar.plan.memory import Budget, check_start
from sdar.plan.shapes import shape_of
from sdar.recipe import RunConfig

MIB = 1 << 20


def smallest_gpu() -> float | None:
    """Bytes of the smallest GPU that NVIDIA's driver shows; None without a driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=60)
    sizes = [float(line) for line in done.stdout.split() if line.replace(".", "").isdigit()]
    return min(sizes) * MIB if sizes and not done.returncode else None


def check_gpus(config: RunConfig) -> None:
    """Raise `ConfigError` where the models of a run on GPUs cannot fit the ranks that torchrun started.

    What cannot be known is not refused: no driver here, or a model whose shape is not at hand.
    """
    memory = smallest_gpu() if config.device == "cuda" else None
    if memory is None:
        return
    try:
        budget = Budget(config=config, shape=shape_of(config), ranks=config.ranks.holders())
        budget.built()
    except ConfigError:
        return
    check_start(budget, memory, config.model.path)
