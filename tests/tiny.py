"""Models and tokenizers that tests can build in milliseconds: random weights, no network."""

from functools import cache
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

QWEN3 = """\
{%- set ns = namespace(last=-1) -%}
{%- for m in messages if m.role == 'user' -%}{%- set ns.last = messages.index(m) -%}{%- endfor -%}
{%- for m in messages -%}
{%- set text = m.content -%}
{%- if m.role == 'assistant' and '</think>' in text and messages.index(m) < ns.last -%}
{%- set text = text.split('</think>')[-1].lstrip('\\n') -%}
{%- endif -%}
{{- '<|im_start|>' + m.role + '\\n' + text + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{{- '<think>\\n\\n</think>\\n\\n' if enable_thinking is defined and not enable_thinking -}}
{%- endif -%}
"""
"""Qwen3's habits: earlier thoughts are dropped, and thinking is switched off with an empty thought."""

QWEN2 = """\
{%- if messages[0].role != 'system' -%}
{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}
{%- endif -%}
{%- for m in messages -%}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' -}}{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
"""Qwen2.5's habit: a default system message."""

LLAMA = """\
{{- bos_token -}}
{%- for m in messages -%}
{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}{%- endif -%}
"""
"""Llama 3's habits: a beginning-of-text token, trimmed content, nothing between two turns."""

TEMPLATES = {"qwen3": QWEN3, "qwen2": QWEN2, "llama": LLAMA}
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
SPECIAL += ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
TEXT = [
    "You are in the middle of a room. Looking quickly around you, you see a fridge 1, and a desk 1.",
    "Your task is to: put a clean mug in the cabinet. You open the drawer 1. In it, you see a mug 2.",
    "go to fridge 1\nopen fridge 1\ntake apple 1 from fridge 1\nNothing happens.\nYou arrive at sinkbasin 1.",
    "system user assistant <think>\n\n</think>\n\n<action>look</action> You are a helpful assistant.",
]


@cache
def tiny_tokenizer(template: str | None = "qwen3", merges: int = 100) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with a chat template named in `TEMPLATES` (None: without one)."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + len(SPECIAL) + merges,
        special_tokens=SPECIAL,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    bpe.train_from_iterator(TEXT, trainer)
    llama = template == "llama"
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        chat_template=None if template is None else TEMPLATES[template],
        bos_token="<|begin_of_text|>" if llama else None,
        eos_token="<|eot_id|>" if llama else "<|im_end|>",
        pad_token="<|endoftext|>",
    )


def tiny_model(
    kind: str = "qwen3",
    hidden: int = 32,
    layers: int = 2,
    vocab: int | None = None,
    *,
    heads: int = 4,
    seed: int = 0,
    **settings: Any,
) -> PreTrainedModel:
    """A causal LM of architecture `kind` (qwen3, qwen2, llama) with random float32 weights.

    `vocab` defaults to the size of `tiny_tokenizer()`; `settings` go into the transformers config.
    """
    defaults: dict[str, Any] = {
        "vocab_size": len(tiny_tokenizer()) if vocab is None else vocab,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": max(1, heads // 2),
        "head_dim": hidden // heads,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
        "initializer_range": 0.1,
        "bos_token_id": None,
        "eos_token_id": tiny_tokenizer().eos_token_id,
        "pad_token_id": tiny_tokenizer().pad_token_id,
    }
    if vocab is not None:
        defaults |= {"eos_token_id": None, "pad_token_id": None}
    config = AutoConfig.for_model(kind, **(defaults | settings))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config).eval()
