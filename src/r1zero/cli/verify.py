"""`r1zero verify`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.progress import track
from rich.table import Table

from r1zero.cli.app import app
from r1zero.cli.console import make_console, say
from r1zero.errors import UserError
from r1zero.types import AnswerFormat

if TYPE_CHECKING:
    from r1zero.verify import Verifier
    from r1zero.verify.pairs import GradedPair, Summary

_Text = Annotated[str | None, Parameter(allow_leading_hyphen=True)]
_SHOWN = 40


@app.command
def verify(
    gold: _Text = None,
    answer: _Text = None,
    /,
    *,
    file: Path | None = None,
    out: Path | None = None,
    format: str = "auto",
    second: str | None = None,
    reward: str | None = None,
    workers: int = 2,
    timeout_s: float = 2.0,
    memory_mb: int = 2048,
) -> None:
    """Grade one answer and say why, or audit a file of graded pairs.

    Parameters
    ----------
    gold
        The accepted answer.
    answer
        A bare answer, or a whole response: one with a box, answer tags, line breaks, or eight words and more.
    file
        A JSON Lines file with gold, prediction and, if known, kind (answer or response; else as above) and expected.
    out
        Write one line per line of the file there, as they are graded: with verdict, extracted, rule and seconds.
    format
        Where a response's answer stands: auto, boxed, answer_tags, answer_tags_strict, answer_tags_loose, last_number
        or bare.
    second
        Another grader to compare with: math-verify, paper-fast or paper-slow-rules.
    reward
        Grade with your own function (module:function, file.py:function) or command ('cmd: …') instead.
    workers
        How many grading processes may run.
    timeout_s
        Seconds for one comparison, after which its process is killed.
    memory_mb
        Address space of a grading process.
    """
    from r1zero.verify.workers.pool import Verifier, open_verifier
    from r1zero.verify.workers.second_grader import SECOND

    _check(format, second, workers, timeout_s, memory_mb)
    if out is not None and file is None:
        raise UserError(f"--out {out} is for the verdicts of a file; add --file PAIRS, or leave it out.")
    if file is not None and gold is not None:
        raise UserError("--file and GOLD ANSWER were both given; leave one out.")
    if file is None and (gold is None or answer is None):
        raise UserError("nothing to verify: give GOLD and ANSWER, or --file PAIRS.")
    console, limits = make_console(), (workers, timeout_s, memory_mb)
    with ExitStack() as pools:
        verifier = pools.enter_context(open_verifier(*limits, reward))
        other = pools.enter_context(Verifier(*limits, SECOND[second])) if second is not None else None
        if file is not None:
            _audit(console, file, out, AnswerFormat(format), verifier, other)
        elif gold is not None and answer is not None:
            _explain(console, gold, answer, AnswerFormat(format), verifier, other)


def _check(format: str, second: str | None, workers: int, timeout_s: float, memory_mb: int) -> None:
    """Refuse options that cannot be. Raises UserError."""
    from r1zero.verify.workers.pool import MAX_TIMEOUT_S
    from r1zero.verify.workers.second_grader import SECOND

    if format not in list(AnswerFormat):
        raise UserError(f"--format {format} is unknown; use one of {', '.join(AnswerFormat)}.")
    if second is not None and second not in SECOND:
        raise UserError(f"--second {second} is unknown; use one of {', '.join(SECOND)}.")
    if workers < 1 or not 0 < timeout_s <= MAX_TIMEOUT_S or memory_mb < 256:
        raise UserError(
            f"--workers, --timeout-s and --memory-mb must be at least 1, above 0 (up to {MAX_TIMEOUT_S:.0f}) and at "
            "least 256."
        )


def _explain(
    console: Console, gold: str, answer: str, chosen: AnswerFormat, verifier: Verifier, second: Verifier | None
) -> None:
    from r1zero.verify.pairs import kind_of
    from r1zero.verify.rule_names import explained

    whole = kind_of(answer) == "response"
    bare = chosen is AnswerFormat.AUTO and not whole
    [verdict] = verifier.verify([(answer, [gold], AnswerFormat.BARE if bare else chosen)])
    say(console, f"verdict    {verdict.outcome.value}")
    say(console, f"extracted  {verdict.extracted if verdict.extracted is not None else '(nothing)'}")
    say(console, f"rule       {explained(verdict.rule)}")
    say(console, f"seconds    {verdict.seconds:.6f}")
    if second is not None:
        [opinion] = second.verify([(answer if whole else rf"\boxed{{{answer}}}", [gold], AnswerFormat.BOXED)])
        say(console, f"second     {opinion.outcome.value}: {opinion.rule}")


def _audit(
    console: Console, file: Path, out: Path | None, chosen: AnswerFormat, verifier: Verifier, second: Verifier | None
) -> None:
    from r1zero.verify.pairs import grade_pairs, read_pairs, summarise

    pairs = read_pairs(file)
    verdicts = track(
        grade_pairs(pairs, verifier, chosen, second),
        total=len(pairs),
        description="grading",
        console=console,
        transient=True,
        disable=not console.is_interactive,
    )
    _table(console, summarise(list(verdicts if out is None else _kept(verdicts, out))))


def _kept(verdicts: Iterable[GradedPair], out: Path) -> Iterator[GradedPair]:
    """Yield the verdicts, each on disk before the next is asked for: an audit that is killed leaves its lines."""
    try:
        with out.open("w", encoding="utf-8", buffering=1) as lines:
            for graded in verdicts:
                lines.write(json.dumps(graded.row) + "\n")
                yield graded
    except OSError as error:
        raise UserError(f"--out {out} cannot be written ({error}); give a path in an existing folder.") from error


def _table(console: Console, found: Summary) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("pairs", str(found.pairs))
    for name, count in found.outcomes.items():
        table.add_row(f"  {name}", str(count))
    if found.judged:
        table.add_row("as expected", f"{found.agreed} of {found.judged} ({found.agreed / found.judged:.1%})")
        table.add_row("false accepts", str(len(found.false_accepts)))
        table.add_row("false rejects", str(len(found.false_rejects)))
    table.add_row("decided in process", f"{found.in_process:.1%}")
    table.add_row("median, mean", f"{found.median_ms:.3f} ms, {found.mean_ms:.3f} ms")
    console.print(table)
    for title, graded in (
        ("false accepts", found.false_accepts),
        ("false rejects", found.false_rejects),
        ("disagreements with the second grader", found.disagreements),
    ):
        _list(console, title, graded)


def _list(console: Console, title: str, graded: Sequence[GradedPair]) -> None:
    if not graded:
        return
    say(console, f"\n{title}: {len(graded)}")
    for one in graded[:_SHOWN]:
        second = f", second: {one.second.outcome.value}" if one.second is not None else ""
        gold, shown = " | ".join(one.pair.gold)[:60], (one.verdict.extracted or "(nothing)")[:60]
        line = f"  line {one.pair.line}: gold {gold!a}, answer {shown!a}: {one.verdict.outcome.value}"
        say(console, f"{line} by {one.verdict.rule!r}{second}")
    if len(graded) > _SHOWN:
        say(console, f"  … and {len(graded) - _SHOWN} more (--out writes them all)")
