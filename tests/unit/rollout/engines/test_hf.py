import random

import pytest
import torch
from tests.tiny import tiny_model

from sdar.errors import ConfigError, ContextOverflow
from sdar.rollout.engine import Request, Sampling
from sdar.rollout.engines import cache
from sdar.rollout.engines.hf import HFEngine
from sdar.types import StopReason

VOCAB = 60
STOPS = range(12)


def model(kind: str = "qwen3", **settings):
    return tiny_model(kind, vocab=VOCAB, **settings)


def engine(kind: str = "qwen3", **settings) -> HFEngine:
    return HFEngine(model(kind), stop_ids=STOPS, **settings)


def prompts(count: int, seed: int = 0) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(12, VOCAB) for _ in range(rng.randint(1, 30))] for _ in range(count)]


def reference(net, prompt, tokens, temperature) -> torch.Tensor:
    """Log-probs of `tokens` by the stock model on the whole sequence."""
    with torch.no_grad():
        logits = net(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits / temperature, -1).gather(-1, torch.tensor(tokens)[:, None])[:, 0]


def weights(net) -> list[tuple[str, torch.Tensor]]:
    return [(name, value.detach()) for name, value in net.named_parameters(remove_duplicate=False)]


def count_tokens(target: HFEngine) -> list[int]:
    """Grows by the number of tokens of each forward pass from now on."""
    counts: list[int] = []
    target.model.register_forward_pre_hook(
        lambda _, args, kwargs: counts.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    return counts


@pytest.mark.parametrize("kind", ["qwen3", "qwen2", "llama"])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logps_over_several_turns_are_those_of_the_plain_forward(kind, temperature):
    net, rollout, rng = model(kind), engine(kind), random.Random(1)
    texts = prompts(9)
    for turn in range(4):
        live = [i for i in range(len(texts)) if (i + turn) % 5]
        asked = [Request(texts[i], seed=100 * turn + i, session=i) for i in live]
        for i, completion in zip(
            live, rollout.generate(asked, Sampling(temperature=temperature, max_tokens=9)), strict=True
        ):
            expected = reference(net, texts[i], completion.tokens, temperature)
            torch.testing.assert_close(torch.tensor(completion.logps), expected, atol=1e-4, rtol=0)
            texts[i] += [*completion.tokens, *(rng.randrange(VOCAB) for _ in range(rng.randint(0, 20)))]


def test_completions_do_not_depend_on_the_batch():
    asked = [Request(prompt, seed=i) for i, prompt in enumerate(prompts(24))]
    sampling = Sampling(max_tokens=40)
    together = engine().generate(asked, sampling)
    alone = [completion for request in asked for completion in engine().generate([request], sampling)]
    shuffled = engine().generate(asked[::-1], sampling)[::-1]
    assert len({len(completion.tokens) for completion in together}) > 5
    assert [c.tokens for c in together] == [c.tokens for c in alone] == [c.tokens for c in shuffled]
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(torch.tensor(one.logps), torch.tensor(other.logps), atol=1e-4, rtol=0)


def test_completion_ends_with_its_stop_token_or_at_the_limit():
    for completion in engine().generate(
        [Request(p, i) for i, p in enumerate(prompts(30))], Sampling(max_tokens=4)
    ):
        stops = [token in STOPS for token in completion.tokens]
        assert not any(stops[:-1])
        assert completion.stop_reason is (StopReason.STOP if stops[-1] else StopReason.LENGTH)
        assert stops[-1] or len(stops) == 4


def test_greedy_takes_the_likeliest_tokens():
    net = model()
    prompt = prompts(1)[0]
    tokens = engine().generate([Request(prompt, seed=5)], Sampling(temperature=0.0, max_tokens=6))[0].tokens
    with torch.no_grad():
        likeliest = net(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1].argmax(-1)
    assert likeliest.tolist() == list(tokens)


def test_a_session_computes_only_what_is_new():
    rollout = engine()
    prompt = prompts(1, seed=3)[0]
    first = rollout.generate([Request(prompt, 0, "s")], Sampling(max_tokens=5))[0]
    counts = count_tokens(rollout)
    rollout.generate([Request([*prompt, *first.tokens, 20, 21], 1, "s")], Sampling(max_tokens=1))
    assert counts == [3]  # the last sampled token, which was not needed before, and the two new ones


def test_a_changed_prompt_is_recomputed_from_the_first_difference():
    rollout, prompt = engine(), prompts(1, seed=4)[0][:20]
    rollout.generate([Request(prompt, 0, "s")], Sampling(max_tokens=5))
    changed = [*prompt[:6], (prompt[6] + 1) % VOCAB, *prompt[7:], 30, 31]
    counts = count_tokens(rollout)
    again = rollout.generate([Request(changed, 7, "s")], Sampling(max_tokens=5))[0]
    assert counts[0] == len(changed) - 6
    assert again.tokens == engine().generate([Request(changed, 7)], Sampling(max_tokens=5))[0].tokens
    torch.testing.assert_close(torch.tensor(again.logps), reference(model(), changed, again.tokens, 1.0))


def test_the_same_prompt_again_gives_the_same_completion():
    rollout, prompt = engine(), prompts(1)[0]
    first, again = (rollout.generate([Request(prompt, 0, "s")], Sampling(max_tokens=8))[0] for _ in range(2))
    assert first.tokens == again.tokens


@pytest.mark.parametrize("session", [None, "s"])
def test_nothing_is_kept_without_a_session_or_after_release(session):
    rollout, prompt = engine(), prompts(1)[0]
    rollout.generate([Request(prompt, 0, session)], Sampling(max_tokens=3))
    rollout.release(["s", "unknown"])
    counts = count_tokens(rollout)
    rollout.generate([Request(prompt, 0, session)], Sampling(max_tokens=1))
    assert counts == [len(prompt)]


def test_requests_come_in_between_steps_and_completions_out_as_they_end():
    rollout, texts = HFEngine(model(), stop_ids=[]), prompts(6, seed=2)
    alone = [
        HFEngine(model(), stop_ids=[]).generate([Request(text, i)], Sampling(max_tokens=3 + 5 * (i % 2)))[0]
        for i, text in enumerate(texts)
    ]
    steps, left, done = 0, list(enumerate(texts)), {}
    asked: dict[int, int] = {}
    while left or len(done) < len(texts):
        for i, text in left[:2] if steps % 2 == 0 else []:
            [ticket] = rollout.submit([Request(text, i)], Sampling(max_tokens=3 + 5 * (i % 2)))
            asked[ticket] = i
            left = left[1:]
        for ticket, completion in rollout.step():
            done[asked[ticket]] = (steps, completion)
        steps += 1
    assert [done[i][1].tokens for i in range(6)] == [completion.tokens for completion in alone]
    assert [done[i][0] for i in range(6)] == [2, 7, 4, 9, 6, 11], "each as soon as it has its tokens"
    assert rollout.step() == []


def test_a_step_reads_new_prompts_and_the_last_tokens_together():
    rollout = HFEngine(model(), stop_ids=[])
    rollout.submit([Request([20] * 5, 0), Request([21] * 4, 1)], Sampling(max_tokens=9))
    rollout.step()
    rollout.submit([Request([22] * 7, 2)], Sampling(max_tokens=9))
    counts = count_tokens(rollout)
    rollout.step()
    assert counts == [2 + 7]


def test_requests_of_different_temperatures_share_a_step():
    rollout, [one, other] = engine(), prompts(2, seed=5)
    tickets = rollout.submit([Request(one, 0)], Sampling(temperature=0.0, max_tokens=5))
    tickets += rollout.submit([Request(other, 1)], Sampling(temperature=0.7, max_tokens=5))
    done: dict = {}
    while len(done) < 2:
        done |= dict(rollout.step())
    alone = [
        engine().generate([Request(text, i)], Sampling(temperature=temperature, max_tokens=5))[0].tokens
        for i, (text, temperature) in enumerate([(one, 0.0), (other, 0.7)])
    ]
    assert [done[ticket].tokens for ticket in tickets] == alone


def test_after_an_abort_nothing_comes_out_and_sessions_are_kept():
    rollout, prompt = engine(), prompts(1, seed=3)[0]
    rollout.submit([Request(prompt, 0, "s"), Request(prompt, 1)], Sampling(max_tokens=30))
    rollout.step()
    rollout.abort()
    assert rollout.step() == []
    counts = count_tokens(rollout)
    rollout.generate([Request([*prompt, 20], 1, "s")], Sampling(max_tokens=1))
    assert counts == [1], "the prompt was read before the abort"


def test_a_sleeping_engine_has_no_weights_and_wakes_for_new_ones():
    rollout, prompt, other = engine(), prompts(1)[0], model(seed=9)
    rollout.sleep()
    assert all(p.untyped_storage().nbytes() <= 4 for p in rollout.model.parameters())
    rollout.wake()
    rollout.update_weights([weights(other)])
    after = rollout.generate([Request(prompt, 1)], Sampling(max_tokens=6))[0]
    torch.testing.assert_close(torch.tensor(after.logps), reference(other, prompt, after.tokens, 1.0))


def test_equal_new_prompts_are_computed_once():
    rollout, prompt = engine(), prompts(1)[0]
    counts = count_tokens(rollout)
    grouped = rollout.generate([Request(prompt, i, i) for i in range(8)], Sampling(max_tokens=6))
    assert counts[0] == len(prompt)
    for i, completion in enumerate(grouped):
        assert completion.tokens == engine().generate([Request(prompt, i)], Sampling(max_tokens=6))[0].tokens


def test_ended_completions_are_not_computed_on():
    rollout = engine()
    counts = count_tokens(rollout)
    asked = [Request(prompt, i) for i, prompt in enumerate(prompts(20))]
    done = rollout.generate(asked, Sampling(max_tokens=30))
    assert sum(counts) == sum(len(r.tokens) + len(c.tokens) - 1 for r, c in zip(asked, done, strict=True))


@pytest.mark.parametrize(
    "limits", [{"max_rows": 3}, {"prefill_tokens": 25}, {"max_rows": 4, "prefill_tokens": 1}]
)
def test_waves_and_chunks_change_nothing(limits):
    small, large = engine(**limits), engine()
    texts = prompts(10)
    for turn in range(2):
        asked = [Request(text, seed=turn, session=i) for i, text in enumerate(texts)]
        one, other = (each.generate(asked, Sampling(max_tokens=7)) for each in (small, large))
        assert [c.tokens for c in one] == [c.tokens for c in other]
        texts = [[*text, *c.tokens, 15] for text, c in zip(texts, one, strict=True)]


def test_completions_end_at_the_context():
    rollout = HFEngine(model(), stop_ids=[], context_length=16)
    lengths = [
        len(c.tokens) for c in rollout.generate([Request([20] * n, n) for n in (3, 12, 15)], Sampling())
    ]
    assert lengths == [13, 4, 1]
    with pytest.raises(ContextOverflow, match=r"16 tokens leaves no room .* 16"):
        rollout.generate([Request([20] * 16, 0)], Sampling())


def test_new_weights_replace_the_old_ones_and_their_caches():
    rollout, prompt = engine(), prompts(1)[0]
    other = model(seed=9)
    rollout.generate([Request(prompt, 0, "s")], Sampling(max_tokens=4))
    rollout.update_weights([weights(other)])
    after = rollout.generate([Request(prompt, 1, "s")], Sampling(max_tokens=6))[0]
    torch.testing.assert_close(torch.tensor(after.logps), reference(other, prompt, after.tokens, 1.0))


@pytest.mark.parametrize(
    ("change", "problem"),
    [("more", "it has no 'model.layers.9.x'"), ("less", "1 are missing, such as 'model.norm.weight'")],
)
def test_weights_of_another_model_are_rejected(change, problem):
    state = dict(weights(model()))
    if change == "more":
        state["model.layers.9.x"] = torch.zeros(1)
    else:
        del state["model.norm.weight"]
    with pytest.raises(ConfigError, match=problem):
        engine().update_weights([list(state.items())])


def test_weights_of_another_shape_are_rejected():
    with pytest.raises(ConfigError, match=r"'model.embed_tokens.weight' is \(70, 32\), not \(60, 32\)"):
        engine().update_weights([weights(tiny_model(vocab=70))])


def test_half_precision_models_run():
    rollout = HFEngine(model().bfloat16(), stop_ids=STOPS)
    done = rollout.generate(
        [Request(prompt, i, i) for i, prompt in enumerate(prompts(4))], Sampling(max_tokens=5)
    )
    for prompt, completion in zip(prompts(4), done, strict=True):
        expected = reference(model(), prompt, completion.tokens, 1.0)
        torch.testing.assert_close(torch.tensor(completion.logps), expected, atol=0.2, rtol=0)


def test_a_session_cannot_be_asked_twice_at_once():
    with pytest.raises(ValueError, match="two unfinished"):
        engine().generate([Request([20], 0, "s"), Request([20], 1, "s")], Sampling(max_tokens=1))


def test_sliding_windows_are_refused():
    net = model("qwen2", use_sliding_window=True, sliding_window=8, max_window_layers=0)
    with pytest.raises(ConfigError, match="sliding_window"):
        HFEngine(net, stop_ids=STOPS)


def test_an_interrupted_call_leaves_the_engine_usable(monkeypatch):
    rollout, prompt = engine(), prompts(1)[0]
    rollout.generate([Request(prompt, 0, "s")], Sampling(max_tokens=3))
    with monkeypatch.context() as patch:
        patch.setattr("sdar.rollout.engines.hf.draw", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            rollout.generate([Request([*prompt, 20, 21], 0, "s"), Request(prompt, 1)], Sampling(max_tokens=3))
    done = rollout.generate([Request([*prompt, 22], 4, "s")], Sampling(max_tokens=6))[0]
    torch.testing.assert_close(torch.tensor(done.logps), reference(model(), [*prompt, 22], done.tokens, 1.0))


def test_rows_in_many_slabs_answer_as_in_one(monkeypatch):
    """Rows that grow from slab to slab while others come and go, and sessions that go on."""
    sampling, answers = Sampling(max_tokens=20), []
    for room in (1024, 4):
        monkeypatch.setattr(cache, "FIRST_ROOM", room)
        target, found = HFEngine(model(), stop_ids=range(12, 15), max_rows=5), []
        texts = prompts(9, seed=4)
        for _ in range(3):
            requests = [Request(text, seed=i, session=i % 2 or None) for i, text in enumerate(texts)]
            done = [target.generate(requests[i : i + 2], sampling) for i in range(0, 9, 2)]
            done = [completion for pair in done for completion in pair]
            texts = [[*text, *c.tokens] for text, c in zip(texts, done, strict=True)]
            found += done
        answers.append(found)
    assert [one.tokens for one in answers[0]] == [two.tokens for two in answers[1]]
    for one, two in zip(*answers, strict=True):
        torch.testing.assert_close(torch.tensor(one.logps), torch.tensor(two.logps), atol=1e-5, rtol=1e-5)
