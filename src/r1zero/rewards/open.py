"""From a list of rewards to the graders at work, and what a run records of them.

A part is a row of the recipe (`RewardSettings`), or a callable of this process (`LocalReward`, or the bare function):

    with open_rewards(parts, settings, 3000) as rewards:
        [verdict] = rewards.verify([GradingTask(response, gold, AnswerFormat.BOXED)])
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from r1zero.config import RewardSettings, VerifierSettings
from r1zero.config.rewards import FormatOptions, JudgeOptions, OverlongOptions, RepetitionOptions, judge_of_answers
from r1zero.errors import UserError
from r1zero.rewards.builtin import answer_format_met, repetition, soft_overlong
from r1zero.rewards.composite import GradedPart, Rewards
from r1zero.rewards.grader import FormulaGrader, Grader
from r1zero.rewards.gym import GymGrader
from r1zero.rewards.judge import JudgeGrader
from r1zero.rewards.local import LocalGrader, identity
from r1zero.types import GradingTask
from r1zero.verify import Verifier
from r1zero.verify.fingerprint import code_digest, reward_fingerprint

IMPLIED = "verify"
"""The name of the verifier where no part of a list judges the answer: it weighs nothing."""


@dataclass(frozen=True, slots=True)
class LocalReward:
    """A callable of this process as a part of the reward, with what a row of a recipe has."""

    function: Callable[..., Any]
    name: str = ""
    weight: float = 1.0
    correctness: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def called(self) -> str:
        """Its name in metrics and saved rollouts; by default the function's."""
        own = self.name or getattr(self.function, "__name__", type(self.function).__name__)
        return "".join(each if each.isalnum() or each in "_-" else "_" for each in own).strip("_") or "reward"


RewardSource = RewardSettings | LocalReward | Callable[..., Any]
"""What a part of a reward may be given as."""


def parts_of(rewards: Sequence[RewardSource]) -> list[RewardSettings | LocalReward]:
    """Return rewards as rows, bare callables too.

    Raises:
        UserError: two have one name, or judge the answer, or nothing of them weighs anything.
    """
    found = [each if isinstance(each, RewardSettings | LocalReward) else LocalReward(each) for each in rewards]
    names = [each.called for each in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"Two rewards are called {twice!r}; give one of them another name.")
    marked = [each.called for each in found if each.correctness]
    if len(marked) > 1:
        raise UserError(f"The rewards {' and '.join(marked)} both judge the answer; mark one with correctness alone.")
    if found and not any(each.weight for each in found):
        raise UserError("Every reward has the weight 0, so nothing is earned; give one of them a weight.")
    return found


@contextmanager
def open_rewards(
    rewards: Sequence[RewardSource], verifier: VerifierSettings, max_new_tokens: int, kept: Path | None = None
) -> Iterator[Rewards]:
    """The graders of a list of rewards, at work until the context ends; functions are loaded at once.

    `verifier` has the limits of their processes, `max_new_tokens` is the budget of a response; in the folder `kept`
    judges keep what they were told, once a run is there.

    Raises:
        UserError: one of them cannot grade.
    """
    with closing(make_rewards(rewards, verifier, max_new_tokens, kept)) as made:
        made.check()
        yield made


def make_rewards(
    rewards: Sequence[RewardSource], verifier: VerifierSettings, max_new_tokens: int, kept: Path | None = None
) -> Rewards:
    """See `open_rewards`; whoever makes them closes them."""
    limits = verifier.workers, verifier.timeout_s, verifier.memory_mb
    parts = parts_of(rewards)
    graders: list[Grader] = []
    for part in parts:
        if isinstance(part, LocalReward):
            graders.append(LocalGrader(part.called, part.function, verifier.timeout_s, part.options))
        else:
            graders.append(_grader(part, limits, max_new_tokens, kept))
    graders += [Verifier(*limits)] * (_judge(parts) is None)
    return Rewards([GradedPart(grader=each, **told) for each, told in zip(graders, described(parts), strict=True)])


def described(parts: Sequence[RewardSettings | LocalReward]) -> list[dict[str, Any]]:
    """Tell each part's name, weight and whether it judges the answer: the verifier, without a weight, if none does."""
    judge = _judge(parts)
    told = [{"name": part.called, "weight": part.weight, "answers": part is judge} for part in parts]
    if judge is None:
        name = IMPLIED if all(part.called != IMPLIED for part in parts) else f"{IMPLIED}_answer"
        told.append({"name": name, "weight": 0.0, "answers": True})
    return told


def _judge(parts: Sequence[RewardSettings | LocalReward]) -> RewardSettings | LocalReward | None:
    marked = next((part for part in parts if part.correctness), None)
    return marked or judge_of_answers([part for part in parts if isinstance(part, RewardSettings)])


def _grader(part: RewardSettings, limits: tuple[int, float, int], max_new_tokens: int, kept: Path | None) -> Grader:
    if part.code is not None:
        return Verifier(*limits, part.code, part.options, part.called)
    options = part.settings()
    if isinstance(options, FormatOptions):
        return FormulaGrader("format", partial(_format, options))
    if isinstance(options, OverlongOptions):
        return FormulaGrader("overlong", partial(_overlong, options.max or max_new_tokens, options.buffer))
    if isinstance(options, RepetitionOptions):
        return FormulaGrader("repetition", partial(_repetition, options))
    if isinstance(options, JudgeOptions):
        return JudgeGrader(part.called, options, kept and kept / f"judge-{part.called}.sqlite")
    return GymGrader(part.called, *limits) if part.use == "reasoning_gym" else Verifier(*limits)


def _format(options: FormatOptions, task: GradingTask) -> float:
    return answer_format_met(task.response, task.answer_format, think=options.think, prompt=task.prompt)


def _overlong(most: int, buffer: int, task: GradingTask) -> float:
    return soft_overlong(task.length, most, buffer)


def _repetition(options: RepetitionOptions, task: GradingTask) -> float:
    return repetition(task.token_ids, options.n, options.max_penalty)


def own_golds(rewards: Sequence[RewardSource]) -> tuple[str | None, str | None] | None:
    """Return `Recipe.own_golds` of rewards, where there are any."""
    parts = parts_of(rewards)
    judge = _judge(parts)
    if not parts:
        return None
    if judge is None:
        return parts[0].called, None
    verifies = isinstance(judge, RewardSettings) and judge.use == "verify"
    return (None, None) if verifies else (judge.called, judge.called)


def may_fail(rewards: Sequence[RewardSource]) -> list[str]:
    """Return the names of what is to be tried before a run begins: code, servers and packages, no formula of ours."""
    rows = parts_of(rewards)
    others = ("judge", "reasoning_gym")
    return [each.called for each in rows if isinstance(each, LocalReward) or each.code or each.use in others]


def reward_facts(rewards: Sequence[RewardSource], before: Sequence[RewardSettings] = ()) -> dict[str, Any]:
    """Return what a run records of its rewards: of code its fingerprint by name, of callables their identity; and the
    fingerprint of what is built in, where a list has such. `before` are the rows as they were when the run began.
    """
    parts = parts_of(rewards)
    if not parts:
        return {}
    called = {each.called: each.use for each in before}
    marks: dict[str, str | None] = {}
    for part in parts:
        if isinstance(part, LocalReward):
            marks[part.called] = identity(part.function)
        elif part.code is not None:
            marks[part.called] = reward_fingerprint(part.code, called=called.get(part.called))
    return {
        "rewards": described(parts),
        "rewards_fingerprint": marks,
        "builtin_rewards_fingerprint": _builtin_fingerprint(),
    }


@cache
def _builtin_fingerprint() -> str:
    """Return the fingerprint of this room's code."""
    return code_digest(sorted(Path(__file__).parent.glob("*.py")))
