"""The engine battery passes what keeps the contract, and sees each way of breaking it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from sdar.rollout.engine import Bucket, Engine, Request, Sampling
from sdar.rollout.engines.check import CHECKS, check_engine, first_problem, make_bench
from sdar.rollout.engines.hf import HFEngine, make_hf
from sdar.rollout.engines.settings import HF, EngineConfig, EngineParts, engines
from sdar.types import Completion


def test_hf_keeps_the_contract() -> None:
    report = check_engine(HF())
    assert report.passed, report
    assert "differ from the trainer's by" in report[-1].detail, "bfloat16 is measured"


class Broken(HFEngine):
    """An engine with one fault."""

    fault = ""

    def submit(self, requests: Sequence[Request], sampling: Sampling) -> list[int]:
        if self.fault == "greedy" and sampling.temperature == 0:
            sampling = Sampling(temperature=1.5, max_tokens=sampling.max_tokens)
        if self.fault == "seeds":
            place = len(self._live)
            requests = [Request(r.tokens, r.seed + place + i, r.session) for i, r in enumerate(requests)]
        if self.fault == "stop tokens":
            self._stop_ids = frozenset(list(self._stop_ids)[:1])
        if self.fault == "context" and requests:
            return [*super().submit(requests[:1], sampling), *super().submit(requests[1:], sampling)]
        return super().submit(requests, sampling)

    def step(self) -> list[tuple[int, Completion]]:
        done = super().step()
        if self.fault == "stream":
            while self._live or self._waiting:
                done += super().step()
        if self.fault == "log-probs":
            done = [(t, Completion(c.tokens, (*c.logps[:-1], -9.0), c.stop_reason)) for t, c in done]
        return done

    def abort(self) -> None:
        if self.fault != "abort":
            super().abort()

    def update_weights(self, buckets: Iterable[Bucket]) -> None:
        if self.fault == "weights":
            for _ in buckets:
                pass
        elif self.fault == "sleep and wake" and getattr(self, "slept", False):
            return
        else:
            super().update_weights(buckets)

    def sleep(self) -> None:
        self.slept = True
        super().sleep()

    def wake(self) -> None:
        super().wake()
        for parameter in self.model.parameters():
            parameter.data.zero_()


@dataclass(frozen=True, kw_only=True)
class BrokenConfig(EngineConfig):
    """Makes an engine with a fault."""

    fault: str

    def make(self, parts: EngineParts) -> Engine:
        engine = make_hf(HF(), parts)
        engine.__class__ = Broken
        engine.fault = self.fault  # type: ignore[attr-defined]
        return engine


FAULTS = [
    "log-probs",
    "greedy",
    "seeds",
    "stream",
    "stop tokens",
    "context",
    "abort",
    "weights",
    "sleep and wake",
]


def problem(fault: str, tmp_path: Path) -> str:
    bench = make_bench(BrokenConfig(fault=fault), tmp_path, torch.device("cpu"))
    return first_problem(CHECKS[fault], bench)


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_seen(fault: str, tmp_path: Path) -> None:
    assert problem(fault, tmp_path)


def test_kept_caches_that_do_not_fit_are_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not problem("sessions", tmp_path / "sound")
    monkeypatch.setattr("sdar.rollout.engines.hf._common", lambda kept, new: min(len(kept), len(new) - 1))
    assert "log-probs differ" in problem("sessions", tmp_path / "broken")


def test_engines_are_known_by_name() -> None:
    assert list(engines) == ["hf", "vllm"]
