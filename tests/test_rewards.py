"""Verdicts → rewards, and every number a rollout batch says about itself, by hand."""

import pytest
import torch

from r1zero.metrics import Tally
from r1zero.objectives.table import make_objective
from r1zero.rollouts.rewards import Truncation, observe, rewards_of, trajectories_of
from r1zero.types import Completion, Outcome, Question, Rollout, Stop, Verdict

RIGHT, WRONG, NONE = Outcome.RIGHT, Outcome.WRONG, Outcome.NO_ANSWER
UNGRADED, TIMEOUT = Outcome.UNGRADED, Outcome.TIMEOUT
EOS, LENGTH, STRING = Stop.EOS, Stop.LENGTH, Stop.STOP_STRING


def rollout(name: str, prompt_length: int, *members: tuple[Outcome, Stop, int]) -> Rollout:
    """A group of (outcome, stop, length); every token's log-prob is −0.5."""
    completions = tuple(Completion(tuple(range(n)), (-0.5,) * n, "", stop) for _, stop, n in members)
    verdicts = tuple(Verdict(outcome) for outcome, _, _ in members)
    question = Question(name, "?", ("1",))
    return Rollout(question, "?", tuple(range(prompt_length)), completions, verdicts)


BATCH = [
    rollout("mixed", 3, (RIGHT, EOS, 4), (WRONG, EOS, 6), (RIGHT, LENGTH, 10), (NONE, LENGTH, 10)),
    rollout("all wrong", 5, (WRONG, STRING, 2), (NONE, EOS, 3), (TIMEOUT, EOS, 7), (WRONG, LENGTH, 10)),
    rollout("all right", 4, (RIGHT, EOS, 1), (RIGHT, EOS, 2), (UNGRADED, EOS, 3), (RIGHT, STRING, 2)),
    rollout("unknown", 8, (UNGRADED, EOS, 5), (UNGRADED, EOS, 5), (TIMEOUT, EOS, 5), (UNGRADED, LENGTH, 10)),
]


def test_a_truncated_right_answer_earns_by_policy() -> None:
    paper, graded = rewards_of(BATCH, Truncation("reward_zero"))
    keep, same = rewards_of(BATCH, Truncation("keep"))
    assert paper[0].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert keep[0].tolist() == [1.0, 0.0, 1.0, 0.0]
    assert torch.equal(graded, same)
    assert graded.tolist() == [
        [True] * 4,
        [True, True, False, True],
        [True, True, False, True],
        [False] * 4,
    ]
    penalised, _ = rewards_of(BATCH, Truncation("penalise", 0.5))
    assert penalised[0].tolist() == [1.0, 0.0, -0.5, -0.5]
    assert penalised[1].tolist() == [0.0, 0.0, 0.0, -0.5]


def test_masked_truncated_responses_are_no_evidence_but_stay_in_the_batch() -> None:
    rewards, graded = rewards_of(BATCH, Truncation("mask_out"))
    assert graded[0].tolist() == [True, True, False, False]
    advantages = make_objective("dr_grpo").advantages(rewards, graded)
    assert advantages[0].tolist() == [0.5, -0.5, 0.0, 0.0]
    rows = trajectories_of(BATCH, advantages, graded)
    assert [row.counts for row in rows[:4]] == [True, True, False, False]
    assert len(rows) == 16


def test_an_unknown_truncation_policy_is_an_error() -> None:
    with pytest.raises(KeyError):
        rewards_of(BATCH, Truncation("mask"))


def test_ungraded_responses_are_outside_the_baseline() -> None:
    rewards, graded = rewards_of(
        [rollout("q", 1, (RIGHT, EOS, 1), (WRONG, EOS, 1), (TIMEOUT, EOS, 1))], Truncation("keep")
    )
    advantages = make_objective("dr_grpo").advantages(rewards, graded)
    # mean of the two known is 1/2; were the timeout a 0, it would be 1/3
    assert advantages.tolist() == [[0.5, -0.5, 0.0]]


def test_trajectories_are_the_groups_one_after_another() -> None:
    advantages = torch.arange(16.0).view(4, 4)
    rows = trajectories_of(BATCH, advantages)
    assert [row.advantage for row in rows] == list(map(float, range(16)))
    assert [row.length for row in rows] == [4, 6, 10, 10, 2, 3, 7, 10, 1, 2, 3, 2, 5, 5, 5, 10]
    assert [len(row.prompt_ids) for row in rows] == [3] * 4 + [5] * 4 + [4] * 4 + [8] * 4
    completion = BATCH[1].completions[2]
    assert (rows[6].response_ids, rows[6].sampler_logprobs) == (completion.token_ids, completion.logprobs)


def observed(truncation: str) -> dict[str, float]:
    tally = Tally()
    rewards, graded = rewards_of(BATCH, Truncation(truncation))
    advantages = make_objective("dr_grpo").advantages(rewards, graded)
    observe(tally, BATCH, rewards, graded, (advantages == 0).all(dim=1))
    return tally.result()


def test_groups_are_right_or_wrong_whatever_the_scale_of_their_rewards() -> None:
    """Rewards of ±1 and of 2: right from 1 upwards, wrong where nothing above 0 was earned."""
    rewards = torch.tensor([[2.0, 1.0], [-1.0, -0.5], [-1.0, 1.0], [0.5, 0.25]])
    graded = torch.ones(4, 2, dtype=torch.bool)
    rollouts = [rollout("q", 1, (RIGHT, EOS, 1), (WRONG, EOS, 1)) for _ in range(4)]
    tally = Tally()
    observe(tally, rollouts, rewards, graded, torch.zeros(4, dtype=torch.bool))
    assert tally.result()["rollout/all_right_groups"] == tally.result()["rollout/all_wrong_groups"] == 1 / 4


def test_every_metric_by_hand() -> None:
    # graded: 4 + 3 + 3 + 0 = 10
    assert observed("reward_zero") == {
        "rollout/reward": (1 + 0 + 3) / 10,
        "rollout/pass_at_1": (2 + 0 + 3) / 10,  # the truncated right one counts here
        "rollout/pass_at_g": 2 / 4,
        "rollout/answered": 8 / 10,
        "rollout/dead_groups": 3 / 4,
        "rollout/all_right_groups": 1 / 4,  # nobody knows about the last group: neither right nor wrong
        "rollout/all_wrong_groups": 1 / 4,
        "rollout/length": 85 / 16,
        "rollout/length_correct": (4 + 1 + 2 + 2) / 4,
        "rollout/length_incorrect": (6 + 2 + 3) / 3,
        "rollout/length_truncated": 40 / 4,
        "rollout/truncated": 4 / 16,
        "rollout/cut_by_context": 0.0,
        "rollout/surprisal": pytest.approx(0.5),
        "rollout/tokens": 85.0,
        "rollout/responses": 16.0,
        "rollout/prompt_length": (3 + 5 + 4 + 8) / 4,
        "rollout/ungraded": 4.0,
        "rollout/timeouts": 2.0,
    }


def test_the_truncation_policy_shows_in_the_reward_only() -> None:
    paper, keep = observed("reward_zero"), observed("keep")
    assert keep["rollout/reward"] == (2 + 0 + 3) / 10
    assert {key for key in paper if paper[key] != keep[key]} == {"rollout/reward"}


def test_surprisal_weighs_tokens_not_responses() -> None:
    short = Completion((1,), (-3.0,), "", EOS)
    long = Completion((1, 2, 3), (-1.0, -1.0, -1.0), "", EOS)
    verdict = Verdict(WRONG)
    group = Rollout(Question("q", "?", ("1",)), "?", (1,), (short, long), (verdict, verdict))
    tally = Tally()
    observe(tally, [group], *rewards_of([group], Truncation("keep")), torch.tensor([True]))
    assert tally.result()["rollout/surprisal"] == 1.5  # 6 nats over 4 tokens, not the mean of 3 and 1


def test_metrics_of_no_finished_responses_are_left_out() -> None:
    group = rollout("q", 2, (RIGHT, LENGTH, 3), (WRONG, LENGTH, 3))
    tally = Tally()
    observe(tally, [group], *rewards_of([group], Truncation("reward_zero")), torch.tensor([True]))
    numbers = tally.result()
    assert "rollout/length_correct" not in numbers
    assert "rollout/length_incorrect" not in numbers
    assert numbers["rollout/length_truncated"] == 3.0
