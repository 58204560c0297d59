"""Functions of a program's own as parts of an objective: what they are given, and what becomes of what they return."""

import math

import pytest
import torch
from torch import Tensor

from r1zero.errors import UserError
from r1zero.objectives import own
from r1zero.objectives.weights import Step

REWARDS = torch.tensor([[1.0, math.nan], [0.0, 2.0]])
GRADED = torch.tensor([[True, False], [True, True]])
LENGTHS = torch.tensor([[3.0, 5.0], [7.0, 9.0]])


def test_what_nobody_could_grade_is_0_to_a_function_and_has_no_advantage() -> None:
    given: dict[str, Tensor] = {}

    def advantage(rewards_PG: Tensor, graded: Tensor, lengths_PG: Tensor) -> Tensor:
        given.update(rewards=rewards_PG, graded=graded, lengths=lengths_PG)
        return torch.full_like(rewards_PG, 7.0, dtype=torch.float64)

    found = own.advantage(advantage)(REWARDS, GRADED, LENGTHS)
    assert found.tolist() == [[7.0, 0.0], [7.0, 7.0]]
    assert found.dtype == torch.float32
    assert given["rewards"].tolist() == [[1.0, 0.0], [0.0, 2.0]]
    assert torch.equal(given["graded"], GRADED)
    assert torch.equal(given["lengths"], LENGTHS)


def test_functions_are_given_what_they_name_by_name_or_by_place() -> None:
    ratios, advantages = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0])

    def gain(advantages: Tensor, ratios_N: Tensor, /, high: float, low: float, scale: float = 2.0) -> Tensor:
        return advantages + 10 * ratios_N + 100 * low + 1000 * high * scale

    assert own.gain(gain)(ratios, advantages, 1.0, 4.0).tolist() == [8113.0, 8125.0]
    step = Step(torch.tensor([4, 0]), torch.tensor([True, False]), torch.tensor([3, 6]), torch.tensor([0, 0]), 8.0)
    weighed = own.response_weights(lambda lengths, live, group, constant: lengths + 10 * live + 100 * group + constant)
    assert weighed(step).tolist() == [4 + 10 + 300 + 8, 1 + 600 + 8]


def test_a_shape_that_would_be_stretched_is_refused() -> None:
    with pytest.raises(UserError, match=r"it returned a tensor of shape \[2, 1\], and must return .* \[2, 2\]"):
        own.advantage(lambda rewards: rewards[:, :1])(REWARDS, GRADED, LENGTHS)
    with pytest.raises(UserError, match="it asks for 'scale', and may name ratios, advantages, low, high"):
        own.gain(lambda ratios, scale: ratios)


def test_functions_of_one_name_are_two() -> None:
    one, other = (lambda by: lambda rewards: rewards * by)(1), (lambda by: lambda rewards: rewards * by)(2)
    assert own.label(one).startswith("<lambda>[")
    assert own.label(one) != own.label(other)
