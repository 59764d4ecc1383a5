"""The model card of an exported checkpoint: what it is, what made it, how well it plays. No torch."""

from sdar.envs.base import envs
from sdar.evaluation.results import EvalResult
from sdar.objectives.base import objectives
from sdar.recipe import RunConfig
from sdar.runs.rundir import RunDir, read_evals
from sdar.settings.config import to_toml


def model_card(config: RunConfig, run: RunDir, step: int) -> str:
    """Markdown with the metadata that the Hugging Face hub reads."""
    env, objective = envs.name_of(type(config.env)), objectives.name_of(type(config.objective))
    start = f"`{config.pretrained}`" if config.pretrained else "the small model that sdar makes itself"
    base = [f"base_model: {config.pretrained}"] if config.pretrained else []
    meta, found = run.meta, read_evals(run).get(step)
    code = f"sdar {meta['versions']['sdar']}" + (f", commit {meta['commit']}" if meta.get("commit") else "")
    head = ["---", "library_name: transformers", "pipeline_tag: text-generation", *base]
    tags = ["tags:", *(f"- {tag}" for tag in ("sdar", "reinforcement-learning", env, objective)), "---"]
    played = []
    if found is not None:
        result = EvalResult.from_json(found)
        about = f"{len(result.outcomes)} tasks, {result.samples} x each, temperature {result.temperature:g}"
        played = [
            f"Success on the fixed panel `{result.panel}` ({about}): {result.success}, 95 % interval.",
            "",
        ]
    return "\n".join(
        [
            *head,
            *tags,
            f"# {run.path.name}, step {step}",
            "",
            f"A policy for `{env}`, trained with `{objective}` for {step} of {config.train.steps} steps, "
            f"from {start}. Made by {code}; run {run.id}.",
            "",
            *played,
            "`sdar eval` takes this directory with the settings below as a recipe.",
            "",
            "```toml",
            to_toml(config).strip(),
            "```",
            "",
        ]
    )
