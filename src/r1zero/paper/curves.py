"""What studies read from finished runs: curves over seeds beside the paper's, and numbers at the end of training."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from r1zero.paper.claims import Panel
from r1zero.paper.hypotheses import Margin
from r1zero.paper.jobs import Job
from r1zero.paper.world import family
from r1zero.report.charts.model import Chart, Series
from r1zero.report.data.lengths import ClassSums, class_sums, mean_length, mean_lengths, pooled
from r1zero.report.data.run_data import RunData, load_run
from r1zero.report.data.seed_groups import SeedGroup, mean_and_deviation, series_of
from r1zero.runs.rollout_rows import read_rows
from r1zero.runs.steps import by_step as steps_of
from r1zero.statistics import by_question
from r1zero.types import Fate, asked

PAIR = ("dr_grpo", "grpo")
NAMES = {
    "dr_grpo": "Dr. GRPO",
    "grpo": "GRPO",
    "grpo_no_std": "GRPO without std",
    "grpo_no_length": "GRPO without 1/|o|",
}


def published(name: str) -> Any:
    """Return the paper's numbers of a figure."""
    return json.loads((resources.files("r1zero.paper") / "published.json").read_text(encoding="utf-8"))[name]


def by_objective(points: Mapping[str, Any]) -> dict[str, Any]:
    """Return the paper's numbers of Dr. GRPO and GRPO, by their names."""
    return {NAMES[objective]: points[objective] for objective in PAIR}


def seed_groups(
    out: Path, jobs: Sequence[Job], labels: Mapping[str, str], prefix: str = "runs/"
) -> dict[str, SeedGroup]:
    """Return label each name's runs, `PREFIX NAME-SEED` of the grid; names without runs are left out."""
    found: dict[str, SeedGroup] = {}
    for name, label in labels.items():
        paths = [out / job.name for job in jobs if job.name.rpartition("-")[0] == prefix + name]
        if paths:
            found[name] = SeedGroup(label, tuple(load_run(path) for path in paths))
    return found


def paths_of(groups: Iterable[SeedGroup]) -> list[Path]:
    """Return the directories of all their runs."""
    return [run.path for group in groups for run in group.runs]


def trained(groups: Sequence[SeedGroup], key: str) -> tuple[Series, ...]:
    """Return a logged number over the steps of training."""
    return _over_steps(groups, lambda run: run.logged(key))


def evaluated(groups: Sequence[SeedGroup], what: str) -> tuple[Series, ...]:
    """Return a number of the evaluations, the mean of the sets that have it."""
    return _over_steps(groups, lambda run: {step: of_sets(row, what) for step, row in run.evaluations.items()}, 1)


def evaluated_wrong(groups: Sequence[SeedGroup]) -> tuple[Series, ...]:
    """Return mean length of the evaluations' responses without a right answer, those at the token limit included.

    It is read from the saved responses: the logged `length_incorrect` is of those that ended (appendix D), and would
    hide a growth into the limit. The paper's own was drawn from its saved scores, which know right and not right only.
    """
    return _over_steps(groups, _evaluated_wrong, 1)


def _evaluated_wrong(run: RunData) -> dict[int, float | None]:
    found: dict[int, float | None] = {}
    for step, folder in steps_of(run.path.glob("evaluations/step-*")):
        rows = (read_rows(path, ("outcome", "stop", "length")) for path in sorted(folder.glob("*.parquet")))
        sums = [class_sums((row["outcome"], row["stop"], row["length"]) for row in each) for each in rows]
        known = [length for each in sums if (length := wrong_length(each)) is not None]
        found[step] = math.fsum(known) / len(known) if known else None
    return found


def by_step(groups: Sequence[SeedGroup], read: Callable[[ClassSums], float | None]) -> tuple[Series, ...]:
    """Return a number of the saved rollouts over the steps of training."""
    return _over_steps(groups, lambda run: {step: read(sums) for step, sums in run.lengths.items()})


def _over_steps(
    groups: Sequence[SeedGroup], read: Callable[[RunData], Mapping[int, float | None]], width: int | None = None
) -> tuple[Series, ...]:
    """Return curves of what is read from each run, by step; groups without a number have none."""
    made = []
    for i, group in enumerate(groups):
        known = [{step: value for step, value in read(run).items() if value is not None} for run in group.runs]
        made.append(series_of(group, i, known, width))
    return tuple(filter(None, made))


def of_sets(row: Mapping[str, float], what: str) -> float | None:
    """Return the mean of `eval/SET/what` over sets."""
    values = [value for key, value in row.items() if key.startswith("eval/") and key.endswith(f"/{what}")]
    return math.fsum(values) / len(values) if values else None


def beside(ours: Chart, paper: Mapping[str, Sequence[Sequence[float]]], scale: float = 1.0) -> Panel:
    """Return a picture of ours beside the paper's own curves in the same form: label → [[x, y], …]."""
    series = tuple(
        Series(label, f"s{i}", tuple(x for x, _ in points), tuple(y * scale for _, y in points))
        for i, (label, points) in enumerate(paper.items())
    )
    title = f"The paper: {ours.title[0].lower()}{ours.title[1:]}"
    return Panel(ours, replace(ours, key=f"paper-{ours.key}", title=title, series=series, about=""))


def ending(steps: Sequence[int]) -> Sequence[int]:
    """Return the last tenth of the steps, one at least: what "at the end" means in a claim."""
    return sorted(steps)[-max(1, len(steps) // 10) :]


def at_end(run: RunData, key: str) -> float:
    """Return a logged number's mean at the end."""
    rows = run.logged(key)
    values = [rows[step] for step in ending(tuple(rows))]
    return math.fsum(values) / len(values) if values else math.nan


length_at_end = partial(at_end, key="rollout/length")
reward_at_end = partial(at_end, key="rollout/reward")


def apart(more: SeedGroup, less: SeedGroup, number: Callable[[RunData], float]) -> list[float]:
    """Return the difference of a number between two groups, seed by seed."""
    return [number(a) - number(b) for a, b in zip(more.runs, less.runs, strict=True)]


def wrong_at_end(run: RunData) -> float:
    """Return mean length of the responses without a right answer at the end, those at the token limit included.

    A wrong answer that grew into the limit is no less wrong: leaving it out would hide the growth.
    """
    return _or_nan(wrong_length(_last(run)))


def wrong_at_start(run: RunData) -> float:
    """Return the same at the start: the first tenth of the steps."""
    steps = sorted(run.lengths)[: max(1, len(run.lengths) // 10)]
    return _or_nan(wrong_length(pooled(run.lengths[step] for step in steps)))


def right_at_end(run: RunData) -> float:
    """Return mean length of right responses at the end."""
    return _or_nan(mean_lengths(_last(run))[Fate.CORRECT])


def wrong_length(sums: ClassSums) -> float | None:
    """Return mean length of the responses without a right answer in class sums."""
    return mean_length({name: sums[name] for name in (Fate.INCORRECT, Fate.TRUNCATED)})


def token_budget(groups: Iterable[SeedGroup]) -> int:
    """Return the most tokens of a response, in the runs' recipes."""
    return max(run.recipe["sampling.max_new_tokens"] for group in groups for run in group.runs)


def share_of_budget(groups: Iterable[SeedGroup], share: float, reason: str) -> Margin:
    """Return a margin of length as a share of the token budget, which a miniature and the paper do not share."""
    return Margin(share * token_budget(groups), "tokens", reason)


def spread(values: Sequence[float]) -> str:
    """Return mean ± standard deviation between seeds."""
    mean, deviation = mean_and_deviation(values)
    return f"{mean:.3g}" + (f" ± {deviation:.2g}" if len(values) > 1 else "")


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _last(run: RunData) -> ClassSums:
    return pooled(run.lengths[step] for step in ending(tuple(run.lengths)))


def score(run: RunData, last: bool = True) -> float:
    """Return mean accuracy of the last (or first) evaluation."""
    step = (max if last else min)(run.evaluations)
    return of_sets(run.evaluations[step], "accuracy") or 0.0


def rights(folder: Path) -> list[float]:
    """Return shares of right answers in an evaluation's folder, one a `unit`: of two models asked the same in the same
    order.
    """
    return [share for shares in rights_by_set(folder).values() for share in shares]


def balanced(folder: Path) -> list[float]:
    """Return the same, weighted so that their mean is the mean of the sets' means: the paper's average."""
    sets = [*rights_by_set(folder).values()]
    total = sum(map(len, sets))
    return [share * total / (len(sets) * len(shares)) for shares in sets for share in shares]


def rights_by_set(folder: Path) -> dict[str, list[float]]:
    """Return the same by question set, by the names of its files."""
    sets = {}
    for path in sorted(folder.glob("*.parquet")):
        rights: dict[str, list[bool]] = {}
        questions: dict[str, str] = {}
        for row in read_rows(path, ("question_id", "prompt", "outcome"), ("question",)):
            identity = row["question_id"]
            rights.setdefault(identity, []).append(row["outcome"] == "right")
            questions[identity] = asked(row.get("question") or row["prompt"], identity)
        order = sorted(rights)
        shares = [sum(rights[each]) / len(rights[each]) for each in order]
        sets[path.stem] = by_unit(shares, [questions[each] for each in order])
    return sets


def by_unit(values: Sequence[float], questions: Sequence[str]) -> list[float]:
    """Return one number a sampling unit from one a row, of which `questions` tells what it asks.

    Rows that ask the same are one unit, and the mean of all stays what it is. In the miniature, whose questions are
    permutations of few sets of numbers, all about the same numbers are one, by their mean.
    """
    families = [family(each) for each in questions]
    if not any(families):
        return by_question(values, questions)
    units: dict[str, list[float]] = {}
    for value, numbers, question in zip(values, families, questions, strict=True):
        units.setdefault(numbers or question, []).append(value)
    return [math.fsum(each) / len(each) for _, each in sorted(units.items())]
