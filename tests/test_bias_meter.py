"""The bias meter: slopes by hand, what it cannot tell, and what it does not depend on."""

from dataclasses import astuple, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from r1zero.objectives.bias_meter import Bias, bias_meter, fit, multipliers, pushes, reward_spread
from r1zero.objectives.example_batch import example_batch
from r1zero.objectives.table import PEERS, PRESETS, TABLE

REWARDS = torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
LENGTHS = torch.tensor([[2, 4, 8, 3], [5, 2, 9, 6], [7, 7, 1, 2]])
GRADED = torch.ones(3, 4, dtype=torch.bool)


def meter(name: str, rewards: Tensor = REWARDS, lengths: Tensor = LENGTHS, graded: Tensor = GRADED) -> Bias:
    return bias_meter(rewards, graded, lengths, TABLE[name])


@pytest.mark.parametrize(
    ("name", "length", "difficulty"),
    [
        ("dr_grpo", 0, 0),
        ("grpo", -1, -1),
        ("grpo_no_std", -1, 0),
        ("grpo_no_length", 0, -1),
        ("ppo", 0, 0),
        ("reinforce", 0, 0),
        ("rloo", 0, 0),
        ("dapo", 0, -1),
        ("gspo", -1, -1),
        ("cispo", 0, -1),
        ("trl/dr_grpo", 0, -1),  # half of the paper
        ("openrlhf/dr_grpo", 0, 0),  # the token mean differs between steps, not inside one
    ],
)
def test_slopes(name: str, length: float, difficulty: float) -> None:
    bias = meter(name)
    # ε in the divisor bends the slope by up to 3e-4
    assert (bias.length, bias.difficulty) == (
        pytest.approx(length, abs=1e-6),
        pytest.approx(difficulty, abs=1e-3),
    )


def test_multipliers_by_hand() -> None:
    # Dr. GRPO with C = 10 and N = 12: 1/120 wherever a group is live
    dr_grpo = multipliers(REWARDS, GRADED, LENGTHS, replace(PRESETS["dr_grpo"], constant=10.0))
    torch.testing.assert_close(dr_grpo[:2], torch.full((2, 4), 1 / 120, dtype=torch.float64))
    assert dr_grpo[2].isnan().all()
    # GRPO: 1 / (12·|o|·std), std by Bessel 1/2 and 1/√3
    grpo = multipliers(REWARDS, GRADED, LENGTHS, PRESETS["grpo"])
    torch.testing.assert_close(grpo[0], 2 / (12 * LENGTHS[0].double()))
    torch.testing.assert_close(grpo[1], 3**0.5 / (12 * LENGTHS[1].double()))


def test_pushes_by_hand() -> None:
    got = pushes(REWARDS, GRADED, LENGTHS, PRESETS["grpo_no_std"])
    # w·Â = (r − mean) / (12·|o|)
    torch.testing.assert_close(got[0], torch.tensor([0.75 / 24, -0.25 / 48, -0.25 / 96, -0.25 / 36]).double())
    assert got[2].tolist() == [0.0] * 4


def test_the_spread_of_rewards() -> None:
    assert reward_spread(REWARDS, GRADED).tolist() == pytest.approx([(3 / 16) ** 0.5, 0.5, 0.0])
    # whatever stands where nobody knows; √(p(1−p)) with p = 1/2 of the two known ones
    graded = torch.tensor([[True, True, False, False]])
    assert reward_spread(torch.tensor([[1.0, 0.0, torch.nan, 9.0]]), graded).tolist() == [0.5]


def test_what_cannot_be_told_is_none() -> None:
    assert meter("grpo", rewards=torch.ones(3, 4)) == Bias(None, None)  # nothing is live
    assert astuple(meter("grpo", lengths=torch.full((3, 4), 5))) == (None, pytest.approx(-1))
    one = meter("grpo", rewards=torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0] * 4, [0.0] * 4]))
    assert astuple(one) == (pytest.approx(-1), None)
    # every easy answer has 2 tokens and every hard one 8: which of the two is to blame?
    together = torch.tensor([[2] * 4, [8] * 4, [1] * 4])
    assert meter("grpo", lengths=together) == Bias(None, None)


def test_ungraded_responses_tell_nothing() -> None:
    graded = GRADED.clone()
    graded[0, 3] = graded[1, 0] = False
    wild = REWARDS.clone()
    wild[0, 3] = torch.nan
    m = multipliers(wild, graded, LENGTHS, PRESETS["dr_grpo"])
    assert m.isnan().tolist() == [[False, False, False, True], [True, False, False, False], [True] * 4]
    bias = meter("grpo", rewards=wild, graded=graded)
    assert bias.length == pytest.approx(-1, abs=1e-6)


def test_whitening_turns_signs() -> None:
    # a long wrong answer drags the token mean below the others: 3 short right ones and a wrong one of the same group
    rewards, lengths = (
        torch.tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]),
        torch.tensor([[1, 1, 1, 1], [1, 1, 1, 97]]),
    )
    row = PEERS["openrlhf/reinforce_baseline"]
    got = pushes(rewards, torch.ones(2, 4, dtype=torch.bool), lengths, row)
    # a = ±1/2, and 3/4, −1/4; the token mean is about −1/4: the short wrong ones of the second group are now neutral
    assert got[1, 0] > 0
    assert abs(got[1, 1]) < 0.05 * got[1, 0]
    assert got[0, 2] < 0


def test_a_fit_by_hand() -> None:
    lengths, spreads = torch.tensor([1.0, 2.0, 4.0, 8.0]), torch.tensor([0.5, 0.25, 0.5, 0.25])
    bias = fit(7 * lengths**-0.5 * spreads**2, lengths, spreads)
    assert astuple(bias) == (pytest.approx(-0.5), pytest.approx(2.0))


@given(
    constant=st.floats(0.1, 1e4),
    rewards=st.lists(st.sampled_from([0.0, 1.0]), min_size=12, max_size=12),
    lengths=st.lists(st.integers(1, 3000), min_size=12, max_size=12),
)
def test_dr_grpo_reads_nothing_on_any_batch(constant: float, rewards: list[float], lengths: list[int]) -> None:
    row = replace(PRESETS["dr_grpo"], constant=constant)
    bias = bias_meter(torch.tensor(rewards).view(3, 4), GRADED, torch.tensor(lengths).view(3, 4), row)
    assert bias.length is None or abs(bias.length) < 1e-6
    assert bias.difficulty is None or abs(bias.difficulty) < 1e-6
    grpo = bias_meter(torch.tensor(rewards).view(3, 4), GRADED, torch.tensor(lengths).view(3, 4), PRESETS["grpo"])
    assert grpo.length is None or grpo.length == pytest.approx(-1, abs=1e-4)
    assert (grpo.length is None, grpo.difficulty is None) == (bias.length is None, bias.difficulty is None)


@given(order=st.permutations(range(4)))
def test_the_order_of_a_group_does_not_matter(order: list[int]) -> None:
    one, other = meter("max_rl"), meter("max_rl", rewards=REWARDS[:, order], lengths=LENGTHS[:, order])
    assert one.length == pytest.approx(other.length)
    assert one.difficulty == pytest.approx(other.difficulty)


@pytest.mark.parametrize("name", TABLE)
def test_every_row_can_be_read(name: str) -> None:
    bias = bias_meter(*example_batch(), TABLE[name])
    assert bias.length is not None
    assert -1.2 < bias.length < 0.25
    assert bias.difficulty is not None


def test_equal_numbers_are_read_alike_wherever_in_memory_they_stand() -> None:
    # LAPACK's least squares gave two readings here, a run made twice two logs
    numbers = torch.rand(3, 101, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.1
    readings, between = set(), []
    for i in range(300):
        between.append(bytearray(i * 13 % 201 + 1))
        readings.add(astuple(fit(*(row.clone() for row in numbers))))
    assert len(readings) == 1


def test_two_slopes_are_those_of_least_squares() -> None:
    rows = torch.rand(3, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    shares = torch.rand(50, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    m, length, spread = rows.log()
    design = torch.stack([length, spread, torch.ones(50, dtype=torch.float64)], dim=1) * shares.sqrt()[:, None]
    wanted = torch.linalg.lstsq(design, (m * shares.sqrt())[:, None]).solution[:2, 0]
    assert astuple(fit(*rows, shares)) == pytest.approx(tuple(wanted.tolist()), rel=1e-9)
