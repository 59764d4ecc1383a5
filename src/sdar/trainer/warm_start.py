"""Builds the embedded model: a small causal LM trained on demonstrations of the environment's experts.

The demonstrations (`sdar.trainer.demonstrations`) are near-expert under the right skills and err often under
all else, so the model plays better with its skills than without: its skill-conditioned self has something to
teach. This is ordinary supervised training; the run that follows does the rest.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_
from transformers import PreTrainedTokenizerBase

import sdar
from sdar.envs.base import EnvSpec
from sdar.model.chat import Chat
from sdar.model.embedded import build_model, build_tokenizer
from sdar.model.load import save_model
from sdar.model.policy import Packed, Policy
from sdar.rollout.samples import Sample
from sdar.rollout.settings import RolloutConfig
from sdar.runs.files import ensure_directory, write_atomic
from sdar.runs.paths import data_dir
from sdar.skills.context import Content, SkillContext
from sdar.trainer.demonstrations import Demonstrations, draw
from sdar.trainer.muon import Muon
from sdar.trainer.settings import WarmStartConfig

Progress = Callable[[int, int, float], None]
"""Told (steps done, all steps, loss)."""


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """Everything that the embedded model depends on."""

    spec: EnvSpec
    skills: SkillContext
    rollout: RolloutConfig
    config: WarmStartConfig

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over what the model learns from and how: see `fingerprint_of`."""
        everything = {
            "env": self.spec.fingerprint,
            "skills": [self.skills.bank.fingerprint, str(self.skills.detail), repr(self.skills.rule)],
            "context": [str(self.rollout.context), self.rollout.history],
            "config": asdict(self.config),
        }
        return fingerprint_of(asdict(self.config), everything, self._shown)

    def _shown(self) -> str:
        """Digest of the texts of the tokenizer and of the first demonstrations."""
        texts = [*self._texts()]
        tokenizer = build_tokenizer(texts, self.config.model)
        count = self.config.steps * self.config.demonstrations
        seen = self.demonstrations.digest(count, Chat(tokenizer), tokenizer)
        return hashlib.sha256("\0".join([*texts, seen]).encode()).hexdigest()

    @property
    def directory(self) -> Path:
        """Where the finished model is kept."""
        return data_dir() / "models" / f"embedded-{self.fingerprint[:16]}"

    def ensure(
        self,
        device: torch.device,
        on_progress: Progress | None = None,
        on_wait: Callable[[str], None] | None = None,
    ) -> Path:
        """The directory of the model, which is built unless it is there and whole.

        Another process that builds it already is waited for; then `on_wait` gets one line.
        """

        def make(directory: Path) -> None:
            policy, tokenizer = self.build(device, on_progress)
            save_model(policy.model, tokenizer, directory)

        return ensure_directory(self.directory, make, on_wait)

    def build(
        self, device: torch.device, on_progress: Progress | None = None
    ) -> tuple[Policy, PreTrainedTokenizerBase]:
        """Train the tokenizer and the model from scratch."""
        config = self.config
        tokenizer = build_tokenizer(self._texts(), config.model)
        policy = Policy(build_model(tokenizer, config.model, config.seed)).to(device).train()
        optimizers = _optimizers(policy, config.lr)
        demonstrations = self.demonstrations.samples(Chat(tokenizer), tokenizer)
        for step in range(config.steps):
            lr = config.lr * min(1.0, 20 * (step + 1) / config.steps) * (1 - step / config.steps)
            samples = [next(demonstrations) for _ in range(config.demonstrations)]
            packed, weights = _pack(samples, config.text_weight, device)
            loss = -(policy(packed).logp * weights).sum()
            loss.backward()
            clip_grad_norm_(policy.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.param_groups[0]["lr"] = lr
                optimizer.step()
                optimizer.zero_grad()
            if on_progress:
                on_progress(step + 1, config.steps, float(loss.detach()))
        return policy.eval(), tokenizer

    def _texts(self) -> Iterator[str]:
        """What the tokenizer learns from: skills, prompts, observations and answers of 400 episodes."""
        for skill in self.skills.bank.skills:
            yield from (
                self.skills.showing(Content.RIGHT, k).section((skill,))
                for k in range(min(self.config.wordings, 1 + len(skill.wordings)))
            )
        prompts = self.spec.prompts()
        tasks = self.spec.tasks(self.spec.splits()[0])
        for number in range(400):
            env, task = self.spec.make(), tasks[draw(len(tasks), self.config.seed, 1, number)]
            observation = env.reset(task)
            expert = self.spec.expert(self.config.skilled_expert, env, task, number, noise=0.3)
            yield from (message.content for message in prompts.opening(observation))
            while True:
                action = expert.act(observation)
                step = env.step(prompts.answer(action))
                observation = step.observation
                yield prompts.answer(action)
                if step.done or step.truncated:
                    break
                yield from (message.content for message in prompts.following(observation))

    @property
    def demonstrations(self) -> Demonstrations:
        """What the model learns from."""
        return Demonstrations(
            spec=self.spec,
            skills=self.skills,
            rollout=self.rollout,
            config=self.config,
            context_length=self.config.model.context_length,
        )


def fingerprint_of(how: Mapping[str, Any], everything: Mapping[str, Any], shown: Callable[[], str]) -> str:
    """SHA-256 over `how` a model learns (settings and code) and what the demonstrations show.

    What they show is looked at once for `everything` that may change it, the code included, and then kept in
    the data directory: an edit that changes no demonstration costs seconds, and no new model.
    """
    file = data_dir() / "models" / "seen" / f"{_digest(everything, TEACH)}.txt"
    if not file.exists():
        write_atomic(file, shown())
    return _digest({"how": how, "shown": file.read_text(encoding="utf-8")}, LEARN)


def _digest(settings: Mapping[str, Any], patterns: Sequence[str]) -> str:
    root, digest = Path(sdar.__file__).parent, hashlib.sha256()
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    for source in sorted(file for pattern in patterns for file in root.glob(pattern)):
        digest.update(source.read_bytes())
    return digest.hexdigest()


LEARN = (
    "model/embedded.py",
    "model/policy.py",
    "model/logprobs.py",
    "trainer/imitation.py",
    "trainer/muon.py",
    "trainer/warm_start.py",
)
"""Files whose code decides what is learned from demonstrations."""
TEACH = ("skills/*.py", "model/*.py", "rollout/*.py", "trainer/demonstrations.py", "trainer/warm_start.py")
"""Files besides the environment's whose code may decide what demonstrations show."""


def _optimizers(policy: Policy, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, which learns from about a third of the data; AdamW for the rest."""
    layers: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in policy.named_parameters():
        (layers if parameter.ndim == 2 and ".layers." in name else others).append(parameter)
    return [
        Muon(layers, lr=lr),
        torch.optim.AdamW(others, lr=lr, weight_decay=0.0, fused=True),
    ]


def _pack(samples: Sequence[Sample], text_weight: float, device: torch.device) -> tuple[Packed, torch.Tensor]:
    """All samples end to end; every token but the first of a sample is scored, with a weight.

    The expert's tokens share a weight of 1, all other tokens a weight of `text_weight`.
    """
    packed = Packed.from_sequences(
        ((*sample.prompt, *sample.body), range(1, sample.length)) for sample in samples
    )
    chosen = [[*[False] * len(sample.prompt), *sample.policy][1:] for sample in samples]
    policy = np.concatenate(chosen)
    weights = np.where(policy, 1 / policy.sum(), text_weight / max(1, (~policy).sum()))
    return packed.to(device), torch.from_numpy(weights).float().to(device)
