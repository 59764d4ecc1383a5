"""Texts that stages ask for: the same again, kept, shared out; and what the stages make of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.tiny import tiny_model, tiny_tokenizer

from sdar.errors import ConfigError
from sdar.model.chat import Chat
from sdar.rollout.engine import Sampling
from sdar.rollout.engines.hf import HFEngine
from sdar.rollout.settings import WriterConfig
from sdar.rollout.stages import Ask, Tools, run_stages
from sdar.rollout.views import TeacherContext, views
from sdar.rollout.writing import OVERFLOW, PolicyAuthor, Writing, Written
from sdar.runs.rundir import RunDir
from sdar.runs.texts import read_texts
from sdar.types import (
    NOTHING,
    ContextMode,
    EndReason,
    Group,
    Message,
    Observation,
    Task,
    Trajectory,
    Turn,
)


class Alone:
    """A world of one."""

    rank, size = 0, 1

    def gather(self, item: Any) -> list[Any]:
        return [item]


@dataclass
class Echo:
    """Writes down its seed, and remembers what it was asked."""

    name: str = "echo"
    asked: list[str] = field(default_factory=list)

    def write(self, asks: Sequence[tuple[Ask, int]], sampling: Sampling) -> list[Written]:
        self.asked += [ask.messages[0].content for ask, _ in asks]
        return [Written(f"{seed}", "stop") for _, seed in asks]


def asks(*words: str) -> list[Ask]:
    return [Ask("test", (Message("user", word),)) for word in words]


def writing(author: Any, path: Path, config: WriterConfig | None = None, ranks: Any = None) -> Writing:
    run = RunDir.open(path) if path.exists() else RunDir.create(path.parent, path.name, "", exact=True)
    return Writing(author=author, config=config or WriterConfig(), run=run, ranks=ranks or Alone(), seed=0)


def ignore(end: str) -> None:
    pass


def test_a_text_is_written_once_and_found_again(tmp_path: Path) -> None:
    echo, ends = Echo(), []
    first = writing(echo, tmp_path / "run").write(asks("a", "b", "a"), 1, ends.append)
    assert echo.asked == ["a", "b"]
    assert first[0] == first[2] != first[1]
    assert ends == ["stop", "stop"]
    again = writing(echo, tmp_path / "run").write(asks("b", "c"), 2, ignore)
    assert echo.asked == ["a", "b", "c"], "a run that goes on knows what it was told"
    assert again[0] == first[1]
    replay = WriterConfig(replay=str(tmp_path / "run" / "texts.jsonl"))
    assert writing(echo, tmp_path / "other", replay).write(asks("a", "c"), 9, ignore) == [first[0], again[1]]
    assert echo.asked == ["a", "b", "c"]
    assert [record["step"] for record in read_texts(tmp_path / "run" / "texts.jsonl")] == [1, 1, 2]


def test_another_sampling_is_another_text(tmp_path: Path) -> None:
    one = writing(Echo(), tmp_path / "a").write(asks("a"), 1, ignore)
    assert one != writing(Echo(), tmp_path / "b", WriterConfig(temperature=0.5)).write(asks("a"), 1, ignore)
    assert one != writing(Echo("other"), tmp_path / "c").write(asks("a"), 1, ignore)


def test_the_policy_writes_the_same_again_but_at_another_step(tmp_path: Path) -> None:
    chat = Chat(tiny_tokenizer())
    author = PolicyAuthor(HFEngine(tiny_model(), stop_ids=chat.stop_ids), chat)
    config = WriterConfig(max_tokens=8)
    texts = [
        writing(author, tmp_path / name, config).write(asks("look", "go"), step, ignore)
        for name, step in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert texts[0] == texts[1] != texts[2]
    assert texts[0] == [*writing(author, tmp_path / "d", config).write(asks("go", "look"), 1, ignore)][::-1]


def test_a_question_that_is_too_long_has_no_text(tmp_path: Path) -> None:
    chat = Chat(tiny_tokenizer())
    author = PolicyAuthor(HFEngine(tiny_model(), stop_ids=chat.stop_ids), chat)
    found = author.write([(ask, 1) for ask in asks("go " * 3000, "go")], Sampling(max_tokens=3))
    assert found[0] == OVERFLOW
    assert found[1].end in ("stop", "length")


def test_every_rank_writes_its_share_and_has_all(tmp_path: Path) -> None:
    """Two ranks one after the other: what rank 0 needs of rank 1 is what rank 1 then writes."""

    @dataclass
    class Rank(Alone):
        rank: int
        size: int = 2
        calls: int = 0

        def gather(self, item: Any) -> list[Any]:
            self.calls += 1
            if self.calls == 1:
                return [{}, {}]
            return [item if rank == self.rank else ([Written("other", "stop")], None) for rank in (0, 1)]

    shares = []
    for rank in (0, 1):
        echo = Echo()
        found = writing(echo, tmp_path / "run", ranks=Rank(rank)).write(asks("a", "b"), 1, ignore)
        shares.append(echo.asked)
        assert found.index("other") == 1 - rank
    assert shares == [["a"], ["b"]]
    assert len(read_texts(tmp_path / "run" / "texts.jsonl")) == 2, "the main rank keeps them, once"


def test_an_endpoint_has_an_address_and_a_model() -> None:
    with pytest.raises(ConfigError, match=r"writer\.base_url and writer\.model"):
        WriterConfig(model="big")


# what stages make of texts


def group(*won: bool) -> Group:
    task = Task(f"task {won}", "kind")

    def turn(number: int) -> Turn:
        return Turn(Observation(f"room {number}", "leave"), (), (), NOTHING, "", f"go {number}", 0.0, True)

    episodes = [
        Trajectory(
            task, i, ContextMode.WINDOW, (turn(0), turn(1)), success, EndReason.DONE, Observation("out")
        )
        for i, success in enumerate(won)
    ]
    return Group(task, episodes)


def told(view: str, found: Group, index: int, turn: int) -> str | None:
    note = views[view].write(TeacherContext(group=found, trajectory=found.trajectories[index], turn=turn))
    return note.text if note else None


def test_a_skill_is_what_stands_between_its_tags() -> None:
    questions: list[str] = []

    def write(asked: Sequence[Ask]) -> list[str]:
        questions.extend(ask.messages[0].content for ask in asked)
        return ["so: <skill> go out </skill>", "no idea"]

    [found] = run_stages(["write-skill"], [group(True, False)], Tools(write=write))
    assert "Turn 1: go 1\nThen: out\nOutcome: success" in questions[0]
    assert told("own-skill", found, 0, 1) == "What was learned from this attempt:\ngo out"
    assert told("own-skill", found, 1, 1) is None


def test_a_meta_skill_contrasts_a_success_and_a_failure_of_the_kind() -> None:
    questions: list[str] = []

    def write(asked: Sequence[Ask]) -> list[str]:
        questions.extend(ask.messages[0].content for ask in asked)
        return [" look first "] * len(asked)

    lost, won = group(False, False), group(True, True)
    first, second = run_stages(["write-meta-skill"], [lost, won], Tools(write=write))
    assert len(questions) == 1, "both groups are of one kind"
    assert questions[0].index("Outcome: success") < questions[0].index("Outcome: failure")
    assert told("meta-skill", first, 0, 0) == "How to use the skills:\nlook first"
    assert told("meta-skill", second, 1, 0) == told("meta-skill", first, 0, 0)
    [equal] = run_stages(["write-meta-skill"], [won], Tools(write=write))
    assert told("meta-skill", equal, 0, 0) is None


def test_a_turn_with_a_skill_of_its_own_is_not_told_that_of_the_episode() -> None:
    answer = '```{"episode_skill": "walk", "step_skills": [{"turn": 1, "skill": "now right"}]}```'
    [found] = run_stages(["analyse"], [group(True, False)], Tools(write=lambda asked: [answer, "{"]))
    assert told("episode-skill", found, 0, 0) == "What this attempt shows:\nwalk"
    assert told("step-skill", found, 0, 0) is None
    assert told("episode-skill", found, 0, 1) is None
    assert told("step-skill", found, 0, 1) == "What matters now:\nnow right"
    assert told("episode-skill", found, 1, 0) is None, "an analysis that failed"


def test_only_groups_with_both_outcomes_get_guidance() -> None:
    asked: list[int] = []

    def write(questions: Sequence[Ask]) -> list[str]:
        asked.append(len(questions))
        return ["DO: go" if "Success: thought" in q.messages[0].content else "thought" for q in questions]

    mixed, equal = run_stages(["reflect"], [group(True, False), group(True, True)], Tools(write=write))
    assert asked == [2, 1]
    assert told("guidance", mixed, 1, 0) == "From attempts at this task:\nDO: go"
    assert told("guidance", equal, 0, 0) is None
