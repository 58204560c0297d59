"""Grading inside a worker, where nothing starts workers: a reward function that uses a `Verifier` of its own.

Without this, a file that opens a `Verifier` with a reward where it is imported would start a worker that imports it,
and so on without end. Inside a worker an answer can as well be graded in place: the process has a limit, and is killed.
"""

from __future__ import annotations

import os
from functools import cache

from r1zero.errors import UserError
from r1zero.types import Outcome, Verdict
from r1zero.verify.workers.worker import Grader, grade_safely, load_grader

MARK = "R1ZERO_WORKER"
"""In the environment of a worker, and of whatever it starts."""


def is_worker() -> bool:
    """Tell whether this process is a worker, or was started by one."""
    return MARK in os.environ


def enter(reward: str | None) -> None:
    """Ready a worker for a `Verifier` of its own; elsewhere, do nothing.

    Raises:
        UserError: it has a reward function, too, for which it would need workers.
    """
    if not is_worker():
        return
    if reward is not None:
        raise UserError(
            f"A Verifier with the reward {reward!r} is not valid inside a worker: what starts workers belongs under "
            '`if __name__ == "__main__":`, for every worker imports the file of its reward.'
        )
    _grader()  # now, so that the first answer's limit does not pay for it


def grade_here(gold: str | list[str], answer: str) -> Verdict:
    """Return what Math-Verify says, in this process: whoever runs this worker ends it at the limit."""
    outcome, rule, score = grade_safely(_grader(), gold, answer)
    return Verdict(Outcome(outcome), rule=rule, score=score)


@cache
def _grader() -> Grader:
    return load_grader()
