"""Whether a grader works at all: a run under one that never does is no run, and its scores are no zeros."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from r1zero.errors import UserError, plural
from r1zero.types import AnswerFormat, GradingTask, Outcome, Question, Stop, Verdict
from r1zero.verify.protocol import VerifierProtocol

_MADE_UP = "<think> This is a response to try the grader on. </think> <answer> \\boxed{0} </answer>"


def try_reward(
    verifier: VerifierProtocol, reward: str | None, prompt: str, question: Question, parts: Collection[str] = ()
) -> None:
    """Call a user's own reward, or these parts of a list, once, on a made-up response to a question that will be asked.

    Raises:
        UserError: it fails or takes too long; the sentence holds what it said. That it gives no result is its right.
    """
    ids = tuple(range(len(_MADE_UP) // 4))
    task = GradingTask(
        _MADE_UP, question.gold, AnswerFormat.AUTO, question.text, question.id, question.extra, prompt, ids, Stop.EOS
    )
    verifier.submit("trial", task)
    for _, verdict in verifier.drain():
        for part in verdict.parts:
            if part.name in parts:
                _check_trial(f"reward {part.name!r}", part.verdict, question)
        if not verdict.parts:
            _check_trial(f"verifier.reward = {reward!r}", verdict, question)


def _check_trial(what: str, verdict: Verdict, question: Question) -> None:
    if verdict.outcome is Outcome.TIMEOUT:
        raise UserError(
            f"{what} is not a valid reward function here: on a made-up response it was "
            f"{verdict.rule}; import what it needs at the top of its file, or raise verifier.timeout_s."
        )
    if verdict.outcome is Outcome.UNGRADED and not verdict.rule.endswith("gave no result"):
        raise UserError(
            f"{what} is not a valid reward function here: on a made-up response to "
            f"{question.id} it said {verdict.rule!r}; write a function of (response, gold) that returns true or "
            "false, a number, or None (docs/rewards.md)."
        )


def check_graded(verdicts: Sequence[Verdict], what: str, remedy: str) -> None:
    """Refuse responses of which not one could be graded, as a whole or by a part of their reward that weighs something:
    `what` they are, and what to do, for the sentence.

    Raises:
        UserError: that is so; it holds the reason that was met most often.
    """
    if not verdicts:
        return
    for parts in zip(*(verdict.parts for verdict in verdicts), strict=True):
        if parts[0].weight and not any(part.verdict.graded for part in parts):
            _refuse([part.verdict.rule for part in parts], what, f"by the reward {parts[0].name!r} ", remedy)
    if not any(verdict.rewarded for verdict in verdicts):
        rules = [part.verdict.rule if (part := verdict.ungraded_part) else verdict.rule for verdict in verdicts]
        _refuse(rules, what, "", remedy)


def _refuse(rules: Sequence[str], what: str, by: str, remedy: str) -> None:
    [(rule, _)] = Counter(rules).most_common(1)
    raise UserError(
        f"None of the {plural(len(rules), 'response')} of {what} could be graded {by}(most often: {rule}); {remedy}."
    )
