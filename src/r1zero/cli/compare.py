"""`r1zero compare` and `r1zero contamination`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from r1zero.cli.app import app, several
from r1zero.cli.console import make_console, plain_table, say


@app.command
def compare(first: Path, second: Path, /, *, out: Path | None = None, seed: int = 0) -> None:
    """Compare two evaluations of the same questions: paired differences, an exact or permutation test, pass@k curves.

    Parameters
    ----------
    first
        The --out folder of an evaluation.
    second
        Another one.
    out
        Draw the pass@k curves there, as PNG and SVG, one picture a set.
    seed
        Seed of the permutation test where it is not exact.
    """
    from r1zero.evaluation.compare import compare as compare_saved
    from r1zero.evaluation.run import file_name
    from r1zero.evaluation.saved import open_saved

    one, two, console = open_saved(first), open_saved(second), make_console()
    found = compare_saved(one, two, seed=seed)
    rows = [  # a column a set: a row a set is too wide for a terminal
        ["questions", *(str(c.paired.questions) for c in found)],
        ["first", *(f"{c.first:.3f}" for c in found)],
        ["second", *(f"{c.second:.3f}" for c in found)],
        ["difference", *(f"{c.paired.difference:+.3f}" for c in found)],
        ["95 % interval", *(f"{c.paired.low:+.3f} – {c.paired.high:+.3f}" for c in found)],
        ["p", *(f"{c.paired.p_value:.3g}" for c in found)],
        ["test", *(c.paired.test for c in found)],
        ["pass@k crosses at", *("-" if c.crossover is None else f"k = {c.crossover}" for c in found)],
    ]
    headings = ["", *(c.name for c in found)]
    say(console, f"first: {one.label}\nsecond: {two.label}")
    console.print(plain_table("second − first, on the same questions", headings, rows))
    if out is not None:
        from r1zero.report.charts.benchmarks import pass_at_k
        from r1zero.report.draw.files import draw_charts

        for c in found:
            curves = {one.label: c.first_pass_at, two.label: c.second_pass_at}
            path, _ = draw_charts([pass_at_k(curves, c.name)], out / f"{file_name(c.name)}-pass-at-k")
            say(console, f"drawn: {path}", whole=True)


@app.command
def contamination(
    training: str,
    /,
    *,
    benchmarks: Annotated[list[str], several("--benchmarks", "-b")],
    evaluation: Path | None = None,
    data_dir: Path | None = None,
) -> None:
    """Look for a benchmark's questions in a training set: word for word, and by shared runs of 13 words.

    Each column counts those of the one before as well.

    Parameters
    ----------
    training
        A catalogue name, a file or a folder.
    benchmarks
        Question sets to look for.
    evaluation
        The --out folder of an evaluation: its score on the questions that were not found is printed, too.
    data_dir
        A folder to look for question sets in.
    """
    from r1zero.evaluation.contamination import overlaps
    from r1zero.evaluation.saved import open_saved
    from r1zero.evaluation.summary import summarise
    from r1zero.questions import load_questions
    from r1zero.rollouts.question_sets import told

    trained = told(load_questions(training, data_dir=data_dir))
    saved = dict(open_saved(evaluation).sets()) if evaluation else {}
    headings = ["benchmark", "questions", "word for word", "half its words", "13 words in a row"]
    headings += ["score on all", "score on the rest"] if saved else []
    rows, examples, notes = [], [], [*trained.notes]
    for name in benchmarks:
        questions = told(load_questions(name, data_dir=data_dir))
        notes += questions.notes
        found = overlaps(trained, list(questions))
        exact, half = sum(o.exact for o in found), sum(o.covered >= 0.5 for o in found)
        row = [name, str(len(questions)), str(exact), str(half), str(len(found))]
        if saved:
            dirty = {overlap.question.id for overlap in found}
            rollouts = saved.get(questions.name, [])
            rest = [rollout for rollout in rollouts if rollout.question.id not in dirty]
            row += [
                f"{summarise(name, part).accuracy:.3f} of {len(part)}" if part else "-" for part in (rollouts, rest)
            ]
        rows.append(row)
        examples += sorted(found, key=lambda o: -o.covered)[:3]
    console = make_console()
    console.print(plain_table(f"questions that {training} holds", headings, rows))
    for note in notes:
        say(console, note)
    for overlap in examples:
        say(console, f"{overlap.question.id} ~ {overlap.trained_on}: {overlap.shared[:160]}")
