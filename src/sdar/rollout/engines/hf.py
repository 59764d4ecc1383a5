"""Generation with any transformers causal language model, on CPU or GPU."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sdar.errors import ConfigError, ContextOverflow
from sdar.rollout.engine import Request, Sampling
from sdar.rollout.engines.attention import ATTENTION, Decode, Prefill
from sdar.rollout.engines.cache import RaggedCache, Row
from sdar.rollout.engines.sampling import draw, uniforms
from sdar.types import Completion, StopReason


@dataclass(eq=False, slots=True)
class _Draft:
    """A completion in the making. `new` is the part of the prompt that the cache lacks."""

    row: Row
    new: list[int]
    uniforms: list[float]
    tokens: list[int] = field(default_factory=list)
    logps: list[float] = field(default_factory=list)


class HFEngine:
    """An `Engine` around a model of its own: it changes the model's attention and loads new weights into it.

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
            max_rows: sequences kept and generated at a time; more requests are served in waves.
            prefill_tokens: prompt tokens put through the model at a time; a longer prompt goes through alone.
        """
        self.model = model.eval()
        self.context_length = context_length or model.config.max_position_embeddings
        self._stop_ids = frozenset(stop_ids)
        self._prefill_tokens = prefill_tokens
        self._cache = RaggedCache(max_rows)
        self._like = next(model.parameters())
        model.set_attn_implementation(ATTENTION)
        self.generate([Request([0], seed=0)], Sampling(max_tokens=1))

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """See `Engine.generate`. A session that occurs twice in a call raises `ValueError`."""
        sessions = [request.session for request in requests if request.session is not None]
        if len(set(sessions)) < len(sessions):
            raise ValueError("a session occurs twice in one call")
        longest = max((len(request.tokens) for request in requests), default=0)
        if longest >= self.context_length:
            raise ContextOverflow(
                f"a prompt of {longest} tokens leaves no room in a context of {self.context_length}"
            )
        size = self._cache.max_rows
        waves = [requests[first : first + size] for first in range(0, len(requests), size)]
        return [completion for wave in waves for completion in self._wave(wave, sampling)]

    def release(self, sessions: Iterable[Hashable]) -> None:
        """See `Engine.release`."""
        self._cache.release(sessions)

    def load_weights(self, state: Mapping[str, Any]) -> None:
        """See `Engine.load_weights`. Names are those of the model; tied parameters may be left out."""
        self._cache.clear()
        missing, unexpected = self.model.load_state_dict(state, strict=False)
        parameters = dict(self.model.named_parameters(remove_duplicate=False))
        given = {id(parameters[name]) for name in state if name in parameters}
        absent = [name for name in missing if id(parameters.get(name)) not in given]
        if wrong := [*absent, *unexpected]:
            raise ConfigError(
                f"weights do not fit the engine's model: {len(wrong)} names differ, such as '{wrong[0]}'"
            )

    @torch.inference_mode()
    def _wave(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        rows = self._cache.open([request.session for request in requests])
        try:
            pairs = zip(requests, rows, strict=True)
            drafts = [self._draft(request, row, sampling) for request, row in pairs]
            self._complete(_in_place(drafts), sampling.temperature)
        finally:
            self._cache.close(rows)
        return [self._completion(draft) for draft in drafts]

    def _draft(self, request: Request, row: Row, sampling: Sampling) -> _Draft:
        del row.tokens[_common(row.tokens, request.tokens) :]
        room = min(sampling.max_tokens, self.context_length - len(request.tokens))
        return _Draft(row, list(request.tokens[len(row.tokens) :]), uniforms(request.seed, room).tolist())

    def _completion(self, draft: _Draft) -> Completion:
        reason = StopReason.STOP if draft.tokens[-1] in self._stop_ids else StopReason.LENGTH
        return Completion(tuple(draft.tokens), tuple(draft.logps), reason)

    def _complete(self, drafts: list[_Draft], temperature: float) -> None:
        """Draw tokens until every draft has ended."""
        logits_NV = self._prefill(drafts)
        while True:
            numbers = [draft.uniforms[len(draft.tokens)] for draft in drafts]
            uniform_N = torch.tensor(numbers, device=logits_NV.device, dtype=torch.float64)
            token_N, logp_N = draw(logits_NV, uniform_N, temperature)
            for draft, token, logp in zip(drafts, token_N.tolist(), logp_N.tolist(), strict=True):
                draft.tokens.append(token)
                draft.logps.append(logp)
            drafts = [draft for draft in drafts if not self._ended(draft)]
            if not drafts:
                return
            if drafts[-1].row.place + 1 >= 2 * len(drafts):
                self._cache.front([draft.row for draft in drafts])
                drafts = _in_place(drafts)
            logits_NV = self._forward([(draft.row, draft.tokens[-1:]) for draft in drafts])

    def _ended(self, draft: _Draft) -> bool:
        return draft.tokens[-1] in self._stop_ids or len(draft.tokens) == len(draft.uniforms)

    def _prefill(self, drafts: Sequence[_Draft]) -> Tensor:
        """Logits (N, V) after each prompt. Equal prompts with nothing kept are computed once and copied."""
        first: dict[tuple[int, ...], _Draft] = {}
        leaders = [
            draft if draft.row.tokens else first.setdefault(tuple(draft.new), draft) for draft in drafts
        ]
        work = [draft for draft, leader in zip(drafts, leaders, strict=True) if draft is leader]
        logits = [self._forward([(draft.row, draft.new) for draft in chunk]) for chunk in self._chunks(work)]
        for draft, leader in zip(drafts, leaders, strict=True):
            if draft is not leader:
                self._cache.copy(leader.row, draft.row)
        order = {id(draft): i for i, draft in enumerate(work)}
        return torch.cat(logits)[[order[id(leader)] for leader in leaders]]

    def _chunks(self, drafts: Sequence[_Draft]) -> Iterator[list[_Draft]]:
        chunk: list[_Draft] = []
        for draft in drafts:
            if chunk and sum(len(other.new) for other in chunk) + len(draft.new) > self._prefill_tokens:
                yield chunk
                chunk = []
            chunk.append(draft)
        yield chunk

    def _forward(self, work: Sequence[tuple[Row, list[int]]]) -> Tensor:
        """Put new tokens behind what the rows hold; logits (rows, V) after the last token of each."""
        rows, news = zip(*work, strict=True)
        counts = [len(new) for new in news]
        kind = Decode if max(counts) == 1 else Prefill
        step = kind(self._cache, rows, counts, self._like)
        tokens_N = torch.tensor([token for new in news for token in new], device=self._like.device)
        last = torch.tensor(counts, device=self._like.device).cumsum(0) - 1
        logits_1NV = self.model(
            input_ids=tokens_N[None],
            position_ids=step.position_N[None],
            use_cache=False,
            logits_to_keep=last,
            ragged=step,
        ).logits
        for row, new in work:
            row.tokens.extend(new)
        return logits_1NV[0]


def _in_place(drafts: Iterable[_Draft]) -> list[_Draft]:
    """In the order of their rows in the cache, so that decoding needs no reordering."""
    return sorted(drafts, key=lambda draft: draft.row.place)


def _common(kept: Sequence[int], tokens: Sequence[int]) -> int:
    """Length of the common prefix; the last of `tokens` is left out, because its logits are wanted."""
    limit = min(len(kept), len(tokens) - 1)
    if list(kept[:limit]) == list(tokens[:limit]):
        return limit
    return next(i for i in range(limit) if kept[i] != tokens[i])
