"""The vLLM engine against a recorded vLLM: what is asked of it, and what is made of its answers.

The fake keeps the part of the interface of vLLM 0.32 that the engine uses; `tests/real_vllm` holds the same
engine against the real one.
"""

import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from tests.tiny import tiny_model, tiny_tokenizer

from sdar.errors import ConfigError, ContextOverflow
from sdar.rollout.engine import Request, Sampling
from sdar.rollout.engines.settings import VLLM, EngineParts, engines
from sdar.types import StopReason


@dataclass
class FakeLLM:
    """Completions are [5, 6, ..., stop]: two tokens a request, or as many as `max_tokens` allow."""

    options: dict[str, Any]
    calls: list[tuple[str, Any]] = field(default_factory=list)
    asked: dict[str, tuple[list[int], Any]] = field(default_factory=dict)
    fail: bool = False

    @property
    def llm_engine(self) -> "FakeLLM":
        return self

    def add_request(self, request_id: str, prompt: dict[str, list[int]], params: Any) -> None:
        self.asked[request_id] = (prompt["prompt_token_ids"], params)

    def step(self) -> list[Any]:
        if self.fail:
            raise KeyboardInterrupt
        request_id, (_, params) = next(iter(self.asked.items()))
        del self.asked[request_id]
        tokens = [5, params.stop_token_ids[0]][: params.max_tokens]
        logprobs = [{token: SimpleNamespace(logprob=-0.5 * i)} for i, token in enumerate(tokens, 1)]
        output = SimpleNamespace(token_ids=tokens, logprobs=logprobs)
        return [SimpleNamespace(request_id=request_id, outputs=[output])]

    def abort_request(self, ids: list[str]) -> None:
        for name in ids:
            self.asked.pop(name)

    def collective_rpc(self, method: str, kwargs: dict[str, Any]) -> None:
        self.calls.append((method, [name for name, _ in kwargs["weights_iterator"]]))

    def reset_prefix_cache(self) -> None:
        self.calls.append(("reset_prefix_cache", None))

    def sleep(self, level: int) -> None:
        self.calls.append(("sleep", level))

    def wake_up(self, tags: list[str]) -> None:
        self.calls.append(("wake_up", tags))


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """Makes an engine on a fake vLLM."""
    vllm, params = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    vllm.LLM = lambda **options: FakeLLM(options)
    vllm.SamplingParams = lambda **given: SimpleNamespace(**given)
    params.RequestOutputKind = SimpleNamespace(FINAL_ONLY="final")
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", params)
    monkeypatch.setattr(VLLM, "require", lambda self: None)
    for name in ("VLLM_ENABLE_V1_MULTIPROCESSING", "VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_OMP_THREADS_BIND"):
        monkeypatch.setenv(name, "unset")
    tiny_model(max_position_embeddings=64).save_pretrained(tmp_path)

    def build(device: str = "cpu", **settings: Any) -> Any:
        parts = EngineParts(
            model=str(tmp_path), dtype="float32", device=torch.device(device), stop_ids={9, 7}, max_live=3
        )
        return VLLM(**settings).make(parts)

    return build


def test_completions_keep_their_tickets_tokens_and_log_probs(make) -> None:
    engine = make()
    first, second = engine.submit([Request([1, 2], 2**64 - 1), Request([3], 4)], Sampling(max_tokens=8))
    [(ticket, completion)] = engine.step()
    assert ticket == first
    assert (list(completion.tokens), list(completion.logps)) == ([5, 7], [-0.5, -1.0])
    assert completion.stop_reason is StopReason.STOP
    third = engine.submit([Request([4] * 63, 0)], Sampling(max_tokens=8))[0]
    assert [engine.step()[0][0], engine.step()[0][0]] == [second, third]
    assert engine.step() == [], "vLLM is not asked when there is nothing to do"
    [cut] = engine.generate([Request([4] * 63, 0)], Sampling(max_tokens=8))
    assert (list(cut.tokens), cut.stop_reason) == ([5], StopReason.LENGTH)


def test_what_a_request_asks_for(make) -> None:
    engine = make()
    [ticket] = engine.submit([Request([1, 2], 2**64 - 1)], Sampling(temperature=0.5, max_tokens=100))
    prompt, params = engine._llm.asked[f"0.{ticket}"]
    assert prompt == [1, 2]
    assert params.seed == 2**63 - 1, "seeds of vLLM are signed"
    assert (params.temperature, params.max_tokens, params.logprobs) == (0.5, 62, 0)
    assert (params.stop_token_ids, params.ignore_eos, params.detokenize) == ([7, 9], True, False)
    assert params.logit_bias is None, "all ids are those of the tokenizer, or there is none"
    greedy = engine.submit([Request([1], 3)], Sampling(temperature=0.0))[0]
    assert engine._llm.asked[f"0.{greedy}"][1].seed is None


def test_ids_beyond_the_tokenizers_are_not_sampled(make, tmp_path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    tiny_model(vocab=len(tokenizer) + 2, max_position_embeddings=64).save_pretrained(tmp_path)
    engine = make()
    [ticket] = engine.submit([Request([1, 2], 3)], Sampling())
    _, params = engine._llm.asked[f"0.{ticket}"]
    assert params.logit_bias == {len(tokenizer): -100.0, len(tokenizer) + 1: -100.0}


def test_refusals(make) -> None:
    engine = make()
    with pytest.raises(ContextOverflow, match=r"64 tokens leaves no room .* 64"):
        engine.submit([Request([1], 0), Request([1] * 64, 0)], Sampling())
    assert not engine._llm.asked
    engine.submit([Request([1], 0, "s")], Sampling())
    with pytest.raises(ValueError, match="two unfinished"):
        engine.submit([Request([1], 0, "s")], Sampling())
    engine.step()
    engine.submit([Request([1], 0, "s")], Sampling())


def test_an_abort_and_an_interruption_leave_nothing(make) -> None:
    engine = make()
    for interrupted in (False, True):
        engine.submit([Request([1], 0, "s"), Request([1], 0)], Sampling())
        if interrupted:
            engine._llm.fail = True
            with pytest.raises(KeyboardInterrupt):
                engine.step()
        else:
            engine.abort()
        assert not engine._llm.asked
        assert engine.step() == []


def test_weights_go_in_as_a_stream_and_kept_prompts_go(make) -> None:
    engine = make()
    pairs = list(tiny_model(max_position_embeddings=64).named_parameters(remove_duplicate=False))
    engine.update_weights([pairs[:3], pairs[3:]])
    (method, names), (then, _) = engine._llm.calls
    assert (method, then) == ("reload_weights", "reset_prefix_cache")
    assert names == [name for name, _ in pairs]
    assert {"lm_head.weight", "model.embed_tokens.weight"} <= set(names), "both names of the tied heads"
    with pytest.raises(ConfigError, match="1 are missing"):
        engine.update_weights([pairs[:-1]])


def test_on_a_gpu_it_sleeps_deep_and_wakes_in_two_steps(make) -> None:
    engine = make("cuda", memory=0.3)
    assert engine._llm.options["gpu_memory_utilization"] == 0.3
    assert engine._llm.options["enable_sleep_mode"]
    assert not engine._llm.options["enforce_eager"]
    engine.sleep()
    engine.wake()
    model = tiny_model(max_position_embeddings=64)
    engine.update_weights([list(model.named_parameters(remove_duplicate=False))])
    assert [name for name, _ in engine._llm.calls] == [
        "sleep", "wake_up", "reload_weights", "wake_up", "reset_prefix_cache",
    ]  # fmt: skip
    assert [what for name, what in engine._llm.calls if name == "wake_up"] == [["weights"], ["kv_cache"]]


def test_options(make, monkeypatch: pytest.MonkeyPatch) -> None:
    options = make(context_length=32)._llm.options
    assert (options["max_model_len"], options["max_num_seqs"], options["dtype"]) == (32, 3, "float32")
    assert options["enable_prefix_caching"]
    assert options["logprobs_mode"] == "processed_logprobs"
    assert not options["enable_chunked_prefill"], "on a CPU it would rewind the seeds"
    assert "enable_chunked_prefill" not in make("cuda")._llm.options
    assert "distributed_executor_backend" not in options
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert make()._llm.options["distributed_executor_backend"] == "external_launcher"


def test_where_it_is_missing_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'sdar\[vllm\]' .* or use --rollout.engine hf"):
        engines["vllm"]().require()
