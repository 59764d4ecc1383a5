"""The embedded model: a small Qwen3-architecture causal LM and its own tokenizer, built from scratch.

It exists so that `sdar train` is a real run of the real objective on a CPU. `sdar.trainer.warm_start` trains
it.
"""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM, set_seed

from sdar.model.settings import EmbeddedConfig

END_OF_TURN = "<|im_end|>"
PAD = "<|endoftext|>"
HEADERS = tuple(f"<|im_start|>{role}\n" for role in ("system", "user", "assistant"))
SPECIAL_TOKENS = (PAD, *HEADERS, END_OF_TURN)

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Qwen's template without the line break between messages: a turn of a text game is short."""

_PIECES = Regex(r" ?\p{L}+ \p{N}+| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+")


def build_tokenizer(texts: Iterable[str], config: EmbeddedConfig) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer: a frequent word, and a frequent name like `drawer 2`, is one token.

    Byte-level, so that any text has a tokenisation. A name with its number is one piece, because what a small
    model has to learn first is to copy names, and one token is copied sooner than two.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_PIECES, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TURN,
        pad_token=PAD,
        model_max_length=config.context_length,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def build_model(tokenizer: PreTrainedTokenizerFast, config: EmbeddedConfig, seed: int) -> Qwen3ForCausalLM:
    """A freshly initialised model for `tokenizer`; the same seed gives the same weights."""
    set_seed(seed)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            num_key_value_heads=config.num_kv_heads,
            head_dim=32,
            max_position_embeddings=config.context_length,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
