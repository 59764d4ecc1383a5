"""Set-up and checks with nothing but Python 3.11 or newer.

    python3 dev.py install    make .venv (unless inside a virtual environment) and install sdar in it
    python3 dev.py test       the same with the tools for development, then every check and all tests
    python3 dev.py wheel      build the wheel, install it in a fresh place and run short jobs there

Where there is no NVIDIA GPU, torch comes as its CPU build: the usual one for Linux brings gigabytes of CUDA.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
TORCH = "2.13.0"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
CHECKS = {
    "lint": ["ruff", "check"],
    "format": ["ruff", "format", "--check"],
    "types": ["mypy"],
    "import layers": ["lint-imports"],
    "tests": ["pytest", "-n", "auto"],
}


def environment() -> Path:
    """The Python to install into: that of the active virtual environment, or of .venv, made where missing."""
    if sys.prefix != sys.base_prefix:
        return Path(sys.executable)
    home = ROOT / ".venv"
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        print(f"Making the virtual environment {home}")
        try:
            venv.create(home, with_pip=True, clear=True)
        except subprocess.CalledProcessError:
            sys.exit(
                "error: this Python cannot make virtual environments; on Debian: apt install python3-venv"
            )
    return python


def pip(python: Path, *args: str) -> bool:
    """Whether pip did it."""
    command = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *args]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def install(python: Path, extras: str = "") -> None:
    """Install sdar as it is here, once for each state of pyproject.toml."""
    stamp = python.parent.parent / f"sdar-installed{extras}"
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + str(ROOT).encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print("Installing sdar and what it needs (minutes, the first time)", flush=True)
    has_torch = subprocess.run([str(python), "-c", "import torch"], stderr=subprocess.DEVNULL, check=False)
    if has_torch.returncode != 0 and sys.platform == "linux" and not shutil.which("nvidia-smi"):
        # "+cpu" is no version of the public index, so neither line can fetch a CUDA build.
        build = f"torch=={TORCH}+cpu"
        if not (pip(python, build) or pip(python, build, "--index-url", CPU_WHEELS)):
            sys.exit(
                f"error: found no CPU build of torch; install one into {python.parent.parent} and try again"
            )
    if not pip(python, "--editable", f".{extras}"):
        sys.exit("error: the installation failed, see above")
    stamp.write_text(wanted)


def test(python: Path) -> int:
    """Run every check; the tests last, so that their closing line is the last. 0 when all passed."""
    failed = []
    for name, (tool, *args) in CHECKS.items():
        print(f"== {name}", flush=True)
        # One thread a process: pytest-xdist starts one process for each core.
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        command = [str(python.parent / tool), *args]
        if subprocess.run(command, cwd=ROOT, env=env, check=False).returncode != 0:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


JOBS = (
    "sdar --version",
    "sdar list recipes",
    "sdar train webshop/embedded --dry-run",
    "sdar study studies/skill_quality.toml --dry-run",
    "sdar check objective margin --plugins examples/my_objective.py",
    "sdar train examples/my_env.toml --plugins examples/my_env.py --name short --train.steps 1 "
    "--rollout.tasks-per-step 2 --rollout.group-size 2 --warm-start.steps 2 --trackers",
    "sdar eval latest --samples 2 --plugins examples/my_env.py",
    "python -m sdar.examples.gym_agent",
)
"""What a user of the wheel can do in an empty directory."""


def wheel(python: Path) -> int:
    """Build the distributions, install the wheel outside the checkout, and run `JOBS` there; 0 when all did.

    The fresh environment borrows the packages that sdar needs from that of `python`: nothing is downloaded.
    """
    with tempfile.TemporaryDirectory(prefix="sdar-wheel-") as folder:
        place, desk = Path(folder), Path(folder) / "desk"
        desk.mkdir()
        subprocess.run([str(python), "-m", "hatchling", "build", "-d", folder], cwd=ROOT, check=True)
        [built] = place.glob("*.whl")
        [source] = place.glob("*.tar.gz")
        for file in (built, source):
            print(f"{file.name}: {file.stat().st_size >> 10} KiB")
        fresh = place / "env"
        venv.create(fresh, with_pip=False)
        where = "import sysconfig; print(sysconfig.get_path('purelib'))"
        borrowed, own = (
            subprocess.check_output([str(each), "-c", where], text=True).strip()
            for each in (python, fresh / "bin" / "python")
        )
        (Path(own) / "borrowed.pth").write_text(f"{borrowed}\n")
        into = ["--python", str(fresh / "bin" / "python"), "install", "-qq", "--no-deps", "--no-index"]
        subprocess.run([str(python), "-m", "pip", *into, "--ignore-installed", str(built)], check=True)
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        env |= {"OMP_NUM_THREADS": "1", "SDAR_DATA": str(place / "data")}
        for job in JOBS:
            print(f"$ {job}", flush=True)
            program, *words = shlex.split(job)
            words = [str(fresh / "bin" / program), *words]
            done = subprocess.run(words, cwd=desk, env=env, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                print(f"{done.stdout}{done.stderr}failed: {job}", file=sys.stderr)
                return 1
        print(done.stdout.strip().splitlines()[-1])
    return 0


def main() -> int:
    """Do what the first argument says."""
    if sys.version_info < (3, 11):
        sys.exit(f"error: sdar needs Python 3.11 or newer, and this is {sys.version.split()[0]}")
    if sys.argv[1:] not in (["install"], ["test"], ["wheel"]):
        sys.exit(__doc__)
    python = environment()
    if sys.argv[1] in ("test", "wheel"):
        install(python, "[dev]")
        return wheel(python) if sys.argv[1] == "wheel" else test(python)
    install(python)
    print("Installed. Next: .venv/bin/sdar train" if python.parent.parent == ROOT / ".venv" else "Installed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
