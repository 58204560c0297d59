"""Objectives: every part by hand, the clipped surrogate's gradient, formulas and hashes."""

import math
import re
from string import Formatter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from r1zero.errors import UserError
from r1zero.objectives import advantage, surrogate, weights
from r1zero.objectives.objective import ADVANTAGES, SURROGATES, WEIGHTS
from r1zero.objectives.table import PEERS, PRESETS, TABLE, make_objective


def known(rewards: list[list[float]]) -> torch.Tensor:
    return torch.ones(len(rewards), len(rewards[0]), dtype=torch.bool)


# -- advantages


def test_centred_by_hand() -> None:
    rewards = [[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [2.0, 0.5, 0.5, 1.0]]
    # means 1/4, 1/2, 1
    expected = [[0.75, -0.25, -0.25, -0.25], [0.5, 0.5, -0.5, -0.5], [1.0, -0.5, -0.5, 0.0]]
    assert advantage.centred(torch.tensor(rewards), known(rewards)).tolist() == expected


def test_standardised_by_hand() -> None:
    rewards = [[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]]
    # Bessel: variance (9/16 + 3 · 1/16) / 3 = 1/4, std 1/2, and 3/4 / (1/2) = 3/2; then 4 · 1/4 / 3 = 1/3
    a, b = 1.5, 0.5 * math.sqrt(3)
    expected = torch.tensor([[a, -a / 3, -a / 3, -a / 3], [b, -b, b, -b]])
    torch.testing.assert_close(advantage.standardised(torch.tensor(rewards), known(rewards)), expected)


def test_ungraded_members_neither_enter_the_baseline_nor_receive_an_advantage() -> None:
    rewards = torch.tensor([[1.0, 0.0, 1.0, 1.0]])
    graded = torch.tensor([[True, True, True, False]])
    # the three known: mean 2/3, variance (1/9 + 4/9 + 1/9) / 2 = 1/3
    expected = torch.tensor([[1 / 3, -2 / 3, 1 / 3, 0.0]])
    torch.testing.assert_close(advantage.centred(rewards, graded), expected)
    torch.testing.assert_close(advantage.standardised(rewards, graded), expected * math.sqrt(3))
    # whatever stands where nobody knows
    for unknown in (-7.0, math.nan, math.inf):
        rewards[0, 3] = unknown
        torch.testing.assert_close(advantage.centred(rewards, graded), expected)
        torch.testing.assert_close(advantage.standardised(rewards, graded), expected * math.sqrt(3))


@pytest.mark.parametrize("function", [advantage.centred, advantage.standardised])
def test_a_single_graded_member_and_none_at_all_give_zeros(function) -> None:
    rewards = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    graded = torch.tensor([[True, False, False], [False, False, False]])
    assert function(rewards, graded).tolist() == [[0.0] * 3] * 2


@given(reward=st.floats(-1e6, 1e6, width=32), size=st.integers(1, 17))
def test_constant_groups_get_exact_zeros(reward: float, size: int) -> None:
    # 0.1 seven times over: the mean is off by rounding, and a divisor of ε would blow that up
    rewards = torch.full((1, size), reward)
    graded = torch.ones(1, size, dtype=torch.bool)
    lengths = torch.arange(1, size + 1)[None]
    for name, part in ADVANTAGES.items():
        if name not in ("raw", "gae"):  # which have no baseline
            assert part.function(rewards, graded, lengths).tolist() == [[0.0] * size]


@given(
    rewards=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=9),
    shift=st.sampled_from([-1.0, 3.0]),
    scale=st.sampled_from([2.0, 5.0]),
)
def test_what_advantages_do_not_depend_on(rewards: list[float], shift: float, scale: float) -> None:
    r, graded = torch.tensor([rewards]), torch.ones(1, len(rewards), dtype=torch.bool)
    centred, standardised = advantage.centred(r, graded), advantage.standardised(r, graded)
    assert abs(centred.sum().item()) < 1e-5
    torch.testing.assert_close(advantage.centred(r + shift, graded), centred)
    torch.testing.assert_close(advantage.centred(r * scale, graded), centred * scale)
    torch.testing.assert_close(advantage.standardised(r * scale + shift, graded), standardised)
    assert (centred.sign() == standardised.sign()).all()


# -- surrogates


@pytest.mark.parametrize(
    ("ratio", "adv", "gain", "slope"),
    [
        # ε_low = 0.2, ε_high = 0.3: the range is [0.8, 1.3]
        (1.0, 2.0, 2.0, 2.0),
        (1.2, 2.0, 2.4, 2.0),
        (1.5, 2.0, 2.6, 0.0),  # a good token has gained enough: 1.3 · 2
        (0.5, 2.0, 1.0, 2.0),  # a good token that lost goes on being pushed up
        (1.0, -2.0, -2.0, -2.0),
        (0.9, -2.0, -1.8, -2.0),
        (0.5, -2.0, -1.6, 0.0),  # a bad token has lost enough: 0.8 · −2
        (1.5, -2.0, -3.0, -2.0),  # a bad token that gained goes on being pushed down
        (1.5, 0.0, 0.0, 0.0),
    ],
)
def test_clipped_surrogate_by_hand(ratio: float, adv: float, gain: float, slope: float) -> None:
    ratios = torch.tensor([ratio], requires_grad=True)
    value = surrogate.clipped(ratios, torch.tensor([adv]), 0.8, 1.3)
    assert value.item() == pytest.approx(gain, abs=1e-6)
    value.sum().backward()
    assert ratios.grad is not None
    assert ratios.grad.item() == slope


@given(
    ratio=st.floats(0.125, 3.0, width=32).filter(lambda r: min(abs(r - 0.8), abs(r - 1.3)) > 1e-3),
    adv=st.floats(-2, 2, width=32),
)
def test_clip_active_says_where_the_gradient_stops(ratio: float, adv: float) -> None:
    ratios, advantages = torch.tensor([ratio], requires_grad=True), torch.tensor([adv])
    surrogate.clipped(ratios, advantages, 0.8, 1.3).sum().backward()
    assert ratios.grad is not None
    stopped = surrogate.clip_active(ratios.detach(), advantages, 0.8, 1.3).item()
    if adv != 0:
        assert stopped == float(ratios.grad.item() == 0)


# -- weights


def step_of(lengths: list[int], c: float = 8.0, **parts: list) -> weights.Step:
    sizes = torch.tensor(lengths, dtype=torch.int64)
    n = len(lengths)
    filled = {"live_N": [True] * n, "group_N": [0] * n, "chunk_N": [0] * n} | parts
    return weights.Step(sizes, **{name: torch.tensor(value) for name, value in filled.items()}, constant=c)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        # lengths 1, 4, 10 with N = 3, C = 8; questions 0, 0, 1; micro-batches 0, 1, 1; the last one is dead
        (weights.constant, [1 / 24] * 3),
        (weights.constant_total, [1 / 8] * 3),
        (weights.per_response, [1 / 3, 1 / 12, 1 / 30]),
        (weights.token_mean, [1 / 15] * 3),
        (weights.live_token_mean, [1 / 5] * 3),
        (weights.chunk_token_mean, [1 / (2 * 1), 1 / (2 * 14), 1 / (2 * 14)]),
        (weights.chunk_width, [1 / 30, 2 / 30, 2 / 30]),
        (weights.width, [1 / 10] * 3),
        (weights.mean_width, [1 / 30] * 3),
        (weights.question_token_mean, [1 / (2 * 5), 1 / (2 * 5), 1 / (2 * 10)]),
        (weights.response_sum, [1 / 3] * 3),
    ],
)
def test_weights_by_hand(function, expected: list[float]) -> None:
    step = step_of([1, 4, 10], live_N=[True, True, False], group_N=[0, 0, 1], chunk_N=[0, 1, 1])
    torch.testing.assert_close(function(step), torch.tensor(expected))


def test_every_weight_is_tested_by_hand() -> None:
    tested = {case[0] for mark in test_weights_by_hand.pytestmark for case in mark.args[1]}
    assert tested == {part.function for part in WEIGHTS.values()}


def test_a_part_uses_what_its_formula_shows() -> None:
    for part in WEIGHTS.values():
        assert part.uses == {name for _, name, _, _ in Formatter().parse(part.formula) if name}


def test_weights_of_no_responses_and_of_an_empty_one() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    for part in (weights.constant, weights.per_response, weights.token_mean):
        assert part(weights.Step(none, none.bool(), none, none, 8.0)).tolist() == []
    assert weights.per_response(step_of([0, 2])).tolist() == [0.5, 0.25]


def test_chunks() -> None:
    assert weights.equal_chunks(7, 3).tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert weights.equal_chunks(2, 5).tolist() == [0, 1]
    assert weights.equal_chunks(4, 1).tolist() == [0, 0, 0, 0]
    # budget 9, the longest; shortest first: 1+2+3 | 9, whatever the order they stand in
    assert weights.chunks_by_tokens(torch.tensor([9, 2, 1, 3])).tolist() == [1, 0, 0, 0]


# -- the table


def test_presets_are_what_they_say() -> None:
    dr_grpo, grpo = PRESETS["dr_grpo"], PRESETS["grpo"]
    assert (dr_grpo.advantage, dr_grpo.surrogate, dr_grpo.weights) == ("centred", "clipped", "constant")
    assert (grpo.advantage, grpo.surrogate, grpo.weights) == ("standardised", "clipped", "per_response")
    for name, row in TABLE.items():
        assert row.name == name
        assert row.advantage in ADVANTAGES
        assert row.surrogate in SURROGATES
        assert row.weights in WEIGHTS


def test_formula() -> None:
    objective = make_objective("dr_grpo", clip_low=0.2, clip_high=0.28, constant=3000.0)
    assert objective.formula == (
        "L = − Σ_i w_i Σ_t min(ρ·Â, clip(ρ, 1 − 0.2, 1 + 0.28)·Â); Â_i = r_i − mean(r); w_i = 1 / (N·C), C = 3000"
    )
    assert make_objective("grpo", constant=3000.0).formula == (
        "L = − Σ_i w_i Σ_t min(ρ·Â, clip(ρ, 1 − 0.2, 1 + 0.2)·Â); Â_i = (r_i − mean(r)) / (std(r) + 1e-8); "
        "w_i = 1 / (N·|o_i|)"
    )


def test_hashes_are_pinned() -> None:
    # they stand in the checkpoints of every run: change VERSION when a part's meaning changes, and these with it
    assert make_objective("dr_grpo", constant=3000.0).hash == "07463af5d7dc"
    assert make_objective("grpo").hash == "be06e89941e1"


@pytest.mark.parametrize("name", PRESETS)
def test_the_hash_changes_with_what_matters_and_only_with_that(name: str) -> None:
    base = make_objective(name, constant=10.0)
    assert make_objective(name, constant=10.0).hash == base.hash
    if base.surrogate != "policy_gradient":  # which has no clip range
        assert make_objective(name, constant=10.0, clip_low=0.1).hash != base.hash
        assert make_objective(name, constant=10.0, clip_high=0.1).hash != base.hash
    # C plays a part in dr_grpo only: GRPO with another budget is the same objective
    assert (make_objective(name, constant=11.0).hash != base.hash) is (base.weights == "constant")


def test_close_constants_are_not_the_same_objective() -> None:
    # the formula is what gets hashed, so it must not round two objectives into one
    for close in ({"constant": 3000.001}, {"clip_low": 0.2000001}, {"clip_high": 0.2000001}):
        changed = make_objective("dr_grpo", **{"constant": 3000.0, **close})
        assert changed.hash != make_objective("dr_grpo", constant=3000.0).hash


def test_presets_differ() -> None:
    assert len({make_objective(name).hash for name in PRESETS}) == len(PRESETS)


def test_the_rows_parts_are_the_ones_that_run() -> None:
    lengths, ratios, advantages = torch.tensor([2, 5]), torch.tensor([1.5, 0.5]), torch.tensor([1.0, -1.0])
    rewards, graded = torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.ones(1, 4, dtype=torch.bool)
    dr_grpo = make_objective("dr_grpo", clip_low=0.1, clip_high=0.3, constant=4.0)
    assert dr_grpo.response_weights(lengths).tolist() == [0.125, 0.125]  # 1 / (2·4)
    torch.testing.assert_close(dr_grpo.gains(ratios, advantages), torch.tensor([1.3, -0.9]))
    assert dr_grpo.at_bound(ratios, advantages).tolist() == [1.0, 1.0]
    assert dr_grpo.advantages(rewards, graded).tolist() == [[0.75, -0.25, -0.25, -0.25]]
    grpo = make_objective("grpo", constant=4.0)
    torch.testing.assert_close(grpo.response_weights(lengths), torch.tensor([1 / 4, 1 / 10]))
    torch.testing.assert_close(grpo.advantages(rewards, graded), torch.tensor([[1.5, -0.5, -0.5, -0.5]]))


# -- every name that a paper or project has for it


def test_names_that_mean_the_paper_and_names_that_do_not() -> None:
    """The hash tells: equal mathematics, equal hash."""
    dr_grpo = make_objective("dr_grpo", constant=9.0).hash
    for name in ("trl/dr_grpo+scale_rewards=none", "skyrl/seq_mean_token_sum_norm+grpo_norm_by_std=False"):
        assert make_objective(name, constant=9.0).hash == dr_grpo
    for name in ("trl/dr_grpo", "openrlhf/dr_grpo", "areal/gsm8k_drgrpo", "verl/seq-mean-token-sum-norm"):
        assert make_objective(name, constant=9.0).hash != dr_grpo
    assert PEERS["verl/token-mean@legacy+micro_batch=1"].hash == PEERS["verl/seq-mean-token-mean"].hash


def test_more_advantages_by_hand() -> None:
    rewards, graded = torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0]]), torch.ones(2, 4, dtype=torch.bool)
    assert advantage.raw(rewards, graded).tolist() == rewards.tolist()
    torch.testing.assert_close(
        advantage.leave_one_out(rewards, graded),
        torch.tensor([[1.0, -1 / 3, -1 / 3, -1 / 3], [1 / 3, 1 / 3, 1 / 3, -1.0]]),
    )
    torch.testing.assert_close(  # (r − 1/4) / (1/4), (r − 3/4) / (3/4)
        advantage.mean_divided(rewards, graded),
        torch.tensor([[3.0, -1.0, -1.0, -1.0], [1 / 3, 1 / 3, 1 / 3, -1.0]]),
    )
    # all eight: mean 1/2, variance 8 · 1/4 / 7
    std = math.sqrt(2 / 7) + 1e-4
    torch.testing.assert_close(advantage.batch_standardised(rewards, graded), advantage.centred(rewards, graded) / std)


def test_whitening_by_hand() -> None:
    """Three short right answers and a long wrong one: the worked example of the documentation."""
    rewards, graded = torch.tensor([[1.0, 1.0, 1.0, 0.0]]), torch.ones(1, 4, dtype=torch.bool)
    lengths = torch.tensor([[1, 1, 1, 9]])
    # a = ¼ ¼ ¼ −¾; token mean (3/4 − 27/4) / 12 = −½; a − mean = ¾ ¾ ¾ −¼; variance (3·9/16 + 9/16) / 12 = 3/16
    std = math.sqrt(3 / 16)
    expected = torch.tensor([[0.75 / std] * 3 + [-0.25 / std]])
    torch.testing.assert_close(advantage.whitened(rewards, graded, lengths), expected)


def test_gae_by_hand() -> None:
    rewards, values = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.5, 0.25, 0.75])
    # δ = 0 + ½·¼ − ½, 0 + ½·¾ − ¼, 1 − ¾ with γ = ½; then Â_3 = ¼, Â_2 = ⅛ + ½·½·¼, Â_1 = −⅜ + ¼·Â_2
    last, middle = 0.25, 0.125 + 0.25 * 0.25
    first = -0.375 + 0.25 * middle
    torch.testing.assert_close(advantage.gae(rewards, values, 0.5, 0.5), torch.tensor([first, middle, last]))


@given(
    rewards=st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=12),
    values=st.lists(st.floats(-2, 2, width=32), min_size=12, max_size=12),
)
def test_gae_with_lambda_and_gamma_one_is_the_return_minus_the_value(rewards: list[float], values: list[float]) -> None:
    r, v = torch.tensor(rewards), torch.tensor(values[: len(rewards)])
    to_come = r.flip(0).cumsum(0).flip(0)
    torch.testing.assert_close(advantage.gae(r, v, 1.0, 1.0), to_come - v, atol=1e-4, rtol=1e-5)


def test_sequence_ratios_by_hand() -> None:
    log_ratios = torch.tensor([0.1, 0.3, -0.6, 0.0, 0.5], requires_grad=True)
    responses = torch.tensor([7, 7, 2, 2, 2])
    found = surrogate.sequence_log_ratios(log_ratios, responses)
    torch.testing.assert_close(found.detach(), torch.tensor([0.2, 0.2, -0.1 / 3, -0.1 / 3, -0.1 / 3]))
    found.sum().backward()  # every token's share of its response's mean, as often as the mean stands there: 1
    torch.testing.assert_close(log_ratios.grad, torch.ones(5))


def test_other_surrogates_by_hand() -> None:
    ratios, advantages = torch.tensor([0.5, 1.0, 7.0]), torch.tensor([-1.0, 2.0, 1.0])
    expected = torch.tensor([-0.5 * math.log(0.5), 0.0, 5 * math.log(7)])
    torch.testing.assert_close(surrogate.cispo(ratios, advantages, 0.0, 5.0), expected)
    assert surrogate.weight_capped(ratios, advantages, 0.0, 5.0).tolist() == [0.0, 0.0, 1.0]
    torch.testing.assert_close(surrogate.importance(ratios, advantages, 0.0, 0.0), torch.tensor([-0.5, 2.0, 7.0]))
    torch.testing.assert_close(
        surrogate.policy_gradient(ratios, advantages, 0.0, 0.0), torch.tensor([math.log(2), 0.0, math.log(7)])
    )
    # a wrong token whose ratio ran away: −9 without the second clip, −3 with it; right ones are left alone
    gains = surrogate.dual_clipped(torch.tensor([-9.0, 9.0]), torch.tensor([-1.0, 1.0]), 3.0)
    assert gains.tolist() == [-3.0, 9.0]


@pytest.mark.parametrize("name", SURROGATES)
@given(
    ratio=st.floats(0.0625, 6, width=32),
    adv=st.floats(-2, 2, width=32),
    times=st.floats(0.125, 4, width=32),
)
def test_surrogates_are_homogeneous_in_the_advantage(name: str, ratio: float, adv: float, times: float) -> None:
    function = SURROGATES[name].function
    one = function(torch.tensor([ratio]), torch.tensor([adv]), 0.8, 1.3)
    many = function(torch.tensor([ratio]), torch.tensor([adv * times]), 0.8, 1.3)
    torch.testing.assert_close(many, times * one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SURROGATES)
def test_at_ratio_one_every_surrogate_has_the_policy_gradient(name: str) -> None:
    log_ratios, advantages = torch.zeros(3, requires_grad=True), torch.tensor([1.5, -0.5, 0.0])
    SURROGATES[name].function(log_ratios.exp(), advantages, 0.8, 1.2).sum().backward()
    torch.testing.assert_close(log_ratios.grad, advantages)


# -- settings


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("dr_grpo", {"kl": "k3"}, "objective.kl_coefficient"),
        ("dr_grpo", {"kl_coefficient": 0.1}, "set objective.kl to"),
        ("cispo", {"dual_clip": 6.0}, "objective.dual_clip"),
        ("dr_grpo", {"dual_clip": 1.1}, "inside the clip range"),
        ("reinforce", {"clip_low": 0.1}, "has no clip range"),
        ("dr_grpo", {"importance_cap": 0.5}, "set it to 1 or more"),
        ("grpo", {"lam": 0.95}, "belong to a critic"),
        ("grpo", {"chunks": 4}, "objective.chunks"),
        ("dr_grpo", {"ratio": "sequence"}, "weighs responses by length"),
    ],
)
def test_settings_that_contradict_each_other_are_one_sentence(name: str, settings: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)):
        make_objective(name, **settings)


def test_settings_show_in_the_formula() -> None:
    full = make_objective(
        "dr_grpo", constant=10.0, kl="k3", kl_coefficient=0.04, entropy=0.001, dual_clip=3.0, importance_cap=2.0
    )
    assert full.formula == (
        "L = − Σ_i w_i Σ_t [min(π_old/π_sampler, 2)·max(min(ρ·Â, clip(ρ, 1 − 0.2, 1 + 0.2)·Â), 3·Â where Â < 0) "
        "− 0.04·(π_ref/π − 1 − log(π_ref/π)) + 0.001·H]; Â_i = r_i − mean(r); w_i = 1 / (N·C), C = 10"
    )
    assert (
        "− (k_i − mean(k)), k_i = 0.04·Σ_t (log π_sampler − log π_ref)"
        in make_objective("grpo", kl="k1_reward", kl_coefficient=0.04).formula
    )
    assert make_objective("ppo", lam=0.95).formula != make_objective("ppo").formula
    assert make_objective("trl/bnpo", chunks=8).hash != make_objective("trl/bnpo").hash


def test_an_unknown_name_is_one_helpful_sentence() -> None:
    with pytest.raises(UserError, match=r"objective.name = 'dr_grop'.*did you mean 'dr_grpo'.*dr_grpo, grpo"):
        make_objective("dr_grop")
    with pytest.raises(UserError, match=r"'zzz' is not in the table; it has: dr_grpo"):
        make_objective("zzz")


def test_whitening_token_advantages_by_hand() -> None:
    # one token of advantage 1, three of 0: mean 1/4, squares 9/16 + 3·1/16 = 3/4; variance 1/4 (Bessel) or 3/16
    values, tokens = torch.tensor([1.0, 0.0], dtype=torch.float64), torch.tensor([1, 3])
    found = advantage.whiten_tokens(values, tokens, advantage.sample_scale)
    torch.testing.assert_close(found, torch.tensor([1.5, -0.5], dtype=torch.float64), rtol=1e-7, atol=0)
    found = advantage.whiten_tokens(values, tokens, advantage.population_scale)
    torch.testing.assert_close(found, torch.tensor([3**0.5, -(3**-0.5)], dtype=torch.float64), rtol=1e-12, atol=0)
    for scale in (advantage.sample_scale, advantage.population_scale):
        for alike in ([], [0.5], [0.5, 0.5]):  # nothing to divide by
            same = torch.tensor(alike, dtype=torch.float64)
            assert advantage.whiten_tokens(same, torch.ones(len(alike), dtype=torch.int64), scale).tolist() == [
                0.0
            ] * len(alike)


def test_the_gain_of_an_on_policy_step_is_0_under_grpo_and_tells_of_lengths_under_dr_grpo() -> None:
    """What docs/metrics.md says of `learn/gain`: Σ w·|o|·Â, ρ being 1."""
    rewards, lengths = torch.tensor([[1.0, 0.0, 0.0, 1.0]]), torch.tensor([[2, 9, 5, 4]])
    found = {}
    for name in ("grpo", "grpo_no_std", "dr_grpo"):
        objective = make_objective(name, constant=10.0)
        advantages = objective.advantages(rewards, known(rewards.tolist()), lengths).flatten()
        found[name] = float((objective.response_weights(lengths.flatten()) * lengths.flatten() * advantages).sum())
    assert found["grpo"] == found["grpo_no_std"] == 0
    # Â = ½, −½, −½, ½ and w = 1/(4·10): (2 − 9 − 5 + 4)/2 / 40
    assert found["dr_grpo"] == pytest.approx(-0.1)
