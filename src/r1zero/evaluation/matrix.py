"""Models × templates × question sets in one call: each cell evaluated, kept, resumed, and all of them in one table."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from r1zero.config import EvaluationSettings, TemplateSettings
from r1zero.errors import UserError
from r1zero.evaluation.cell import Conditions, EvalCell, claim, claimed, identity, slug, slugs
from r1zero.evaluation.models import EvaluatedModel
from r1zero.evaluation.run import evaluate_sets, make_protocol
from r1zero.evaluation.summary import average, average_error
from r1zero.evaluation.tables import markdown
from r1zero.published import BenchmarkRow, published_benchmarks
from r1zero.rollouts.prompts import PreparedSet
from r1zero.rollouts.question_sets import flag, load_benchmarks
from r1zero.runs.exclusive import exclusive
from r1zero.runs.files import stems_apart, write_text, writing
from r1zero.templates import JINJA_SUFFIXES
from r1zero.templates.table import make_template
from r1zero.templates.template import Template
from r1zero.types import Completion
from r1zero.verify.workers.pool import open_verifier
from r1zero.verify.working import try_reward


def evaluate_matrix(
    models: Sequence[str],
    open_model: Callable[[str], EvaluatedModel],
    shapes: Sequence[TemplateSettings],
    settings: EvaluationSettings,
    conditions: Conditions,
    progress: Callable[[Completion], None] | None = None,
) -> list[EvalCell]:
    """Evaluate every model, opened as its turn comes, under every template on `settings.benchmarks`.

    With `conditions.out`, every response is kept there, an interrupted call goes on where it stopped, and results.json
    and results.md are written in the end. Settings are named as on the command line of `r1zero evaluate`.

    Raises:
        UserError: anything that the user has to mend.
    """
    _check_different("models", models)
    _check_different("--template", [shape.name for shape in shapes])
    sets = load_benchmarks(settings, conditions.data_dir, flag, conditions.reward)
    single = len(models) * len(shapes) == 1
    folders, labels = (
        slugs(models),
        stems_apart([shape.name for shape in shapes if shape.name.endswith(JINJA_SUFFIXES)]),
    )
    cells = []
    with exclusive(conditions.out), open_verifier(reward=conditions.reward) as verifier:
        if conditions.reward is not None:
            try_reward(verifier, conditions.reward, sets[0][0].text, sets[0][0])
        for model in models:
            with closing(open_model(model)) as evaluated:
                for shape in shapes:
                    template = make_template(shape, evaluated.tokenizer)
                    label = labels.get(shape.name, template.name)
                    folder = conditions.out
                    if folder is not None and not single:
                        folder = folder / f"{folders[model]}--{slug(label.replace('/', '_'))}"
                    what = identity(evaluated, template, sets, settings, conditions)
                    budget = settings.max_new_tokens or 3000
                    results = evaluate_sets(
                        _ready(evaluated, evaluated.prepare(sets, template), budget, folder, what),
                        evaluated.sampler,
                        verifier,
                        make_protocol(settings, template, budget, conditions.seed, evaluated.positions()),
                        folder=folder,
                        resumable=True,
                        progress=progress,
                    )
                    paper = None if conditions.reward else _paper(model, template, settings, budget)
                    cells.append(EvalCell(model, label, results, paper, budget, evaluated.engine))
        if conditions.out is not None:
            _write(conditions.out, cells)
    return cells


def _ready(
    evaluated: EvaluatedModel,
    prepared: Sequence[PreparedSet],
    budget: int,
    folder: Path | None,
    what: Mapping[str, Any],
) -> Sequence[PreparedSet]:
    """Return the sets once the model can be asked them and the folder is theirs: an engine that cannot be started
    leaves no folder behind, and none is started for a folder that is another evaluation's.
    """
    if folder is not None:
        claimed(folder, what)
    evaluated.begin(prepared, budget)
    if folder is not None:
        claim(folder, what)
    return prepared


def _check_different(what: str, names: Sequence[str]) -> None:
    places = [os.path.normpath(name) for name in names]  # `a/` and `./a` are `a`
    for name, place in zip(names, places, strict=True):
        if places.count(place) > 1:
            raise UserError(f"{what} name {name!r} more than once; keep one of them.")


def _paper(model: str, template: Template, settings: EvaluationSettings, budget: int) -> BenchmarkRow | None:
    """Return the paper's row, if this is what the paper did: greedy, whole sets, graded by its own rule."""
    whole = all(each.limit is None and each.where is None for each in settings.benchmarks)
    if settings.temperature != 0 or not whole:
        return None
    return published_benchmarks(model, template.name, budget, template.answer_format)


def _write(out: Path, cells: Sequence[EvalCell]) -> None:
    """Write results.json and results.md, which depend on the responses alone, and timing.json."""
    content = []
    for cell in cells:
        results = [asdict(result) for result in cell.results]
        for result in results:
            del result["sample_seconds"]
        content.append(
            {
                "model": cell.model,
                "template": cell.template,
                "engine": cell.engine,
                "average": average(cell.results),
                "average_standard_error": average_error(cell.results),
                "results": results,
                "max_new_tokens": cell.max_new_tokens,
                "paper": cell.paper and asdict(cell.paper) | {"max_new_tokens": cell.paper.max_new_tokens},
            }
        )
    timing = [
        {"model": cell.model, "template": cell.template, "set": r.name, "seconds": r.sample_seconds, "tokens": r.tokens}
        for cell in cells
        for r in cell.results
    ]
    with writing(out):
        write_text(out / "results.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        write_text(out / "timing.json", json.dumps(timing, indent=2) + "\n")
        write_text(out / "results.md", markdown(cells))
