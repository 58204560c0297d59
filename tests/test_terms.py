"""Every objective of the table in the learner: the formula in plain loops, under every split; KL, entropy, critic."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from helpers import (
    C,
    flat_gradient,
    full_logprobs,
    gradient_of,
    learner_of,
    policy_of,
    qwen,
    random_trajectories,
    reference_gradient,
    relative_error,
)
from r1zero.learner.experience import Experience
from r1zero.learner.value_head import ValueHead, clipped_value_loss
from r1zero.metrics import Tally
from r1zero.objectives import kl
from r1zero.objectives.table import TABLE, make_objective
from r1zero.policy.batch import Trajectory
from regime import seeded


def by_question(rows: list[Trajectory]) -> list[Trajectory]:
    """Rows of a question one after another, as the loop gives them."""
    return sorted(rows, key=lambda row: row.prompt_ids)


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if not row.critic])
@pytest.mark.parametrize("off_policy", [False, True])
@settings(max_examples=2)
@given(
    seed=st.integers(0, 10_000),
    micro_tokens=st.sampled_from([1, 20, 10**6]),
    layout=st.sampled_from(["padded", "packed", "shared"]),
)
def test_every_objective_is_its_formula_under_every_split(
    name: str, off_policy: bool, seed: int, micro_tokens: int, layout: str
) -> None:
    model, objective = qwen(), make_objective(name, constant=C)
    rows = by_question(random_trajectories(model, seed))
    generator = torch.Generator().manual_seed(seed)
    old = [torch.tensor(r.sampler_logprobs) + 0.3 * torch.randn(r.length, generator=generator) for r in rows]
    experience = old if off_policy else None
    wanted = reference_gradient(model, objective, rows, experience)
    found = gradient_of(learner_of(model, objective, micro_tokens=micro_tokens, layout=layout), rows, experience)
    assert (found - wanted).norm() <= 1e-5 * max(wanted.norm(), 1e-3)


# -- KL, entropy, truncated importance sampling


def exact_kl(logits: Tensor, reference: Tensor) -> Tensor:
    logp, logq = torch.log_softmax(logits, 0), torch.log_softmax(reference, 0)
    return (logp.exp() * (logp - logq)).sum()


def expected_gradient(estimator, logits: Tensor, reference: Tensor) -> Tensor:
    """E over tokens of the gradient of the estimator in the loss, on-policy: every token listed."""
    logits = logits.clone().requires_grad_()
    logp, logq = torch.log_softmax(logits, 0), torch.log_softmax(reference, 0)
    ratios = (logp - logp.detach()).exp()
    (logp.exp().detach() * estimator(logp, logq, ratios)).sum().backward()
    assert logits.grad is not None
    return logits.grad


@pytest.mark.parametrize("seed", range(3))
def test_kl_estimators_against_the_exact_divergence(seed: int) -> None:
    """PITFALLS 8: k2 and the corrected k3 have the true gradient in a loss; k3 has that of KL(π_ref ‖ π); k1 none."""
    generator = torch.Generator().manual_seed(seed)
    logits, reference = torch.randn(2, 7, generator=generator, dtype=torch.float64)
    variable = logits.clone().requires_grad_()
    (true,) = torch.autograd.grad(exact_kl(variable, reference), variable)
    (other,) = torch.autograd.grad(exact_kl(reference, variable), variable)
    close = {"atol": 1e-12, "rtol": 1e-10}
    torch.testing.assert_close(expected_gradient(lambda p, q, r: kl.k2(p, q), logits, reference), true, **close)
    torch.testing.assert_close(expected_gradient(kl.k3_corrected, logits, reference), true, **close)
    torch.testing.assert_close(expected_gradient(lambda p, q, r: kl.k3(p, q), logits, reference), other, **close)
    zero = expected_gradient(lambda p, q, r: kl.k1(p, q), logits, reference)
    torch.testing.assert_close(zero, torch.zeros_like(zero), **close)
    # in the reward: −d is what REINFORCE multiplies ∇log π with
    in_reward = expected_gradient(lambda p, q, r: r * kl.k1(p, q).detach(), logits, reference)
    torch.testing.assert_close(in_reward, true, **close)
    # and the values: all of them average to the divergence, but for k2
    logp, logq = torch.log_softmax(logits, 0), torch.log_softmax(reference, 0)
    for estimator in (kl.k1, kl.k3):
        torch.testing.assert_close((logp.exp() * estimator(logp, logq)).sum(), exact_kl(logits, reference), **close)


@pytest.mark.parametrize("estimator", ["k2", "k3", "k3_corrected"])
@pytest.mark.parametrize("layout", ["padded", "shared"])
@pytest.mark.parametrize("name", ["grpo", "gspo"])
def test_kl_and_entropy_go_through_the_same_weights(name: str, estimator: str, layout: str) -> None:
    """And a KL term keeps its own token's ratio where the surrogate takes the whole response's (PITFALLS 7)."""
    model, other = qwen(), qwen(seed=1)
    rows = random_trajectories(model, seed=2, count=5)
    objective = make_objective(name, kl=estimator, kl_coefficient=0.3, entropy=0.2)
    loss = torch.zeros(())
    for row in rows:
        logp = full_logprobs(model, row.prompt_ids, row.response_ids)
        logq = full_logprobs(other, row.prompt_ids, row.response_ids).detach()
        ids = torch.tensor([[*row.prompt_ids, *row.response_ids]])
        table = torch.log_softmax(model(input_ids=ids, use_cache=False).logits[0], -1)
        entropy = -(table.exp() * table).sum(-1)[len(row.prompt_ids) - 1 : -1]
        ratio = (logp - logp.detach()).exp()
        d = logp - logq
        term = {"k2": d**2 / 2, "k3": (-d).exp() - 1 + d, "k3_corrected": ratio * ((-d).exp() - 1 + d)}[estimator]
        loss = loss - (ratio * row.advantage - 0.3 * term + 0.2 * entropy).sum() / (len(rows) * row.length)
    model.zero_grad(set_to_none=True)
    loss.backward()
    wanted = flat_gradient(model)
    for micro_tokens in (1, 10**6):
        learner = learner_of(model, objective, reference=policy_of(other), micro_tokens=micro_tokens, layout=layout)
        experience = learner.hold(rows, Tally())
        assert relative_error(gradient_of(learner, rows, experience), wanted) < 1e-5


def test_importance_weights_are_capped() -> None:
    model = qwen()
    row = random_trajectories(model, seed=4, count=1)[0]
    # a sampler that thought its tokens twice, half and eight times as likely as the learner does, in turn
    factors = [(math.log(2), math.log(0.5), math.log(8))[t % 3] for t in range(row.length)]
    sampler = tuple(p + f for p, f in zip(row.sampler_logprobs, factors, strict=True))
    off = Trajectory(row.prompt_ids, row.response_ids, sampler, row.advantage)
    objective = make_objective("dr_grpo", constant=C, importance_cap=1.5)
    expected = torch.tensor([min(math.exp(-f), 1.5) for f in factors])  # ½, 1.5 for 2, ⅛
    loss = -(full_logprobs(model, row.prompt_ids, row.response_ids) * expected).sum() * row.advantage / C
    model.zero_grad(set_to_none=True)
    loss.backward()
    wanted = flat_gradient(model)
    assert relative_error(gradient_of(learner_of(model, objective), [off]), wanted) < 1e-5


def test_without_a_kl_term_zero_advantages_are_skipped_and_with_one_they_are_not() -> None:
    model, other = qwen(), qwen(seed=1)
    rows = [Trajectory(r.prompt_ids, r.response_ids, r.sampler_logprobs, 0.0) for r in random_trajectories(model, 1)]
    assert gradient_of(learner_of(model), rows).abs().max() == 0
    objective = make_objective("dr_grpo", kl="k2", kl_coefficient=0.1)
    learner = learner_of(model, objective, reference=policy_of(other))
    assert gradient_of(learner, rows, learner.hold(rows, Tally())).abs().max() > 0
    silent = [Trajectory(r.prompt_ids, r.response_ids, r.sampler_logprobs, 0.0, counts=False) for r in rows]
    assert gradient_of(learner, silent, learner.hold(silent, Tally())).abs().max() == 0


# -- the critic


def test_the_clipped_value_loss_by_hand() -> None:
    values, old, returns = torch.tensor([0.5, 0.9, 0.0]), torch.tensor([0.4, 0.0, 0.0]), torch.tensor([1.0, 1.0, 0.0])
    # inside the range: ½·0.25; outside: clipped to 0.2, ½·0.64 instead of ½·0.01; at the target: 0
    torch.testing.assert_close(clipped_value_loss(values, old, returns, 0.2), torch.tensor([0.125, 0.32, 0.0]))


def test_a_fresh_head_says_zero_so_that_ppo_begins_as_reinforce() -> None:
    assert ValueHead(8, seed=0)(torch.randn(5, 8)).tolist() == [0.0] * 5
    model = qwen()
    rows = random_trajectories(model, seed=6)
    learner = learner_of(model, make_objective("ppo", constant=C))
    ppo = gradient_of(learner, rows, learner.hold(rows, Tally()))
    reinforce = gradient_of(learner_of(model, make_objective("reinforce", constant=C)), rows)
    assert relative_error(ppo, reinforce) < 1e-5


def test_the_critic_learns() -> None:
    model = qwen()
    rows = random_trajectories(model, seed=7, count=12)
    objective = make_objective("ppo", constant=C, lam=0.9)
    learner = learner_of(model, objective, learning_rate=1e-12, updates=2)
    explained = []
    for step in range(150):
        tally = Tally()
        learner.learn(rows, step, tally)
        explained.append(tally.result()["learn/explained_variance"])
    assert explained[0] == pytest.approx(0.0, abs=1e-6)
    assert explained[-1] > 0.5


@pytest.mark.parametrize("name", ["ppo", "verl/gae", "simplerl-zero/ppo"])
@pytest.mark.parametrize("layout", ["padded", "packed", "shared"])
def test_ppos_gradient_is_the_same_for_every_split(layout: str, name: str) -> None:
    model = qwen()
    rows = random_trajectories(model, seed=8)
    learner = learner_of(model, make_objective(name, constant=C, lam=0.9))
    torch.manual_seed(seeded())
    assert learner.critic is not None
    torch.nn.init.normal_(learner.critic.head.outer.weight)
    experience = learner.hold(rows, Tally())
    learnt = torch.cat([each for each in experience.advantages or () if each is not None])
    assert (abs(float(learnt.mean())) < 1e-5) == (learner.objective.whiten != "none")
    wanted, heads = gradient_of(learner, rows, experience), []
    for micro_tokens in (1, 10**6):
        other = learner_of(model, learner.objective, micro_tokens=micro_tokens, layout=layout)
        assert other.critic is not None
        other.critic.head.load_state_dict(learner.critic.head.state_dict())
        again = other.hold(rows, Tally())
        assert relative_error(gradient_of(other, rows, again), wanted) < 1e-5
        heads.append(torch.cat([p.grad.flatten() for p in other.critic.head.parameters()]))  # type: ignore[union-attr]
    assert relative_error(heads[0], heads[1]) < 1e-5


def test_the_critics_state_goes_into_the_checkpoint() -> None:
    model = qwen()
    rows = random_trajectories(model, seed=9)
    objective = make_objective("ppo", constant=C)
    one = learner_of(model, objective, learning_rate=1e-12)
    one.learn(rows, 0, Tally())
    two = learner_of(model, objective, learning_rate=1e-12)
    two.restore(one.state())
    assert one.critic is not None
    assert two.critic is not None
    for a, b in zip(one.critic.head.parameters(), two.critic.head.parameters(), strict=True):
        assert torch.equal(a, b)
    first, second = one.hold(rows, Tally()), two.hold(rows, Tally())
    assert first.values is not None
    assert second.values is not None
    for a, b in zip(first.values, second.values, strict=True):
        assert a is not None
        assert b is not None
        assert torch.equal(a, b)
    assert Experience().of([1]) == Experience()
