"""The model that a run starts from; one that learns from demonstrations first is made where it is missing."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from sdar.build.learner import make_learner
from sdar.build.reasons import note, note_file, reason
from sdar.build.skills import skill_context
from sdar.build.stage import stage
from sdar.model.chat import Chat
from sdar.model.load import compute_dtype, context_of, load_tokenizer, weights_digest
from sdar.model.settings import EMBEDDED, find_model
from sdar.recipe import RunConfig
from sdar.runs.files import ensure_directory, is_sealed
from sdar.runs.paths import data_dir
from sdar.runs.progress import Display
from sdar.settings.schedules import Shape
from sdar.skills.context import SkillContext
from sdar.trainer.collected import collected
from sdar.trainer.demonstrations import Demonstrations
from sdar.trainer.distributed import World
from sdar.trainer.imitation import Imitation, imitate
from sdar.trainer.settings import OptimConfig
from sdar.trainer.warm_start import WarmStart, fingerprint_of
from sdar.trainer.weight_sync import export_model


def warm_start(config: RunConfig, texts: Path | None = None) -> Path:
    """Make the model of the warm start where it is missing; its directory.

    With `texts`, a texts.jsonl of a run, a pretrained model learns those in place of demonstrations.
    """
    with stage(config) as (world, shown):
        if texts is not None:
            base = find_model(config.warm_start.from_)
            return PretrainedStart(config, skill_context(config), base, texts).ensure(world, shown)
        return start_model(replace(config, model=replace(config.model, path=EMBEDDED)), world, shown)


def start_model(config: RunConfig, world: World, shown: Display) -> Path:
    """Where the initial policy is, a directory or hub name; that of the warm start is made if missing."""
    if config.model.path != EMBEDDED:
        return Path(find_model(config.model.path))
    skills = replace(skill_context(config), wrong_rate=0.0)
    if config.warm_start.from_:
        pretrained = PretrainedStart(config, skills, find_model(config.warm_start.from_))
        with explained(config, pretrained.directory, world, shown):
            return pretrained.ensure(world, shown)
    start = WarmStart(spec=config.env, skills=skills, rollout=config.rollout, config=config.warm_start)
    with explained(config, start.directory, world, shown):
        ensure_embedded(start, world, shown)
    return start.directory


@contextmanager
def explained(config: RunConfig, model: Path, world: World, shown: Display) -> Iterator[None]:
    """Within the block a model may be made: says why, and keeps a note of its settings and time."""
    if not world.is_main or is_sealed(model):
        yield
        return
    shown.message(reason(config, model))
    began = monotonic()
    yield
    if not note_file(model).exists():
        note(config, model, monotonic() - began)


def ensure_embedded(start: WarmStart, world: World, shown: Display) -> None:
    """Make the embedded model where it is missing (collective)."""
    if world.is_main:
        start.ensure(
            world.device, lambda done, total, loss: shown.phase("warm start", done, total), shown.message
        )
    world.barrier()


@dataclass(frozen=True)
class PretrainedStart:
    """A pretrained model and what it learns from demonstrations, by the trainer's own step."""

    config: RunConfig
    skills: SkillContext
    base: str
    """Directory or hub name of the pretrained model."""
    texts: Path | None = None
    """What is learned in place of demonstrations."""

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the weights to start from, and what they learn from and how: see `fingerprint_of`."""
        config = self.config
        how: dict[str, Any] = {
            "base": weights_digest(self.base),
            "warm_start": {**asdict(config.warm_start), "from_": "", "model": ""},
            "model": {**asdict(config.model), "path": "", "dtype": str(compute_dtype(config.model))},
            "optim": [config.optim.betas, config.optim.weight_decay, config.optim.max_grad_norm],
        }
        if self.texts is not None:
            how["texts"] = hashlib.sha256(self.texts.read_bytes()).hexdigest()
        everything = {
            **how,
            "env": config.env.fingerprint,
            "skills": [self.skills.bank.fingerprint, str(self.skills.detail), repr(self.skills.rule)],
            "context": [str(config.rollout.context), config.rollout.history],
        }
        return fingerprint_of(how, everything, self._shown)

    def _shown(self) -> str:
        """Digest of the first demonstrations."""
        tokenizer, start = load_tokenizer(self.base), self.config.warm_start
        return self._demonstrations.digest(start.steps * start.demonstrations, Chat(tokenizer), tokenizer)

    @property
    def _demonstrations(self) -> Demonstrations:
        return Demonstrations(
            spec=self.config.env,
            skills=self.skills,
            rollout=self.config.rollout,
            config=self.config.warm_start,
            context_length=context_of(self.base),
        )

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
        supervised = replace(config, objective=Imitation(), optim=self._optim)
        learner = make_learner(supervised, Path(self.base), world)
        tokenizer = load_tokenizer(self.base)
        chat, seed = Chat(tokenizer), config.warm_start.seed
        if self.texts is None:
            samples = self._demonstrations.samples(chat, tokenizer)
        else:
            samples = collected(self.texts, chat, tokenizer.eos_token_id, context_of(self.base), seed)
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
