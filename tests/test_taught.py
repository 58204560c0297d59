"""What other tests rely on in the taught models, and the assertion margins that `make test-numerics` collects."""

from collections import Counter

import pytest

from r1zero.policy.load import load_policy
from r1zero.questions import load_questions
from r1zero.sampling.embedded.sampler import make_sampler
from r1zero.sampling.protocol import Request, SamplingParams
from r1zero.types import Stop
from regime import SEED, seeded, used
from tiny_runs import taught_model

SUMS = load_questions("arithmetic", limit=16, options={"level": 1, "style": "bare"})


@pytest.mark.parametrize("shape", [(32, 4), (64, 2)])
def test_some_answers_are_right_some_wrong_and_some_run_on(shape: tuple[int, int]) -> None:
    """Of 1,024 responses 36, 48 and 16 % (seed 0); a standard error is √(¼ / 1024) = 0.016, the room five and more."""
    policy = load_policy(str(taught_model(*shape)), device="cpu")
    requests = [Request(question.id, policy.encode(question.text)) for question in SUMS]
    drawn = list(make_sampler(policy, 256).sample(requests, 64, SamplingParams(16), seed=seeded(), step=0))
    kinds = Counter(
        "runs on"
        if each.completion.stop is Stop.LENGTH
        else "right"
        if each.completion.text.strip() == SUMS[each.request].gold[0]
        else "wrong"
        for each in drawn
    )
    assert sum(kinds.values()) == 1024
    assert 0.25 < kinds["right"] / 1024 < 0.5
    assert 0.35 < kinds["wrong"] / 1024 < 0.6
    assert 0.08 < kinds["runs on"] / 1024 < 0.25


@pytest.mark.parametrize(
    ("explanation", "share"),
    [
        ("2.5e-06 < 1e-05\n {2.5e-06 = max([2.5e-06])}", 0.25),
        ("0.8 > 0.2", 0.25),
        ("12 >= 8", 8 / 12),
        ("3.0001 == 3.0 ± 0.0002", 0.5),
        ("0.1 < 0.2 and 0.2 < 0.3", None),
        ("0.5 > 0", None),
        ("[1.0] == [1.0]", None),
    ],
)
def test_a_margin_is_the_share_of_the_room_that_is_used(explanation: str, share: float | None) -> None:
    assert used(explanation) == (share if share is None else pytest.approx(share))


def test_no_two_seeds_of_the_suite_share_their_draws() -> None:
    assert len({seeded(number) for number in range(100)}) == 100
    assert seeded(3) - seeded(0) == 3
    assert seeded() == 10_007 * SEED
