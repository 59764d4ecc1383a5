"""Settings, splits, panels, and the conformance battery."""

import re
from dataclasses import replace

import pytest
from tests.tiny import tiny_tokenizer

from sdar.envs.check import check_env
from sdar.envs.search_qa.questions import write_rows
from sdar.envs.search_qa.retrieval import Cached, Passage, RetrievalError, retrievers
from sdar.envs.search_qa.spec import SearchQASpec
from sdar.errors import ConfigError, DataError
from sdar.model.chat import Chat
from sdar.rollout.collector import Collector
from sdar.rollout.engines.scripted import ScriptedEngine
from sdar.rollout.settings import RolloutConfig


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A directory with five training and four test questions, and three passages."""
    monkeypatch.setenv("SDAR_DATA", str(tmp_path / "cache"))
    home = tmp_path / "questions"
    home.mkdir()
    rows = [{"set": "nq", "question": f"Question {n}?", "answers": [str(n)]} for n in range(5)]
    test = [
        {"set": name, "question": f"Test of {name}?", "answers": ["Emma"]}
        for name in ("popqa", "nq", "musique")
    ]
    write_rows(home / "train.jsonl.xz", rows)
    write_rows(
        home / "test.jsonl.xz", [*test, {"set": "nq", "question": "the question 3", "answers": ["three"]}]
    )
    (home / "corpus.jsonl").write_text(
        '{"id": "a", "contents": "\\"Emma\\"\\nEmma is a novel."}\n'
        '{"id": "b", "contents": "\\"Bath\\"\\nBath is a town."}\n'
        '{"id": "c", "contents": "\\"Novels\\"\\nA novel is a long story in prose, and there are many."}\n'
    )
    return home


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": "compcat"}, "unknown size 'compcat': did you mean 'compact'"),
        ({"prompt": "long"}, "unknown prompt 'long': choose from compact, full"),
        ({"information": "jsn"}, "did you mean 'json'"),
        ({"num_train": 0}, "num_train must be at least 1, not 0"),
        ({"top_k": 0}, "top_k must be at least 1"),
        ({"reward": -1.0}, "reward must be at least 0"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        SearchQASpec(**settings)


def test_unknown_names_are_refused():
    spec = SearchQASpec()
    for call in (spec.tasks, spec.panel):
        with pytest.raises(ConfigError, match=r"did you mean|choose from"):
            call("trian")
    with pytest.raises(ConfigError, match=r"did you mean 'explorer'"):
        spec.expert("explorers", spec.make(), spec.tasks("train")[0], 0)


@pytest.mark.parametrize(
    ("name", "fingerprint"),
    [("generated-128", "e7105976d86ffb9f"), ("generated-compact-128", "bc2061959e703520")],
)
def test_panels_do_not_depend_on_the_settings(name, fingerprint):
    panel = SearchQASpec(size="full", num_held_out=7).panel(name)
    assert panel.fingerprint[:16] == fingerprint
    assert [task.kind for task in panel.tasks].count("chain") == 32
    assert SearchQASpec(size="full").panels()[0] == "generated-128"
    assert SearchQASpec().panels()[0] == "generated-compact-128"
    assert panel.tasks[5].payload.puzzle() == SearchQASpec().panel(name).tasks[5].payload.puzzle()


@pytest.mark.parametrize("settings", [{}, {"prompt": "full", "information": "json", "size": "full"}])
def test_the_contract(settings):
    check_env(SearchQASpec(**settings, num_train=40, num_held_out=40), 2)


def test_real_questions(data):
    spec = SearchQASpec(data=str(data), prompt="full", top_k=2)
    assert spec.splits() == ("train", "test")
    assert [task.payload.text for task in spec.tasks("train")] == [f"Question {n}?" for n in (0, 1, 2, 4)]
    assert [(task.id, task.kind) for task in spec.tasks("test")][:2] == [
        ("popqa/test/000000", "popqa"),
        ("nq/test/000000", "nq"),
    ]
    assert spec.panels() == (
        "sample-512",
        "test",
        "nq",
        "popqa",
        "musique",
        "generated-compact-128",
        "generated-128",
    )
    assert [task.kind for task in spec.panel("nq").tasks] == ["nq", "nq"]
    assert sorted(task.kind for task in spec.panel("sample-512").tasks) == ["musique", "nq", "nq", "popqa"]
    check_env(spec, 2)
    env = spec.make()
    env.reset(spec.tasks("test")[0])
    step = env.step("<search>novel</search>")
    assert step.observation.text == (
        '<information>Doc 1(Title: "Novels") A novel is a long story in prose, and there are many.\n'
        'Doc 2(Title: "Emma") Emma is a novel.</information>'
    )
    assert env.step("<answer>Emma.</answer>").success


def test_generated_panels_can_be_played_with_real_data(data):
    spec = SearchQASpec(data=str(data), prompt="full")
    env = spec.make()
    assert env.reset(spec.panel("generated-128").tasks[0]).goal.startswith("What is the")


def test_what_is_missing_is_named(data):
    with pytest.raises(DataError, match="set data to a directory"):
        SearchQASpec().panel("hotpotqa")
    with pytest.raises(DataError, match=r"no questions in .*train.jsonl.xz"):
        SearchQASpec(data=str(data.parent)).tasks("train")
    spec = SearchQASpec(data=str(data))
    with pytest.raises(ConfigError, match="leave data empty"):
        spec.expert("explorer", spec.make(), spec.tasks("train")[0], 0)
    (data / "corpus.jsonl").unlink()
    with pytest.raises(DataError, match=r"put corpus.jsonl.xz beside"):
        spec.tasks("train")


def test_only_a_search_server_is_waited_for(data):
    spec = SearchQASpec(data=str(data))
    assert not spec.waits
    assert replace(spec, retriever=retrievers["http"]()).waits
    assert not replace(spec, data="", retriever=retrievers["http"]()).waits


def test_prefetch_searches_for_all_queries_at_once(data, monkeypatch):
    spec = SearchQASpec(data=str(data), prompt="full")
    asked = []

    class Engine:
        def search(self, queries, k):
            asked.append(list(queries))
            if "broken" in queries:
                raise RetrievalError("down")
            return [()] * len(queries)

    monkeypatch.setattr(SearchQASpec, "_retriever", property(lambda self: Engine()))
    spec.prefetch(
        ["<search>a</search>", "nonsense", "<answer>b</answer>", "<search> c </search>", "<search></search>"]
    )
    assert asked == [["a", "c"]]
    spec.prefetch(["<search>broken</search>"])
    replace(spec, data="").prefetch(["<search>a</search>"])
    assert len(asked) == 2


def test_a_round_of_steps_is_one_search(data, monkeypatch):
    """Through the collector: what was fetched ahead is what the steps find."""
    asked = []

    class Engine:
        def search(self, queries, k):
            asked.append(sorted(queries))
            return [(Passage("1", f'"Emma"\nFound for {query}.'),) for query in queries]

    shared = Cached(Engine())
    monkeypatch.setattr(SearchQASpec, "_retriever", property(lambda self: shared))
    spec, tokenizer, words = SearchQASpec(data=str(data), max_turns=3), tiny_tokenizer(), iter("pqrstuvwx")
    engine = ScriptedEngine(lambda prompt: f"search {next(words)}", tokenizer)
    collector = Collector(spec, engine, Chat(tokenizer), RolloutConfig(max_tokens=20))
    groups = collector.collect(spec.tasks("test")[:3], 1, seed=0)
    assert asked[:2] == [["p", "q", "r"], ["s", "t", "u"]]
    assert [group.trajectories[0].metrics["searches"] for group in groups] == [2.0] * 3
    assert groups[0].trajectories[0].turns[1].observation.text == "found found for p"
