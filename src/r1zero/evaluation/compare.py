"""Two evaluations on the same questions: paired differences and pass@k curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from r1zero.errors import UserError
from r1zero.evaluation.saved import Saved
from r1zero.evaluation.summary import summarise
from r1zero.statistics import Paired, paired
from r1zero.types import Rollout


@dataclass(frozen=True, slots=True)
class Comparison:
    """One set: accuracies, the paired difference (second − first), and both pass@k curves (k → pass@k)."""

    name: str
    first: float
    second: float
    paired: Paired
    first_pass_at: dict[int, float]
    second_pass_at: dict[int, float]

    @property
    def crossover(self) -> int | None:
        """The smallest k from which the one that loses pass@1 is ahead; None if that never happens."""
        common = sorted(self.first_pass_at.keys() & self.second_pass_at.keys())
        gaps = {k: self.second_pass_at[k] - self.first_pass_at[k] for k in common}
        return next((k for k, gap in gaps.items() if gap * gaps[1] < 0), None)


def compare(first: Saved, second: Saved, *, seed: int = 0) -> list[Comparison]:
    """Compare on all sets and questions that both have.

    Raises:
        UserError: no set in common, or the same set with other questions.
    """
    theirs = dict(second.sets())
    found = []
    for name, mine in first.sets():
        if name not in theirs:
            continue
        one, two = _shares(mine), _shares(theirs[name])
        if one.keys() != two.keys():
            raise UserError(
                f"{first.path} and {second.path} asked different questions of {name} ({len(one)} and {len(two)}, "
                f"{len(one.keys() & two.keys())} in common){_filters(name, first, second)}; evaluate both on the same "
                "ones."
            )
        a, b = list(one.values()), [two[question] for question in one]
        asked = [rollout.question.asked for rollout in mine]
        found.append(
            Comparison(
                name,
                sum(a) / len(a),
                sum(b) / len(b),
                paired(a, b, asked, seed=seed),
                {k: estimate.value for k, estimate in summarise(name, mine).pass_at.items()},
                {k: estimate.value for k, estimate in summarise(name, theirs[name]).pass_at.items()},
            )
        )
    if not found:
        raise UserError(f"{first.path} and {second.path} have no finished question set in common; nothing to compare.")
    return found


def _filters(name: str, *saved: Saved) -> str:
    """Tell the filters that chose other questions, if they did."""
    written = [each.filter_of(name) for each in saved]
    shown = [f"where {each}" if each else "all" for each in written]
    return f", {shown[0]} beside {shown[1]}" if shown[0] != shown[1] else ""


def _shares(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Return by question which share of its responses is right."""
    return {r.question.id: sum(v.right for v in r.verdicts) / len(r.verdicts) for r in rollouts}
