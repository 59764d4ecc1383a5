"""The policy with all that it learns with: optimizer, reference, teacher."""

from pathlib import Path

import torch

from sdar.errors import ConfigError
from sdar.model.load import compute_dtype, context_of, load_tokenizer
from sdar.model.policy import Policy
from sdar.model.settings import ModelConfig
from sdar.objectives.base import Stream
from sdar.recipe import RunConfig
from sdar.trainer.average import Average
from sdar.trainer.distributed import World
from sdar.trainer.sharding import sharded_policy
from sdar.trainer.step import Learner, make_optimizer
from sdar.trainer.teachers import Parts, Teacher, Weights


def make_learner(config: RunConfig, start: Path, world: World) -> Learner:
    """The policy with its optimizer and the models it is compared with, sharded over all ranks."""
    needs, dtype, adapted = config.objective.needs, compute_dtype(config.model), bool(config.model.lora_rank)
    policy = sharded_policy(
        start,
        config.model,
        world,
        param_dtype=dtype if adapted else torch.float32,
        compute_dtype=dtype,
        offload=config.ranks.offloads_policy,
    )

    def frozen(path: Path | str) -> Policy:
        return sharded_policy(
            path,
            ModelConfig(),
            world,
            param_dtype=dtype,
            compute_dtype=dtype,
            trained=False,
            offload=config.ranks.offloads_frozen,
        )

    def load(path: str) -> Policy:
        check_teacher(path, start)
        return frozen(path)

    taught = Stream.TEACHER in needs
    reference = None
    if Stream.REF in needs or (taught and config.teacher.needs_reference):
        reference = Weights.frozen(policy) if adapted else Weights(frozen(start))
    parts = Parts(
        policy=policy,
        reference=reference,
        average=lambda decay: Average(policy, decay),
        load=load,
    )
    return Learner(
        policy=policy,
        optimizer=make_optimizer(policy, config.optim),
        objective=config.objective,
        config=config.optim,
        world=world,
        seed=config.train.seed,
        temperature=config.rollout.temperature,
        reference=reference,
        teacher=config.teacher.make(parts) if taught else Teacher(),
    )


def check_teacher(path: Path | str, policy: Path) -> None:
    """Refuse a second model that reads other tokens than the policy, or fewer, before weights are loaded."""
    theirs, ours = (load_tokenizer(each).get_vocab() for each in (path, policy))
    if theirs != ours:
        token = min(token for token, _ in theirs.items() ^ ours.items())
        raise ConfigError(
            f"a teacher must share the policy's tokenizer, and the vocabulary of {path} is not that of "
            f"{policy}: there '{token}' is {theirs.get(token, 'missing')}, here {ours.get(token, 'missing')}"
        )
    there, here = context_of(path), context_of(policy)
    if there < here:
        raise ConfigError(f"the teacher at {path} has a context of {there} tokens, the policy one of {here}")
