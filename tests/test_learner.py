"""The learner's promises: the gradient is the formula's, for every split of the step; what an update does, exactly.

The reference throughout is `reference_gradient` of helpers: the objective written out in Python loops over full logits.
"""

import io
import math
import socket
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, multiprocessing
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel

from helpers import (
    EOS,
    TOKENIZER,
    C,
    encode,
    flat_gradient,
    flat_weights,
    full_logprobs,
    gradient_of,
    learner_of,
    llama,
    mistral,
    qwen,
    random_trajectories,
    rank_gradient,
    reference_gradient,
    relative_error,
    trajectory,
)
from r1zero import config
from r1zero.errors import UserError
from r1zero.learner.critic import Critic
from r1zero.learner.experience import Experience
from r1zero.learner.learner import Learner
from r1zero.learner.optimiser import learning_rate_factor
from r1zero.learner.ranks import Pass
from r1zero.metrics import Tally
from r1zero.objectives.table import make_objective
from r1zero.policy.batch import Trajectory
from r1zero.sampling.embedded.sampler import TorchSampler
from r1zero.sampling.protocol import Request, SamplingParams

LAYOUTS = get_args(config.LearnerSettings.model_fields["layout"].annotation)
# the other rows of the table are in test_terms
OBJECTIVES = {name: make_objective(name, clip_low=0.2, clip_high=0.3, constant=C) for name in ("dr_grpo", "grpo")}


def older(rows: Sequence[Trajectory], seed: int, scale: float = 0.3) -> list[Tensor]:
    """Log-probs of a π_old somewhat off: about half of the ratios leave the clip range."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.tensor(r.sampler_logprobs) + scale * torch.randn(r.length, generator=generator) for r in rows]


# -- the gradient


READS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_consecutive", "unique_dim"}


class NoWaits(TorchDispatchMode):
    """Fails where code of ours reads a value off a device, until it is told that all passes are under way: a GPU would
    have to finish all that it has been given. What transformers reads to make a mask, once a pass, is not ours.
    """

    under_way = False
    reads = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name == "index" and any(each is not None and each.dtype == torch.bool for each in args[1])
        if by_mask or name in READS:
            files = (frame.f_code.co_filename for frame, _ in traceback.walk_stack(None))
            caller = next(path for path in files if "/torch/" not in path and path != __file__)
            assert self.under_way or "/r1zero/" not in caller, f"{name} by {caller}"
            self.reads += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("off_policy", [False, True])
def test_no_pass_waits_for_what_a_device_has_yet_to_compute(
    layout: str, off_policy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, mode, passes = qwen(), NoWaits(), []
    rows = random_trajectories(model, 0)
    learner = learner_of(model, OBJECTIVES["grpo"], layout=layout, micro_tokens=10)
    plain = learner.ranks.pad_passes

    def watched(given: Iterable[Pass]) -> Iterator[tuple[Pass, bool]]:
        for each in plain(given):
            passes.append(each)
            yield each
        mode.under_way = True

    monkeypatch.setattr(learner.ranks, "pad_passes", watched)
    old = older(rows, 0) if off_policy else None
    tally = Tally()
    with mode:
        learner.gradient(rows, Experience(old=old), tally)
    assert len(passes) > 2
    assert mode.reads >= len(passes)  # each pass's gain, afterwards
    assert tally.result()["learn/entropy"] > 0


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("off_policy", [False, True])
@settings(max_examples=15)
@given(
    seed=st.integers(0, 10_000),
    micro_tokens=st.sampled_from([1, 7, 20, 45, 10**6]),
    layout=st.sampled_from(["padded", "packed", "shared"]),
    shuffle=st.randoms(use_true_random=False),
)
def test_split_invariance(name: str, off_policy: bool, seed: int, micro_tokens: int, layout: str, shuffle) -> None:
    """One gradient, the formula's, for every micro-batching, order and layout."""
    model = qwen()
    rows = random_trajectories(model, seed, temperature=0.8)
    old = older(rows, seed) if off_policy else None
    wanted = reference_gradient(model, OBJECTIVES[name], rows, old, 0.8)
    order = list(range(len(rows)))
    shuffle.shuffle(order)
    learner = learner_of(model, OBJECTIVES[name], temperature=0.8, micro_tokens=micro_tokens, layout=layout)
    shuffled_old = None if old is None else [old[i] for i in order]
    found = gradient_of(learner, [rows[i] for i in order], shuffled_old)
    assert relative_error(found, wanted) < 1e-5


@pytest.mark.parametrize("make", [llama, mistral])
@pytest.mark.parametrize("layout", ["padded", "packed", "shared"])
def test_other_models_give_the_formulas_gradient(make, layout: str) -> None:
    model = make()  # Mistral's window is shorter than these rows
    rows = random_trajectories(model, seed=8, longest=15)
    wanted = reference_gradient(model, OBJECTIVES["grpo"], rows)
    for micro_tokens in (1, 40, 10**6):
        learner = learner_of(model, OBJECTIVES["grpo"], micro_tokens=micro_tokens, layout=layout)
        assert relative_error(gradient_of(learner, rows), wanted) < 1e-5


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_shares_add_up(name: str, layout: str) -> None:
    model = qwen()
    rows = random_trajectories(model, seed=5, count=9)
    learner = learner_of(model, OBJECTIVES[name], layout=layout)
    whole = gradient_of(learner, rows)
    parts = [gradient_of(learner, rows, share=share) for share in ([0, 4], [1, 2, 3, 8], [], [5, 6, 7])]
    assert relative_error(torch.stack(parts).sum(dim=0), whole) < 1e-5
    assert parts[2].abs().max() == 0


def test_two_ranks_sum_to_the_gradient_of_one_process(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    # a fork has everything imported already; where there is a GPU, autograd's threads forbid it
    how = "spawn" if torch.cuda.is_available() else "fork"
    multiprocessing.start_processes(rank_gradient, args=(2, port, str(tmp_path)), nprocs=2, start_method=how)
    model = qwen()
    rows = random_trajectories(model, seed=3, count=9)
    wanted = gradient_of(learner_of(model, make_objective("grpo")), rows)
    for rank in range(2):
        assert relative_error(torch.load(tmp_path / f"gradient-{rank}.pt"), wanted) < 1e-5


def test_the_gradient_is_added_to_what_is_there() -> None:
    model = qwen()
    rows = random_trajectories(model, seed=5)
    learner = learner_of(model)
    once = gradient_of(learner, rows)
    learner.gradient(rows, Experience(old=None), Tally())
    assert relative_error(flat_gradient(model), 2 * once) < 1e-5


def test_zero_advantage_rows_are_skipped_exactly() -> None:
    """They never reach the model, and the gradient is that of the formula with them in it."""
    model = qwen()
    live, dead = random_trajectories(model, seed=5, count=1)[0], []
    for row in random_trajectories(model, seed=6, count=4):
        dead.append(Trajectory(row.prompt_ids, row.response_ids, row.sampler_logprobs, 0.0))
    rows = [dead[0], live, *dead[1:]]
    computed: list[int] = []
    model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: computed.append(kwargs["input_ids"].shape[0]), with_kwargs=True
    )
    for objective in OBJECTIVES.values():
        learner = learner_of(model, objective)
        wanted = reference_gradient(model, objective, rows)
        computed.clear()
        found = gradient_of(learner, rows)
        assert computed == [1]
        assert relative_error(found, wanted) < 1e-5
        # N counts them: alone, the live row weighs five times as much
        assert relative_error(gradient_of(learner, [live]), 5 * wanted) < 1e-5


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_eos_carries_gradient(name: str, layout: str) -> None:
    model = qwen()
    learner = learner_of(model, OBJECTIVES[name], layout=layout)
    # a response that is its EOS alone: the gradient is −w·Â·∇log π(EOS), w = 1/C or 1/|o| = 1
    only = trajectory(model, encode("1+1="), (EOS,), 0.5)
    found = gradient_of(learner, [only])
    model.zero_grad(set_to_none=True)
    full_logprobs(model, only.prompt_ids, only.response_ids).sum().backward()
    wanted = -{"dr_grpo": 1 / C, "grpo": 1}[name] * 0.5 * flat_gradient(model)
    assert wanted.norm() > 0
    assert relative_error(found, wanted) < 1e-5
    # and at the end of a longer one it counts like any other token
    body = encode("2 is it")
    ended, open_ended = (trajectory(model, encode("1+1="), ids, 0.5) for ids in ((*body, EOS), body))
    with_eos, without = gradient_of(learner, [ended]), gradient_of(learner, [open_ended])
    assert relative_error(with_eos, without) > 0.05
    assert relative_error(with_eos, reference_gradient(model, OBJECTIVES[name], [ended])) < 1e-5


def test_long_rows_beside_a_row_do_not_change_its_gradient() -> None:
    """Pad invariance: a row beside one five times its length, of which nothing is learnt but the padding it forces."""
    model = qwen()
    short = trajectory(model, encode("1+1="), (*encode("2"), EOS), 1.0)
    faint = trajectory(model, encode("0" * 20), encode("1" * 20), 1e-30)  # live, but its gradient is nothing
    learner = learner_of(model)
    alone = gradient_of(learner, [short]) / 2  # N is 2 below
    assert relative_error(gradient_of(learner, [short, faint]), alone) < 1e-5


def test_gradient_checkpointing_gives_the_same_gradient() -> None:
    rows = random_trajectories(qwen(), seed=9)
    passes, gradients = [], []
    for on in (False, True):
        model = qwen()
        count: list[int] = []
        learner = learner_of(model, gradient_checkpointing=on)
        model.train()
        model.base_model.layers[0].mlp.register_forward_pre_hook(lambda *args, count=count: count.append(1))
        gradients.append(gradient_of(learner, rows))
        passes.append(len(count))
    assert passes == [1, 2]  # layers are computed again in the backward pass
    assert relative_error(gradients[1], gradients[0]) < 1e-6


def test_a_bfloat16_learner_tolerates_its_own_rounding() -> None:
    assert learner_of(qwen()).max_logprob_gap == 1e-4
    assert learner_of(qwen().to(torch.bfloat16)).max_logprob_gap == 0.1
    assert learner_of(qwen(), max_logprob_gap=0.5).max_logprob_gap == 0.5


# -- metrics of a gradient


@pytest.mark.parametrize("layout", LAYOUTS)
def test_metrics_do_not_depend_on_the_split(layout: str) -> None:
    model = qwen()
    rows = random_trajectories(model, seed=12, count=8)
    for old in (None, older(rows, 12)):
        results = []
        for micro_tokens in (1, 40, 10**6):
            tally = Tally()
            learner_of(model, micro_tokens=micro_tokens, layout=layout).gradient(rows, Experience(old=old), tally)
            results.append(tally.result())
        assert results[0] == pytest.approx(results[2], rel=1e-4, abs=1e-5)
        assert results[1] == pytest.approx(results[2], rel=1e-4, abs=1e-5)
        assert ("learn/ratio_mean" in results[0]) is (old is not None)
        assert ("learn/logprob_gap" in results[0]) is (old is None)


def test_metrics_by_hand() -> None:
    """Two live rows of two and one tokens with chosen ratios, of which one leaves the range [0.8, 1.3] for good."""
    model = qwen()
    a = trajectory(model, encode("1+1="), encode("23"), 1.0)
    b = trajectory(model, encode("2*2="), (EOS,), -2.0)
    rows = [a, b, trajectory(model, encode("3"), encode("456"), 0.0)]
    ratios = [[1.5, 0.5], [1.0], [9.0, 9.0, 9.0]]
    old = [
        torch.tensor(row.sampler_logprobs) - torch.tensor(values).log()
        for row, values in zip(rows, ratios, strict=True)
    ]
    tally = Tally()
    learner_of(model, OBJECTIVES["dr_grpo"]).gradient(rows, Experience(old=old), tally)
    numbers = tally.result()
    tolerance = {"rel": 1e-4, "abs": 1e-5}
    assert numbers["learn/ratio_mean"] == pytest.approx((1.5 + 0.5 + 1.0) / 3, **tolerance)
    assert numbers["learn/ratio_max"] == pytest.approx(1.5, **tolerance)
    assert numbers["learn/ratio_min"] == pytest.approx(0.5, **tolerance)
    assert numbers["learn/clip_fraction"] == pytest.approx(1 / 3)  # 1.5 with Â > 0; 0.5 with Â > 0 goes on
    kl = (0.5 - math.log(1.5)) + (-0.5 - math.log(0.5)) + 0
    assert numbers["learn/kl_old"] == pytest.approx(kl / 3, **tolerance)
    # Σ w·gain, w = 1/(3·10): 1.3 (clipped) + 0.5 − 2·1
    assert numbers["learn/gain"] == pytest.approx((1.3 + 0.5 - 2.0) / 30, **tolerance)
    entropies = []
    for row in rows[:2]:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row.prompt_ids + row.response_ids])).logits[0]
        table = torch.log_softmax(logits[len(row.prompt_ids) - 1 : -1], dim=-1)
        entropies += (-(table.exp() * table).sum(dim=-1)).tolist()
    assert numbers["learn/entropy"] == pytest.approx(sum(entropies) / 3, **tolerance)


def test_the_gap_is_the_mean_over_tokens_and_its_maximum() -> None:
    model = qwen()
    rows = []
    for response, gaps in (("23", (0.01, -0.03)), ("4", (0.05,))):
        row = trajectory(model, encode("1+1="), encode(response), 1.0)
        off = tuple(x + gap for x, gap in zip(row.sampler_logprobs, gaps, strict=True))
        rows.append(Trajectory(row.prompt_ids, row.response_ids, off, 1.0))
    tally = Tally()
    learner_of(model, max_logprob_gap=0.06, micro_tokens=1).gradient(rows, Experience(old=None), tally)
    assert tally.result()["learn/logprob_gap"] == pytest.approx(0.03, abs=1e-4)
    assert tally.result()["learn/logprob_gap_max"] == pytest.approx(0.05, abs=1e-4)


@pytest.mark.parametrize(("gaps", "passes"), [((0.0, 0.1), True), ((0.0, 0.14), False), ((-0.14, 0.0), False)])
def test_the_gap_that_counts_is_the_mean_over_tokens(gaps: tuple[float, float], passes: bool) -> None:
    # the limit is 0.06 nats a token: 0.1 on one of two passes, 0.14 does not
    model = qwen()
    row = trajectory(model, encode("1+1="), encode("23"), 1.0)
    off = tuple(x + gap for x, gap in zip(row.sampler_logprobs, gaps, strict=True))
    learner, rows = learner_of(model, max_logprob_gap=0.06), [Trajectory(row.prompt_ids, row.response_ids, off, 1.0)]
    if passes:
        learner.learn(rows, 0, Tally())
        assert learner.updates == 1
    else:
        with pytest.raises(UserError, match=r"by 0.07 nats a token \(train.max_logprob_gap = 0.06\)"):
            learner.learn(rows, 0, Tally())


# -- on-policy: the sampler's log-probs are the learner's


def sampled_rows(model: PreTrainedModel, temperature: float) -> list[Trajectory]:
    """Real samples, refills and all, with advantages that take turns."""
    prompts = [encode(text) for text in ("1+1=", "What is 7 + 5?\n", "x", "0123456789", "a longer prompt, this one:")]
    requests = [Request(str(i), ids) for i, ids in enumerate(prompts)]
    sampler = TorchSampler(model, TOKENIZER, (EOS, *range(20, 26)), rows=8)
    params = SamplingParams(max_new_tokens=16, temperature=temperature)
    drawn = sampler.sample(requests, 4, params, seed=0, step=0)
    return [
        Trajectory(prompts[d.request], d.completion.token_ids, d.completion.logprobs, 1.0 if d.sample % 2 else -1.0)
        for d in sorted(drawn, key=lambda d: (d.request, d.sample))
    ]


@pytest.mark.parametrize("make", [qwen, llama, mistral])
@pytest.mark.parametrize("updates", [1, 2])
def test_the_on_policy_ratio_is_one(make, updates: int) -> None:
    model = make()
    learner = learner_of(model, temperature=0.7, updates=updates)
    tally = Tally()
    learner.learn(sampled_rows(model, 0.7), 0, tally)
    numbers = tally.result()
    assert 0 < numbers["learn/logprob_gap_max"] < 1e-4
    assert numbers["learn/updates"] == updates


@pytest.mark.parametrize("updates", [1, 2])
def test_a_sampler_at_another_temperature_is_caught_before_it_does_harm(updates: int) -> None:
    model = qwen()
    learner = learner_of(model, temperature=1.0, updates=updates)
    rows = sampled_rows(model, 0.9)
    before, state = flat_weights(model), learner.optimiser.state()["optimiser"]["state"]
    with pytest.raises(UserError, match=r"The sampler's log-probs differ from the learner's by .* nats a token"):
        learner.learn(rows, 0, Tally())
    assert torch.equal(flat_weights(model), before)
    assert learner.updates == 0
    assert state == {}


def test_a_learner_that_moved_on_is_caught() -> None:
    model = qwen()
    rows = sampled_rows(model, 1.0)
    learner = learner_of(model)
    learner.learn(rows, 0, Tally())
    with pytest.raises(UserError, match="they are not the same policy"):
        learner.learn(rows, 1, Tally())  # the same samples again: stale by one update


# -- updates


class Recorder(Learner):
    """A learner that remembers what each update was given."""

    def gradient(
        self,
        trajectories: Sequence[Trajectory],
        experience: Experience,
        tally: Tally,
        share: Sequence[int] | None = None,
    ) -> None:
        if not hasattr(self, "given"):
            self.given: list[list[Trajectory]] = []
            self.old: list[list[Tensor | None] | None] = []
        self.given.append(list(trajectories))
        self.old.append(None if experience.old is None else list(experience.old))
        super().gradient(trajectories, experience, tally, share)


def recorder(model: PreTrainedModel, updates: int, seed: int = 0) -> Recorder:
    plain = learner_of(model, updates=updates)
    return Recorder(plain.policy, plain.objective, plain.settings, temperature=1.0, seed=seed, total_updates=100)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_take_the_same_updates(layout: str) -> None:
    """`learn` whole, with old log-probs: what they are held against, and where the weights end."""
    results = []
    for each in ("padded", layout):
        model = qwen()
        learner = learner_of(model, layout=each, updates=2, learning_rate=1e-4)
        tally = Tally()
        learner.learn(random_trajectories(model, seed=4, count=8), 0, tally)
        results.append((tally.result(), flat_weights(model) - flat_weights(qwen())))
    assert results[1][0] == pytest.approx(results[0][0], rel=1e-3, abs=1e-5)
    assert relative_error(results[1][1], results[0][1]) < 1e-2


def test_several_updates_deal_every_response_exactly_once() -> None:
    model = qwen()
    rows = random_trajectories(model, seed=4, count=12)
    learner = recorder(model, updates=3)
    learner.learn(rows, 0, Tally())
    assert [len(given) for given in learner.given] == [4, 4, 4]
    assert sorted(id(row) for share in learner.given for row in share) == sorted(map(id, rows))
    assert learner.updates == 3


def test_the_dealing_is_a_pure_function_of_seed_and_step() -> None:
    rows = random_trajectories(qwen(), seed=4, count=12)

    def dealt(seed: int, step: int) -> list[list[int]]:
        learner = recorder(qwen(), updates=3, seed=seed)
        torch.manual_seed(step * 7 + seed)  # no generator but its own plays a part
        learner.learn(rows, step, Tally())
        index = {id(row): i for i, row in enumerate(rows)}
        return [[index[id(row)] for row in share] for share in learner.given]

    assert dealt(0, 5) == dealt(0, 5)
    assert dealt(0, 5) != dealt(0, 6)
    assert dealt(0, 5) != dealt(1, 5)


def test_old_log_probs_are_the_first_policys_throughout() -> None:
    model, first = qwen(), qwen()
    rows = random_trajectories(model, seed=4, count=12)
    learner = recorder(model, updates=3)
    tally = Tally()
    learner.learn(rows, 0, tally)
    for share, old in zip(learner.given, learner.old, strict=True):
        assert old is not None
        for row, logprobs in zip(share, old, strict=True):
            if row.advantage == 0:
                assert logprobs is None
                continue
            assert logprobs is not None
            assert not logprobs.requires_grad
            with torch.no_grad():
                wanted = full_logprobs(first, row.prompt_ids, row.response_ids)
            torch.testing.assert_close(logprobs, wanted, rtol=0, atol=2e-5)
    numbers = tally.result()
    assert numbers["learn/ratio_min"] < 0.99
    assert numbers["learn/ratio_max"] > 1.01
    assert numbers["learn/kl_old"] > 0
    assert 0 <= numbers["learn/clip_fraction"] < 1


@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_updates_are_what_the_formula_and_adamw_say(name: str) -> None:
    """The whole of `learn` against loops and a plain AdamW."""
    model, twin = qwen(), qwen()
    rows = random_trajectories(model, seed=21, count=6)
    learner = learner_of(model, OBJECTIVES[name], updates=2, learning_rate=1e-3, weight_decay=0.1, seed=3)
    learner.learn(rows, 17, Tally())

    order = torch.randperm(6, generator=torch.Generator().manual_seed(3 * 1_000_003 + 17)).tolist()
    optimiser = torch.optim.AdamW(twin.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    old = [torch.tensor(row.sampler_logprobs) for row in rows]
    for share in (order[:3], order[3:]):
        gradient = reference_gradient(twin, OBJECTIVES[name], [rows[i] for i in share], [old[i] for i in share])
        start = 0
        for parameter in twin.parameters():
            parameter.grad = gradient[start : start + parameter.numel()].view_as(parameter).clone()
            start += parameter.numel()
        optimiser.step()
    moved = flat_weights(twin) - flat_weights(qwen())
    # Adam turns gradients of nothing but rounding into full steps, so a few weights may differ
    assert relative_error(flat_weights(model) - flat_weights(qwen()), moved) < 1e-2


def test_live_share_and_gradient_norms_are_logged() -> None:
    model = qwen()
    rows = random_trajectories(model, seed=4, count=6)
    wanted = reference_gradient(model, OBJECTIVES["dr_grpo"], rows).norm().item()
    tally = Tally()
    learner_of(model).learn(rows, 0, tally)
    numbers = tally.result()
    assert numbers["learn/live_responses"] == sum(row.advantage != 0 for row in rows) / 6
    assert numbers["learn/grad_norm"] == pytest.approx(wanted, rel=1e-4)
    assert numbers["learn/grad_norm_max"] == numbers["learn/grad_norm"]


@pytest.mark.parametrize("bound", [0.5, 2.0])
def test_gradients_are_clipped_to_the_bound_and_logged_before(bound: float) -> None:
    model = qwen()
    rows = random_trajectories(model, seed=4, count=6)
    whole = gradient_of(learner_of(model), rows)
    learner = learner_of(model, max_grad_norm=bound * whole.norm().item())
    tally = Tally()
    learner.learn(rows, 0, tally)
    assert tally.result()["learn/grad_norm"] == pytest.approx(whole.norm().item(), rel=1e-4)
    # a bound of half the norm halves the gradient, one of twice the norm leaves it alone
    assert relative_error(flat_gradient(model), min(1.0, bound) * whole) < 1e-5


def test_a_dead_batch_still_steps_the_optimiser() -> None:
    """All advantages zero: momentum moves on, weight decay too, like a plain optimiser with a gradient of zero."""
    model = qwen()
    rows = random_trajectories(model, seed=4)
    dead = [Trajectory(row.prompt_ids, row.response_ids, row.sampler_logprobs, 0.0) for row in rows]
    learner = learner_of(model, learning_rate=1e-3, weight_decay=0.1)
    learner.learn(rows, 0, Tally())
    before = flat_weights(model)

    twin = qwen()
    optimiser = torch.optim.AdamW(twin.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    gradients = gradient_of(learner_of(twin), rows)
    optimiser.step()  # on the gradient that is there
    assert gradients.norm() > 0
    torch.testing.assert_close(flat_weights(twin), before, rtol=0, atol=1e-6)
    for parameter in twin.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()

    tally = Tally()
    learner.learn(dead, 1, tally)
    numbers = tally.result()
    assert (learner.updates, numbers["learn/live_responses"], numbers["learn/grad_norm"]) == (2, 0.0, 0.0)
    torch.testing.assert_close(flat_weights(model), flat_weights(twin), rtol=0, atol=1e-6)
    assert (flat_weights(model) - before).abs().max() > 1e-4


@pytest.mark.parametrize("updates", [1, 2])
def test_a_first_batch_that_is_dead_changes_nothing_but_the_counters(updates: int) -> None:
    model = qwen()
    before = flat_weights(model)
    dead = [Trajectory(r.prompt_ids, r.response_ids, (0.0,) * r.length, 0.0) for r in random_trajectories(model, 1)]
    learner = learner_of(model, updates=updates)
    tally = Tally()
    learner.learn(dead, 0, tally)
    assert torch.equal(flat_weights(model), before)
    assert tally.result()["learn/updates"] == updates
    assert "learn/entropy" not in tally.result()


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_gradient_that_is_not_finite_leaves_the_weights_alone(bad: float) -> None:
    model = qwen()
    rows = random_trajectories(model, seed=4)
    learner = learner_of(model)
    learner.learn(rows, 0, Tally())
    fresh = random_trajectories(model, seed=4)
    broken = Trajectory(fresh[0].prompt_ids, fresh[0].response_ids, fresh[0].sampler_logprobs, bad)
    before, moments = flat_weights(model), str(learner.state()["optimiser"])
    with pytest.raises(UserError, match=r"The gradient of update 2 is not finite, so the weights were left"):
        learner.learn([broken, *fresh[1:]], 1, Tally())
    assert torch.equal(flat_weights(model), before)
    assert str(learner.state()["optimiser"]) == moments
    assert learner.updates == 1


@pytest.mark.parametrize(
    "advantage, cause",
    [
        (
            3e38,
            r"advantages up to 3e\+38, so it is the rewards that are too large: have verifier\.reward, or the rewards "
            r"of \[\[reward\]\] by their weights, return",
        ),
        (
            1.0,
            r"lower learner\.learning_rate and continue .*\(--resume --learner\.learning_rate 0\.005\), or, if it",
        ),
    ],
)
def test_a_gradient_that_is_not_finite_is_blamed_on_what_makes_it_so(advantage: float, cause: str) -> None:
    model = qwen()
    row = random_trajectories(model, seed=4)[0]
    learner = learner_of(model)
    if advantage == 1.0:  # hidden states whose gradient overflows
        model.get_output_embeddings().weight.register_hook(lambda gradient: gradient * math.inf)
    broken = Trajectory(row.prompt_ids, row.response_ids, row.sampler_logprobs, advantage)
    with pytest.raises(UserError, match=cause) as caught:
        learner.learn(
            [broken, Trajectory(row.prompt_ids, row.response_ids, row.sampler_logprobs, -advantage)], 1, Tally()
        )
    assert ("learning_rate" in str(caught.value)) == (advantage == 1.0)


def test_a_restored_optimiser_takes_the_rate_and_the_schedule_that_it_is_given() -> None:
    """Two of ten updates at a linear rate of 1e-2; the rest at half of it, to the end of twenty: 1e-2·½·(1 − 2/20)."""
    before = learner_of(qwen(), total_updates=10, schedule="linear", max_logprob_gap=math.inf)
    for step in range(2):
        before.learn(random_trajectories(qwen(), seed=4), step, Tally())
    after = learner_of(qwen(), total_updates=20, schedule="linear", learning_rate=5e-3, max_logprob_gap=math.inf)
    after.restore(before.state())
    rows = random_trajectories(after.policy.model, seed=4)
    for step, rate in ((2, 5e-3 * (1 - 2 / 20)), (3, 5e-3 * (1 - 3 / 20))):
        tally = Tally()
        after.learn(rows, step, tally)
        assert tally.result()["learn/learning_rate"] == pytest.approx(rate, rel=1e-12)


def test_a_restored_critic_takes_the_rate_that_it_is_given() -> None:
    before, after = (
        Critic(learner_of(qwen()).policy, config.CriticSettings(learning_rate=rate), 0) for rate in (1e-3, 1e-4)
    )
    after.restore(before.state())
    assert [group["lr"] for group in after.optimiser.param_groups] == [1e-4]


def test_broken_weights_are_caught_by_the_gap() -> None:
    model = qwen()
    rows = random_trajectories(model, seed=4)
    with torch.no_grad():
        model.base_model.norm.weight[0] = math.nan
    with pytest.raises(UserError, match="log-probs differ"):
        learner_of(model).learn(rows, 0, Tally())


# -- schedule and state


def factors(total: int, updates: Sequence[int], **how: object) -> list[float]:
    return [learning_rate_factor(update, config.LearnerSettings(**how), total) for update in updates]


def test_learning_rates_by_hand() -> None:
    assert factors(12, [0, 1, 11, 99], schedule="constant") == [1.0, 1.0, 1.0, 1.0]
    # warm-up over four: 1/4, 2/4, 3/4, 1, then on
    assert factors(12, [0, 1, 2, 3, 4, 11], warmup_steps=4) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    # then eight more: at 4 the first of them at full rate, at 8 half way, at 12 nothing is left, nor after
    linear = factors(12, [3, 4, 8, 11, 12, 50], warmup_steps=4, schedule="linear")
    assert linear == [1.0, 1.0, 0.5, 0.125, 0.0, 0.0]
    cosine = factors(12, [3, 4, 6, 8, 12], warmup_steps=4, schedule="cosine")
    assert cosine == pytest.approx([1.0, 1.0, 0.5 * (1 + math.sqrt(0.5)), 0.5, 0.0])
    # no update of a whole run is wasted on a rate of zero
    for schedule in ("linear", "cosine"):
        for warmup in (0, 3, 12):
            assert min(factors(12, range(12), warmup_steps=warmup, schedule=schedule)) > 0


def test_the_schedule_moves_once_an_update_and_is_logged_as_used() -> None:
    model = qwen()
    rows = random_trajectories(model, seed=4)
    learner = learner_of(model, learning_rate=1e-3, warmup_steps=4)
    before = flat_weights(model)
    tally = Tally()
    learner.learn(rows, 0, tally)
    assert tally.result()["learn/learning_rate"] == pytest.approx(0.25e-3)
    # Adam's first step is the learning rate times the sign of the gradient
    assert (flat_weights(model) - before).abs().max().item() == pytest.approx(0.25e-3, rel=1e-2)
    rates = []
    for step in (1, 2, 3, 4):
        tally = Tally()
        learner.learn([trajectory(model, r.prompt_ids, r.response_ids, r.advantage) for r in rows], step, tally)
        rates.append(tally.result()["learn/learning_rate"])
    assert rates == pytest.approx([0.5e-3, 0.75e-3, 1e-3, 1e-3])


def test_several_updates_move_the_schedule_as_often() -> None:
    model = qwen()
    tally = Tally()
    learner = learner_of(model, learning_rate=1e-3, warmup_steps=4, updates=2)
    learner.learn(random_trajectories(model, seed=4), 0, tally)
    assert tally.result()["learn/learning_rate"] == pytest.approx(0.5e-3)


def take_steps(learner: Learner, first: int, last: int) -> None:
    for step in range(first, last):
        rows = random_trajectories(learner.policy.model, seed=100 + step, count=4)
        learner.learn(rows, step, Tally())


@pytest.mark.parametrize("updates", [1, 2])
def test_state_and_restore_continue_bit_for_bit(updates: int) -> None:
    how = {
        "learning_rate": 1e-3, "warmup_steps": 3, "schedule": "cosine", "updates": updates, "weight_decay": 0.1,
        "max_grad_norm": 1.0, "total_updates": 10,
    }  # fmt: skip
    whole = learner_of(qwen(), **how)
    take_steps(whole, 0, 5)

    early = learner_of(qwen(), **how)
    take_steps(early, 0, 2)
    file = io.BytesIO()
    torch.save({"learner": early.state(), "model": early.policy.model.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    model = qwen(seed=99)
    late = learner_of(model, **how)
    model.load_state_dict(saved["model"])
    late.restore(saved["learner"])
    assert late.updates == 2 * updates
    take_steps(late, 2, 5)

    assert torch.equal(flat_weights(late.policy.model), flat_weights(whole.policy.model))
    assert late.updates == whole.updates == 5 * updates
    assert late.optimiser.schedule.get_last_lr() == whole.optimiser.schedule.get_last_lr()
    # the set-up: without the state it would have gone elsewhere
    forgetful = learner_of(model, **how)
    model.load_state_dict(saved["model"])
    take_steps(forgetful, 2, 5)
    assert not torch.equal(flat_weights(model), flat_weights(whole.policy.model))


def test_learning_raises_what_earns() -> None:
    """The sign of it all: after a few updates, a rewarded answer is likelier and a punished one less."""
    model = qwen()
    good, bad = (encode("1+1="), (*encode("2"), EOS)), (encode("1+1="), (*encode("3"), EOS))

    def logprob(row: tuple[tuple[int, ...], tuple[int, ...]]) -> float:
        with torch.no_grad():
            return full_logprobs(model, *row).sum().item()

    before = logprob(good), logprob(bad)
    learner = learner_of(model, learning_rate=1e-2)
    for step in range(5):
        learner.learn([trajectory(model, *good, 0.5), trajectory(model, *bad, -0.5)], step, Tally())
    assert logprob(good) > before[0] + 0.5
    assert logprob(bad) < before[1] - 0.5
