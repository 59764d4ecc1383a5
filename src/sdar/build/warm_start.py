"""The model that a run starts from; one that learns from demonstrations first is made where it is missing."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from sdar.build.learner import make_learner
from sdar.build.skills import skill_context
from sdar.build.stage import stage
from sdar.model.chat import Chat
from sdar.model.load import compute_dtype, context_of, load_tokenizer, weights_digest
from sdar.model.settings import EMBEDDED, find_model
from sdar.recipe import RunConfig
from sdar.runs.files import ensure_directory
from sdar.runs.paths import data_dir
from sdar.runs.progress import Display
from sdar.settings.schedules import Shape
from sdar.skills.context import SkillContext
from sdar.trainer.demonstrations import Demonstrations
from sdar.trainer.distributed import World
from sdar.trainer.imitation import Imitation, imitate
from sdar.trainer.settings import OptimConfig
from sdar.trainer.warm_start import WarmStart, sources
from sdar.trainer.weight_sync import export_model


def warm_start(config: RunConfig) -> Path:
    """Make the model of the warm start where it is missing; its directory."""
    with stage(config) as (world, shown):
        return start_model(replace(config, model=replace(config.model, path=EMBEDDED)), world, shown)


def start_model(config: RunConfig, world: World, shown: Display) -> Path:
    """Where the initial policy is, a directory or hub name; that of the warm start is made if missing."""
    if config.model.path != EMBEDDED:
        return Path(find_model(config.model.path))
    skills = replace(skill_context(config), wrong_rate=0.0)
    if config.warm_start.from_:
        return PretrainedStart(config, skills, find_model(config.warm_start.from_)).ensure(world, shown)
    start = WarmStart(spec=config.env, skills=skills, rollout=config.rollout, config=config.warm_start)
    if world.is_main:
        start.ensure(
            world.device, lambda done, total, loss: shown.phase("warm start", done, total), shown.message
        )
    world.barrier()
    return start.directory


@dataclass(frozen=True)
class PretrainedStart:
    """A pretrained model and what it learns from demonstrations, by the trainer's own step."""

    config: RunConfig
    skills: SkillContext
    base: str
    """Directory or hub name of the pretrained model."""

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the weights to start from, the settings, the skill texts and the sources."""
        config = self.config
        settings = {
            "base": weights_digest(self.base),
            "env": config.env.fingerprint,
            "skills": [self.skills.bank.fingerprint, str(self.skills.detail), repr(self.skills.rule)],
            "context": [str(config.rollout.context), config.rollout.history],
            "warm_start": {**asdict(config.warm_start), "from_": "", "model": ""},
            "model": {**asdict(config.model), "path": "", "dtype": str(compute_dtype(config.model))},
            "optim": [config.optim.betas, config.optim.weight_decay, config.optim.max_grad_norm],
        }
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
        for source in sources():
            digest.update(source.read_bytes())
        return digest.hexdigest()

    @property
    def directory(self) -> Path:
        """Where the finished model is kept."""
        return data_dir() / "models" / f"{Path(self.base).name}-{self.fingerprint[:16]}"

    def ensure(self, world: World, shown: Display) -> Path:
        """The directory of the model, which is made unless it is there and whole (collective).

        The main rank finds out, alone and under the lock that keeps other runs from making it too.
        """
        made = []

        def make(directory: Path) -> None:
            made.append(world.any(True))
            self._learn(world, shown, directory)

        if world.is_main:
            ensure_directory(self.directory, make, shown.message)
        if not made and world.any(False):
            self._learn(world, shown, self.directory)
        world.barrier()
        return self.directory

    def _learn(self, world: World, shown: Display, directory: Path) -> None:
        """Do all steps and write the model, which the main rank does (collective)."""
        config, steps = self.config, self.config.warm_start.steps
        demonstrations = Demonstrations(
            spec=config.env,
            skills=self.skills,
            rollout=config.rollout,
            config=config.warm_start,
            context_length=context_of(self.base),
        )
        supervised = replace(config, objective=Imitation(), optim=self._optim)
        learner = make_learner(supervised, Path(self.base), world)
        tokenizer = load_tokenizer(self.base)
        samples = demonstrations.samples(Chat(tokenizer), tokenizer)
        for done, loss in imitate(learner, samples, steps, config.warm_start.demonstrations):
            shown.phase("warm start", done, steps)
            if done in (1, steps) or done % max(1, steps // 8) == 0:
                shown.message(f"warm start: {done}/{steps}, loss {loss:.3f}")
        export_model(learner.policy, torch.float32, tokenizer, world, directory)

    @property
    def _optim(self) -> OptimConfig:
        """One update a step; a rise over the first twentieth of them, then a fall to 0."""
        start = self.config.warm_start
        return replace(
            self.config.optim,
            lr=start.lr,
            schedule=Shape.LINEAR,
            warmup_steps=start.steps // 20,
            mini_batch=0,
        )
