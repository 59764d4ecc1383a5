import pytest
from tests.tiny import tiny_tokenizer

from sdar.errors import ContextOverflow
from sdar.rollout.engine import Request, Sampling
from sdar.rollout.engines.scripted import ScriptedEngine
from sdar.types import StopReason

TOKENIZER = tiny_tokenizer()
PROMPT = TOKENIZER.encode("open the door")


def test_replies_become_tokens_that_end_the_turn():
    engine = ScriptedEngine(str.upper, TOKENIZER)
    completion = engine.generate([Request(PROMPT, seed=0)], Sampling())[0]
    assert TOKENIZER.decode(completion.tokens) == "OPEN THE DOOR" + TOKENIZER.eos_token
    assert list(completion.logps) == [0.0] * len(completion.tokens)
    assert completion.stop_reason is StopReason.STOP


@pytest.mark.parametrize(("context_length", "max_tokens"), [(1000, 3), (len(PROMPT) + 3, 512)])
def test_replies_are_cut_at_the_limits(context_length, max_tokens):
    engine = ScriptedEngine(lambda _: "a b c d e f g", TOKENIZER, context_length=context_length)
    completion = engine.generate([Request(PROMPT, seed=0)], Sampling(max_tokens=max_tokens))[0]
    assert (len(completion.tokens), completion.stop_reason) == (3, StopReason.LENGTH)


def test_a_prompt_without_room_is_an_error():
    with pytest.raises(ContextOverflow):
        ScriptedEngine(str, TOKENIZER, context_length=len(PROMPT)).generate([Request(PROMPT, 0)], Sampling())


def test_it_counts_what_is_asked():
    engine = ScriptedEngine(str, TOKENIZER)
    asked = [Request(PROMPT, 0, "a"), Request(PROMPT, 1), Request(PROMPT, 2, "b")]
    engine.generate(asked, Sampling())
    engine.generate(asked[:1], Sampling())
    engine.release(["b"])
    engine.update_weights([[]])
    assert (engine.calls, engine.requests, engine.num_updates) == (2, [*asked, asked[0]], 1)
    assert engine.open_sessions == {"a"}
