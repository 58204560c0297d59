"""The analyses of one model, in order: answering picks the template, under which the other two are made.

Every one is written as soon as it is there: NAME.json and NAME.md, which a report draws. Sampled responses are kept as
`r1zero evaluate` keeps them, so that nothing is asked twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from r1zero import config
from r1zero.analyze import answering, exploration, markdown, over_training, reflection_effect, self_reflection
from r1zero.analyze.answering import Answering
from r1zero.analyze.ask import Asking, ask
from r1zero.analyze.judges.llm import Judge, LLMJudge
from r1zero.analyze.judges.rubrics import ANSWERING, REFLECTION
from r1zero.analyze.judges.rules import RuleJudge
from r1zero.analyze.keywords import Detector
from r1zero.analyze.readiness_card import Card, make_card, training_temperature
from r1zero.analyze.responses import ROLLOUTS, ModelResponses, run_steps
from r1zero.errors import UserError
from r1zero.evaluation.models import EvaluatedModel
from r1zero.published import FORMATS, published_base_model
from r1zero.runs.files import write_text, writing
from r1zero.runs.run import Run
from r1zero.templates.table import make_template
from r1zero.types import Completion
from r1zero.verify import Verifier

ANALYSES = ("answering", "exploration", "reflection")
Progress = Callable[[Completion], None]


@dataclass(frozen=True, slots=True)
class Judges:
    """Who judges what; the rules judge beside whoever else does."""

    answering: Judge = field(default_factory=lambda: RuleJudge(ANSWERING))
    reflection: Judge = field(default_factory=lambda: RuleJudge(REFLECTION))
    detector: Detector = field(default_factory=Detector)

    def bill(self) -> Any:
        """Return what a language model's judgements took so far; None of rules."""
        return self.reflection.bill() if isinstance(self.reflection, LLMJudge) else None


@dataclass(frozen=True, slots=True)
class AnalysisPlan:
    """What a model is asked, and which analyses are made."""

    analyses: tuple[str, ...]
    templates: tuple[config.TemplateSettings, ...]
    temperatures: tuple[float, ...]
    samples: int
    group_size: int


def analyse_model(
    evaluated: EvaluatedModel,
    plan: AnalysisPlan,
    asking: Asking,
    judges: Judges,
    verifier: Verifier,
    progress: Progress | None = None,
) -> Card | None:
    """Ask a model what the plan's analyses need, make them, and write them to `asking.out`."""
    templates = [make_template(shape, evaluated.tokenizer) for shape in plan.templates]
    sets = [evaluated.prepare([asking.questions], each)[0] for each in templates]
    evaluated.begin(sets, asking.max_new_tokens)
    cells = [
        ask(evaluated, prepared, asking, verifier, temperature=0.0, samples=1, progress=progress)
        for prepared in sets
        if "answering" in plan.analyses or len(plan.templates) > 1
    ]
    chosen = analyse_answering(cells, judges, asking.out, evaluated.name) if cells else None
    index = [cell.template for cell in cells].index(chosen.template) if chosen else 0
    if plan.analyses == ("answering",):
        return None
    sampled = [
        ask(evaluated, sets[index], asking, verifier, temperature=t, samples=plan.samples, progress=progress)
        for t in plan.temperatures
    ]
    return analyse_sampled(sampled, chosen, plan, judges, asking.out, evaluated.parameters)


def analyse_saved(cells: Sequence[ModelResponses], plan: AnalysisPlan, judges: Judges, out: Path) -> Card | None:
    """Return the same on saved evaluations, without asking anything.

    Raises:
        UserError: they do not hold what the analyses need.
    """
    chosen = analyse_answering(list(answering.greediest(cells).values()), judges, out, cells[0].model)
    if plan.analyses == ("answering",):
        return None
    several = [cell for cell in cells if cell.template == chosen.template and cell.samples > 1]
    if not several:
        others = sorted({cell.template for cell in cells if cell.samples > 1})
        remedy = f"name only those of {', '.join(others)}" if others else "evaluate with --samples 8 --temperature 1"
        raise UserError(
            f"--saved holds no evaluation of several samples under {chosen.template}, which makes the model answer "
            f"most; {remedy}, or ask for `answering` only."
        )
    samples = {cell.samples for cell in several}
    if len(samples) > 1:
        raise UserError(
            f"--saved holds evaluations of {' and '.join(map(str, sorted(samples)))} samples under {chosen.template}, "
            "whose pass@k are not of the same k; name those of one number of samples."
        )
    return analyse_sampled(several, chosen, plan, judges, out, cells[0].parameters)


def analyse_answering(cells: Sequence[ModelResponses], judges: Judges, out: Path, model: str) -> Answering:
    """Return the answering rate of every template; the best one is returned."""
    rules = RuleJudge(ANSWERING)
    rows = [answering.analyse(cell, judges.answering, rules) for cell in cells]
    chosen = answering.best(rows)
    content = {"model": model, "notes": cells[0].notes, "best_template": chosen.template, "bill": judges.bill()}
    write(out, "answering", content | {"templates": rows, "paper": published_base_model(model)})
    return chosen


def analyse_sampled(
    cells: Sequence[ModelResponses],
    chosen: Answering | None,
    plan: AnalysisPlan,
    judges: Judges,
    out: Path,
    parameters: int | None,
) -> Card:
    """Return exploration, self-reflection and the card, of several samples at one or more temperatures."""
    cells = sorted(cells, key=lambda cell: cell.temperature)
    model, template, graded = cells[0].model, cells[0].template, cells[0].answer_format
    alike = graded in ("", FORMATS.get(template, graded))  # by another rule other responses are right
    paper = published_base_model(model) if alike else None
    explored = [exploration.analyse(cell, plan.group_size) for cell in cells if "exploration" in plan.analyses]
    if explored:
        content = {"model": model, "notes": cells[0].notes, "template": template}
        write(out, "exploration", content | {"temperatures": explored, "paper": paper})
    reflected = _reflection(cells, judges, out) if "reflection" in plan.analyses else []
    card = make_card(template, chosen, cells, explored, reflected, parameters)
    write(out, "card", card)
    return card


def _reflection(cells: Sequence[ModelResponses], judges: Judges, out: Path) -> list[self_reflection.ReflectionRow]:
    rules = RuleJudge(REFLECTION)
    model, template, paper = cells[0].model, cells[0].template, published_base_model(cells[0].model)
    rows, helped = [], []
    last = training_temperature(cells)
    for cell in cells:
        row, flags = self_reflection.analyse(cell, judges.detector, judges.reflection, rules)
        rows.append(row)
        detections = self_reflection.DETECTIONS if cell is last else ("cross",)
        helped += [reflection_effect.analyse(cell, flags.by_detection[name], name) for name in detections]
    content = {"model": model, "notes": cells[0].notes, "template": template, "keywords": judges.detector.keywords}
    write(out, "reflection", content | {"bill": judges.bill(), "temperatures": rows, "helping": helped, "paper": paper})
    return rows


def analyse_training(run: Run, judges: Judges, out: Path, most: int | None) -> None:
    """Write the analyses over a run's saved rollouts and evaluations, at `most` evenly spaced steps of each (None:
    all).
    """
    recipe, found = run.recipe, []
    for name, steps in run_steps(run).items():
        temperature = recipe.sampling.temperature if name == ROLLOUTS else recipe.evaluation.temperature
        both, chosen = (judges.answering, judges.reflection), over_training.evenly(steps, most)
        numbers = over_training.analyse_steps(chosen, recipe.template.name, judges.detector, both)
        found.append(over_training.Source(name, temperature, numbers))
    write(out, "training", {"run": run.path.resolve().name, "judge": judges.reflection.name,
                            "keywords": judges.detector.keywords, "bill": judges.bill(), "sources": found})  # fmt: skip


def write(out: Path, name: str, content: object) -> None:
    """Write NAME.json, records as objects of their fields, and its page NAME.md. Raises UserError where it cannot."""
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, indent=2, ensure_ascii=False, default=asdict)
        for suffix, each in (("json", text + "\n"), ("md", markdown.page(name, json.loads(text)))):
            write_text(out / f"{name}.{suffix}", each.encode("utf-8", "replace").decode())
