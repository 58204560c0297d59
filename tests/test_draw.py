"""From logits to a token and its log-prob: against a naive inverse distribution function, filters by hand."""

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from r1zero.sampling.embedded.draw import draw, keep_top
from r1zero.sampling.noise import uniforms
from r1zero.sampling.protocol import SamplingParams
from regime import seeded


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


def test_frequencies() -> None:
    generator = torch.Generator().manual_seed(seeded())
    logits = torch.randn(20, generator=generator)
    n = 50_000
    keys = torch.randint(-(2**63), 2**63 - 1, (n,), generator=generator)
    u = uniforms(keys, torch.zeros(n, dtype=torch.int64))
    tokens, _ = draw(logits.expand(n, 20), u, params(temperature=0.8))
    expected = torch.softmax(logits / 0.8, dim=0) * n
    counts = torch.bincount(tokens, minlength=20)
    chi_square = ((counts - expected).square() / expected).sum().item()
    assert chi_square < 19 + 5 * math.sqrt(2 * 19)  # mean 19, variance 38


def test_rows_do_not_see_one_another() -> None:
    generator = torch.Generator().manual_seed(seeded(1))
    logits = torch.randn(7, 30, generator=generator)
    u = torch.rand(7, generator=generator, dtype=torch.float64)
    how = params(0.7, 0.8, 9)
    tokens, logprobs = draw(logits, u, how)
    for row in range(7):
        alone = draw(logits[row : row + 1], u[row : row + 1], how)
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
