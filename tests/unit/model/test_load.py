"""Loading, adapters, saving."""

import copy
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.tiny import tiny_model, tiny_tokenizer
from transformers import PreTrainedModel

from sdar.errors import ConfigError
from sdar.model.chat import Chat
from sdar.model.load import add_lora, compute_dtype, load_model, load_tokenizer, save_model
from sdar.model.policy import Packed, Policy, fsdp_units
from sdar.model.settings import ModelConfig
from sdar.rollout.engine import Request, Sampling
from sdar.rollout.engines.hf import HFEngine
from sdar.types import Message

PACK = Packed.from_sequences([([5, 6, 7, 8, 9], [1, 2, 4])])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models") / "tiny"
    save_model(tiny_model(), tiny_tokenizer(), directory)
    return directory


def scores(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return Policy(model)(PACK).logp


def test_round_trip(saved: Path) -> None:
    model = load_model(ModelConfig(dtype="bfloat16"), saved, "cpu")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not model.training
    assert torch.equal(scores(model), scores(tiny_model()))
    message = [Message("user", "go to fridge 1")]
    assert Chat(load_tokenizer(saved)).render(message) == Chat(tiny_tokenizer()).render(message)


def test_a_copy_that_generates_may_be_half_precision(saved: Path) -> None:
    config = ModelConfig(dtype="bfloat16")
    model = load_model(config, saved, "cpu", param_dtype=compute_dtype(config))
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def test_training_a_little_survives_a_round_trip(saved: Path, tmp_path: Path) -> None:
    model = load_model(ModelConfig(), saved, "cpu")
    policy = Policy(model)
    (-policy(PACK).logp.sum()).backward()
    torch.optim.SGD(policy.parameters(), lr=0.1).step()
    save_model(model, tiny_tokenizer(), tmp_path / "new")
    again = load_model(ModelConfig(), tmp_path / "new", "cpu")
    assert torch.equal(scores(again), scores(model))
    assert not torch.equal(scores(again), scores(tiny_model()))


def test_saving_replaces_what_was_there_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "model"
    save_model(tiny_model(layers=1), tiny_tokenizer(), target)
    (target / "stale").touch()
    save_model(tiny_model(seed=1), tiny_tokenizer(), target)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert not (target / "stale").exists()
    assert torch.equal(scores(load_model(ModelConfig(), target, "cpu")), scores(tiny_model(seed=1)))


def test_a_failed_save_leaves_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "model"
    save_model(tiny_model(), tiny_tokenizer(), target)
    before = (target / "model.safetensors").read_bytes()
    monkeypatch.setattr(PreTrainedModel, "save_pretrained", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_model(tiny_model(seed=1), tiny_tokenizer(), target)
    assert (target / "model.safetensors").read_bytes() == before


def test_adapters_train_alone_and_begin_as_nothing(saved: Path) -> None:
    config = ModelConfig(lora_rank=2, lora_alpha=5.0)
    model = load_model(config, saved, "cpu")
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    assert names
    assert all("lora_" in name for name in names)
    assert not any("lm_head" in name for name in names)
    assert torch.equal(scores(model), scores(tiny_model())), "a fresh adapter changes nothing"


def test_adapters_are_the_same_in_every_process_and_leave_the_random_numbers_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first = add_lora(tiny_model(), ModelConfig(lora_rank=2))
    assert torch.equal(torch.rand(1), expected)
    second = add_lora(tiny_model(), ModelConfig(lora_rank=2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_chosen_targets(saved: Path) -> None:
    config = ModelConfig(lora_rank=2, lora_targets=("q_proj", "v_proj"))
    names = [n for n, p in load_model(config, saved, "cpu").named_parameters() if p.requires_grad]
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in names} == {"q_proj", "v_proj"}


def test_an_unknown_target_names_the_nearest(saved: Path) -> None:
    with pytest.raises(ConfigError, match="no linear layer 'qproj': did you mean 'q_proj'"):
        load_model(ModelConfig(lora_rank=2, lora_targets=("qproj",)), saved, "cpu")


def test_an_adapter_on_a_tied_output_layer_is_refused_by_name() -> None:
    config = ModelConfig(lora_rank=2, lora_targets=("q_proj", "lm_head"))
    with pytest.raises(ConfigError, match="'lm_head' shares its weight with the input embedding"):
        add_lora(tiny_model(tie_word_embeddings=True), config)
    adapted = add_lora(tiny_model(tie_word_embeddings=False), config)
    assert any("lm_head.lora_A" in name for name, _ in adapted.named_parameters())


@pytest.mark.parametrize("rank", [0, 2])
def test_gradient_checkpointing_reaches_every_layer(saved: Path, rank: int) -> None:
    for wanted in (False, True):
        config = ModelConfig(gradient_checkpointing=wanted, lora_rank=rank)
        layers = fsdp_units(Policy(load_model(config, saved, "cpu")))
        assert [layer.gradient_checkpointing for layer in layers] == [wanted, wanted]


@pytest.mark.parametrize(
    "bad", [{"lora_rank": -1}, {"lora_alpha": 0.0}, {"lora_rank": 1, "lora_targets": ()}]
)
def test_impossible_settings(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        ModelConfig(**bad)  # type: ignore[arg-type]


def test_missing_or_broken_models_get_one_line(saved: Path, tmp_path: Path) -> None:
    empty, lame, torn = tmp_path / "empty", tmp_path / "lame", tmp_path / "torn"
    empty.mkdir()
    save_model(tiny_model(), tiny_tokenizer(), lame)
    weights = load_file(lame / "model.safetensors")
    name = next(name for name in weights if "q_proj" in name)
    del weights[name]
    save_file(weights, lame / "model.safetensors", metadata={"format": "pt"})
    save_model(tiny_model(), tiny_tokenizer(), torn)
    os.truncate(torn / "model.safetensors", 100)
    expected = {
        tmp_path / "nothing": "no such directory",
        "./nothing": "no such directory",
        "nothing": "no such directory",
        empty: "cannot load a model",
        lame: f"lacks 1 weights, such as '{name}'",
        torn: "cannot load a model",
    }
    for path, said in expected.items():
        with pytest.raises(ConfigError, match=said) as caught:
            load_model(ModelConfig(), path, "cpu")
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="no tokenizer at"):
        load_tokenizer(tmp_path / "nothing")


def test_ids_beyond_the_tokenizer_are_never_sampled_nor_scored(tmp_path: Path) -> None:
    """The engine and the trainer share one distribution: that of the model over the tokenizer's ids."""
    tokens = len(tiny_tokenizer())
    padded = tiny_model(vocab=tokens + 40)
    with torch.no_grad():
        padded.get_output_embeddings().weight[tokens:] *= 50
    save_model(padded, tiny_tokenizer(), tmp_path / "model")
    engine = HFEngine(load_model(ModelConfig(), tmp_path / "model", "cpu"), stop_ids=[])
    prompt = Chat(tiny_tokenizer()).render([Message("user", "look")])
    with torch.no_grad():
        full = torch.log_softmax(padded(torch.tensor([prompt])).logits[0, -1, :tokens], -1)
    policy = Policy(load_model(ModelConfig(lora_rank=2), tmp_path / "model", "cpu"))
    for seed in range(5):
        (drawn,) = engine.generate([Request(prompt, seed)], Sampling(max_tokens=20))
        assert max(drawn.tokens) < tokens
        whole = [*prompt, *drawn.tokens]
        packed = Packed.from_sequences([(whole, range(len(prompt), len(whole)))])
        torch.testing.assert_close(policy(packed).logp, torch.tensor(drawn.logps), atol=1e-5, rtol=1e-5)
        assert drawn.logps[0] == pytest.approx(float(full[drawn.tokens[0]]), abs=1e-5)


def test_adapters_on_the_output_layer_and_unused_ids_go_together(tmp_path: Path) -> None:
    padded = tiny_model(vocab=len(tiny_tokenizer()) + 40, tie_word_embeddings=False)
    save_model(padded, tiny_tokenizer(), tmp_path / "model")
    config = ModelConfig(lora_rank=2, lora_targets=("lm_head",))
    model = load_model(config, tmp_path / "model", "cpu")
    assert model(torch.tensor([[1, 2]])).logits.shape[-1] == len(tiny_tokenizer())


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tmp_path: Path) -> None:
    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.add_tokens(["<tool>"])
    save_model(tiny_model(), tokenizer, tmp_path / "model")
    with pytest.raises(ConfigError, match="more tokens than the model: '<tool>' is ") as caught:
        load_model(ModelConfig(), tmp_path / "model", "cpu")
    assert "\n" not in str(caught.value)


def test_every_end_of_text_of_the_generation_config_ends_a_completion(tmp_path: Path) -> None:
    model, tokenizer = tiny_model(), tiny_tokenizer("qwen2")
    ends = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>", "<|eot_id|>"])
    for declared in (ends, ends[1], None):
        model.generation_config.eos_token_id = declared
        save_model(model, tokenizer, tmp_path / "model")
        chat = Chat(load_tokenizer(tmp_path / "model"))
        wanted = declared if isinstance(declared, list) else [declared]
        assert chat.stop_ids == {ends[0], *wanted} - {None}
        if declared is ends:
            assert chat.decode([*chat.encode("look"), ends[2]]) == "look"
    (tmp_path / "model" / "generation_config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"cannot read .*generation_config\.json") as caught:
        Chat(load_tokenizer(tmp_path / "model"))
    assert "\n" not in str(caught.value)
    (tmp_path / "model" / "generation_config.json").unlink()
    assert Chat(load_tokenizer(tmp_path / "model")).stop_ids == {ends[0]}
