"""The readiness card: what the analyses of a base model come to, before compute is spent on reinforcement learning."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from r1zero.analyze import exploration, self_reflection
from r1zero.analyze.answering import Answering
from r1zero.analyze.judges.llm import Agreement
from r1zero.analyze.responses import ModelResponses
from r1zero.statistics import Estimate

_GROUP_SIZES = (4, 8, 16, 32)
_ENOUGH = 0.5
# by a part of the model's name; then by size
_RECIPES = (
    ("qwen2.5-math-7b", "recipes/qwen2.5-math-7b.toml"),
    ("qwen2.5-math-1.5b", "recipes/qwen2.5-math-1.5b.toml"),
    ("qwen2.5-1.5b", "recipes/qwen2.5-1.5b-r1.toml"),
    ("smollm2-135m", "recipes/smollm2-135m-gsm8k.toml"),
)
_SMALL, _SMALL_RECIPE, _LARGE_RECIPE = 1e9, "recipes/smollm2-135m-gsm8k.toml", "recipes/qwen2.5-math-7b.toml"


@dataclass(frozen=True, slots=True)
class Card:
    """One model's card. What was not analysed is None."""

    model: str
    questions: int
    template: str
    answering: Estimate | None
    judge: str
    agreements: dict[str, Agreement]
    """By rubric, how the judge agrees with the rules; none of the rules themselves."""
    temperature: float | None
    """Of the numbers below: 1, where training samples, or the highest that was measured."""
    samples: int
    pass_at: dict[int, Estimate]
    """pass@1 and pass@8, or @n of fewer samples."""
    never_solved: Estimate | None
    live: exploration.Live | None
    signal: exploration.Signal | None
    best_temperature: float | None
    """Where pass@n is highest."""
    reflecting_responses: dict[str, float]
    """Share by detection, of the responses that could be told; those that need a judge only where it has judged."""
    reflecting_questions: dict[str, Estimate]
    group_size: int | None
    """The smallest of 4, 8, 16, 32 with half of the groups live, or the one with most of them."""
    command: str


def training_temperature(cells: Sequence[ModelResponses]) -> ModelResponses:
    """Return the cell closest to how training samples: temperature 1, or the highest."""
    return min(cells, key=lambda cell: (abs(cell.temperature - 1.0), -cell.temperature))


def make_card(
    template: str,
    answering: Answering | None,
    cells: Sequence[ModelResponses],
    explored: Sequence[exploration.ExplorationRow],
    reflected: Sequence[self_reflection.ReflectionRow],
    parameters: int | None,
) -> Card:
    """Return the card of what was analysed; `cells` are those of several samples under the template."""
    cell = training_temperature(cells)
    at = next((row for row in explored if row.temperature == cell.temperature), None)
    reflection = next((row for row in reflected if row.temperature == cell.temperature), None)
    best = max(explored, key=lambda row: row.pass_at[row.samples].value, default=None)
    known = self_reflection.DETECTIONS if reflection and reflection.judged else self_reflection.BY_WORDS
    counts = {name: reflection.counts[name] for name in known} if reflection else {}
    shares = {name: reflection.share_of_questions[name] for name in known} if reflection else {}
    judged = {"answering": answering, "reflection": reflection}
    size = suggested_group_size(cell)
    most = max(k for k in (1, 2, 4, 8) if k <= cell.samples)
    return Card(
        cell.model,
        len(cell.groups),
        template,
        answering.rate if answering else None,
        answering.judge if answering else reflection.judge if reflection else "",
        {name: found.agreement for name, found in judged.items() if found and found.agreement},
        cell.temperature,
        cell.samples,
        {k: at.pass_at[k] for k in dict.fromkeys((1, most))} if at else {},
        at.never_solved if at else None,
        at.live if at else None,
        exploration.signal(at.live, at.never_solved.value) if at else None,
        best.temperature if best else None,
        {name: count.responses / count.told for name, count in counts.items() if count.told},
        {name: share for name, share in shares.items() if share},
        size,
        command(cell, size, parameters),
    )


def suggested_group_size(cell: ModelResponses) -> int:
    """Return the smallest group size at which half of the groups are expected to be live, else the one with most."""
    counts = [(len(group.replies), group.right) for group in cell.groups]
    shares = {size: exploration.live_groups(counts, size).share.value for size in _GROUP_SIZES}
    # beyond the samples there are, shares are too low by a little: of like ones the larger size is the better guess
    most = max(shares, key=lambda size: (round(shares[size], 2), size))
    return next((size for size, share in shares.items() if share >= _ENOUGH), most)


def command(cell: ModelResponses, group_size: int, parameters: int | None) -> str:
    """Return the training that the card recommends, as a command line on the nearest recipe (RECIPE.toml: none is
    near).
    """
    name = cell.model.rstrip("/").rsplit("/", 1)[-1].lower()
    by_size = "RECIPE.toml" if parameters is None else _SMALL_RECIPE if parameters < _SMALL else _LARGE_RECIPE
    recipe = next((path for part, path in _RECIPES if part in name), by_size)
    words = ["r1zero", "train", recipe, "--model.path", cell.model, "--template.name", cell.template]
    words += ["--template.answer_format", cell.answer_format] if cell.answer_format else []
    return shlex.join([*words, "--rollout.samples", str(group_size)])
