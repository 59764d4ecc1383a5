"""What is kept with recorded episodes is what the models saw and what each token was given."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.runs import tiny_trainer
from tests.tiny import tiny_tokenizer

from sdar.model.chat import Chat
from sdar.objectives.base import Stream
from sdar.objectives.sdar import SDAR
from sdar.rollout.samples import Sample
from sdar.rollout.settings import RolloutConfig
from sdar.runs.rundir import read_trajectories
from sdar.trainer.batch import Batch
from sdar.trainer.distributed import World
from sdar.trainer.record import token_streams
from sdar.trainer.step import Learned
from sdar.types import ContextMode, Message

LIVE = torch.tensor([-1.0, -1.5, -7.0, -9.0])


def batch() -> Batch:
    shapes = [(0, 2, (9,)), (1, 1, ()), (0, 1, (9,))]
    samples = [
        Sample((1,), (1,) * count, (True,) * count, (-1.0,) * count, (0,) * count, trajectory, teacher)
        for trajectory, count, teacher in shapes
    ]
    made = Batch.build(samples, [(0.5,), (-0.5,)], torch.device("cpu"))
    made.streams[Stream.OLD] = made.rollout_M
    made.streams[Stream.TEACHER] = torch.tensor([-0.5, -2.0, 0.0, -0.25])
    return made


def test_streams_of_a_trajectory_join_its_samples() -> None:
    gate = torch.tensor([0.1, 0.2, 0.0, 0.25])
    first, second = token_streams(batch(), Learned({}, LIVE, [0], streams={"gate": gate}), [0, 1])
    assert first == {
        "live": [-1.0, -1.5, -9.0],
        "adv": [0.5, 0.5, 0.5],
        "gate": pytest.approx([0.1, 0.2, 0.25]),
        "teacher": [-0.5, -2.0, -0.25],
        "gap": [0.5, -0.5, 8.75],
    }
    assert second | {"teacher": [], "gap": []} == {
        "live": [-7.0],
        "adv": [-0.5],
        "gate": [0.0],
        "teacher": [],
        "gap": [],
    }
    assert all(math.isnan(second[name][0]) for name in ("teacher", "gap"))


def test_only_the_kept_ones_and_what_further_teachers_and_credit_gave() -> None:
    made = batch()
    prompts = ((9, 9), (), (9,))
    made.samples = [replace(s, more_prompts=(p,)) for s, p in zip(made.samples, prompts, strict=True)]
    made.more_teachers = [torch.tensor([-0.75, -1.0, 0.0, -8.0])]
    made.given_M, made.adv_M = made.adv_M, made.adv_M + 1.0
    [of_second] = token_streams(made, Learned({}, LIVE, [0]), [1], ("sibling",))
    assert (of_second["given"], of_second["adv"]) == ([-0.5], [0.5])
    assert math.isnan(of_second["gap/sibling"][0]), "it has no such teacher"
    [of_first] = token_streams(made, Learned({}, LIVE, [0]), [0], ("sibling",))
    assert of_first["gap/sibling"] == [0.25, 0.5, 1.0]


@pytest.mark.parametrize("mode", list(ContextMode))
def test_the_record_shows_what_student_and_teacher_saw(
    tmp_path: Path, world: World, mode: ContextMode
) -> None:
    rollout = RolloutConfig(tasks_per_step=4, group_size=2, max_tokens=6, context=mode)
    trainer = tiny_trainer(tmp_path / "run", world, rollout=rollout, objective=SDAR(coef=0.1, beta=2.0))
    trainer.step(1)
    records = read_trajectories(trainer.run, 1)
    assert len(records) == 8
    for record in records:
        for number, turn in enumerate(record["turns"]):
            messages = tuple(Message(**message) for message in turn["messages"])
            assert "".join(turn["pieces"]).removesuffix("<|im_end|>") == turn["text"]
            assert len(turn["pieces"]) == len(turn["tokens"])
            if mode is ContextMode.WINDOW or number == 0:
                shown = trainer.skills.apply(messages, trainer.skills.bank.skills)
                chat = trainer.chat
                assert turn["prompt"] == chat.verbatim(chat.render(messages))
                assert turn["teacher_prompt"] == chat.verbatim(chat.render(shown))
            else:
                assert turn["teacher_prompt"] == ""
            expected = torch.sigmoid(2.0 * torch.tensor(turn["gap"]))
            torch.testing.assert_close(torch.tensor(turn["gate"]), expected, atol=1e-4, rtol=1e-4)
            assert min(turn["entropy"]) >= 0


def test_pieces_join_to_the_text_also_where_a_character_has_several_tokens() -> None:
    chat, tokenizer = Chat(tiny_tokenizer()), tiny_tokenizer()
    text = "go to\u2603 fridge 1 \U0001f600!"
    tokens = [*tokenizer.encode(text), *sorted(chat.stop_ids)[:1]]
    pieces = chat.pieces(tokens)
    assert len(pieces) == len(tokens)
    assert "".join(pieces) == chat.verbatim(tokens)
    assert "\ufffd" not in "".join(pieces)
    cut = chat.pieces(tokenizer.encode("\u2603")[:1])
    assert cut == ["\ufffd"]
