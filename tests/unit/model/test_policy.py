"""Packed scores against padded transformers forward passes: values and gradients."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.tiny import tiny_model
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from sdar.errors import ConfigError
from sdar.model.load import keep_layer_inputs
from sdar.model.policy import Packed, Policy, fsdp_units

Sequences = list[tuple[list[int], list[int]]]
KINDS = ["qwen3", "qwen2", "llama"]


def sequences(lengths: Sequence[int] = (7, 40, 12, 2), vocab: int = 300) -> Sequences:
    """Random tokens; about half of them scored."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for length in lengths:
        tokens = torch.randint(vocab, (length,), generator=generator).tolist()
        scored = torch.randperm(length - 1, generator=generator)[: (length + 1) // 2].add(1).tolist()
        made.append((tokens, sorted(scored)))
    return made


def padded_scores(model: nn.Module, given: Sequences, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probs and entropies by one padded forward pass and a softmax over everything."""
    width = max(len(tokens) for tokens, _ in given)
    ids = torch.tensor([tokens + [0] * (width - len(tokens)) for tokens, _ in given])
    mask = torch.tensor([[1] * len(tokens) + [0] * (width - len(tokens)) for tokens, _ in given])
    logps = (model(input_ids=ids, attention_mask=mask).logits / temperature).log_softmax(-1)
    entropy = -(logps.exp() * logps).sum(-1)
    places = [(row, at, tokens[at]) for row, (tokens, scored) in enumerate(given) for at in scored]
    rows, at, token = torch.tensor(places).T
    return logps[rows, at - 1, token], entropy[rows, at - 1]


def gradients(loss: Tensor, model: nn.Module) -> dict[str, Tensor]:
    loss.backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert found
    return found


def assert_same_gradients(got: dict[str, Tensor], want: dict[str, Tensor]) -> None:
    assert got.keys() == want.keys()
    largest = max(float(grad.abs().max()) for grad in want.values())
    for name in want:
        torch.testing.assert_close(got[name], want[name], atol=1e-5 * max(1.0, largest), rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tied", [True, False])
def test_packed_equals_padded(kind: str, tied: bool) -> None:
    model, reference = (tiny_model(kind, tie_word_embeddings=tied) for _ in range(2))
    given, policy = sequences(), Policy(model)
    scores = policy(Packed.from_sequences(given), temperature=0.7, with_entropy=True)
    logp, entropy = padded_scores(reference, given, 0.7)
    torch.testing.assert_close(scores.logp, logp, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(scores.entropy, entropy, atol=1e-5, rtol=1e-5)
    weights = torch.linspace(-1, 1, len(logp))
    got = gradients((weights * scores.logp).sum() + 0.1 * scores.entropy.sum(), model)
    want = gradients((weights * logp).sum() + 0.1 * entropy.sum(), reference)
    assert_same_gradients(got, want)


def branching() -> Sequences:
    """Two families that begin alike, one with a branch of its own, a sequence twice, and one alone."""
    (a, _), (b, _), (c, _), *tails = sequences((30, 20, 25, 9, 7, 5, 12, 3))
    made = [a + tails[0][0], b + tails[1][0], a + c + tails[2][0], tails[3][0], a + c + tails[4][0], a + c]
    made = [*made, made[2], a + c[:18] + tails[0][0]]
    return [(tokens, [*range(2, len(tokens), 3), len(tokens) - 1]) for tokens in made]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("recompute", [False, True])
def test_shared_beginnings_are_computed_once_and_change_nothing(kind: str, recompute: bool) -> None:
    model, reference = tiny_model(kind), tiny_model(kind)
    given, policy = branching(), Policy(model)
    if recompute:
        keep_layer_inputs(model)
        policy.train()
    pack = Packed.from_sequences(given, share=True)
    assert len(pack.tokens) < 0.6 * sum(scored[-1] for _, scored in given)
    assert max(pack.parents) > 0
    scores = policy(pack, temperature=0.7, with_entropy=True)
    logp, entropy = padded_scores(reference, given, 0.7)
    torch.testing.assert_close(scores.logp, logp, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(scores.entropy, entropy, atol=1e-5, rtol=1e-5)
    weights = torch.linspace(-1, 1, len(logp))
    got = gradients((weights * scores.logp).sum() + 0.1 * scores.entropy.sum(), model)
    want = gradients((weights * logp).sum() + 0.1 * entropy.sum(), reference)
    assert_same_gradients(got, want)


def test_the_last_layers_mlp_works_for_the_states_that_are_read() -> None:
    model = tiny_model()
    policy, seen = Policy(model), []
    for layer in model.model.layers:
        layer.mlp.down_proj.register_forward_hook(lambda part, inputs, output: seen.append(output.shape[1]))
    pack = Packed.from_sequences([(list(range(9)), [3, 8]), (list(range(5)), [4])])
    policy(pack)
    assert seen == [12] * (len(seen) - 1) + [3]


def adapted(targets: list[str] | str, **settings: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    lora = LoraConfig(r=2, target_modules=targets, init_lora_weights=False, **settings)
    return get_peft_model(tiny_model(tie_word_embeddings=False), lora)


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "lm_head"]])
def test_lora_with_or_without_the_output_layer(targets: list[str] | str) -> None:
    model, reference = adapted(targets), adapted(targets).eval()
    given, policy = sequences(), Policy(model)
    scores = policy(Packed.from_sequences(given))
    logp, _ = padded_scores(reference, given, 1.0)
    torch.testing.assert_close(scores.logp, logp, atol=1e-5, rtol=1e-5)
    got, want = gradients(scores.logp.sum(), model), gradients(logp.sum(), reference)
    assert all("lora_" in name for name in got)
    assert_same_gradients(got, want)
    with torch.no_grad():
        plain = Policy(tiny_model(tie_word_embeddings=False))(Packed.from_sequences(given))
    assert not torch.allclose(plain.logp, logp, atol=1e-3)


def test_dropout_is_off_in_training_too() -> None:
    model = adapted("all-linear", lora_dropout=0.5)
    policy = Policy(model).train()
    pack = Packed.from_sequences(sequences())
    with torch.no_grad():
        assert torch.equal(policy(pack).logp, policy(pack).logp)


def test_gradient_checkpointing_changes_nothing_but_memory() -> None:
    kept, given = [], sequences()
    results = []
    for checkpointing in (False, True):
        model = tiny_model(layers=3)
        if checkpointing:
            keep_layer_inputs(model)
        policy = Policy(model).train()
        count = [0]

        def keep(saved: Tensor, count: list[int] = count) -> Tensor:
            count[0] += saved.numel()
            return saved

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
            scores = policy(Packed.from_sequences(given))
        results.append(gradients(scores.logp.sum(), model))
        kept.append(count[0])
    assert_same_gradients(results[1], results[0])
    assert kept[1] < 0.6 * kept[0]


def test_bfloat16_parameters_score_close_to_float32() -> None:
    given = Packed.from_sequences(sequences())
    with torch.no_grad():
        exact = Policy(tiny_model())(given).logp
        rough = Policy(tiny_model().bfloat16())(given, with_entropy=True)
    assert rough.logp.dtype == torch.float32
    assert float((rough.logp - exact).abs().mean()) < 0.05


def test_no_mask_of_tokens_by_tokens_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("a mask was made")

    for name in list(ALL_MASK_ATTENTION_FUNCTIONS._global_mapping):
        monkeypatch.setitem(ALL_MASK_ATTENTION_FUNCTIONS._global_mapping, name, forbidden)
    for kind in KINDS:
        model = tiny_model(kind)
        pack = Packed.from_sequences(sequences())
        Policy(model)(pack)
        model.set_attn_implementation("sdpa")
        with pytest.raises(AssertionError, match="a mask was made"):
            model.get_decoder()(pack.tokens[None], position_ids=pack.positions[None])


def test_every_tensor_kept_for_the_backward_pass_is_linear_in_the_tokens() -> None:
    """200 sequences of 20 tokens: a mask or a score matrix over all of them would have 16 million entries."""
    largest = [0]

    def keep(saved: Tensor) -> Tensor:
        largest[0] = max(largest[0], saved.numel())
        return saved

    policy, pack = Policy(tiny_model(layers=1)), Packed.from_sequences(sequences([21] * 200))
    flash = sdpa_kernel(SDPBackend.FLASH_ATTENTION)
    with flash, torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        policy(pack)
    assert largest[0] <= 64 * sum(pack.seqlens)


def test_a_sequence_does_not_see_its_neighbours() -> None:
    one, two, three, _ = sequences()
    policy = Policy(tiny_model())
    with torch.no_grad():
        together = policy(Packed.from_sequences([one, two, three])).logp
        apart = torch.cat([policy(Packed.from_sequences([s])).logp for s in (one, two, three)])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


def test_packing() -> None:
    pack = Packed.from_sequences([([5, 6, 7, 8], [1, 3]), ([1, 2, 3], []), ([9, 4, 4], [1])])
    assert pack.tokens.tolist() == [5, 6, 7, 9]
    assert pack.positions.tolist() == [0, 1, 2, 0]
    assert pack.seqlens == (3, 1)
    assert pack.select.tolist() == [0, 2, 3]
    assert pack.targets.tolist() == [6, 8, 4]
    with pytest.raises(ValueError, match="first token"):
        Packed.from_sequences([([1, 2], [0])])


@pytest.mark.parametrize("with_entropy", [False, True])
def test_a_pack_with_nothing_to_score_runs_forward_and_backward(with_entropy: bool) -> None:
    model = tiny_model()
    scores = Policy(model)(Packed.from_sequences([([1, 2], [])]), with_entropy=with_entropy)
    assert scores.logp.shape == (0,)
    grads = gradients(scores.logp.sum(), model)
    assert len(grads) == len(list(model.parameters()))
    assert not any(grad.any() for grad in grads.values())


def test_fsdp_units_are_the_decoder_layers() -> None:
    assert fsdp_units(Policy(model := tiny_model(layers=3))) == list(model.model.layers)
    assert len(fsdp_units(Policy(adapted("all-linear")))) == 2


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a transformers causal"):
        Policy(nn.Linear(2, 2))
    with pytest.raises(ConfigError, match="not a transformers causal"):
        Policy(tiny_model().model)
    capped = tiny_model("gemma2", sliding_window=None, query_pre_attn_scalar=8)
    with pytest.raises(ConfigError, match="final_logit_softcapping"):
        Policy(capped)


def test_a_sliding_window_is_refused_only_where_it_would_cut() -> None:
    settings = {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 0}
    policy = Policy(tiny_model("qwen2", **settings))
    assert policy(Packed.from_sequences(sequences([16, 10]))).logp.isfinite().all()
    with pytest.raises(ConfigError, match="sliding window of 16 tokens, but a sequence has 29"):
        policy(Packed.from_sequences([([1] * 30, [29])]))
