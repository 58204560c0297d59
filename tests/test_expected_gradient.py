"""The exact audit: against every single batch that can be drawn, against the formulas, and against sampling."""

from dataclasses import replace
from itertools import product, takewhile
from pathlib import Path

import pytest
import torch
from torch import Tensor

from helpers import relative_error
from r1zero.objectives.expected_gradient import Audit, TooManyError, compare, expected_gradient, pushes
from r1zero.objectives.length_dynamics import follow
from r1zero.objectives.measured import share
from r1zero.objectives.table import PEERS, PRESETS, TABLE, Objective
from r1zero.objectives.toy_mdp import STOP, Mdp, ahead
from regime import seeded

TINY = Mdp(rounds=1, stride=1)  # ■, a■, b■, aa, ab, ba, bb
FULL = Mdp()
PAGE = Path(__file__).resolve().parents[1] / "docs" / "objectives.md"


def tiny_policy(seed: int = 0, questions: int = 2) -> Tensor:
    mdp = replace(TINY, gold=(0, 1, 0)[:questions])
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(questions, len(mdp.prefixes), 3, generator=generator, dtype=torch.float64)


def covering() -> list[Objective]:
    """Rows that have every advantage, whitening, weighting and way of cutting between them."""
    rows, seen = [], set()
    for row in TABLE.values():
        parts = {row.advantage.split("_1e")[0], f"whiten {row.whiten}", (row.weights, row.chunking)}
        if not parts <= seen:
            rows.append(row)
            seen |= parts
    return rows


# -- the task


def test_the_strings_of_the_tiny_task() -> None:
    a, b = 0, 1
    assert TINY.strings == ((STOP,), (a, STOP), (b, STOP), (a, a), (a, b), (b, a), (b, b))
    assert TINY.lengths.tolist() == [1, 2, 2, 2, 2, 2, 2]
    # gold letters a and b; what was cut off is wrong whatever its letters
    assert TINY.rewards.tolist() == [[0, 1, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0, 0]]
    assert TINY.classes == ((0.0, 1), (0.0, 2), (1.0, 2))


def test_the_audited_task_has_short_and_long_answers_of_both_kinds() -> None:
    assert FULL.classes == ((0.0, 1), (0.0, 4), (1.0, 4), (0.0, 7), (1.0, 7))
    policy = FULL.policy()
    torch.testing.assert_close(FULL.probabilities(policy).sum(dim=1), torch.ones(2, dtype=torch.float64))
    assert FULL.class_probabilities(policy).min() > 0.02
    # one question is easy, the other hard
    passed = (FULL.probabilities(policy) * FULL.rewards).sum(dim=1)
    assert passed[0] > 0.5
    assert 0.05 < passed[1] < 0.2


def test_the_true_gradient_is_that_of_finite_differences() -> None:
    policy, direction = tiny_policy(), torch.randn(2, 3, 3, dtype=torch.float64)
    h = 1e-6
    slope = (TINY.expected_reward(policy + h * direction) - TINY.expected_reward(policy - h * direction)) / (2 * h)
    assert float((TINY.true_gradient(policy) * direction).sum()) == pytest.approx(float(slope), rel=1e-7)


# -- the expectation, against brute force


def brute_force(mdp: Mdp, objective: Objective, size: int, logits: Tensor, old: Tensor) -> Tensor:
    """Σ over all |strings|^(P·G) batches of their probability times their gradient: no classes, no homogeneity.

    Uses what training uses: `Objective.audited_advantages`, `response_weights`, `ratios` and `gains`.
    """
    questions, strings = len(mdp.gold), len(mdp.strings)
    chance_PS = mdp.probabilities(old)
    group_N = torch.arange(questions).repeat_interleave(size)
    graded_PG = torch.ones(questions, size, dtype=torch.bool)
    drawn, share, advantages = [], [], []
    for batch in product(range(strings), repeat=questions * size):
        picked_N = torch.tensor(batch)
        rewards_PG = mdp.rewards[group_N, picked_N].view(questions, size)
        lengths_N = mdp.lengths[picked_N]
        advantages_N = objective.audited_advantages(rewards_PG, graded_PG, lengths_N.view(questions, size)).flatten()
        if not advantages_N.any():
            continue
        weights_N = objective.response_weights(lengths_N, advantages_N != 0, group_N)
        drawn.append(group_N * strings + picked_N)
        share.append(weights_N * chance_PS[group_N, picked_N].prod())
        advantages.append(advantages_N)
    drawn_R, share_R, advantages_R = torch.cat(drawn), torch.cat(share), torch.cat(advantages)
    leaf = logits.clone().requires_grad_()
    log_ratios_RT = (mdp.logprobs(leaf) - mdp.logprobs(old)).flatten(0, 1)[drawn_R]
    mask_RT = mdp.mask.repeat(questions, 1)[drawn_R]
    response_N = torch.arange(len(drawn_R))[:, None].expand_as(mask_RT)[mask_RT]
    ratios_N = objective.ratios(log_ratios_RT[mask_RT], response_N)
    total = (share_R[response_N] * objective.gains(ratios_N, advantages_R[response_N])).sum()
    return torch.autograd.grad(total, leaf)[0]


def exact(mdp: Mdp, objective: Objective, size: int, logits: Tensor, old: Tensor) -> Tensor:
    expected = pushes(mdp, objective, size).expected(mdp.class_probabilities(old))
    return expected_gradient(mdp, objective, expected, logits, old)


@pytest.mark.parametrize("row", covering(), ids=lambda row: row.name)
def test_every_advantage_with_its_weights_against_all_batches(row: Objective) -> None:
    policy = tiny_policy()
    everything = brute_force(TINY, row, 2, policy, policy)
    # response_weights is in float32, where the audit is in float64
    assert relative_error(exact(TINY, row, 2, policy, policy), everything) < 3e-7


@pytest.mark.parametrize(
    "name", ["dr_grpo", "rloo", "reinforce", "gspo", "trl/luspo", "cispo", "trl/sapo", "verl/dr_grpo", "prime-rl/grpo"]
)
def test_every_surrogate_off_policy_against_all_batches(name: str) -> None:
    row, mdp, old = TABLE[name], replace(TINY, gold=(0,)), tiny_policy(questions=1)
    logits = old + 0.8 * tiny_policy(seed=1, questions=1)  # ratios from a half to twice and beyond
    everything = brute_force(mdp, row, 3, logits, old)
    assert relative_error(exact(mdp, row, 3, logits, old), everything) < 3e-7


@pytest.mark.parametrize("chunks", [3, 4, 8])
def test_micro_batches_that_cut_through_groups_against_all_batches(chunks: int) -> None:
    row, policy = replace(PEERS["verl/token-mean@legacy"], chunks=chunks), tiny_policy()
    assert relative_error(exact(TINY, row, 2, policy, policy), brute_force(TINY, row, 2, policy, policy)) < 3e-7


def test_groups_of_three_under_micro_batches_by_tokens() -> None:
    mdp, row = replace(Mdp(rounds=2, stride=1), gold=(0,)), PEERS["verl/seq-mean-token-sum-norm@legacy+dynamic"]
    generator = torch.Generator().manual_seed(seeded())
    policy = torch.randn(1, len(mdp.prefixes), 3, generator=generator, dtype=torch.float64)
    assert relative_error(exact(mdp, row, 3, policy, policy), brute_force(mdp, row, 3, policy, policy)) < 3e-7


def test_the_expectation_is_what_sampling_tends_to() -> None:
    # real batches of the full task, 2,000 of them, GRPO; the error of each coordinate is known from their spread
    row, size, policy = PRESETS["grpo"], 4, FULL.policy()
    generator = torch.Generator().manual_seed(seeded())
    direction = FULL.true_gradient(policy)
    # what each string's ∇ log π says along ∇J
    _, per_string_PS = torch.func.jvp(lambda x: FULL.logprobs(x).sum(dim=-1), (policy,), (direction,))
    seen = []
    group_N, graded = torch.arange(2).repeat_interleave(size), torch.ones(2, size, dtype=torch.bool)
    for _ in range(2000):
        picked_PG = torch.multinomial(FULL.probabilities(policy), size, replacement=True, generator=generator)
        rewards_PG, lengths_PG = FULL.rewards.gather(1, picked_PG), FULL.lengths[picked_PG]
        advantages_PG = row.advantages(rewards_PG, graded, lengths_PG)
        weights_N = row.response_weights(lengths_PG.flatten(), advantages_PG.flatten() != 0, group_N)
        seen.append(float((weights_N * (advantages_PG * per_string_PS.gather(1, picked_PG)).flatten()).sum()))
    estimates = torch.tensor(seen)
    expected = float((exact(FULL, row, size, policy, policy) * direction).sum())
    error = float(estimates.std()) / 2000**0.5
    assert abs(float(estimates.mean()) - expected) < 4 * error
    assert error < 0.05 * expected


# -- what the theory says


@pytest.mark.parametrize("size", [2, 3, 4, 8])
def test_dr_grpo_is_unbiased_to_a_known_factor(size: int) -> None:
    row, policy = replace(PRESETS["dr_grpo"], constant=7.0), FULL.policy()
    truth = FULL.true_gradient(policy)
    assert relative_error(exact(FULL, row, size, policy, policy), (size - 1) / size * truth / 7.0) < 1e-12


@pytest.mark.parametrize("name", ["rloo", "reinforce", "ppo"])
@pytest.mark.parametrize("size", [2, 4])
def test_baselines_that_leave_the_response_out_have_no_factor(name: str, size: int) -> None:
    row, policy = replace(PRESETS[name], constant=7.0), FULL.policy()
    assert relative_error(exact(FULL, row, size, policy, policy), FULL.true_gradient(policy) / 7.0) < 1e-12


def test_max_rl_in_groups_of_two_and_in_the_limit() -> None:
    # both of a pair: every live group has mean 1/2, so dividing by it doubles the step and biases nothing
    policy = FULL.policy()
    assert Audit(FULL, 2, policy).measure(PRESETS["max_rl"]).relative_bias < 1e-12
    # with many samples it is ∇ log of each pass rate, which is another aim than J
    leaf = policy.clone().requires_grad_()
    passed_P = (FULL.probabilities(leaf) * FULL.rewards).sum(dim=1)
    (aim,) = torch.autograd.grad(passed_P.log().mean(), leaf)
    nearer = [compare(exact(FULL, PRESETS["max_rl"], size, policy, policy), aim)[0] for size in (2, 4, 8)]
    assert nearer == sorted(nearer)
    assert nearer[-1] > 0.96


def test_what_is_biased_and_how() -> None:
    audit = Audit(FULL, 4, FULL.policy())
    by_name = {name: audit.measure(row) for name, row in TABLE.items()}
    unbiased = {name for name, row in by_name.items() if row.relative_bias < 1e-12}
    assert unbiased == {
        *("dr_grpo", "ppo", "reinforce", "rloo"),
        *("trl/dr_grpo+scale_rewards=none", "verl/dr_grpo", "skyrl/seq_mean_token_sum_norm+grpo_norm_by_std=False"),
        "open-instruct/loss_denominator=C",
    }
    for name in TABLE.keys() - unbiased:
        assert by_name[name].relative_bias > 1e-3, name
    grpo, token_mean = by_name["grpo"], by_name["openrlhf/dr_grpo"]
    assert grpo.length_bias == pytest.approx(-1, abs=1e-9)
    assert grpo.difficulty_bias < -0.05
    assert grpo.relative_bias > 0.3
    # the two ablations have one bias each
    assert by_name["grpo_no_std"].length_bias == pytest.approx(-1, abs=1e-9)
    assert by_name["grpo_no_std"].difficulty_bias == pytest.approx(0, abs=1e-9)
    assert by_name["grpo_no_length"].length_bias == pytest.approx(0, abs=1e-9)
    assert by_name["grpo_no_length"].difficulty_bias == pytest.approx(grpo.difficulty_bias, abs=1e-9)
    # 1/T is the same for every response of a batch, and still smaller on average for a long one
    assert -0.3 < token_mean.length_bias < -0.01
    # one response per micro-batch makes verl's token mean GRPO
    one = by_name["verl/token-mean@legacy+micro_batch=1"]
    assert one.cosine == pytest.approx(by_name["verl/seq-mean-token-mean"].cosine, abs=1e-12)


def test_in_groups_of_two_dividing_by_the_deviation_biases_nothing() -> None:
    # every live pair is one right and one wrong answer, whose deviation is always the same
    row = Audit(FULL, 2, FULL.policy()).measure(PRESETS["grpo_no_length"])
    assert row.relative_bias < 1e-7  # ε
    assert row.scale == pytest.approx(2**0.5, rel=1e-6)


def test_off_policy_only_the_whole_products_of_ratios_would_be_exact() -> None:
    old = FULL.policy()
    near, far = ahead(FULL, old, 4, 0.05), ahead(FULL, old)
    ratios = (FULL.logprobs(near) - FULL.logprobs(old)).exp()
    assert 0.8 < ratios.min() < ratios.max() < 1.2  # nothing is clipped yet
    audit = Audit(FULL, 4, near, old)
    # a token's ratio knows nothing of the ratios before it; REINFORCE knows of none at all
    dr_grpo, reinforce = (audit.measure(PRESETS[name]).relative_bias for name in ("dr_grpo", "reinforce"))
    assert 1e-3 < dr_grpo < reinforce < 0.1
    # further on, the few tokens at the clip's bounds are those that the true gradient is made of
    audit = Audit(FULL, 4, far, old)
    clipped, capped = (audit.measure(PRESETS[name]).relative_bias for name in ("dr_grpo", "cispo"))
    assert clipped > 5 * capped
    # where nothing is off-policy
    assert Audit(FULL, 4, old, old).measure(PRESETS["dr_grpo"]).relative_bias < 1e-12


def test_compare_by_hand() -> None:
    # g = (2, 0), ∇J = (3, 4): the best multiple is 6/4, and (3, 0) misses (3, 4) by 4 of 5
    assert compare(torch.tensor([2.0, 0.0]), torch.tensor([3.0, 4.0])) == pytest.approx((0.6, 1.5, 0.8))
    # what points away is best left alone
    assert compare(torch.tensor([-2.0, 0.0]), torch.tensor([3.0, 4.0])) == pytest.approx((-0.6, 0.0, 1.0))
    assert compare(torch.zeros(2), torch.ones(2)) == (0.0, 0.0, 1.0)


def test_too_many_batches_are_refused() -> None:
    with pytest.raises(TooManyError, match="groups of 16"):
        pushes(FULL, PRESETS["dr_grpo"], 16)


def test_the_worked_example_of_the_page() -> None:
    # docs/objectives.md: one question; R right with 2 tokens, S wrong with 2, L wrong with 10; π = 1/2, 1/4, 1/4
    pi, rewards = torch.tensor([0.5, 0.25, 0.25]), torch.tensor([1.0, 0.0, 0.0])
    lengths = torch.tensor([2.0, 2.0, 10.0])

    def push(c: Tensor) -> Tensor:
        """E[c·∇ log π] on the three logits."""
        return pi * (c - (pi * c).sum())

    advantages = rewards - (pi * rewards).sum()
    torch.testing.assert_close(push(advantages), torch.tensor([1 / 4, -1 / 8, -1 / 8]))
    torch.testing.assert_close(push(advantages / lengths), torch.tensor([1 / 10, -3 / 40, -1 / 40]))


def test_the_table_of_the_page_is_what_the_audit_finds() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("| objectives | bias, G = 2"))
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in takewhile(bool, lines[first + 2 :])]
    printed = {name.strip("` "): row[1:3] for row in table for name in row[0].split(",")}
    assert set(printed) == set(TABLE)
    audits = [Audit(FULL, size, FULL.policy()) for size in (2, 4)]
    for name, row in TABLE.items():
        assert printed[name] == [share(audit.measure(row).relative_bias) for audit in audits], name


# -- dynamics


def test_following_the_objectives() -> None:
    start = FULL.policy()
    paths = {
        name: follow(FULL, PRESETS[name] if name else None, 4, start, steps=40) for name in ("", "dr_grpo", "grpo")
    }
    truth, unbiased, biased = paths[""], paths["dr_grpo"], paths["grpo"]
    # Dr. GRPO walks along ∇J itself
    assert unbiased.reward == pytest.approx(truth.reward, rel=1e-9)
    assert unbiased.length_wrong == pytest.approx(truth.length_wrong, rel=1e-9)
    # with equal steps, GRPO learns more slowly, and its wrong answers grow longer while its right ones grow shorter
    assert biased.reward[-1] < unbiased.reward[-1]
    assert biased.length_wrong[-1] > unbiased.length_wrong[-1] + 0.3
    assert biased.length_right[-1] < unbiased.length_right[-1]
    assert list(unbiased.reward) == sorted(unbiased.reward)
