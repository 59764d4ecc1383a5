"""The area under the curve and the means by hand, and when a teacher is warned of."""

import numpy as np
import pytest

from sdar.errors import DataError
from sdar.evaluation.gap import Gaps, gap_sheet, warning
from sdar.rollout.probes import Answer


def gaps(*rows: tuple[int, Answer, float]) -> Gaps:
    tasks, answers, values = zip(*rows, strict=True)
    return Gaps(np.array(tasks), np.array(answers), np.array(values), np.array(values) / 2)


GAPS = gaps(
    (0, Answer.EXPERT, 1.0),
    (0, Answer.EXPERT, 0.2),
    (0, Answer.MISTAKE, 0.2),  # below one, equal to the other: 3/4
    (0, Answer.RANDOM, -1.0),
    (1, Answer.EXPERT, 0.0),
    (1, Answer.MISTAKE, 0.5),
    (1, Answer.MISTAKE, -0.5),  # 1/2
)


def test_auc_is_a_mean_over_tasks_that_have_both() -> None:
    assert GAPS.auc(Answer.MISTAKE).value == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert GAPS.auc(Answer.RANDOM).value == 1.0


def test_means_are_over_tasks() -> None:
    assert GAPS.mean(Answer.EXPERT).value == pytest.approx((0.6 + 0.0) / 2)
    assert GAPS.mean(Answer.EXPERT, "gate_N").value == pytest.approx(0.15)


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match=r"no task has an answer of kind 'random' .*--limit"):
        gaps((0, Answer.EXPERT, 1.0), (1, Answer.RANDOM, 0.0)).auc(Answer.RANDOM)


def test_a_teacher_without_anything_to_teach_is_warned_of() -> None:
    rows = [(task, answer, float(answer is Answer.EXPERT)) for task in range(20) for answer in Answer]
    knows, idle = gaps(*rows), gaps(*((task, answer, 0.0) for task, answer, _ in rows))
    assert not warning(knows, idle)
    assert "AUC 0.50 against 0.50, 0.00 [0.00, 0.00] more" in warning(idle, idle)
    assert "nothing to teach" in warning(knows, knows), "any text would do"
    wrong, worse = (
        gaps(*((task, answer, -good + place * (answer is Answer.MISTAKE)) for task, answer, good in rows))
        for place in (0.0, 1.0)
    )
    assert "nothing to teach" in warning(wrong, worse), "likes mistakes more than the expert"


def test_the_sheet_has_a_row_for_each_kind_of_skills() -> None:
    sheet = gap_sheet("x", {"right": GAPS, "junk": GAPS})
    assert sheet.cells()[1][:2] == ["right", "0.62 [0.50, 0.75]"]
    assert [row[0] for row in sheet.cells()[1:]] == ["right", "junk"]
