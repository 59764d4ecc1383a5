import random
from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch

from sdar.model.logprobs import TokenScores
from sdar.objectives.base import Stream
from sdar.ops.reduce import Denominators
from sdar.rollout.samples import Sample
from sdar.trainer.batch import (
    Batch,
    loss_inputs,
    micro_batches,
    micro_batches_of,
    mini_batches,
    pack,
    runs,
    step_inputs,
)
from sdar.types import ContextMode, EndReason, Group, Task, Trajectory

CPU = torch.device("cpu")


def sample(prompt: str, body: str, trajectory: int, teacher: str = "", first_turn: int = 0) -> Sample:
    """Letters are tokens; capitals in the body were chosen by the policy, a run of them is a turn."""
    policy = tuple(letter.isupper() for letter in body)
    turns, turn = [], first_turn - 1
    for i, chosen in enumerate(policy):
        turn += chosen and (i == 0 or not policy[i - 1])
        if chosen:
            turns.append(turn)
    logps = tuple(-float(ord(letter)) for letter in body if letter.isupper())
    return Sample(
        prompt=tuple(map(ord, prompt)),
        body=tuple(map(ord, body)),
        policy=policy,
        logps=logps,
        turns=tuple(turns),
        trajectory=trajectory,
        teacher_prompt=tuple(map(ord, teacher)),
    )


SAMPLES = [sample("ab", "XYcdZ", 0, "skillab"), sample("ab", "W", 1), sample("q", "UVrST", 2, "skillq")]
ADVANTAGES = [(1.0, 2.0), (3.0,), (4.0, 5.0)]


def letters(tokens: torch.Tensor) -> str:
    return "".join(map(chr, tokens.tolist()))


def test_pack_scores_the_policy_tokens_from_the_token_before_each() -> None:
    packed = pack(SAMPLES, CPU)
    assert letters(packed.tokens) == "ababXYcdqUVrS", (
        "what follows the last token to predict from is not needed"
    )
    assert packed.seqlens == (2, 6, 5)
    assert packed.positions.tolist() == [*range(2), *range(6), *range(5)]
    assert letters(packed.targets) == "XYZWUVST"
    assert letters(packed.tokens[packed.select]) == "bXdbqUrS"


def test_the_teacher_sees_the_same_body_behind_its_own_prompt() -> None:
    batch = Batch.build(SAMPLES, ADVANTAGES, CPU)
    assert batch.taught == [0, 2]
    packed = pack([SAMPLES[row] for row in batch.taught], CPU, 0)
    assert letters(packed.tokens) == "skillabXYcdskillqUVrS"
    assert letters(packed.targets) == "XYZUVST"
    assert [batch.sequences(0)[row].tolist() for row in batch.taught] == [
        list(map(ord, text)) for text in ("skillabXYcdZ", "skillqUVrST")
    ]


def test_streams_land_on_their_row_and_column() -> None:
    batch = Batch.build(SAMPLES, ADVANTAGES, CPU)
    batch.streams[Stream.TEACHER] = batch.rollout_M * 2
    batch.streams[Stream.REF] = batch.rollout_M * 3
    live = torch.tensor([-4.0, -5.0, -6.0, -7.0, -1.0, -2.0, -3.0], requires_grad=True)
    x = loss_inputs(
        batch, [2, 0], TokenScores(live, None), frozenset({Stream.TEACHER}), Denominators(7, 2), (3, 9)
    )
    assert x.mask_BT.tolist() == [[True] * 4, [True] * 3 + [False]]
    assert x.logp_BT.tolist() == [[-4, -5, -6, -7], [-1, -2, -3, 0]]
    assert x.adv_BT.tolist() == [[4, 4, 5, 5], [1, 1, 2, 0]]
    assert x.turn_BT.tolist() == [[0, 0, 1, 1], [0, 0, 1, 0]]
    assert x.teacher_BT is not None
    assert x.teacher_BT.tolist() == [[-2.0 * ord(c) for c in "UVST"], [-2.0 * ord(c) for c in "XYZ"] + [0]]
    assert x.ref_BT is None, "a stream that the objective did not ask for"
    assert x.step == 3
    x.logp_BT.sum().backward()
    assert live.grad is not None
    assert live.grad.tolist() == [1.0] * 7


def test_a_sample_without_a_teacher_is_masked() -> None:
    batch = Batch.build(SAMPLES, ADVANTAGES, CPU)
    batch.streams[Stream.TEACHER] = torch.zeros(8)
    scores = TokenScores(torch.zeros(4), torch.ones(4))
    x = loss_inputs(
        batch, [1, 0], scores, frozenset({Stream.TEACHER, Stream.ENTROPY}), Denominators(4, 2), (0, 1)
    )
    assert x.taught_BT.tolist() == [[False] * 3, [True] * 3]
    assert x.mask_BT.tolist() == [[True, False, False], [True] * 3]
    assert x.entropy_BT is not None
    assert x.entropy_BT.sum() == 4


def episode(task: Task, index: int, success: bool) -> Trajectory:
    return Trajectory(task, index, ContextMode.TRANSCRIPT, (), success, EndReason.DONE)


def test_a_step_knows_the_episode_turn_and_group_of_every_token() -> None:
    batch = Batch.build(SAMPLES, ADVANTAGES, CPU)
    batch.streams = {Stream.TEACHER: batch.rollout_M * 2, Stream.REF: batch.rollout_M}
    one, two = Task("1", "k"), Task("2", "k")
    groups = [
        Group(one, [episode(one, 0, True), episode(one, 1, False)]),
        Group(two, [episode(two, 0, True)]),
    ]
    x = step_inputs(batch, groups, frozenset({Stream.TEACHER, Stream.OLD}), (4, 9))
    assert x.episode_M.tolist() == [0, 0, 0, 1, 2, 2, 2, 2]
    assert x.turn_M.tolist() == [0, 0, 1, 0, 0, 0, 1, 1]
    assert x.adv_M.tolist() == [1.0, 1.0, 2.0, 3.0, 4.0, 4.0, 5.0, 5.0]
    assert x.taught_M.tolist() == [True] * 3 + [False] + [True] * 4
    assert (x.group_E.tolist(), x.success_E.tolist()) == ([0, 0, 1], [True, False, True])
    assert (x.step, x.steps) == (4, 9)
    assert list(x.streams) == [Stream.TEACHER], "what the objective does not need is not shown"
    assert torch.equal(x.stream(Stream.TEACHER), batch.rollout_M * 2)


def test_turns_index_the_advantages_of_window_samples() -> None:
    second = sample("ab", "W", 0, first_turn=1)
    assert Batch.build([SAMPLES[1], second], [(0.0, 7.0), (3.0,)], CPU).adv_M.tolist() == [3.0, 7.0]


def test_denominators_count_policy_tokens_and_sequences_that_have_one() -> None:
    batch = Batch.build([*SAMPLES, sample("ab", "cd", 1)], ADVANTAGES, CPU)
    assert batch.denominators([0, 2, 3], 5) == Denominators(7.0, 2.0, 5.0)


def test_mini_batches_partition_and_shuffle() -> None:
    parts = mini_batches(100, 32, [0, 1])
    assert [len(part) for part in parts] == [34, 33, 33]
    assert sorted(chain(*parts)) == list(range(100))
    assert parts == mini_batches(100, 32, [0, 1])
    assert parts != mini_batches(100, 32, [0, 2])
    assert len(mini_batches(5, 64, [0])) == len(mini_batches(5, 0, [0])) == 1


def check_micro(lengths: Sequence[int], budget: int, ranks: int) -> list[list[int]]:
    rows = list(range(len(lengths)))
    cut = micro_batches(rows, [(row,) * length for row, length in enumerate(lengths)], budget, ranks)
    assert sorted(chain(*cut)) == rows
    assert len(cut) % ranks == 0
    assert all(
        sum(lengths[r] for r in part) <= budget or len(part) == 1 for part in cut if max(lengths) <= budget
    )
    return cut


def test_micro_batches_keep_the_budget_and_balance_ranks() -> None:
    rng = random.Random(0)
    for ranks in (1, 2, 3):
        for _ in range(30):
            lengths = [rng.randrange(1, 600) for _ in range(rng.randrange(1, 80))]
            cut = check_micro(lengths, rng.randrange(600, 5000), ranks)
            loads = [sum(sum(lengths[r] for r in part) for part in cut[rank::ranks]) for rank in range(ranks)]
            if len(lengths) > 4 * len(cut):
                assert max(loads) <= 1.15 * sum(lengths) / ranks


def test_a_row_longer_than_the_budget_stands_alone() -> None:
    assert check_micro([50, 3, 3, 3], 10, 1)[0] == [0]


def test_ranks_without_work_get_an_empty_micro_batch() -> None:
    assert sorted(map(len, micro_batches([0], [(1,) * 5], 100, 4))) == [0, 0, 0, 1]
    assert micro_batches([], [], 100, 2) == []


def test_rows_that_begin_alike_come_together_and_share_their_budget() -> None:
    """Four kinds of 100 shared tokens, eight rows each with 10 of their own: 180 tokens a kind + reads."""
    rows = [(kind,) * 100 + (100 + row,) * 10 for row in range(8) for kind in range(4)]
    cut = micro_batches(range(32), rows, 230, 1)
    assert sorted(sorted(rows[r][0] for r in part) for part in cut) == [[kind] * 8 for kind in range(4)]
    assert len(pack([Sample(row, (1,), (True,), (-1.0,), (0,), 0) for row in rows], CPU).tokens) == 4 * 180


def test_a_cut_by_samples_keeps_their_order_and_reaches_every_rank() -> None:
    assert micro_batches_of([4, 2, 0, 1], 3, 1) == [[4, 2, 0], [1]]
    assert micro_batches_of([4, 2, 0, 1], 3, 4) == [[4, 2, 0], [1], [], []]
    assert micro_batches_of([], 3, 2) == []
    assert runs([3, 1, 2], 2) == [[3, 1], [2]]


def test_a_step_is_assembled_in_milliseconds() -> None:
    """64 episodes of 600 tokens; the time budget is wide because the machine is shared."""
    from time import process_time

    rng = np.random.default_rng(0)
    samples = []
    for i in range(64):
        policy = tuple((rng.random(580) < 0.4).tolist())
        count = sum(policy)
        samples.append(Sample((1,) * 20, (2,) * 580, policy, (-1.0,) * count, (0,) * count, i, (3,) * 200))
    start = process_time()
    batch = Batch.build(samples, [(1.0,)] * 64, CPU)
    for cut in micro_batches(range(64), batch.sequences(0), 8192, 1):
        packed = pack([samples[r] for r in cut], CPU, 0)
        loss_inputs(
            batch,
            cut,
            TokenScores(torch.zeros(len(packed.select)), None),
            frozenset(),
            Denominators(1, 1),
            (0, 1),
        )
    assert process_time() - start < 0.5
