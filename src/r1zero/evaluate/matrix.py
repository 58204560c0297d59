"""Models × templates × question sets in one call: each cell evaluated, kept, resumed, and all of them in one table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from r1zero import config, evaluate
from r1zero.config import Evaluation
from r1zero.errors import UserError
from r1zero.evaluate.models import Subject, connect, local, served
from r1zero.evaluate.run import file_name, make_protocol
from r1zero.evaluate.saved import IDENTITY
from r1zero.evaluate.summary import average, average_error
from r1zero.published import SETS, Row, published
from r1zero.questions import QuestionSet
from r1zero.rollouts.question_sets import flag, load_benchmarks
from r1zero.runs.run import provenance, write_text, writing
from r1zero.templates import Template, get_template
from r1zero.types import Completion
from r1zero.verify import Verifier
from r1zero.words import plural

_MODEL_WIDTH = 28
_BUDGETS = 6  # the largest token budgets that a table shows; results.json holds all


@dataclass(frozen=True, slots=True)
class Conditions:
    """What all cells have in common, besides the questions and how responses are drawn."""

    seed: int = 0
    rows: int = 64
    device: str = "auto"
    data_dir: Path | None = None
    out: Path | None = None
    reward: str | None = None
    """A user's own grader (`verifier.reward`)."""
    server: str | None = None
    """Ask the OpenAI-compatible server at this address, which holds the models, in place of loading them here."""
    server_workers: int = 64
    tokenizer: str | None = None
    """The tokenizer of a server without one of its own."""

    def subject(self, model: str) -> Subject:
        """Whom to ask. Raises UserError when the model cannot be loaded, or the server's address is none."""
        if self.server is None:
            return local(model, device=self.device, rows=self.rows)
        client = connect(self.server, requests=self.out and self.out / "requests.sqlite")
        return served(model, client, workers=self.server_workers, tokenizer=self.tokenizer)


@dataclass(frozen=True, slots=True)
class Cell:
    """One model under one template: the results of every set, and the paper's row where it has one."""

    model: str
    template: str
    results: list[evaluate.SetResult]
    paper: Row | None


def evaluate_matrix(
    models: Sequence[str],
    shapes: Sequence[config.Template],
    settings: Evaluation,
    conditions: Conditions,
    progress: Callable[[Completion], None] | None = None,
) -> list[Cell]:
    """Evaluate every model under every template on `settings.benchmarks`.

    With `conditions.out`, every response is kept there, an interrupted call goes on where it stopped, and results.json
    and results.md are written in the end. Settings are named as on the command line of `r1zero evaluate`.

    Raises:
        UserError: anything that the user has to mend.
    """
    _check_different("models", models)
    _check_different("--template", [shape.name for shape in shapes])
    sets = load_benchmarks(settings, conditions.data_dir, flag)
    single = len(models) * len(shapes) == 1
    cells = []
    with Verifier(reward=conditions.reward) as verifier:
        if conditions.reward:
            verifier.check()
        for model in models:
            subject = conditions.subject(model)
            for shape in shapes:
                template = get_template(
                    shape.name, subject.tokenizer, answer_format=shape.answer_format, instruction=shape.instruction
                )
                protocol = make_protocol(settings, template, settings.max_new_tokens or 3000, conditions.seed)
                for each in sets:
                    subject.check(template, each, protocol.params.max_new_tokens)
                folder = conditions.out
                if folder is not None and not single:
                    folder = folder / f"{slug(model)}--{slug(template.name)}"
                if folder is not None:
                    claim(folder, identity(model, subject.parameters, template, sets, settings, conditions))
                results = evaluate.evaluate(
                    sets,
                    subject.sampler,
                    verifier,
                    subject.encode,
                    protocol,
                    folder=folder,
                    resumable=True,
                    progress=progress,
                )
                cells.append(Cell(model, template.name, results, _paper(model, template.name, settings)))
    if conditions.out is not None:
        _write(conditions.out, cells)
    return cells


def _check_different(what: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{what} name {name!r} more than once; keep one of them.")


def identity(
    model: str,
    parameters: int | None,
    template: Template,
    sets: Sequence[QuestionSet],
    settings: Evaluation,
    conditions: Conditions,
) -> dict[str, Any]:
    """What an evaluation is: equal identities, equal responses."""
    files = sorted(Path(model).glob("*")) if Path(model).is_dir() else []
    return {
        "model": model,
        "model_files": {f.name: [f.stat().st_size, f.stat().st_mtime_ns] for f in files if f.is_file()},
        "parameters": parameters,
        "template": template.name,
        "template_hash": template.hash,
        "answer_format": str(template.answer_format),
        "seed": conditions.seed,
        "reward": conditions.reward,
        "settings": settings.model_dump(mode="json", exclude={"every"}),
        "fingerprints": {each.name: each.fingerprint for each in sets},
        "sets": {each.name: f"{file_name(each.name)}.parquet" for each in sets},
    }


def claim(folder: Path, identity: dict[str, Any]) -> None:
    """Make the folder this evaluation's, or find that it is already. Raises UserError when it is another's."""
    path = folder / IDENTITY
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):  # made below, or told there
        found = None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); remove it, or choose another --out.") from None
    if found is not None:
        other = [key for key, value in json.loads(json.dumps(identity)).items() if found.get(key) != value]
        if other:
            raise UserError(
                f"{folder} holds another evaluation (of other {', '.join(other)}); choose another --out, or remove it."
            )
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}); choose another --out.") from None
    with writing(folder):
        write_text(path, json.dumps(identity | {"versions": provenance()}, indent=2, ensure_ascii=False) + "\n")


def _paper(model: str, template: str, settings: Evaluation) -> Row | None:
    """The paper's row, if this is what the paper did: greedy, whole sets."""
    whole = all(benchmark.limit is None for benchmark in settings.benchmarks)
    return published(model, template) if settings.temperature == 0 and whole else None


def _write(out: Path, cells: Sequence[Cell]) -> None:
    """results.json and results.md, which depend on the responses alone, and timing.json."""
    content = []
    for cell in cells:
        results = [asdict(result) for result in cell.results]
        for result in results:
            del result["sample_seconds"]
        content.append(
            {
                "model": cell.model,
                "template": cell.template,
                "average": average(cell.results),
                "average_standard_error": average_error(cell.results),
                "results": results,
                "paper": cell.paper and asdict(cell.paper),
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


def headings_and_rows(cells: Sequence[Cell]) -> tuple[list[str], list[list[str]]]:
    """The matrix as text: a row per cell, per cent right ± half the interval per set, the average last."""
    names = [result.name for result in cells[0].results]
    shown = tails([cell.model for cell in cells])
    headings = ["model", "template", *names, "average"]
    rows = []
    for cell in cells:
        scores = [
            f"{100 * r.accuracy:.1f} [{100 * r.accuracy_low:.1f}, {100 * r.accuracy_high:.1f}]" for r in cell.results
        ]
        mean = f"{100 * (average(cell.results) or 0):.1f} ± {100 * average_error(cell.results):.1f}"
        rows.append([shown[cell.model], cell.template, *scores, mean])
        if cell.paper:
            known = dict(zip(SETS, cell.paper.percent, strict=True))
            ours = [f"{known[name]:.1f}" if name in known else "" for name in names]
            rows.append([f"paper, Table {cell.paper.table}", cell.template, *ours, f"{cell.paper.average:.1f}"])
    return headings, rows


def markdown(cells: Sequence[Cell]) -> str:
    """The matrix and its sets in detail, as Markdown."""
    headings, rows = headings_and_rows(cells)
    lines = [
        "# Evaluation",
        "",
        "Per cent right with 95 % intervals over questions; averages ± one standard error.",
        "",
    ]
    lines += [*markdown_table(headings, rows), ""]
    for cell in cells:
        lines += [f"## {cell.model}, template {cell.template}", ""]
        lines += [*markdown_table(*details(cell.results)), "", *(f"- {note}" for note in notes(cell.results)), ""]
    return "\n".join(lines)


def details(results: Sequence[evaluate.SetResult]) -> tuple[list[str], list[list[str]]]:
    """A column a set: what became of its responses, their lengths, pass@k and majority."""
    lines: dict[str, list[str]] = {
        "questions × samples": [f"{r.questions} × {r.samples}" for r in results],
        "accuracy": [f"{r.accuracy:.3f}" for r in results],
        "95 % interval": [f"{r.accuracy_low:.3f} – {r.accuracy_high:.3f}" for r in results],
    }
    if any(r.samples > 1 for r in results):
        for k in _doubling(max(r.samples for r in results)):
            lines[f"pass@{k}"] = [f"{r.pass_at[k].value:.3f}" if k in r.pass_at else "-" for r in results]
        lines["maj@n"] = ["-" if r.majority is None else f"{r.majority.value:.3f}" for r in results]
    for rate in results[0].rates:
        lines[rate.replace("_", " ")] = [f"{r.rates[rate]:.1%}" for r in results]
    lines["in the format"] = [f"{r.answered:.1%}" for r in results]
    for budget in sorted({budget for r in results for budget in r.within})[-_BUDGETS:]:
        lines[f"within {budget} tokens"] = [f"{r.within.get(budget, r.accuracy):.3f}" for r in results]
    lines["length, tokens"] = [f"{r.length:.0f}" for r in results]
    lines["length of right"] = [_tokens(r.length_correct) for r in results]
    lines["length of wrong"] = [_tokens(r.length_incorrect) for r in results]
    return ["", *(r.name for r in results)], [[name, *values] for name, values in lines.items()]


def tails(models: Sequence[str]) -> dict[str, str]:
    """Models by as much of the ends of their paths as tells them apart, in a width that a table has.

    A Hub name keeps its owner. `runs/a/checkpoints/step-16` beside `runs/b/checkpoints/step-16` is `a/…/step-16`.
    """
    parts = {model: model.rstrip("/").split("/") for model in models}
    count = 1
    while len({tuple(part[-count:]) for part in parts.values()}) < len(parts):
        count += 1
    shown = {}
    for model, part in parts.items():
        kept = part if len(part) <= 2 and not model.startswith(("/", ".")) else part[-count:]
        short = "/".join(kept)
        shown[model] = short if len(short) <= _MODEL_WIDTH or len(kept) < 3 else f"{kept[0]}/…/{kept[-1]}"
    return shown


def _doubling(most: int) -> list[int]:
    """1, 2, 4, … and `most`."""
    powers = [2**k for k in range(most.bit_length()) if 2**k < most]
    return [*powers, most]


def notes(results: Sequence[evaluate.SetResult]) -> list[str]:
    """What a reader must know beside such numbers."""
    coarse = [r for r in results if r.standard_error >= 0.02]
    return [
        f"{r.name}: the standard error over its {plural(r.questions, 'question')} is {100 * r.standard_error:.1f} "
        f"points, so that differences below {200 * 2**0.5 * r.standard_error:.0f} points between models may be chance; "
        "compare on the same questions with `r1zero compare`."
        for r in coarse
    ]


def _tokens(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def markdown_table(headings: list[str], rows: list[list[str]]) -> list[str]:
    """A table's lines in Markdown."""
    cells = [[text.replace("|", "\\|") for text in row] for row in [headings, *rows]]
    return [
        f"| {' | '.join(cells[0])} |",
        "|" + "---|" * len(headings),
        *(f"| {' | '.join(row)} |" for row in cells[1:]),
    ]


def slug(name: str) -> str:
    """A model's or template's name as a folder's."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name.strip("/").split("/")[-1]) or "model"
