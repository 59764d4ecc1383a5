"""Scores a batch and learns from it: forward, loss, backward, clip, check, update.

Any number of ranks works on one batch: each takes its micro-batches, losses are sums over global
denominators, and gradients are added up over ranks.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.nn.utils import clip_grad_norm_

from sdar.errors import ConfigError
from sdar.model.logprobs import TokenScores
from sdar.model.policy import Policy
from sdar.objectives.base import Objective, Stream
from sdar.trainer.batch import (
    Batch,
    loss_inputs,
    micro_batches,
    micro_batches_of,
    mini_batches,
    pack,
    runs,
)
from sdar.trainer.distributed import World, full
from sdar.trainer.settings import OptimConfig, Order
from sdar.trainer.tally import Tally
from sdar.trainer.teachers import Teacher, Weights

Told = Callable[[int, int], None]
"""Is told (done, total) before each micro-batch or update."""


def silent(done: int, total: int) -> None:
    """Tell nobody."""


def make_optimizer(policy: Policy, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; make it after the policy was sharded."""
    trainable = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(
        trainable, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True
    )


@dataclass(frozen=True)
class Learned:
    """What came out of the updates of one step."""

    metrics: dict[str, float]
    live_M: Tensor
    """Log-prob of each policy token when it was trained on."""
    first: Sequence[int]
    """Rows of the first mini-batch: their `live_M` is from before any update of this step."""
    refused: tuple[float, float] | None = None
    """Loss and gradient norm of the first update that was skipped, one of which is not finite."""
    streams: Mapping[str, Tensor] = field(default_factory=dict)
    """What else is worth seeing of each policy token (M,): its `entropy`, and what the objective shows."""

    def about(self, own: Batch) -> "Learned":
        """What it says of the batch without its extra samples."""
        count = len(own.rollout_M)
        return replace(
            self,
            live_M=self.live_M[:count],
            first=[row for row in self.first if row < len(own.samples)],
            streams={name: flat[:count] for name, flat in self.streams.items()},
        )


@dataclass(frozen=True, kw_only=True)
class Learner:
    """The policy, its optimizer and the objective. Every method is collective."""

    policy: Policy
    optimizer: torch.optim.Optimizer
    objective: Objective
    config: OptimConfig
    world: World
    seed: int = 0
    temperature: float = 1.0
    """Of the distribution that the log-probs are taken in: that of the rollout."""
    reference: Weights | None = None
    teacher: Teacher = field(default_factory=Teacher)

    def __post_init__(self) -> None:
        if Stream.REF in self.objective.needs and self.reference is None:
            raise ConfigError("the objective needs a reference policy, and none was built")

    @torch.no_grad()
    def score(
        self,
        batch: Batch,
        stream: Stream,
        told: Told = silent,
        *,
        view: int = 0,
        rows: Sequence[int] | None = None,
    ) -> TokenScores:
        """Scores of the batch's policy tokens by the current weights, the reference or a `view`'s teacher.

        Other rows than `rows` (by default all) and samples without that teacher have 0. The pass of the main
        teacher, view 0, also gives its entropy and its likeliest tokens where the objective needs them.
        """
        seen, needs = view if stream is Stream.TEACHER else None, self.objective.needs
        entropy = seen == 0 and Stream.TEACHER_ENTROPY in needs
        top = self.objective.teacher_tokens if seen == 0 and Stream.TEACHER_TOP in needs else None
        todo = range(len(batch.samples)) if rows is None else rows
        if seen is not None:
            todo = sorted(set(batch.taught_by(seen)).intersection(todo))
        budget, ranks = self.config.micro_tokens, self.world.size
        cut = micro_batches(todo, batch.sequences(seen), budget, ranks, backward=False)
        mine = self._mine(cut or [[]] * self.world.size)
        scored: list[tuple[Tensor, TokenScores]] = []
        with self._scorer(stream) as policy:
            for number, share in enumerate(mine):
                told(number, len(mine))
                packed = pack([batch.samples[row] for row in share], self.world.device, seen)
                scores = policy(packed, temperature=self.temperature, with_entropy=entropy, top=top)
                scored.append((batch.columns(share), scores))
        return self._join(scored, len(batch.rollout_M))

    def _join(self, scored: Sequence[tuple[Tensor, TokenScores]], count: int) -> TokenScores:
        """Scores of all `count` columns out of those that each rank has, with their columns."""
        whole: list[Tensor | None] = []
        for parts in zip(*(scores for _, scores in scored), strict=True):
            if parts[0] is None:
                whole.append(None)
                continue
            out = parts[0].new_zeros(count, *parts[0].shape[1:])
            for (columns, _), part in zip(scored, parts, strict=True):
                out[columns] = part
            whole.append(self.world.sum(out))
        return TokenScores._make(whole)

    def learn(self, batch: Batch, step: int, steps: int, told: Told = silent) -> Learned:
        """One pass in mini-batches, one update each; this is training step `step` of `steps`."""
        parts = self._mini_batches(len(batch.samples), step)
        tally, streams = Tally(), {"live": torch.zeros_like(batch.rollout_M)}
        lr = self.config.lr_at(step, steps)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        done: list[tuple[float, float]] = []
        refused: tuple[float, float] | None = None
        micro = 0
        for number, rows in enumerate(parts):
            told(number, len(parts))
            if number and self.teacher.each_update:
                self._refresh(batch, rows)
            self.policy.train()
            cut = self._micro_batches(rows, batch)
            micro += sum(map(bool, cut))
            update, loss = self._accumulate(batch, rows, cut, streams, (step - 1, steps))
            norm = self._apply(loss)
            if math.isfinite(loss) and math.isfinite(norm):
                tally.merge(update)
                done.append((loss, norm))
            else:
                refused = refused or (loss, norm)
        metrics = tally.values(self.world) | {
            "optim/lr": lr,
            "optim/skipped": float(len(parts) - len(done)),
            "batch/updates": float(len(parts)),
            "batch/micro_batches": float(micro),
        }
        if done:
            metrics["objective/loss"] = math.fsum(loss for loss, _ in done) / len(done)
            metrics["optim/grad_norm"] = math.fsum(norm for _, norm in done) / len(done)
        whole = self._whole(streams)
        return Learned(metrics, whole.pop("live"), parts[0], refused, whole)

    def _mini_batches(self, num_samples: int, step: int) -> list[list[int]]:
        """The rows of each update of training step `step`."""
        if self.config.order is Order.ENVIRONMENT:
            return runs(range(num_samples), self.config.mini_batch or num_samples)
        return mini_batches(num_samples, self.config.mini_batch, [self.seed, step])

    def _micro_batches(self, rows: Sequence[int], batch: Batch) -> list[list[int]]:
        """The rows of each forward pass of an update, a multiple of the ranks of them."""
        if self.config.micro_samples:
            return micro_batches_of(rows, self.config.micro_samples, self.world.size)
        return micro_batches(rows, batch.sequences(), self.config.micro_tokens, self.world.size)

    def _refresh(self, batch: Batch, rows: Sequence[int]) -> None:
        """Score the teachers of `rows` again, where they are scored at all."""
        if Stream.TEACHER in batch.streams:
            batch.put(Stream.TEACHER, self.score(batch, Stream.TEACHER, rows=rows), rows)
            columns = batch.columns(rows)
            for view, teacher_M in enumerate(batch.more_teachers, 1):
                teacher_M[columns] = self.score(batch, Stream.TEACHER, view=view, rows=rows).logp[columns]

    def _accumulate(
        self,
        batch: Batch,
        rows: Sequence[int],
        cut: Sequence[list[int]],
        streams: dict[str, Tensor],
        when: tuple[int, int],
    ) -> tuple[Tally, float]:
        """Gradients of one mini-batch; its metrics and its loss over all ranks. Fills in `streams`."""
        tally, total = Tally(), torch.zeros((), device=self.world.device)
        micro = sum(map(bool, cut))
        own, extra = (batch.denominators(rows, micro, extra=kind) for kind in (False, True))
        needs, mine = self.objective.needs, self._mine(cut)
        for number, share in enumerate(mine, 1):
            if isinstance(self.policy, FSDPModule):
                # Copies of the weights add up their gradients once, when all are there.
                self.policy.set_requires_all_reduce(number == len(mine))
            packed = pack([batch.samples[row] for row in share], self.world.device)
            columns = batch.columns(share)
            scores = self.policy(
                packed,
                temperature=self.temperature,
                with_entropy=Stream.ENTROPY in needs,
                top=batch.top(columns) if Stream.TEACHER_TOP in needs else None,
            )
            if not share:
                (scores.logp.sum() * 0.0).backward()
                continue
            x = loss_inputs(batch, share, scores, needs, own, when, extra)
            output = self.objective.loss(x)
            # FSDP averages gradients over ranks; the loss is a share of a global sum.
            (output.loss * self.world.size).backward()
            tally.add(output.metrics)
            for name, value_BT in {"live": x.logp_BT, "entropy": x.entropy_BT, **output.streams}.items():
                if value_BT is not None:
                    stream_M = streams.setdefault(name, torch.zeros_like(batch.rollout_M))
                    stream_M[columns] = value_BT.detach()[x.mask_BT].float()
            total += output.loss.detach()
        return tally, float(self.world.sum(total))

    def _whole(self, streams: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Streams with the columns of all ranks; a rank without data may lack one."""
        names = sorted(set().union(*self.world.gather(list(streams))))
        mine = {name: streams.get(name, torch.zeros_like(streams["live"])) for name in names}
        return {name: self.world.sum(stream_M) for name, stream_M in mine.items()}

    def _apply(self, loss: float) -> float:
        """Clip and update; the gradient's norm. If it or the loss is not finite, change nothing."""
        limit = self.config.max_grad_norm or math.inf
        norm = float(full(clip_grad_norm_(self.policy.parameters(), limit)))
        if math.isfinite(loss) and math.isfinite(norm):
            self.optimizer.step()
            if self.teacher.average is not None:
                self.teacher.average.update()
        self.optimizer.zero_grad()
        return norm

    def _mine(self, cut: Sequence[list[int]]) -> Sequence[list[int]]:
        return cut[self.world.rank :: self.world.size]

    @contextmanager
    def _scorer(self, stream: Stream) -> Iterator[Policy]:
        """What scores a stream, in evaluation mode; afterwards its parameters are shards again."""
        chosen = {Stream.REF: self.reference, Stream.TEACHER: self.teacher.weights}.get(stream)
        weights = chosen or Weights(self.policy)
        with weights.context():
            yield weights.policy.eval()
            if isinstance(weights.policy, FSDPModule):
                weights.policy.reshard()
