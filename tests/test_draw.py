"""From logits to a token and its log-prob: against a naive inverse distribution function, filters by hand; vocabularies
of several blocks against exact masses and the plain way."""

import math
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from r1zero.sampling.embedded.draw import BLOCK, draw, drawing, keep_top
from r1zero.sampling.noise import uniforms
from r1zero.sampling.protocol import SamplingParams
from regime import seeded

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from plain_draw import plain_draw, plain_keep_top  # beside scripts, and no package


def params(temperature: float = 1.0, top_p: float = 1.0, top_k: int = 0) -> SamplingParams:
    return SamplingParams(max_new_tokens=1, temperature=temperature, top_p=top_p, top_k=top_k)


def one(logits: list[float], u: float, how: SamplingParams) -> tuple[int, float]:
    tokens, logprobs = draw(torch.tensor([logits]), torch.tensor([u], dtype=torch.float64), how)
    assert tokens.dtype == torch.int64
    return int(tokens[0]), float(logprobs[0])


def filtered(logits: list[float], how: SamplingParams) -> list[float]:
    """Probabilities after temperature, then the k likeliest, then the smallest set of mass ≥ p: plain Python."""
    weights = [math.exp((x - max(logits)) / how.temperature) for x in logits]
    order = sorted(range(len(logits)), key=lambda i: -weights[i])
    if how.top_k:
        order = order[: how.top_k]
    total = sum(weights[i] for i in order)
    kept, mass = [], 0.0
    for i in order:
        if mass / total >= how.top_p:
            break
        kept.append(i)
        mass += weights[i]
    return [weights[i] / mass if i in kept else 0.0 for i in range(len(logits))]


def naive_draw(probabilities: list[float], u: float) -> int:
    """The first token whose cumulative probability exceeds u."""
    cumulative = 0.0
    for i, p in enumerate(probabilities):
        cumulative += p
        if cumulative > u * sum(probabilities):
            return i
    raise AssertionError("u < 1, so this is never reached")


# distinct logits: with ties, which of the equals a filter keeps is nobody's promise
distinct_logits = st.lists(st.integers(-60, 60), min_size=2, max_size=12, unique=True).map(
    lambda numbers: [x / 8 for x in numbers]
)


@given(
    logits=distinct_logits,
    u=st.floats(0, 1, exclude_max=True),
    temperature=st.sampled_from([0.3, 1.0, 2.5]),
    top_p=st.sampled_from([0.2, 0.5, 0.9, 1.0]),
    top_k=st.integers(0, 13),
)
def test_equals_a_naive_inverse_distribution_function(
    logits: list[float], u: float, temperature: float, top_p: float, top_k: int
) -> None:
    how = params(temperature, top_p, top_k)
    expected = filtered(logits, how)
    # leave out the numbers that stand on a step or a threshold, where rounding decides
    steps = [sum(expected[: i + 1]) for i in range(len(expected))]
    assume(all(abs(u - step) > 1e-5 for step in steps))
    masses = sorted(filtered(logits, params(temperature, 1.0, top_k)), reverse=True)
    assume(all(abs(sum(masses[: i + 1]) - top_p) > 1e-5 for i in range(len(masses))) or top_p == 1)
    token, logprob = one(logits, u, how)
    assert token == naive_draw(expected, u)
    assert logprob == pytest.approx(math.log(expected[token]), abs=2e-6)


def test_probabilities_by_hand() -> None:
    # weights 1 : 2 : 4 : 1, of 8: cumulative 1/8, 3/8, 7/8, 1
    logits = [0.0, math.log(2), math.log(4), 0.0]
    drawn = [one(logits, u, params())[0] for u in (0.0, 0.124, 0.126, 0.374, 0.376, 0.874, 0.876, 0.999)]
    assert drawn == [0, 0, 1, 1, 2, 2, 3, 3]
    assert one(logits, 0.2, params())[1] == pytest.approx(math.log(2 / 8), abs=1e-6)
    # temperature 1/2 squares the weights, 1 : 4 : 16 : 1, of 22
    assert one(logits, 0.2, params(temperature=0.5)) == (1, pytest.approx(math.log(4 / 22), abs=1e-6))
    # the two likeliest are 2 : 4
    assert one(logits, 0.2, params(top_k=2)) == (1, pytest.approx(math.log(2 / 6), abs=1e-6))
    assert one(logits, 0.4, params(top_k=2)) == (2, pytest.approx(math.log(4 / 6), abs=1e-6))
    # mass 4/8 alone reaches p = 0.5; p = 0.51 needs the next one
    assert one(logits, 0.999, params(top_p=0.5)) == (2, pytest.approx(0.0, abs=1e-6))
    assert one(logits, 0.2, params(top_p=0.51)) == (1, pytest.approx(math.log(2 / 6), abs=1e-6))
    # k first, then p of what is left: among 2 : 4 the likelier has 2/3 > 0.6
    assert one(logits, 0.2, params(top_k=2, top_p=0.6)) == (2, pytest.approx(0.0, abs=1e-6))


@pytest.mark.parametrize("size", [20, 2 * BLOCK + 500])
@pytest.mark.parametrize("seed", range(3))
def test_frequencies(size: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seeded(seed))
    logits = torch.randn(size, generator=generator)
    n, lot = 50_000, 2_500  # at most 2,500 rows at a time
    keys = torch.randint(-(2**63), 2**63 - 1, (n,), generator=generator)
    u = uniforms(keys, torch.zeros(n, dtype=torch.int64))
    tokens = torch.cat([draw(logits.expand(lot, size), each, params(temperature=0.8))[0] for each in u.split(lot)])
    expected = torch.softmax(logits.double() / 0.8, dim=0) * n
    # those that are expected less than five times are counted together
    common = expected >= 5
    cells = torch.where(common, common.cumsum(0), 0)
    counts, means = (torch.zeros(int(cells.max()) + 1, dtype=torch.float64).index_add_(0, cells, each)
                     for each in (torch.bincount(tokens, minlength=size).double(), expected))  # fmt: skip
    used = means > 0
    chi_square = ((counts - means)[used].square() / means[used]).sum().item()
    # f degrees of freedom: mean f, variance 2f; 5 deviations above have odds of 1.4e-4 at f = 19, and less above it: of
    # six such tests less than 1 in 1,000
    free = int(used.sum()) - 1
    assert free >= 15
    assert chi_square < free + 5 * math.sqrt(2 * free)


FILTERS = [params(), params(0.7), params(0.7, 0.8), params(1.0, 1.0, 9), params(0.7, 0.8, 9), params(0.0)]


# of 50,001 tokens ten rows are worked on at a time
@pytest.mark.parametrize(("rows", "size"), [(7, 30), (7, 3 * BLOCK), (23, 50_001)])
@pytest.mark.parametrize("how", FILTERS)
def test_rows_do_not_see_one_another(rows: int, size: int, how: SamplingParams) -> None:
    generator = torch.Generator().manual_seed(seeded(1))
    logits = 3 * torch.randn(rows, size, generator=generator)
    u = torch.rand(rows, generator=generator, dtype=torch.float64)
    tokens, logprobs = draw(logits, u, how)
    for row in range(0, rows, rows // 7):
        alone = draw(logits[row : row + 1].clone(), u[row : row + 1], how)
        assert (int(alone[0]), float(alone[1])) == (int(tokens[row]), float(logprobs[row]))


def test_greedy_takes_the_likeliest_and_reports_its_log_prob_at_temperature_one() -> None:
    # weights 1 : 3; whatever u and the filters say
    for u in (0.0, 0.5, 0.999):
        token, logprob = one([0.0, math.log(3)], u, params(temperature=0.0, top_p=0.5, top_k=1))
        assert (token, logprob) == (1, pytest.approx(math.log(3 / 4), abs=1e-6))


@pytest.mark.parametrize("top_p", [0.001, 0.3, 0.9])
def test_top_p_always_keeps_the_likeliest(top_p: float) -> None:
    kept = keep_top(torch.tensor([[0.1, 2.0, -1.0], [5.0, 4.9, 4.8]]), 0, top_p).isfinite()
    assert kept[0, 1]
    assert kept[1, 0]


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    # 0.5, 0.3, 0.2 in mixed order: p = 0.5 → {0.5}; 0.6 → {0.5, 0.3}; 0.81 → all
    logits = torch.tensor([[0.2, 0.5, 0.3]]).log()
    assert keep_top(logits, 0, 0.45).isfinite().tolist() == [[False, True, False]]
    assert keep_top(logits, 0, 0.6).isfinite().tolist() == [[False, True, True]]
    assert keep_top(logits, 0, 0.81).isfinite().tolist() == [[True, True, True]]


def test_no_filter_leaves_logits_alone() -> None:
    logits = torch.tensor([[0.2, 0.5, 0.3]])
    assert torch.equal(keep_top(logits, 0, 1.0), logits)
    assert torch.equal(keep_top(logits, 3, 1.0), logits)
    assert torch.equal(keep_top(logits, 99, 1.0), logits)


NEAR_ONE = 1 - 2.0**-48  # the largest u there is


@given(
    logits=st.lists(st.floats(-300, 50, width=32), min_size=2, max_size=12),
    closed=st.sets(st.integers(0, 11)),
    u=st.one_of(st.just(0.0), st.just(NEAR_ONE), st.floats(0, NEAR_ONE)),
    top_p=st.sampled_from([0.2, 0.9, 1.0]),
    top_k=st.integers(0, 4),
)
def test_never_a_token_of_probability_zero(
    logits: list[float], closed: set[int], u: float, top_p: float, top_k: int
) -> None:
    # some tokens at −inf, at the front and at the end too, as a filter leaves them
    values = [-math.inf if i in closed else x for i, x in enumerate(logits)]
    assume(any(map(math.isfinite, values)))
    token, logprob = one(values, u, params(1.3, top_p, top_k))
    assert 0 <= token < len(values)
    assert values[token] > -math.inf
    assert math.isfinite(logprob)


def test_rare_tokens_of_a_large_vocabulary_are_drawn_as_often_as_they_should() -> None:
    # One token of mass 0.999 in front, then 150 000 that share the rest, 6.7e-9 each: float32 near 1 steps by 6e-8,
    # nine tokens at a time. u = 0.999 + (k + 1/2) · 6.7e-9 must give token 1 + k.
    size = 150_000
    logits = torch.cat([torch.tensor([math.log(999 * size)]), torch.zeros(size)])
    k = torch.tensor([0, 1, 12_345, 99_999, 120_001, size - 1])
    u = 0.999 + (k.double() + 0.5) * 0.001 / size
    tokens, _ = draw(logits.expand(len(k), -1), u, params())
    off: Tensor = (tokens - 1 - k).abs()
    assert off.max().item() <= 1


@pytest.mark.parametrize("size", [2, 99, 395, BLOCK])
@pytest.mark.parametrize("how", FILTERS)
def test_a_vocabulary_of_one_block_is_drawn_from_as_ever_to_the_bit(size: int, how: SamplingParams) -> None:
    # recorded runs of such vocabularies replay
    generator = torch.Generator().manual_seed(seeded(2))
    logits = 4 * torch.randn(200, size, generator=generator)
    u = torch.rand(200, generator=generator, dtype=torch.float64)
    assert all(map(torch.equal, draw(logits, u, how), plain_draw(logits, u, how)))
    assert drawing(size) is None
    assert drawing(BLOCK + 1) is not None


@pytest.mark.parametrize("size", [BLOCK + 1, 20_011])
@pytest.mark.parametrize("how", FILTERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_blocks_draw_as_the_plain_way_does(size: int, how: SamplingParams, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(seeded(3))
    logits = (4 * torch.randn(32, size, generator=generator)).to(dtype)
    u = torch.rand(32, generator=generator, dtype=torch.float64)
    (tokens, logprobs), (plain, plain_logprobs) = draw(logits, u, how), plain_draw(logits, u, how)
    kept, plain_kept = (logits.float() / (how.temperature or 1) for _ in range(2))
    if how.temperature:
        kept, plain_kept = (keep(kept, how.top_k, how.top_p) for keep in (keep_top, plain_keep_top))
    exact = torch.log_softmax(kept.double(), dim=-1)
    # float32's rounding of a log-prob of −20 is 1e-6; the plain way's sums are coarser
    assert (logprobs.double() - exact.gather(1, tokens[:, None])[:, 0]).abs().max() < 3e-6
    # The same but for u within rounding of a step (masses are right to some 1e-7 of themselves: of 20,011 tokens one is
    # expected to be within 1e-6 in 1.3 of 32 rows at most), and for sets of mass p whose border ties or is rounded.
    steps = exact.exp().cumsum(-1)
    far = (steps - u[:, None]).abs().amin(-1) > 1e-6 if how.temperature else torch.ones(32, dtype=torch.bool)
    far &= (kept.isfinite() == plain_kept.isfinite()).all(-1)
    assert far.sum() > 20
    assert torch.equal(tokens[far], plain[far])
    assert (logprobs - plain_logprobs)[far].abs().max() < 5e-5


def reach(logits: Tensor, tokens: list[int], how: SamplingParams) -> list[float]:
    """Each token's share of all u there are, exactly: between the first u that draws it or a later one, and the first
    that draws a later one."""
    first = torch.tensor([*tokens, *(token + 1 for token in tokens)])
    low, high = torch.zeros(len(first), dtype=torch.int64), torch.full((len(first),), 2**48)
    for _ in range(49):
        middle = (low + high) // 2
        drawn, _ = draw(logits.expand(len(first), -1), middle.double() / 2**48, how)
        there = (drawn >= first) | (low >= high)
        low, high = torch.where(there, low, middle + 1), torch.where(there, middle, high)
    begin, end = high.view(2, -1)
    return ((end - begin).double() / 2**48).tolist()


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_every_token_of_a_large_vocabulary_has_its_share_of_u(temperature: float) -> None:
    size = 151_936  # 148 blocks and 384 tokens
    logits = 3 * torch.randn(size, generator=torch.Generator().manual_seed(seeded(4)))
    exact = torch.softmax((logits / temperature).double(), dim=0)
    rare = (exact.log() - math.log(1e-9)).abs().argsort()[:6].tolist()
    ends = [0, BLOCK - 1, BLOCK, 77 * BLOCK - 1, size - 385, size - 384, size - 1]
    tokens = [*rare, *ends, int(exact.argmax())]
    # a mass is right to 2e-6 of itself (a logit less the largest has rounding of 1e-6), its ends to a step of 2^-48
    for token, share in zip(tokens, reach(logits, tokens, params(temperature)), strict=True):
        p = exact[token].item()
        assert abs(share - p) < 3e-6 * p + 2 * 2.0**-48, (token, share, p)
    assert all(exact[token] == pytest.approx(1e-9, rel=1e-2) for token in rare)


def test_a_large_vocabularys_open_tokens_share_all_of_u() -> None:
    # weights 1 : 2 : 1e-9 : 3 at borders of blocks, everything else closed
    size, how = 2 * BLOCK + 3, params()
    logits = torch.full((size,), -math.inf)
    weights = {BLOCK - 1: 1.0, BLOCK: 2.0, 2 * BLOCK - 1: 1e-9, size - 1: 3.0}
    for token, weight in weights.items():
        logits[token] = math.log(weight)
    shares = reach(logits, list(weights), how)
    for share, weight in zip(shares, weights.values(), strict=True):
        assert share == pytest.approx(weight / (6 + 1e-9), rel=1e-5)
    assert sum(shares) == 1


AT_BORDERS = (0, 1, BLOCK - 1, BLOCK, 2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 2)


@given(
    values=st.dictionaries(st.sampled_from(AT_BORDERS), st.floats(-300, 50, width=32), min_size=1),
    u=st.one_of(st.just(0.0), st.just(2.0**-48), st.just(NEAR_ONE), st.floats(0, NEAR_ONE)),
    nudge=st.sampled_from([-(2.0**-48), 0.0, 2.0**-48]),
    how=st.sampled_from([params(), params(1.3), params(1.0, 0.9), params(1.0, 1.0, 3), params(0.0)]),
)
def test_a_closed_token_is_never_drawn_at_a_blocks_border(
    values: dict[int, float], u: float, nudge: float, how: SamplingParams
) -> None:
    size = 2 * BLOCK + 3
    logits = torch.full((size,), -math.inf)
    for token, value in values.items():
        logits[token] = value
    steps = torch.softmax(logits.double() / (how.temperature or 1), dim=0).cumsum(0)
    us = [u, *(min(max(steps[token].item() + nudge, 0), NEAR_ONE) for token in AT_BORDERS)]  # on a step and beside it
    tokens, logprobs = draw(logits.expand(len(us), -1), torch.tensor(us, dtype=torch.float64), how)
    assert set(tokens.tolist()) <= set(values)
    assert logprobs.isfinite().all()


@pytest.mark.parametrize("size", [30, 2 * BLOCK, 2 * BLOCK + 3])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("how", FILTERS)
def test_logits_that_are_no_numbers_are_told_by_the_log_prob(size: int, bad: float, how: SamplingParams) -> None:
    logits = torch.randn(5, size, generator=torch.Generator().manual_seed(seeded(5)))
    u = torch.tensor([0.0, 0.3, 0.5, 0.7, NEAR_ONE], dtype=torch.float64)
    good = draw(logits, u, how)
    logits[1, size // 3], logits[2], logits[4, -1] = bad, bad, bad
    tokens, logprobs = draw(logits, u, how)
    assert ((tokens >= 0) & (tokens < size)).all()
    assert logprobs.isnan().tolist() == [False, True, True, False, True]
    assert (tokens[[0, 3]].tolist(), logprobs[[0, 3]].tolist()) == (good[0][[0, 3]].tolist(), good[1][[0, 3]].tolist())


@pytest.mark.parametrize("top_p", [0.001, 0.5, 0.95, 0.999])
def test_the_smallest_set_of_a_large_vocabulary(top_p: float) -> None:
    # rows whose set is a few tokens, thousands, and nearly all: the last two are sorted whole
    size = 8 * BLOCK
    scales = torch.tensor([8.0, 1.0, 0.01])[:, None]
    logits = scales * torch.randn(3, size, generator=torch.Generator().manual_seed(seeded(6)))
    kept = keep_top(logits, 0, top_p)
    assert torch.equal(kept[kept.isfinite()], logits[kept.isfinite()])
    ordered, order = torch.softmax(logits.double(), dim=-1).sort(dim=-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    found = kept.isfinite().gather(1, order)
    assert found[before < top_p - 1e-5].all()
    assert not found[before > top_p + 1e-5].any()
    assert (found.int().diff(dim=-1) <= 0).all()  # the likeliest
