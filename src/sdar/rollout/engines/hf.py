"""Generation with any transformers causal language model, on CPU or GPU."""

from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sdar.model.load import load_model
from sdar.model.prefixes import common_prefix
from sdar.model.settings import ModelConfig
from sdar.rollout.engine import Bucket, Engine, Request, Sampling, check_room
from sdar.rollout.engines.attention import ATTENTION, Step
from sdar.rollout.engines.cache import RaggedCache, Row, Slab
from sdar.rollout.engines.sampling import draw, uniforms
from sdar.rollout.engines.settings import HF, EngineParts
from sdar.rollout.engines.weights import fitting
from sdar.types import Completion, StopReason

_SPARSE = 1.5
"""Places of a slab up to the last row that generates, for each of them, from which on rows are moved."""


@dataclass(eq=False, slots=True)
class _Draft:
    """A completion in the making."""

    ticket: int
    request: Request
    temperature: float
    uniforms: list[float]
    """One number for each token that it may have."""
    row: Row = field(init=False)
    """Where its keys and values are, from its admission on."""
    new: list[int] = field(init=False)
    """What the model has to read next: the part of the prompt that the cache lacks, or the last token."""
    tokens: list[int] = field(default_factory=list)
    logps: list[float] = field(default_factory=list)


class HFEngine(Engine):
    """An `Engine` around a model of its own: it changes the model's attention and loads new weights into it.

    Every step is one forward pass over the last token of each completion and the prompts that came in since.
    The keys and values of a session are kept until it is released; a prompt that differs from what was kept
    is recomputed from the first difference.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        stop_ids: Iterable[int],
        context_length: int | None = None,
        max_rows: int = 256,
        prefill_tokens: int = 4096,
    ) -> None:
        """Take over `model`; `ConfigError` when its attention is not plain causal attention.

        Args:
            model: kept as it is in dtype and device.
            stop_ids: tokens that end a completion.
            context_length: largest prompt plus completion; the model's own limit by default.
            max_rows: sequences kept and generated at a time; more requests wait.
            prefill_tokens: prompt tokens put through the model at a time; a longer prompt goes through alone.
        """
        self.model = model.eval()
        self.context_length = context_length or model.config.max_position_embeddings
        self.dtype = str(model.dtype).removeprefix("torch.")
        self._stop_ids = frozenset(stop_ids)
        self._prefill_tokens = prefill_tokens
        self._cache = RaggedCache(max_rows)
        self._like = torch.empty(0, dtype=model.dtype, device=model.device)
        self._tickets = count()
        self._waiting: deque[_Draft] = deque()
        self._live: list[_Draft] = []
        model.set_attn_implementation(ATTENTION)
        self.generate([Request([0], seed=0)], Sampling(max_tokens=1))

    def submit(self, requests: Sequence[Request], sampling: Sampling) -> list[int]:
        """See `Engine.submit`."""
        check_room(requests, self.context_length)
        unfinished = [draft.request for draft in (*self._waiting, *self._live)]
        asked = [r.session for r in (*unfinished, *requests) if r.session is not None]
        if len(set(asked)) < len(asked):
            raise ValueError("a session has two unfinished requests")
        drafts = [self._draft(request, sampling) for request in requests]
        self._waiting.extend(drafts)
        return [draft.ticket for draft in drafts]

    def _draft(self, request: Request, sampling: Sampling) -> _Draft:
        room = min(sampling.max_tokens, self.context_length - len(request.tokens))
        numbers = uniforms(request.seed, room).tolist()
        return _Draft(next(self._tickets), request, sampling.temperature, numbers)

    def step(self) -> list[tuple[int, Completion]]:
        """See `Engine.step`."""
        try:
            return self._step()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """See `Engine.abort`."""
        for draft in self._live:
            self._cache.close(draft.row)
        self._live = []
        self._waiting.clear()

    def release(self, sessions: Iterable[Hashable]) -> None:
        """See `Engine.release`."""
        self._cache.release(sessions)

    def update_weights(self, buckets: Iterable[Bucket]) -> None:
        """See `Engine.update_weights`. Names are those of the model's parameters."""
        self._cache.clear()
        own = dict(self.model.named_parameters(remove_duplicate=False))
        shapes = {name: parameter.shape for name, parameter in own.items()}
        for name, tensor, first in fitting(buckets, shapes):
            own[name].data[first : first + len(tensor)] = tensor
            del tensor  # its bucket goes before the next one is made

    def sleep(self) -> None:
        """See `Engine.sleep`: the weights and the cache go."""
        self._cache.clear()
        for parameter in self.model.parameters():
            parameter.data = parameter.data.new_empty(()).expand(parameter.shape)

    def wake(self) -> None:
        """See `Engine.wake`."""
        for parameter in self.model.parameters():
            parameter.data = torch.empty_like(parameter.data, memory_format=torch.contiguous_format)

    @torch.inference_mode()
    def _step(self) -> list[tuple[int, Completion]]:
        self._admit()
        if not self._live:
            return []
        drafts, logits_NV = self._forward()
        self._draw(drafts, logits_NV)
        ended = [draft for draft in drafts if self._ended(draft)]
        for draft in ended:
            self._cache.close(draft.row)
        gone = {draft.ticket for draft in ended}
        self._live = [draft for draft in self._live if draft.ticket not in gone]
        return [(draft.ticket, self._completion(draft)) for draft in ended]

    def _admit(self) -> None:
        """Give those that wait a row, as far as there are rows."""
        while self._waiting:
            row = self._cache.open(self._waiting[0].request.session)
            if row is None:
                return
            draft = self._waiting.popleft()
            draft.row = row
            del row.tokens[_common(row.tokens, draft.request.tokens) :]
            draft.new = list(draft.request.tokens[len(row.tokens) :])
            self._live.append(draft)

    def _forward(self) -> tuple[list[_Draft], Tensor]:
        """Let the model read what is new; the drafts it has read, and logits (drafts, V) after each.

        Equal prompts with nothing kept are computed once and copied.
        """
        leaders, followers = self._choose()
        rows = [draft.row for draft in leaders]
        counts = [len(draft.new) for draft in leaders]
        step = Step(self._cache, rows, counts, self._like)
        tokens = [token for draft in leaders for token in draft.new]
        device = self._like.device
        logits_1NV = self.model(
            input_ids=torch.tensor(tokens, device=device)[None],
            position_ids=step.position_N[None],
            use_cache=False,
            logits_to_keep=torch.tensor(counts, device=device).cumsum(0) - 1,
            ragged=step,
        ).logits
        for draft in leaders:
            draft.row.tokens.extend(draft.new)
        for draft, leader in followers:
            self._cache.copy(leaders[leader].row, draft.row)
        read = [*range(len(leaders)), *(leader for _, leader in followers)]
        drafts = [*leaders, *(draft for draft, _ in followers)]
        return drafts, logits_1NV[0] if not followers else logits_1NV[0, read]

    def _choose(self) -> tuple[list[_Draft], list[tuple[_Draft, int]]]:
        """What to read now, single tokens first, and the drafts that equal one of these, with its number."""
        single = [draft for draft in self._live if len(draft.new) == 1]
        slabs: dict[Slab, list[Row]] = {}
        for draft in single:
            slab = self._cache.reserve(draft.row, len(draft.row.tokens) + 1)
            slabs.setdefault(slab, []).append(draft.row)
        for slab, rows in slabs.items():
            if max(row.place for row in rows) + 1 >= _SPARSE * len(rows):
                slab.front(rows)
        order: dict[Slab | None, int] = {slab: number for number, slab in enumerate(slabs)}
        single.sort(key=lambda draft: (order[draft.row.slab], draft.row.place))
        leaders: dict[tuple[int, ...], int] = {}
        chosen, followers, room = list(single), [], self._prefill_tokens
        for draft in self._live:
            key = tuple(draft.new)
            if len(key) == 1:
                continue
            if key in leaders and not draft.row.tokens:
                followers.append((draft, leaders[key]))
            elif len(key) <= room or room == self._prefill_tokens:
                if not draft.row.tokens:
                    leaders[key] = len(chosen)
                chosen.append(draft)
                room -= len(key)
        return chosen, followers

    def _draw(self, drafts: Sequence[_Draft], logits_NV: Tensor) -> None:
        """Add a token to each draft."""
        for temperature in dict.fromkeys(draft.temperature for draft in drafts):
            which = [i for i, draft in enumerate(drafts) if draft.temperature == temperature]
            logits = logits_NV if len(which) == len(drafts) else logits_NV[which]
            numbers = [drafts[i].uniforms[len(drafts[i].tokens)] for i in which]
            uniform_N = torch.tensor(numbers, device=logits.device, dtype=torch.float64)
            token_N, logp_N = draw(logits, uniform_N, temperature)
            for i, token, logp in zip(which, token_N.tolist(), logp_N.tolist(), strict=True):
                drafts[i].tokens.append(token)
                drafts[i].logps.append(logp)
                drafts[i].new = [token]

    def _ended(self, draft: _Draft) -> bool:
        return draft.tokens[-1] in self._stop_ids or len(draft.tokens) == len(draft.uniforms)

    def _completion(self, draft: _Draft) -> Completion:
        reason = StopReason.STOP if draft.tokens[-1] in self._stop_ids else StopReason.LENGTH
        return Completion(tuple(draft.tokens), tuple(draft.logps), reason)


def make_hf(settings: HF, parts: EngineParts) -> HFEngine:
    """The engine that the settings say, with weights of its own."""
    dtype = getattr(torch, parts.dtype)
    model = load_model(ModelConfig(), parts.model, parts.device, param_dtype=dtype)
    assert isinstance(model, PreTrainedModel)
    return HFEngine(
        model,
        stop_ids=parts.stop_ids,
        max_rows=parts.max_live,
        prefill_tokens=settings.prefill_tokens,
    )


def _common(kept: Sequence[int], tokens: Sequence[int]) -> int:
    """Length of the common prefix; the last of `tokens` is left out, because its logits are wanted."""
    return common_prefix(list(kept), list(tokens[:-1]))
