"""Evaluations as tables, for terminals and Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from r1zero.errors import plural
from r1zero.evaluation.cell import EvalCell
from r1zero.evaluation.summary import SetResult, average, average_error
from r1zero.published import SETS, BenchmarkRow
from r1zero.runs.files import told_apart

_MODEL_WIDTH = 28
_BUDGETS = 6  # the largest token budgets that a table shows; results.json holds all


def headings_and_rows(cells: Sequence[EvalCell]) -> tuple[list[str], list[list[str]]]:
    """Return the matrix as text: a row per cell, per cent right ± half the interval per set, the average last."""
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
            rows.append(
                [_published(cell.paper, cell.max_new_tokens), cell.template, *ours, f"{cell.paper.average:.1f}"]
            )
    return headings, rows


def _published(row: BenchmarkRow, max_new_tokens: int) -> str:
    """Name the paper's row, with its token budget where it is another than ours."""
    budget = "" if row.near(max_new_tokens) else f", at {row.max_new_tokens} tokens, not {max_new_tokens}"
    return f"paper, Table {row.table}{budget}"


def markdown(cells: Sequence[EvalCell]) -> str:
    """Return the matrix and its sets in detail, as Markdown."""
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


def details(results: Sequence[SetResult]) -> tuple[list[str], list[list[str]]]:
    """Return a column a set: what became of its responses, their lengths, pass@k and majority."""
    lines: dict[str, list[str]] = {
        "questions × samples": [f"{r.questions} × {r.samples}" for r in results],
        "accuracy": [f"{r.accuracy:.3f}" for r in results],
        "95 % interval": [f"{r.accuracy_low:.3f} – {r.accuracy_high:.3f}" for r in results],
    }
    if any(r.samples > 1 for r in results):
        most = max(r.samples for r in results)
        for k in sorted({most, *(2**i for i in range(most.bit_length()))}):  # 1, 2, 4, … and all
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
    """Return models by as much of the ends of their paths as tells them apart, in a width that a table has.

    A Hub name keeps its owner. `runs/a/checkpoints/step-16` beside `runs/b/checkpoints/step-16` is `a/…/step-16`.
    """
    shown = {}
    for model, kept in told_apart(models).items():
        whole = model.rstrip("/").split("/")
        kept = whole if len(whole) <= 2 and not model.startswith(("/", ".")) else kept
        short = "/".join(kept)
        shown[model] = short if len(short) <= _MODEL_WIDTH or len(kept) < 3 else f"{kept[0]}/…/{kept[-1]}"
    return shown


def notes(results: Sequence[SetResult]) -> list[str]:
    """Return what a reader must know beside such numbers."""
    coarse = [r for r in results if r.standard_error >= 0.02]
    return [f"{note}." for r in results for note in r.notes] + [
        f"{r.name}: the standard error over its {plural(r.different, 'question')} is {100 * r.standard_error:.1f} "
        f"points, so that differences below {200 * 2**0.5 * r.standard_error:.0f} points between models may be chance; "
        "compare on the same questions with `r1zero compare`."
        for r in coarse
    ]


def _tokens(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def markdown_table(headings: list[str], rows: list[list[str]]) -> list[str]:
    """Return a table's lines in Markdown."""
    cells = [[text.replace("|", "\\|") for text in row] for row in [headings, *rows]]
    return [
        f"| {' | '.join(cells[0])} |",
        "|" + "---|" * len(headings),
        *(f"| {' | '.join(row)} |" for row in cells[1:]),
    ]
