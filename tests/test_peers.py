"""Rows of other projects against what these projects publish: their formulas, on padded matrices as they have them.

Theirs are written out here from the sources that `r1zero.objectives.peers` names. What is compared is what every
token's log-prob is multiplied with in the gradient at ρ = 1: all of advantage, whitening and aggregation.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from math import factorial, prod

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers import relative_error
from r1zero.learner.experience import token_advantages, whitened
from r1zero.objectives.expected_gradient import Audit
from r1zero.objectives.table import PEERS, TABLE, Objective
from r1zero.objectives.toy_mdp import Mdp
from r1zero.policy.batch import Trajectory
from regime import seeded

P, G = 2, 4
N = P * G
LENGTHS = (3, 9, 1, 6, 2, 7, 5, 12)
REWARDS = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
MASK = (torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]).double()
MICRO_BATCHES = MASK.split(N // 2)


# -- theirs


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """TRL, verl and SkyRL."""
    return (values * mask).sum() / mask.sum()


def masked_whiten(values: Tensor, mask: Tensor) -> Tensor:
    """TRL, verl and SkyRL: variance with Bessel's correction, ε inside the root."""
    mean = masked_mean(values, mask)
    variance = masked_mean((values - mean) ** 2, mask) * mask.sum() / (mask.sum() - 1)
    return (values - mean) * torch.rsqrt(variance + 1e-8)


def normalize(values: Tensor, mask: Tensor) -> Tensor:
    """OpenRLHF, and SimpleRL-Zero and Open-Reasoner-Zero that came from it."""
    mean = (values * mask).sum() / mask.sum()
    variance = (((values - mean) ** 2) * mask).sum() / mask.sum()
    return (values - mean) * variance.clamp(min=1e-8).rsqrt()


def gae(values: Tensor, lam: float) -> Tensor:
    """The loop of all of them, γ = 1: the reward stands at the last token."""
    rewards = torch.zeros_like(MASK)
    rewards[torch.arange(N), torch.tensor(LENGTHS) - 1] = torch.tensor(REWARDS, dtype=torch.float64)
    rows = []
    for i, length in enumerate(LENGTHS):
        last, row = 0.0, [0.0] * MASK.shape[1]
        for t in reversed(range(length)):
            after = float(values[i, t + 1]) if t + 1 < length else 0.0
            last = float(rewards[i, t]) + after - float(values[i, t]) + lam * last
            row[t] = last
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)


def grouped(std: Callable[[Sequence[float]], float], eps: float) -> Tensor:
    """(r − mean) / (std + ε) of each question, on every token."""
    rows = []
    for p in range(P):
        rewards = REWARDS[p * G : (p + 1) * G]
        rows += [(r - sum(rewards) / G) / (std(rewards) + eps) for r in rewards]
    return torch.tensor(rows, dtype=torch.float64)[:, None] * MASK


def torch_std(rewards: Sequence[float]) -> float:
    return float(torch.std(torch.tensor(rewards, dtype=torch.float64)))


def token_mean(gains: Tensor) -> Tensor:
    return masked_mean(gains, MASK)


def response_means(gains: Tensor) -> Tensor:
    """`masked_mean(loss, action_mask, dim=-1).mean()`."""
    return ((gains * MASK).sum(dim=-1) / MASK.sum(dim=-1)).mean()


def micro_batch_means(gains: Tensor) -> Tensor:
    """The token mean of each of two micro-batches, which gradient accumulation divides by two."""
    parts = zip(gains.split(N // 2), MICRO_BATCHES, strict=True)
    return sum((masked_mean(gain, mask) / 2 for gain, mask in parts), torch.zeros(()))


def packed_means(gains: Tensor) -> Tensor:
    """Open-Reasoner-Zero: responses stand in packs, one after another; `masked_mean(loss, None, dim=-1).mean()`."""
    rows = [row[:n] for row, n in zip(gains, LENGTHS, strict=True)]
    packs = [torch.cat(half)[None] for half in (rows[: N // 2], rows[N // 2 :])]
    return sum((pack.mean(dim=-1).mean() / len(packs) for pack in packs), torch.zeros(()))


def sum_norm(gains: Tensor) -> Tensor:
    """verl 0.9.1, `seq-mean-token-sum-norm`: the mean over responses, divided by the width of the mask."""
    return (gains * MASK).sum(dim=-1).sum() / N / MASK.shape[-1]


def sum_norm_before(gains: Tensor) -> Tensor:
    """verl 0.8.0.dev: the sum over responses, divided by the width of the mask."""
    return (gains * MASK).sum(dim=-1).sum() / MASK.shape[-1]


def coefficients(advantages: Tensor, aggregate: Callable[[Tensor], Tensor], clip: float = 0.2) -> Tensor:
    """What each token's log-prob is multiplied with in the gradient of the clipped objective, π being π_old."""
    logprobs = torch.zeros_like(MASK, requires_grad=True)
    ratio = (logprobs - logprobs.detach()).exp()
    gains = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return torch.autograd.grad(aggregate(gains), logprobs)[0]


CRITICS: dict[str, tuple[float, Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "verl/gae": (1.0, masked_whiten, token_mean),
    "skyrl/gae": (1.0, masked_whiten, token_mean),
    "openrlhf/gae": (1.0, normalize, token_mean),
    "trl/ppo": (0.95, masked_whiten, micro_batch_means),
    "simplerl-zero/ppo": (0.95, normalize, response_means),
    "open-reasoner-zero/ppo": (1.0, normalize, packed_means),
}
OTHERS: dict[str, tuple[Callable[[], Tensor], Callable[[Tensor], Tensor]]] = {
    "simplerl-zero/grpo": (lambda: grouped(torch_std, 1e-6), micro_batch_means),
    "open-instruct/standard": (lambda: grouped(lambda r: float(np.array(r).std()), 1e-8), token_mean),
    "verl/seq-mean-token-sum-norm": (lambda: grouped(torch_std, 1e-6), sum_norm),
    "verl/seq-mean-token-sum-norm@0.8": (lambda: grouped(torch_std, 1e-6), sum_norm_before),
    "verl/token-mean@legacy": (lambda: grouped(torch_std, 1e-6), micro_batch_means),
    "verl/token-mean@legacy+micro_batch=1": (lambda: grouped(torch_std, 1e-6), response_means),
    "liger/dapo": (lambda: grouped(torch_std, 1e-4), token_mean),
    "liger/dapo@0.8.0": (lambda: grouped(torch_std, 1e-4), micro_batch_means),
}


# -- ours


def our_coefficients(row: Objective, advantages: Sequence[Tensor]) -> Tensor:
    lengths_N, group_N = torch.tensor(LENGTHS), torch.arange(P).repeat_interleave(G)
    weights_N = row.response_weights(lengths_N, torch.ones(N, dtype=torch.bool), group_N).double()
    pushes = [weight * each.double() for weight, each in zip(weights_N, advantages, strict=True)]
    return torch.nn.utils.rnn.pad_sequence(pushes, batch_first=True)


def rows_of(matrix: Tensor) -> list[Tensor]:
    return [row[:n] for row, n in zip(matrix, LENGTHS, strict=True)]


def responses() -> list[Trajectory]:
    return [Trajectory((1,), tuple(range(n)), (0.0,) * n, r) for n, r in zip(LENGTHS, REWARDS, strict=True)]


@pytest.mark.parametrize("name", CRITICS)
def test_rows_with_a_critic_are_what_the_project_computes(name: str) -> None:
    row, (lam, whiten, aggregate) = PEERS[name], CRITICS[name]
    values = torch.randn(MASK.shape, generator=torch.Generator().manual_seed(seeded()), dtype=torch.float64) * MASK
    theirs = coefficients(whiten(gae(values, lam), MASK) * MASK, aggregate)
    old = [torch.zeros(n) for n in LENGTHS]
    estimates, returns = token_advantages(row, responses(), rows_of(values), old, None)
    learnt = whitened(row, estimates, list)
    assert relative_error(our_coefficients(row, [each for each in learnt if each is not None]), theirs) < 1e-6
    # the critic learns towards returns that no whitening has touched
    for estimate, goal, known in zip(estimates, returns, rows_of(values), strict=True):
        assert estimate is not None
        assert goal is not None
        torch.testing.assert_close(goal, estimate + known)


@pytest.mark.parametrize("name", OTHERS)
def test_rows_are_what_the_project_computes(name: str) -> None:
    row, (advantages, aggregate) = PEERS[name], OTHERS[name]
    graded = torch.ones(P, G, dtype=torch.bool)
    ours = row.advantages(torch.tensor(REWARDS, dtype=torch.float64).view(P, G), graded).flatten()
    spread = [value.expand(n) for value, n in zip(ours, LENGTHS, strict=True)]
    assert relative_error(our_coefficients(row, spread), coefficients(advantages(), aggregate)) < 1e-6


def test_every_row_that_whitens_is_held_against_its_project() -> None:
    assert {name for name, row in TABLE.items() if row.whiten != "none"} == set(CRITICS)
    assert all(TABLE[name].critic for name in CRITICS)


def test_tokens_are_whitened_over_all_ranks() -> None:
    row = PEERS["verl/gae"]
    values = torch.randn(MASK.shape, generator=torch.Generator().manual_seed(seeded()), dtype=torch.float64)
    whole = whitened(row, rows_of(values), list)
    meeting, sums = threading.Barrier(3), [[], [], []]  # the third rank has no responses
    shares: list[list[Tensor | None]] = [[None] * N, [None] * N, [None] * N]
    for i, each in enumerate(rows_of(values)):
        shares[i % 2][i] = each
    found: list[list[Tensor | None]] = [[], [], []]

    def rank(r: int) -> None:
        def all_reduce_sum(mine: Sequence[float]) -> list[float]:
            sums[r] = list(mine)
            meeting.wait(60)
            total = [float(sum(each)) for each in zip(*sums, strict=True)]
            meeting.wait(60)
            return total

        found[r] = whitened(row, shares[r], all_reduce_sum)

    threads = [threading.Thread(target=rank, args=(r,)) for r in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for i, each in enumerate(whole):
        mine = found[i % 2][i]
        assert mine is not None
        torch.testing.assert_close(mine, each, rtol=1e-12, atol=1e-12)
    assert found[2] == [None] * N


def test_without_whitening_token_advantages_are_what_they_were() -> None:
    values = rows_of(torch.randn(MASK.shape, generator=torch.Generator().manual_seed(seeded())))
    for before, after in zip(values, whitened(TABLE["ppo"], values, list), strict=True):
        assert after is not None
        assert after.dtype == before.dtype
        assert torch.equal(before, after)


# -- the audit's numbers


def bias_of_whitened_critics(size: int, bessel: bool) -> float:
    """‖a·E[g] − ∇J‖ / ‖∇J‖ of whitened rewards under a token mean, over every pair of groups as counts of classes."""
    mdp = Mdp()
    policy = mdp.policy()
    reward_K, length_K = (np.array(each, dtype=float) for each in zip(*mdp.classes, strict=True))
    chance_PK = mdp.class_probabilities(policy).numpy()
    classes = len(reward_K)
    counts = np.array(list(_compositions(size, classes)))
    ways = np.array([factorial(size) // prod(map(factorial, row)) for row in counts.tolist()], dtype=float)
    likely = [ways * np.prod(chance_K[None] ** counts, axis=1) for chance_K in chance_PK]
    expected_PK = np.zeros((2, classes))
    for first, chance in zip(counts, likely[0], strict=True):
        both = first[None] + counts
        tokens = both @ length_K
        mean = both @ (length_K * reward_K) / tokens
        squares = (both * length_K * (reward_K[None] - mean[:, None]) ** 2).sum(axis=1)
        if bessel:
            scale = 1 / np.sqrt(squares / (tokens - 1) + 1e-8)
        else:
            scale = 1 / np.sqrt(np.maximum(squares / tokens, 1e-8))
        push = (reward_K[None] - mean[:, None]) * scale[:, None] / tokens[:, None]
        odds = (chance * likely[1])[:, None]
        expected_PK[0] += (odds * first[None] * push).sum(axis=0)
        expected_PK[1] += (odds * counts * push).sum(axis=0)
    leaf = policy.clone().requires_grad_()
    chance_PS = mdp.probabilities(policy)
    share_PS = torch.from_numpy(expected_PK).gather(1, mdp.class_of) * chance_PS
    share_PS = share_PS / torch.from_numpy(chance_PK).gather(1, mdp.class_of)
    scores_PS = torch.where(mdp.mask, mdp.logprobs(leaf), 0.0).sum(dim=-1)
    (found,) = torch.autograd.grad((share_PS * scores_PS).sum(), leaf, retain_graph=True)
    (true,) = torch.autograd.grad((chance_PS * mdp.rewards * scores_PS).sum(), leaf)
    along = (found * true).sum() / found.square().sum()
    return float((along * found - true).norm() / true.norm())


def _compositions(total: int, parts: int) -> list[tuple[int, ...]]:
    if parts == 1:
        return [(total,)]
    return [(k, *rest) for k in range(total + 1) for rest in _compositions(total - k, parts - 1)]


@pytest.mark.parametrize(("size", "percent"), [(2, 35.0), (4, 14.5), (8, 6.4)])
def test_the_audit_of_whitened_critics_against_an_enumeration_of_its_own(size: int, percent: float) -> None:
    audit = Audit(Mdp(), size, Mdp().policy())
    for name, bessel in (("verl/gae", True), ("skyrl/gae", True), ("openrlhf/gae", False)):
        own = bias_of_whitened_critics(size, bessel)
        assert audit.measure(PEERS[name]).relative_bias == pytest.approx(own, rel=1e-9)
        if bessel:
            assert 100 * own == pytest.approx(percent, abs=0.1)
