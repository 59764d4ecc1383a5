"""The battery that every engine must pass; `sdar check engine NAME` and the tests run it.

The engine gets tiny models of random weights, with tied and untied heads, and is compared with the trainer's
own scores of the same weights.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from sdar.errors import ConfigError, ContextOverflow
from sdar.model.load import load_model
from sdar.model.logprobs import TokenScores, Top
from sdar.model.policy import Packed, Policy
from sdar.model.settings import ModelConfig
from sdar.objectives.check import Finding, Report, Status
from sdar.rollout.engine import Bucket, Engine, Request, Sampling
from sdar.rollout.engines.settings import EngineConfig, EngineParts
from sdar.types import Completion, StopReason

TOLERANCE = 1e-5
"""Largest difference of a log-prob in float32 that another order of sums explains."""
HALF_TOLERANCE = 0.02
"""Mean difference of a log-prob in bfloat16 from which on the engine samples from another policy."""
VOCABULARY, CONTEXT, SESSIONS = 160, 256, 8
STOPS = (3, 7, 11, 12, 13, 14)


@dataclass(frozen=True)
class Bench:
    """An engine, and the trainer's model with the same weights."""

    engine: Engine
    policy: Policy
    device: torch.device

    def score(
        self,
        requests: Sequence[Request],
        done: Sequence[Completion],
        temperature: float,
        top: Top | None = None,
    ) -> TokenScores:
        """The trainer's scores of the sampled tokens; at temperature 0 those of temperature 1."""
        pairs = [([*r.tokens, *c.tokens], len(r.tokens)) for r, c in zip(requests, done, strict=True)]
        packed = Packed.from_sequences((tokens, range(start, len(tokens))) for tokens, start in pairs)
        with torch.no_grad():
            return self.policy(packed.to(self.device), temperature=temperature or 1.0, top=top)

    def difference(
        self, requests: Sequence[Request], done: Sequence[Completion], temperature: float
    ) -> Tensor:
        """|engine - trainer| for each sampled token."""
        given = torch.tensor([logp for completion in done for logp in completion.logps])
        return (given - self.score(requests, done, temperature).logp.cpu()).abs()

    def buckets(self, *, without: str = "") -> Iterator[Bucket]:
        """The trainer's weights, each in two parts, in buckets of two."""
        dtype = getattr(torch, self.engine.dtype)
        named = self.policy.model.named_parameters(remove_duplicate=False)
        pairs = [
            (name, part)
            for name, tensor in named
            if name != without
            for part in tensor.detach().to(dtype).tensor_split(2)
        ]
        yield from (pairs[i : i + 2] for i in range(0, len(pairs), 2))

    def change_weights(self, seed: int) -> None:
        """Make the trainer's weights others."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.policy.parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(0.05 * noise.to(parameter))


def check_engine(settings: EngineConfig, device: torch.device | str = "cpu") -> Report:
    """Run the battery on an engine with these settings."""
    findings = []
    with TemporaryDirectory() as folder:
        for tied in (True, False):
            bench = make_bench(settings, Path(folder) / f"tied-{tied}", torch.device(device), tied=tied)
            heads = "tied heads" if tied else "untied heads"
            checks = CHECKS if tied else {name: CHECKS[name] for name in ("log-probs", "weights")}
            for name, check in checks.items():
                reason = first_problem(check, bench)
                findings.append(Finding(f"{name}, {heads}", Status.FAIL if reason else Status.PASS, reason))
        findings.append(_half(settings, Path(folder) / "half", torch.device(device)))
    return Report(findings)


def first_problem(check: Callable[[Bench], Iterator[str]], bench: Bench) -> str:
    """What is wrong, or nothing. The engine is as good as new afterwards."""
    try:
        return next(check(bench), "")
    except Exception as error:  # noqa: BLE001 - the rule under test is that nothing else is raised
        return f"{type(error).__name__}: {error}"
    finally:
        bench.engine.abort()
        bench.engine.release([f"session {i}" for i in range(SESSIONS)])


def make_bench(
    settings: EngineConfig,
    path: Path,
    device: torch.device,
    *,
    tied: bool = True,
    dtype: str = "float32",
) -> Bench:
    """A model in `path`, the trainer's copy of it, and an engine."""
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=VOCABULARY,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=tied,
            initializer_range=0.15,
            bos_token_id=None,
            eos_token_id=STOPS[0],
        )
    )
    model.save_pretrained(path)
    parts = EngineParts(model=str(path), dtype=dtype, device=device, stop_ids=STOPS, max_live=16)
    return Bench(settings.make(parts), Policy(_load(path, device, dtype)), device)


def _load(path: Path, device: torch.device, dtype: str) -> PreTrainedModel:
    model = load_model(ModelConfig(), path, device, param_dtype=getattr(torch, dtype))
    assert isinstance(model, PreTrainedModel)
    return model


def _requests(count: int, seed: int = 0, sessions: bool = False) -> list[Request]:
    rng = Random(seed)
    prompts = [[rng.randrange(20, VOCABULARY) for _ in range(rng.randint(3, 40))] for _ in range(count)]
    return [
        Request(prompt, rng.getrandbits(64), f"session {i}" if sessions else None)
        for i, prompt in enumerate(prompts)
    ]


def _logps(bench: Bench) -> Iterator[str]:
    """Log-probs are those of the trainer, at the temperature of the draw."""
    for temperature in (1.0, 0.6, 0.0):
        requests = _requests(12)
        done = bench.engine.generate(requests, Sampling(temperature=temperature, max_tokens=12))
        worst = float(bench.difference(requests, done, temperature).max())
        if worst > TOLERANCE:
            yield f"at temperature {temperature} they differ from the trainer's by up to {worst:.1e}"


def _greedy(bench: Bench) -> Iterator[str]:
    """At temperature 0 every token is the trainer's likeliest, up to float noise."""
    requests = _requests(8, seed=1)
    done = bench.engine.generate(requests, Sampling(temperature=0.0, max_tokens=10))
    scores = bench.score(requests, done, 0.0, top=1)
    assert scores.top is not None
    worst = float((scores.top[:, 0] - scores.logp).max())
    if worst > TOLERANCE:
        yield f"a token was taken whose log-prob is {worst:.1e} below that of the trainer's likeliest"


def _seeds(bench: Bench) -> Iterator[str]:
    """A completion follows from its request, not from what else is asked, nor in which order, nor when."""
    requests, sampling = _requests(10, seed=2), Sampling(max_tokens=12)
    tokens = [completion.tokens for completion in bench.engine.generate(requests, sampling)]
    turned = [completion.tokens for completion in bench.engine.generate(requests[::-1], sampling)][::-1]
    alone = [bench.engine.generate([request], sampling)[0].tokens for request in requests]
    late = _staggered(bench.engine, requests, sampling)
    for how, other in (("in another order", turned), ("alone", alone), ("one after another", late)):
        if other != tokens:
            yield f"asked {how}, a request gets another completion"
    again = [Request(request.tokens, request.seed ^ 1) for request in requests]
    if [completion.tokens for completion in bench.engine.generate(again, sampling)] == tokens:
        yield "another seed gives the same completions"


def _staggered(engine: Engine, requests: Sequence[Request], sampling: Sampling) -> list[Sequence[int]]:
    """Completions of requests that come in one a step."""
    tickets: list[int] = []
    done: dict[int, Completion] = {}
    while len(done) < len(requests):
        if len(tickets) < len(requests):
            tickets += engine.submit([requests[len(tickets)]], sampling)
        done |= dict(engine.step())
    return [done[ticket].tokens for ticket in tickets]


def _stream(bench: Bench) -> Iterator[str]:
    """Requests go in at any time, and completions come out as they end, each once."""
    engine, (short, late, *others) = bench.engine, _requests(12, seed=3)
    lengths = [len(done.tokens) for done in engine.generate(others, Sampling(max_tokens=40))]
    long = others[lengths.index(max(lengths))]
    if engine.step():
        yield "a step without requests gives completions"
    tickets = engine.submit([long], Sampling(max_tokens=40))
    tickets += engine.submit([short], Sampling(max_tokens=1))
    order = [ticket for ticket, _ in engine.step()]
    tickets += engine.submit([late], Sampling(max_tokens=1))
    for _ in range(60):
        order += [ticket for ticket, _ in engine.step()]
    if sorted(order) != sorted(tickets) or len(set(tickets)) < 3:
        yield f"the tickets {tickets} came out as {order}"
    elif order[-1] != tickets[0]:
        yield "a short completion waits for a long one"


def _stops(bench: Bench) -> Iterator[str]:
    """A completion ends with its first stop token, whichever it is, or at the limit."""
    seen = set()
    for seed in range(4, 9):
        for completion in bench.engine.generate(_requests(16, seed=seed), Sampling(max_tokens=30)):
            stops = [token for token in completion.tokens if token in STOPS]
            ended = bool(stops) and completion.tokens[-1] in STOPS
            seen |= set(stops)
            if len(stops) > ended or len(completion.tokens) > 30:
                yield f"a completion goes on after its stop token: {completion.tokens}"
            if not ended and len(completion.tokens) < 30:
                yield f"a completion ends without a stop token: {completion.tokens}"
            if (completion.stop_reason is StopReason.STOP) != ended:
                yield f"{completion.tokens} says it ended for {completion.stop_reason}"
    if len(seen) < 2:
        yield f"of the stop tokens {STOPS} only {sorted(seen)} ever came"


def _context(bench: Bench) -> Iterator[str]:
    """A completion ends where the context does, and a prompt that leaves no room is refused."""
    limit = bench.engine.context_length
    if limit != CONTEXT:
        yield f"context_length is {limit}, and the model's is {CONTEXT}"
    for room in (1, 3):
        [done] = bench.engine.generate([Request([50] * (limit - room), 0)], Sampling(max_tokens=9))
        if len(done.tokens) > room:
            yield f"{len(done.tokens)} tokens follow a prompt that leaves room for {room}"
    try:
        bench.engine.submit([Request([20], 0), Request([20] * limit, 0)], Sampling(max_tokens=9))
        yield "a prompt of the context's length is taken"
    except ContextOverflow:
        if any(bench.engine.step() for _ in range(12)):
            yield "a request beside a refused one is taken"


def _sessions(bench: Bench) -> Iterator[str]:
    """What is kept for a session changes nothing, whether its prompt grows or is another one."""
    requests, sampling = _requests(6, seed=9, sessions=True), Sampling(max_tokens=8)
    for turn in range(3):
        done = bench.engine.generate(requests, sampling)
        worst = float(bench.difference(requests, done, 1.0).max())
        if worst > TOLERANCE:
            yield f"in turn {turn + 1} of a session log-probs differ by up to {worst:.1e}"
        cut = 4 if turn else 0
        requests = [
            Request([*r.tokens, *c.tokens, 30, 31, 32][cut:], r.seed + 1, r.session)
            for r, c in zip(requests, done, strict=True)
        ]
    try:
        bench.engine.submit([requests[0], requests[0]], sampling)
        yield "two unfinished requests of a session are taken"
    except ValueError:
        pass
    bench.engine.release(["unknown"])


def _abort(bench: Bench) -> Iterator[str]:
    """After an abort nothing comes out, and the engine is as before."""
    requests, sampling = _requests(6, seed=10, sessions=True), Sampling(max_tokens=12)
    before = [completion.tokens for completion in bench.engine.generate(requests, sampling)]
    bench.engine.submit(requests, sampling)
    bench.engine.step()
    bench.engine.abort()
    if any(bench.engine.step() for _ in range(20)):
        yield "a completion comes out after an abort"
    if [completion.tokens for completion in bench.engine.generate(requests, sampling)] != before:
        yield "after an abort completions are others"


def _weights(bench: Bench) -> Iterator[str]:
    """New weights, tied names included, replace the old ones and what was kept of them."""
    requests, sampling = _requests(8, seed=11, sessions=True), Sampling(max_tokens=10)
    for seed in (1, 2):
        bench.engine.generate(requests, sampling)
        bench.change_weights(seed)
        bench.engine.update_weights(bench.buckets())
        done = bench.engine.generate(requests, sampling)
        worst = float(bench.difference(requests, done, 1.0).max())
        if worst > TOLERANCE:
            yield f"after update {seed} log-probs differ from the trainer's by up to {worst:.1e}"
    try:
        bench.engine.update_weights(bench.buckets(without="model.norm.weight"))
        yield "weights that lack one are taken"
    except ConfigError:
        bench.engine.update_weights(bench.buckets())


def _sleep(bench: Bench) -> Iterator[str]:
    """After sleep, wake and new weights it generates from these."""
    requests, sampling = _requests(8, seed=12), Sampling(max_tokens=10)
    before = [completion.tokens for completion in bench.engine.generate(requests, sampling)]
    bench.engine.sleep()
    bench.engine.wake()
    bench.engine.update_weights(bench.buckets())
    done = bench.engine.generate(requests, sampling)
    if [completion.tokens for completion in done] != before:
        yield "with the same weights completions are others after sleep"
    worst = float(bench.difference(requests, done, 1.0).max())
    if worst > TOLERANCE:
        yield f"after sleep log-probs differ from the trainer's by up to {worst:.1e}"


def _half(settings: EngineConfig, path: Path, device: torch.device) -> Finding:
    """Measure log-probs in bfloat16."""
    bench = make_bench(settings, path, device, dtype="bfloat16")
    requests = _requests(16, seed=13)
    done = bench.engine.generate(requests, Sampling(max_tokens=12))
    apart = bench.difference(requests, done, 1.0)
    mean, worst = float(apart.mean()), float(apart.max())
    detail = f"log-probs differ from the trainer's by {mean:.1e} on average, {worst:.1e} at most"
    return Finding("bfloat16", Status.FAIL if mean > HALF_TOLERANCE else Status.PASS, detail)


CHECKS: dict[str, Callable[[Bench], Iterator[str]]] = {
    "log-probs": _logps,
    "greedy": _greedy,
    "seeds": _seeds,
    "stream": _stream,
    "stop tokens": _stops,
    "context": _context,
    "sessions": _sessions,
    "abort": _abort,
    "weights": _weights,
    "sleep and wake": _sleep,
}
"""Name -> check; each yields what is wrong."""
