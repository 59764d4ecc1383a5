"""What demonstrations show, and how they are played."""

from collections import Counter

import pytest
from tests.tiny import tiny_tokenizer

from sdar.envs.alfworld.spec import AlfworldSpec
from sdar.errors import ConfigError
from sdar.model.chat import Chat
from sdar.rollout.settings import RolloutConfig
from sdar.skills import junk
from sdar.skills.context import HEADING, Content, Detail, SkillContext, SkillsConfig
from sdar.trainer.demonstrations import Demonstrations
from sdar.trainer.settings import WarmStartConfig


def make(**settings) -> Demonstrations:
    return Demonstrations(
        spec=AlfworldSpec(max_turns=20),
        skills=SkillContext.from_config(SkillsConfig(detail=Detail.SUMMARY)),
        rollout=RolloutConfig(),
        config=WarmStartConfig(**({"wordings": 3, "wrong": 0.125, "junk": 0.125} | settings)),
        context_length=8192,
    )


@pytest.fixture(scope="module")
def played():
    """The first 64 demonstrations: content, task, skill text, success."""
    made, chat = make(), Chat(tiny_tokenizer())
    tasks = made.spec.tasks("train")
    rows = []
    for number in range(64):
        content = made.content(number)
        trajectory = made._demonstrate(tasks[number], number, chat, tiny_tokenizer(), content)
        text = trajectory.turns[0].messages[0].content
        told = text.partition("\n\n")[0].removeprefix(HEADING).strip() if HEADING in text else ""
        rows.append((content, trajectory.task, told, trajectory.success))
    return made.skills.bank, rows


def test_the_shares_are_those_asked_for():
    counts = Counter(make().content(number) for number in range(64))
    assert counts == {Content.RIGHT: 32, Content.WRONG: 8, Content.JUNK: 8, None: 16}
    counts = Counter(make(right=0.25, wrong=0.0, junk=0.5).content(number) for number in range(64))
    assert counts == {Content.RIGHT: 16, Content.JUNK: 32, None: 16}
    counts = Counter(make(wrong=0.0, junk=0.0).content(number) for number in range(64))
    assert counts == {Content.RIGHT: 32, None: 32}
    with pytest.raises(ConfigError, match="together at most 1"):
        make(right=0.9, junk=0.2)


def test_each_demonstration_shows_what_it_says_and_never_held_out_words(played):
    bank, rows = played
    for content, task, told, _ in rows:
        own = bank.of_kind(task.kind)[0]
        words = (own.summary, *own.wordings)
        assert not any(text in told for skill in bank.skills for text in skill.held_out)
        assert not set(junk.HELD_OUT) & {told}
        if content is Content.RIGHT:
            assert any(told.endswith(text) for text in words)
        elif content is Content.WRONG:
            assert not any(text in told for text in words)
            assert sum(text in told for s in bank.special for text in (s.summary, *s.wordings)) == 1
        elif content is Content.JUNK:
            assert told in junk.SHOWN
        else:
            assert told == ""
    seen = {told for content, task, told, _ in rows if content is Content.RIGHT}
    assert len(seen) > len(bank.special)


def test_only_under_the_right_skills_is_the_play_near_expert(played):
    won = {content: [row[3] for row in played[1] if row[0] is content] for content in {*Content, None}}
    rest = won[Content.WRONG] + won[Content.JUNK] + won[None]
    assert sum(won[Content.RIGHT]) / len(won[Content.RIGHT]) > 0.8
    assert sum(rest) / len(rest) < 0.6
