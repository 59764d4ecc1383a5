"""Train multi-turn LLM agents with reinforcement learning plus gated self-distillation.

What an extension needs is here. Names are imported when they are first used, so that `import sdar` is light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdar.build.api import evaluate, train
    from sdar.envs.base import Env, EnvSpec, Expert, Panel, Prompts
    from sdar.errors import CheckpointError, ConfigError, ContextOverflow, DataError, SdarError
    from sdar.objectives.base import LossInputs, LossOutput, Objective, PolicyGradient, Stream
    from sdar.recipe import RunConfig, load_config
    from sdar.rollout.engine import Engine, Request, Sampling
    from sdar.runs.rundir import RunDir
    from sdar.types import Completion, Group, Message, Observation, Step, Task, Trajectory, Turn

__version__ = "0.1.0"

_HOMES = {
    "build.api": "evaluate train",
    "envs.base": "Env EnvSpec Expert Panel Prompts",
    "errors": "CheckpointError ConfigError ContextOverflow DataError SdarError",
    "objectives.base": "LossInputs LossOutput Objective PolicyGradient Stream",
    "recipe": "RunConfig load_config",
    "rollout.engine": "Engine Request Sampling",
    "runs.rundir": "RunDir",
    "types": "Completion Group Message Observation Step Task Trajectory Turn",
}
_HOME = {name: f"sdar.{module}" for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "CheckpointError",
    "Completion",
    "ConfigError",
    "ContextOverflow",
    "DataError",
    "Engine",
    "Env",
    "EnvSpec",
    "Expert",
    "Group",
    "LossInputs",
    "LossOutput",
    "Message",
    "Objective",
    "Observation",
    "Panel",
    "PolicyGradient",
    "Prompts",
    "Request",
    "RunConfig",
    "RunDir",
    "Sampling",
    "SdarError",
    "Step",
    "Stream",
    "Task",
    "Trajectory",
    "Turn",
    "evaluate",
    "load_config",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its home."""
    if name not in _HOME:
        raise AttributeError(f"module 'sdar' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return __all__
