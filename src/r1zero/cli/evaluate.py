"""`r1zero evaluate`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console

from r1zero.cli.app import Where, app, at_least, changed, several
from r1zero.cli.console import make_console, plain_table, response_counter, say
from r1zero.cli.model_options import ENGINE, ModelOptions, flags_named
from r1zero.errors import UserError, plural

if TYPE_CHECKING:
    from r1zero.evaluation.cell import EvalCell


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class SetOptions:
    """Which questions are asked."""

    benchmarks: Annotated[list[str], several("--benchmarks", "-b")] = field(default_factory=list)
    """Question sets: catalogue names (aime24 amc math500 minerva olympiad gsm8k-test …), files, or `arithmetic`."""
    split: str | None = None
    """Which split of the sets to take, where they have several."""
    question_column: str | None = None
    """The column that holds the questions; known names are tried by default."""
    answer_column: str | None = None
    """The column that holds the gold answers; known names are tried by default."""
    limit: int | None = None
    """Take only the first questions of each set, of those that --where takes."""
    where: Where = None
    """Which rows of each set to take, such as 'level >= 3 and source in ["amc", "aime"]'; all by default."""
    data_dir: Path | None = None
    """A folder to look for question sets in; the environment's R1ZERO_DATA is looked at next."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class PromptOptions:
    """How they are put to the model."""

    template: Annotated[list[str], several("--template", "-t")] = field(default_factory=lambda: ["qwen_math"])
    """qwen_math, r1, no, few_shot, chat, …, or a Jinja file; several make a matrix."""
    answer_format: str | None = None
    """boxed, answer_tags, answer_tags_strict, answer_tags_loose or last_number; the template's own by default."""
    instruction: str = ""
    """Added to the question by the chat template."""
    template_options: Annotated[list[str], several("--template-options")] = field(default_factory=list)
    """What the model's own chat template reads beside the messages: NAME=VALUE, such as enable_thinking=false."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """How responses are drawn."""

    samples: int = 1
    """Responses per question; more than one needs a temperature above 0."""
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    """Draw only from the likeliest tokens that together have this probability; 1 leaves all."""
    top_k: int = 0
    """Draw only from this many likeliest tokens; 0 leaves all."""
    max_new_tokens: int = 3000
    """The token budget of a response."""
    seed: int = 0
    """Seed of the draws."""


SETS, ASKING, DRAWING = SetOptions(), PromptOptions(), SamplingOptions()


@app.command
def evaluate(
    *models: str,
    sets: SetOptions = SETS,
    asking: PromptOptions = ASKING,
    drawing: SamplingOptions = DRAWING,
    engine: ModelOptions = ENGINE,
    reward: str | None = None,
    out: Path | None = None,
    regrade: Path | None = None,
) -> None:
    """Evaluate models (folders, checkpoints or Hub names) under templates on question sets.

    Parameters
    ----------
    models
        One or more; every model is asked under every template.
    reward
        Grade with your own function (MODULE:FUNCTION or a command) in place of the verifier.
    out
        Keep every response and the results there; a call that was interrupted goes on where it stopped.
    regrade
        Grade the responses of an earlier evaluation's --out folder again, without asking anything.
    """
    if regrade is not None:
        if models:
            raise UserError(f"--regrade {regrade} asks no model; leave {models[0]} out.")
        if out is not None:
            raise UserError(f"--regrade writes into {regrade} itself; leave --out {out} out.")
        if idle := changed((sets, SETS), (asking, ASKING), (drawing, DRAWING), (engine, ENGINE)):
            raise UserError(f"--regrade {regrade} asks nothing again; leave {', '.join(idle)} out.")
        _regrade(regrade, reward)
        return
    if not models:
        raise UserError("evaluate needs a model: a folder, a checkpoint or a Hub name; or --regrade FOLDER.")
    if not sets.benchmarks:
        raise UserError(
            "evaluate needs question sets: --benchmarks NAME …, for example --benchmarks math500 gsm8k-test."
        )
    from r1zero.config import BenchmarkSettings, EvaluationSettings, TemplateSettings, checked
    from r1zero.config.overrides import parse_pairs
    from r1zero.evaluation.cell import Conditions
    from r1zero.evaluation.matrix import evaluate_matrix

    engine.check()
    at_least(0, "seed", drawing.seed, "is not a valid seed")
    columns = {name: getattr(sets, name) for name in ("split", "question_column", "answer_column", "limit", "where")}
    draws = {name: getattr(drawing, name) for name in ("samples", "temperature", "top_p", "top_k", "max_new_tokens")}
    benchmarks = [checked(BenchmarkSettings, {"name": name} | columns) for name in sets.benchmarks]
    protocol = checked(EvaluationSettings, {"benchmarks": benchmarks} | draws)
    options = parse_pairs(asking.template_options, "--template-options")
    shape = {"answer_format": asking.answer_format, "instruction": asking.instruction, "options": options}
    shapes = [checked(TemplateSettings, {"name": name} | shape) for name in asking.template]
    conditions = Conditions(drawing.seed, sets.data_dir, out, reward)
    console = make_console()
    with flags_named(), response_counter(console) as count:
        cells = evaluate_matrix(models, partial(engine.open, out=out), shapes, protocol, conditions, count)
    _tell(console, cells, drawing.temperature, out)


def _tell(console: Console, cells: list[EvalCell], temperature: float, out: Path | None) -> None:
    from r1zero.evaluation.tables import details, headings_and_rows, notes

    for cell in cells:
        title = f"{cell.model}, template {cell.template}, temperature {temperature:g}"
        console.print(plain_table(title, *details(cell.results)))
    if len(cells) > 1 or len(cells[0].results) > 1 or cells[0].paper:
        console.print(
            plain_table("per cent right [95 % interval], average ± standard error", *headings_and_rows(cells))
        )
    for line in dict.fromkeys(note for cell in cells for note in notes(cell.results)):
        say(console, line)
    if out is not None:
        from r1zero.report.charts.benchmarks import accuracies
        from r1zero.report.draw.files import draw_charts

        draw_charts(accuracies({f"{cell.model}, {cell.template}": cell.results for cell in cells}), out / "results")
        say(console, f"kept: {out} (responses, results.json, results.md, results.png)", whole=True)


def _regrade(folder: Path, reward: str | None) -> None:
    from r1zero.evaluation.saved import open_saved, regrade
    from r1zero.evaluation.tables import details
    from r1zero.runs.files import write_text, writing
    from r1zero.verify.workers.pool import open_verifier

    saved, console = open_saved(folder), make_console()
    with open_verifier(reward=reward) as verifier:
        results, changed = regrade(saved, verifier)
    console.print(plain_table(f"{saved.label}, graded again", *details(results)))
    for d in changed[:20]:
        say(
            console,
            f"{d.set} {d.question}#{d.sample}: {d.before.outcome} ({d.before.rule}) → {d.after.outcome} "
            f"({d.after.rule}); gold {', '.join(d.gold)}, answer {d.after.extracted}",
        )
    path = folder / "disagreements.jsonl"
    lines = [
        {
            "set": d.set,
            "question": d.question,
            "sample": d.sample,
            "gold": list(d.gold),
            "before": {"outcome": str(d.before.outcome), "extracted": d.before.extracted, "rule": d.before.rule},
            "after": {"outcome": str(d.after.outcome), "extracted": d.after.extracted, "rule": d.after.rule},
        }
        for d in changed
    ]
    with writing(path):
        write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    say(console, f"{plural(len(changed), 'verdict')} changed; all of them: {path}", whole=True)
