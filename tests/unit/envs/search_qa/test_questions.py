"""Question files: packs, Search-R1's parquet, and the removal of test questions from training."""

import json

import pytest

from sdar.envs.search_qa.questions import distinct, open_questions, read_rows, write_rows
from sdar.errors import DataError


def row(question, answers=("a",), kind="nq"):
    return {"set": kind, "question": question, "answers": list(answers)}


def test_training_questions_are_not_test_questions(tmp_path):
    write_rows(
        tmp_path / "train.jsonl.xz", [row("Who is it?"), row("Where?"), row("who IS it"), row("When?")]
    )
    write_rows(
        tmp_path / "test.jsonl.xz", [row("where", kind="popqa"), row("Who was it?"), row("Who was it?")]
    )
    assert [(q.id, q.text) for q in open_questions(tmp_path, "train")] == [
        ("nq/train/000000", "Who is it?"), ("nq/train/000001", "When?"),
    ]  # fmt: skip
    assert [q.id for q in open_questions(tmp_path, "test")] == [
        "popqa/test/000000",
        "nq/test/000000",
        "nq/test/000001",
    ]


def test_a_pack_keeps_everything(tmp_path):
    rows = [row("Wo liegt Zürich?", ["Schweiz", "Helvetia"]), row("", [""])]
    assert write_rows(tmp_path / "x.jsonl.xz", rows) == 2
    assert [dict(got, answers=list(got["answers"])) for got in read_rows(tmp_path / "x.jsonl.xz")] == rows
    (tmp_path / "y.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    assert list(read_rows(tmp_path / "y.jsonl")) == list(read_rows(tmp_path / "x.jsonl.xz"))


def test_distinct_compares_normalised_questions():
    rows = [row("The cat?"), row("a CAT"), row("dog"), row("bird")]
    assert [each["question"] for each in distinct(rows, [row("Dog!")])] == ["The cat?", "bird"]


@pytest.mark.parametrize("text", ['{"question": "x"}\n', "not json\n", '["x"]\n'])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / "train.jsonl").write_text(text)
    with pytest.raises(DataError, match=r"train\.jsonl holds no record that can be used; record 1: "):
        open_questions(tmp_path, "train")


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([1969], "answers.0: Input should be a valid string"),
        ([["a"]], "answers.0: Input should be a valid string"),
        ([None], "answers.0: Input should be a valid string"),
        ([True], "answers.0: Input should be a valid string"),
        (None, "answers: Input should be a valid list"),
        ([], "answers: Value should have at least 1 item"),
        ({"a": 1}, "answers: Input should be a valid list"),
        (["\ud83d"], "answers.0: "),
    ],
)
def test_a_bad_record_is_left_out_and_named(tmp_path, caplog, answers, said):
    rows = [row("Who?"), {"set": "nq", "question": "When?", "answers": answers}, row("Where?")]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    assert [q.text for q in open_questions(tmp_path, "test")] == ["Who?", "Where?"]
    assert f"left out 1 of 3 records that cannot be used; record 2: {said}" in caplog.text
    assert "test.jsonl" in caplog.text


def test_a_bare_text_is_one_answer(tmp_path):
    (tmp_path / "test.jsonl").write_text('{"set": "nq", "question": "Capital?", "answers": "Paris"}\n')
    assert open_questions(tmp_path, "test")[0].answers == ("Paris",)


def test_lines_end_at_line_feeds_alone_and_a_mark_of_order_is_nothing(tmp_path):
    texts = [json.dumps(row(f"Who\u2028is {i}?"), ensure_ascii=False) for i in range(2)]
    (tmp_path / "test.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(texts).encode())
    assert [q.text for q in open_questions(tmp_path, "test")] == ["Who\u2028is 0?", "Who\u2028is 1?"]


def test_a_missing_split_is_named(tmp_path):
    write_rows(tmp_path / "test.jsonl.xz", [row("x")])
    with pytest.raises(DataError, match=r"no Search-QA split 'tests'.*did you mean 'test'"):
        open_questions(tmp_path, "tests")


def test_search_r1_parquet(tmp_path, shared_data):
    pytest.importorskip("pyarrow", reason="pip install 'sdar[retrieval]'")
    (tmp_path / "test.parquet").symlink_to(shared_data / "searchqa" / "nq_search_test.parquet")
    questions = open_questions(tmp_path, "test")
    assert len(questions) == 3_610
    assert questions[0].text == "who got the first nobel prize in physics?"
    assert questions[0].answers == ("Wilhelm Conrad Röntgen",)
    assert {question.kind for question in questions} == {"nq"}
    (tmp_path / "train.parquet").symlink_to(shared_data / "searchqa" / "nq_search_test.parquet")
    assert open_questions(tmp_path, "train") == ()


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    pytest.importorskip("pyarrow", reason="pip install 'sdar[retrieval]'")
    (tmp_path / "test.parquet").write_text("x")
    with pytest.raises(DataError, match=r"test.parquet cannot be read"):
        open_questions(tmp_path, "test")
