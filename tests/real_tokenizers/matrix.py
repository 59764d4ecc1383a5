"""Every recipe of an objective for two steps, in every environment, with tiny models and real tokenizers.

    python tests/real_tokenizers/matrix.py                    # all cells: hours
    python tests/real_tokenizers/matrix.py --passed FILE      # the same, without the cells named in the file
    python tests/real_tokenizers/matrix.py --only "qwen3 alfworld grpo-published"

A cell is an architecture, an environment and an objective's recipe; then LoRA, bfloat16 and two processes,
each with SDAR on ALFWorld. Tasks are generated, so no data is needed. Exit status 1: a cell failed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.real_tokenizers.fetch import CACHE, FILES, PACKAGES

from sdar.settings.shipped import recipes

ENVS = ("alfworld", "webshop", "search_qa")
SHORT = (
    "--train.steps 2 --train.old_logps recompute --rollout.context window --rollout.tasks_per_step 2 "
    "--rollout.group_size 2 --rollout.max_tokens 8 --env.max_turns 2 --env.prompt full --skills.detail full "
    "--eval.panel none --trackers --quiet"
)
EXTRA = {"lora": "--model.lora_rank 4", "bfloat16": "--model.dtype bfloat16", "torchrun": ""}


def make(kind: str, path: Path) -> Path:
    """A tiny model of random weights with its real tokenizer."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind, vocab_size=151936, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=8, max_position_embeddings=32768,
        tie_word_embeddings=True, eos_token_id=151645,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    for name in FILES:
        (path / name).write_bytes((CACHE / kind / name).read_bytes())
    return path


def cells() -> Iterator[tuple[str, list[str]]]:
    """The name of each cell, which begins with its architecture, and its words for `sdar train`."""
    objectives = [name.rpartition("/")[2] for name in recipes() if name.startswith("objectives/")]
    for kind in PACKAGES:
        for env in ENVS:
            base = f"--env {env} --skills.bank {env} {SHORT}".split()
            for objective in objectives:
                yield f"{kind} {env} {objective}", [objective, *base]
        for extra, flags in EXTRA.items():
            base = f"--env alfworld --skills.bank alfworld {SHORT} {flags}".split()
            yield f"{kind} alfworld {extra}", ["sdar-published", *base]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="words that a cell's name contains")
    parser.add_argument("--passed", type=Path, help="a file of cells that have passed, to go on after a stop")
    args = parser.parse_args()
    passed = args.passed.read_text().splitlines() if args.passed and args.passed.exists() else []
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        models = {kind: make(kind, Path(folder) / kind) for kind in PACKAGES}
        for name, words in cells():
            if args.only not in name or name in passed:
                continue
            begin, kind = time.perf_counter(), name.split()[0]
            command = [sys.executable, "-m", "sdar"]
            if name.endswith("torchrun"):
                command = [
                    sys.executable,
                    "-m",
                    "torch.distributed.run",
                    "--nproc-per-node",
                    "2",
                    *command[1:],
                ]
            command += ["train", *words, "--model.path", str(models[kind]), "--out", f"{folder}/runs"]
            env = os.environ | {"OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
            print(
                f"{'ok' if not done.returncode else 'FAILED':<8}{name}, {time.perf_counter() - begin:.0f} s"
            )
            if args.passed and not done.returncode:
                with args.passed.open("a") as file:
                    file.write(f"{name}\n")
            if done.returncode:
                failed.append(name)
                print(done.stderr[-2000:])
    print(f"{len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
