"""What our Muon saves: CPU seconds of an update of the embedded model's matrices, torch's and ours, in pairs.

    python benchmarks/muon.py [--pairs 9]

torch's rounds to bfloat16, which many processors have no instructions for.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from sdar.model.embedded import build_model, build_tokenizer
from sdar.model.policy import Policy
from sdar.model.settings import EmbeddedConfig
from sdar.trainer.warm_start import _optimizers

RESULT = Path(__file__).parent / "results" / "muon.json"


def main() -> None:
    """Take turns, so that a busy moment meets both."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=9)
    pairs = parser.parse_args().pairs
    torch.set_num_threads(1)
    config = EmbeddedConfig()
    model = build_model(build_tokenizer(["go to desk 1"] * 10, config), config, 0)
    ours, _ = _optimizers(Policy(model), 1e-3)
    matrices = ours.param_groups[0]["params"]
    for matrix in matrices:
        matrix.grad = torch.randn_like(matrix)
    optimizers = {
        "torch": torch.optim.Muon(matrices, lr=1e-3, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
        "ours": ours,
    }
    seconds: dict[str, list[float]] = {name: [] for name in optimizers}
    for _ in range(pairs):
        for name, optimizer in optimizers.items():
            begin = time.process_time()
            optimizer.step()
            seconds[name].append(time.process_time() - begin)
    found = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    ratio = statistics.median(a / b for a, b in zip(seconds["torch"][1:], seconds["ours"][1:], strict=True))
    result = {"cpu_seconds": found, "torch_over_ours": ratio, "cpu": torch.backends.cpu.get_cpu_capability()}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"torch's Muon takes {ratio:.1f} times as long, {found['torch']:.3f} s and {found['ours']:.3f}")


if __name__ == "__main__":
    main()
