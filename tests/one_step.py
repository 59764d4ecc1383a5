"""One training step of a pretrained model in an environment, small enough for any model."""

from pathlib import Path

from sdar.cli import main
from sdar.runs.rundir import RunDir, read_metrics

SMALL = {
    "train.steps": "1",
    "rollout.tasks_per_step": "2",
    "rollout.group_size": "2",
    "rollout.max_tokens": "12",
    "env.max_turns": "3",
    "env.prompt": "compact",
    "skills.detail": "summary",
    "eval.panel": "none",
    "model.dtype": "auto",
    "model.lora_rank": "8",
}


def one_step(model: str, env: str, context: str, out: Path) -> tuple[RunDir, dict[str, float]]:
    """The run `env` under `out`, and the metrics of its step."""
    settings = SMALL | {
        "model.path": model,
        "env": env,
        "skills.bank": env,
        "rollout.context": context,
        "name": env,
        "out": str(out),
    }
    assert main(["train", *(word for name, value in settings.items() for word in (f"--{name}", value))]) == 0
    run = RunDir(out / env)
    step = read_metrics(run)[-1]
    assert step["step"] == 1
    return run, step
