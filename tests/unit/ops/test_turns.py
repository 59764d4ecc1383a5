import torch

from sdar.ops.turns import turn_average


def test_a_turn_is_averaged_over_its_masked_in_tokens() -> None:
    value = torch.tensor([[1.0, 3.0, 10.0, 8.0], [2.0, 4.0, 6.0, 9.0]])
    turn = torch.tensor([[5, 5, 6, 6], [0, 1, 1, 0]])
    mask = torch.tensor([[True, True, True, False], [True, True, True, False]])
    expected = torch.tensor([[2.0, 2.0, 10.0], [2.0, 5.0, 5.0]])
    assert torch.equal(turn_average(value, turn, mask)[:, :3], expected)
