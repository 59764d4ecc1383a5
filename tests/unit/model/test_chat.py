"""The chat template, over the habits of three model families."""

import copy
from typing import Any

import pytest
from tests.tiny import TEMPLATES, tiny_tokenizer
from transformers import PreTrainedTokenizerFast

from sdar.errors import ConfigError
from sdar.model.chat import Chat
from sdar.types import Message

NO_THOUGHT = "<think>\n\n</think>\n\n"
END = {"qwen3": "<|im_end|>", "qwen2": "<|im_end|>", "llama": "<|eot_id|>"}
OPENING = (Message("user", "You are in a room.\nYour task is to: put a mug in a cabinet."),)
ROUNDS = [("go to cabinet 1", "It is closed."), ("open cabinet 1", "Nothing happens."), ("look", "?")]


def with_template(template: str | None, **changes: Any) -> PreTrainedTokenizerFast:
    tokenizer = copy.deepcopy(tiny_tokenizer("qwen2"))
    tokenizer.chat_template = template
    for name, value in changes.items():
        setattr(tokenizer, name, value)
    return tokenizer


def ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


def own_rendering(tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, str]]) -> str:
    text = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("kind", TEMPLATES)
@pytest.mark.parametrize("system", [False, True])
def test_growing_a_conversation_gives_the_templates_own_rendering(kind: str, system: bool) -> None:
    tokenizer, chat = tiny_tokenizer(kind), Chat(tiny_tokenizer(kind))
    opening = (Message("system", "Play."), *OPENING) if system else OPENING
    tokens = chat.render(opening)
    messages = [{"role": m.role, "content": m.content} for m in opening]
    for action, observation in ROUNDS:
        tokens += ids(tokenizer, action + END[kind])
        tokens += chat.continuation([Message("user", observation)], closed=True)
        messages += [{"role": "assistant", "content": action}, {"role": "user", "content": observation}]
    grown, whole = tokenizer.decode(tokens), own_rendering(tokenizer, messages)
    if kind == "qwen3":  # it drops the empty thoughts of earlier turns; what was sampled after one is kept
        assert grown.count(NO_THOUGHT) == len(ROUNDS) + 1
        grown, whole = grown.replace(NO_THOUGHT, ""), whole.replace(NO_THOUGHT, "")
        assert grown == whole
    else:
        assert tokens == ids(tokenizer, whole)


@pytest.mark.parametrize("kind", TEMPLATES)
def test_an_open_completion_is_closed_first(kind: str) -> None:
    tokenizer, chat = tiny_tokenizer(kind), Chat(tiny_tokenizer(kind))
    after = [Message("user", "Nothing happens.")]
    end = tokenizer.convert_tokens_to_ids(END[kind])
    assert chat.continuation(after, closed=False) == [end, *chat.continuation(after, closed=True)]


def test_a_continuation_may_hold_several_messages() -> None:
    tokenizer, chat = tiny_tokenizer("qwen2"), Chat(tiny_tokenizer("qwen2"))
    added = chat.continuation([Message("user", "a"), Message("assistant", "b"), Message("user", "c")], True)
    assert tokenizer.decode(added) == (
        "\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
        "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_thought_in_an_earlier_turn_has_no_say_over_later_tokens() -> None:
    """Qwen3's template would strip the thought; the continuation is the same whatever was said."""
    chat = Chat(tiny_tokenizer("qwen3"))
    text = tiny_tokenizer("qwen3").decode(chat.continuation([Message("user", "ok")], True))
    assert text == f"\n<|im_start|>user\nok<|im_end|>\n<|im_start|>assistant\n{NO_THOUGHT}"


def test_habits_of_the_templates() -> None:
    def shown(kind: str) -> str:
        return tiny_tokenizer(kind).decode(Chat(tiny_tokenizer(kind)).render([Message("user", "hi")]))

    assert shown("qwen2").startswith("<|im_start|>system\nYou are a helpful assistant.<|im_end|>")
    assert shown("qwen3") == f"<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n{NO_THOUGHT}"
    assert shown("llama").count("<|begin_of_text|>") == 1


def test_results_can_be_changed_by_the_caller() -> None:
    chat = Chat(tiny_tokenizer())
    first = chat.render(OPENING)
    first.clear()
    assert chat.render(OPENING)


def test_decode_drops_only_the_final_stop_token() -> None:
    tokenizer, chat = tiny_tokenizer(), Chat(tiny_tokenizer())
    for text in ("<action>look</action>", " two  spaces .", "ünïcode", "a<|im_start|>b"):
        tokens = ids(tokenizer, text)
        assert chat.decode(tokens) == text
        assert chat.decode([*tokens, tokenizer.convert_tokens_to_ids("<|im_end|>")]) == text
    assert chat.decode([]) == ""


def test_stop_and_pad_ids() -> None:
    tokenizer = with_template(TEMPLATES["qwen2"], eos_token="<|endoftext|>", pad_token=None)
    chat = Chat(tokenizer)
    assert chat.stop_ids == {tokenizer.convert_tokens_to_ids(t) for t in ("<|im_end|>", "<|endoftext|>")}
    assert chat.pad_id in range(len(tokenizer))
    assert Chat(tiny_tokenizer()).pad_id == tiny_tokenizer().pad_token_id


PROMPT = "{% if add_generation_prompt %}assistant:{% endif %}"
NO_PROMPT = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"
NO_END = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}" + PROMPT
DEAF = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}" + PROMPT
STRICT = "{% if messages | length > 3 %}{{ raise_exception('roles must alternate') }}{% endif %}"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (None, "no chat template"),
        (NO_PROMPT, "no generation prompt"),
        (NO_END, "does not end a turn with a special token"),
        (DEAF, "does not show what the assistant said"),
        ("{% if %}", "refuses these messages"),
    ],
)
def test_an_unusable_template_is_refused(template: str | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Chat(with_template(template))


def test_a_template_that_refuses_messages_says_why() -> None:
    chat = Chat(with_template(STRICT + TEMPLATES["qwen2"]))
    with pytest.raises(ConfigError, match="roles must alternate"):
        chat.render([Message("user", "x")] * 4)
