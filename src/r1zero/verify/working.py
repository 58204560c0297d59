"""Whether a grader works at all: a run under one that never does is no run, and its scores are no zeros."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from r1zero.errors import UserError, plural
from r1zero.types import AnswerFormat, Outcome, Question, Verdict
from r1zero.verify.protocol import VerifierProtocol

_MADE_UP = "<think> This is a response to try the grader on. </think> <answer> \\boxed{0} </answer>"


def try_reward(verifier: VerifierProtocol, reward: str | None, question: Question) -> None:
    """Call a user's own reward once, on a made-up response to a question that will be asked.

    Raises:
        UserError: it fails or takes too long; the sentence holds what it said. That it gives no result is its right.
    """
    if reward is None:
        return
    verifier.submit("trial", _MADE_UP, question.gold, AnswerFormat.AUTO)
    for _, verdict in verifier.drain():
        if verdict.outcome is Outcome.TIMEOUT:
            raise UserError(
                f"verifier.reward = {reward!r} is not a valid reward function here: on a made-up response it was "
                f"{verdict.rule}; import what it needs at the top of its file, or raise verifier.timeout_s."
            )
        if verdict.outcome is Outcome.UNGRADED and not verdict.rule.endswith("gave no result"):
            raise UserError(
                f"verifier.reward = {reward!r} is not a valid reward function here: on a made-up response to "
                f"{question.id} it said {verdict.rule!r}; write a function of (response, gold) that returns true or "
                "false, a number, or None."
            )


def check_graded(verdicts: Sequence[Verdict], what: str, remedy: str) -> None:
    """Refuse responses of which not one could be graded: `what` they are, and what to do, for the sentence.

    Raises:
        UserError: that is so; it holds the reason that was met most often.
    """
    if verdicts and not any(verdict.graded for verdict in verdicts):
        [(rule, _)] = Counter(verdict.rule for verdict in verdicts).most_common(1)
        raise UserError(
            f"None of the {plural(len(verdicts), 'response')} of {what} could be graded (most often: {rule}); {remedy}."
        )
