import math
from dataclasses import replace

import pytest
from tests.tiny import tiny_tokenizer

from sdar.envs.toy import ToySpec
from sdar.errors import ConfigError, ContextOverflow, DataError
from sdar.model.chat import Chat
from sdar.rollout.agent import Episode, turn_seed
from sdar.rollout.settings import LongPrompt, RolloutConfig
from sdar.skills.bank import Skill, SkillBank
from sdar.skills.context import SkillContext
from sdar.skills.retrieval import Everything
from sdar.types import Completion, ContextMode, EndReason, Message, StopReason, Task

TASK = Task("t", "right", 3)
SKILLS = SkillContext(SkillBank("toy", (Skill("walk", "", "Walk.", "Walk to the door."),)), Everything())


@pytest.fixture
def chat() -> Chat:
    return Chat(tiny_tokenizer())


@pytest.fixture
def plain_chat() -> Chat:
    """Its template adds nothing to the generation prompt, so a conversation is rendered as it was played."""
    return Chat(tiny_tokenizer("qwen2"))


def start(chat: Chat, context: ContextMode, **settings) -> Episode:
    spec = ToySpec(max_turns=settings.pop("max_turns", 8))
    options = {"history": 2, "context_length": 1000} | settings
    return Episode(spec.make(), TASK, 4, prompts=spec.prompts(), chat=chat, context=context, **options)


def say(text: str, *, closed: bool = True) -> Completion:
    tokenizer = tiny_tokenizer()
    tokens = tokenizer.encode(text, add_special_tokens=False) + [tokenizer.eos_token_id] * closed
    return Completion(tuple(tokens), (-0.5,) * len(tokens), StopReason.STOP if closed else StopReason.LENGTH)


def accept(episode: Episode, completion: Completion) -> None:
    text = Chat(tiny_tokenizer()).decode(completion.tokens)
    episode.accept(text, completion, episode.act(text))


def play(episode: Episode, *texts: str) -> list[list[int]]:
    """The prompts before each of `texts`."""
    prompts = []
    for text in texts:
        prompts.append(list(episode.request(0).tokens))
        accept(episode, say(text))
    return prompts


def test_a_transcript_is_one_conversation(plain_chat):
    episode = start(plain_chat, ContextMode.TRANSCRIPT)
    prompts = play(episode, "right", "left", "right", "right", "right")
    conversation = [Message("user", "The door is on the right.")]
    for prompt, action in zip(prompts, ("right", "left", "right", "right"), strict=False):
        assert prompt == plain_chat.render(conversation)
        conversation += [Message("assistant", action), Message("user", "The door is on the right.")]
    assert (episode.end, episode.success) == (EndReason.DONE, True)


def test_a_transcript_keeps_sampled_tokens_as_they_are(chat):
    episode = start(chat, ContextMode.TRANSCRIPT)
    letters = tuple(tiny_tokenizer().encode(letter)[0] for letter in "right")
    first = list(episode.request(0).tokens)
    accept(episode, Completion((*letters, tiny_tokenizer().eos_token_id), (-1.0,) * 6, StopReason.STOP))
    assert tuple(episode.request(0).tokens[len(first) : len(first) + 5]) == letters
    play(episode, "right", "right")
    assert episode.success
    assert [turn.action for turn in episode.trajectory().turns] == ["right"] * 3


def test_a_completion_without_its_end_is_closed_before_the_next_message(chat):
    episodes = [start(chat, ContextMode.TRANSCRIPT) for _ in range(2)]
    for episode, closed in zip(episodes, (True, False), strict=True):
        accept(episode, say("right", closed=closed))
    one, other = (episode.request(0).tokens for episode in episodes)
    assert one == other


@pytest.mark.parametrize("history", [0, 2])
def test_a_window_shows_the_last_turns(chat, history):
    episode = start(chat, ContextMode.WINDOW, history=history)
    prompts = play(episode, "left", "up", "right")
    shown = [(), ("left",), ("left", "up")]
    for prompt, past in zip(prompts, shown, strict=True):
        text = " ".join([*past[len(past) - history :], "The door is on the right."])
        assert prompt == chat.render([Message("user", text)])


def test_a_trajectory_records_each_turn(chat):
    episode = start(chat, ContextMode.TRANSCRIPT, max_turns=3)
    prompts = play(episode, "right", "fly", "left")
    record = episode.trajectory()
    assert (record.task, record.index, record.end, record.success) == (TASK, 4, EndReason.MAX_TURNS, False)
    assert [turn.valid for turn in record.turns] == [True, False, True]
    assert [turn.text for turn in record.turns] == ["right", "fly", "left"]
    assert list(record.turns[0].prompt) == prompts[0]
    joined = [token for turn in record.turns[:2] for token in (*turn.prompt, *turn.completion.tokens)]
    assert [*joined, *record.turns[2].prompt] == prompts[2]
    assert record.turns[1].messages == (Message("user", "The door is on the right."),)
    assert record.turns[0].observation.goal == "reach the door"


def test_an_episode_that_outgrows_the_context_ends_without_success(chat):
    opening = len(start(chat, ContextMode.TRANSCRIPT).request(0).tokens)
    episode = start(chat, ContextMode.TRANSCRIPT, context_length=opening + 10)
    play(episode, "right")
    record = episode.trajectory()
    assert (record.end, record.success, len(record.turns)) == (EndReason.CONTEXT_FULL, False, 1)


def test_a_first_prompt_without_room_is_an_error(chat):
    opening = len(start(chat, ContextMode.TRANSCRIPT).request(0).tokens)
    with pytest.raises(ContextOverflow, match=f"task 't' has {opening} tokens"):
        start(chat, ContextMode.TRANSCRIPT, context_length=opening)
    start(chat, ContextMode.TRANSCRIPT, context_length=opening + 1)


@pytest.mark.parametrize("context", list(ContextMode))
def test_skills_are_shown_where_a_prompt_is_whole(chat, context):
    episode = start(chat, context, skills=SKILLS)
    play(episode, "left", "right", "right", "right", "right")
    shown = ["Walk to the door." in turn.messages[0].content for turn in episode.trajectory().turns]
    assert shown == [turn == 0 or context is ContextMode.WINDOW for turn in range(5)]


def test_a_longer_prompt_than_allowed_ends_the_episode_or_the_run_or_is_cut(chat):
    free = start(chat, ContextMode.WINDOW)
    whole = play(free, "right", "right", "right")
    most = len(whole[2]) - 1
    assert len(whole[1]) <= most
    ended = start(chat, ContextMode.WINDOW, max_prompt=most)
    play(ended, "right", "right")
    assert ended.end is EndReason.CONTEXT_FULL
    failed = start(chat, ContextMode.WINDOW, max_prompt=most, long_prompt=LongPrompt.ERROR)
    with pytest.raises(
        DataError, match=rf"prompt 3 of task .* has {most + 1} .*max_prompt is {most}: .* 'end'"
    ):
        play(failed, "right", "right")
    cut = start(chat, ContextMode.WINDOW, max_prompt=most, long_prompt=LongPrompt.CUT)
    assert play(cut, "right", "right", "right") == [*whole[:2], whole[2][1:]]
    for how, kind in {LongPrompt.END: ContextOverflow, LongPrompt.ERROR: DataError}.items():
        with pytest.raises(kind, match="max_prompt is 3"):
            start(chat, ContextMode.WINDOW, max_prompt=3, long_prompt=how)
    with pytest.raises(ConfigError, match="would cut what was played"):
        RolloutConfig(max_prompt=most, long_prompt="cut")


def test_sessions_belong_to_transcripts(chat):
    assert start(chat, ContextMode.TRANSCRIPT).session == ("t", 4)
    assert start(chat, ContextMode.WINDOW).session is None


def test_request_seeds_differ_from_turn_to_turn_and_follow_the_seed(chat):
    episode = start(chat, ContextMode.TRANSCRIPT)
    first = episode.request(1).seed
    assert first == episode.request(1).seed == turn_seed(1, "t", 4, 0)
    play(episode, "left")
    assert len({first, episode.request(1).seed, episode.request(2).seed}) == 3


def test_an_unfinished_episode_has_no_trajectory(chat):
    with pytest.raises(ValueError, match="not ended"):
        start(chat, ContextMode.WINDOW).trajectory()


@pytest.mark.parametrize("reward", [math.nan, math.inf, None, "1"])
def test_a_reward_that_is_no_finite_number_names_the_task(reward, chat, monkeypatch):
    episode = start(chat, ContextMode.TRANSCRIPT)
    real = episode._env.step
    monkeypatch.setattr(episode._env, "step", lambda text: replace(real(text), reward=reward))
    with pytest.raises(DataError, match=rf"turn 1 of task 't': .* gives reward {reward!r}, which is not"):
        episode.act("right")
