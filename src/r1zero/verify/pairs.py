r"""Grading a file of pairs: lines in, verdicts out, and the table of what was right.

A line holds `gold` (a string or a list of accepted answers) and `prediction`; `kind` says whether the prediction is a
bare `answer` or a whole `response` to be extracted from (without it, `kind_of` the prediction); `expected` says whether
it should count as right. Other fields are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

from r1zero.errors import UserError, parsed
from r1zero.questions.rows import format_number
from r1zero.types import AnswerFormat, Outcome, Verdict
from r1zero.verify.math_verify_guard import has_prose
from r1zero.verify.workers.pool import Verifier

KINDS = ("answer", "response")
_BY_WORKERS = ("math_verify", "unparsed", "gold unparsed", "killed", "worker", "grader", "no worker")
_MARKS = ("\\boxed", "\\fbox", "<answer>", "</think>", "\n")
_BARE_CHARS = 200
_BARE_WORDS = 7
_IN_FLIGHT = 64


@dataclass(frozen=True, slots=True)
class Pair:
    """One line of the file."""

    line: int
    gold: tuple[str, ...]
    prediction: str
    kind: str
    expected: bool | None
    row: Mapping[str, object]

    @property
    def boxed(self) -> str:
        """The prediction as graders expect it that only read boxes."""
        return rf"\boxed{{{self.prediction}}}" if self.kind == "answer" else self.prediction

    def item(self, answer_format: AnswerFormat) -> tuple[str, tuple[str, ...], AnswerFormat]:
        """Return what the verifier takes."""
        return self.prediction, self.gold, AnswerFormat.BARE if self.kind == "answer" else answer_format


@dataclass(frozen=True, slots=True)
class GradedPair:
    """A pair with our verdict, and a second grader's if one was asked."""

    pair: Pair
    verdict: Verdict
    second: Verdict | None = None

    @property
    def row(self) -> dict[str, object]:
        """The line to be written."""
        verdict = self.verdict
        found: dict[str, object] = {
            "verdict": verdict.outcome.value,
            "extracted": verdict.extracted,
            "rule": verdict.rule,
            "seconds": round(verdict.seconds, 6),
        }
        if self.second is not None:
            found["second"] = self.second.outcome.value
        return {**self.pair.row, **found}

    @property
    def disagrees(self) -> bool:
        """Whether the second grader says otherwise about right and not right."""
        return self.second is not None and self.second.right != self.verdict.right


def read_pairs(path: Path) -> list[Pair]:
    """Return the lines of a JSONL file. UserError names the file, the line and what is missing."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # not splitlines: strings may hold other line ends
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--file {path} cannot be read ({error}); give a JSON Lines file in UTF-8.") from error
    pairs = [_pair(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not pairs:
        raise UserError(f"--file {path} holds no line; each should be {{'gold': …, 'prediction': …}}.")
    return pairs


def _pair(path: Path, number: int, line: str) -> Pair:
    where = f"--file {path}, line {number},"
    try:
        row = parsed(line)
    except ValueError as error:
        raise UserError(f"{where} is not JSON ({error}); write one object a line.") from error
    if not isinstance(row, dict) or "gold" not in row or "prediction" not in row:
        raise UserError(f"{where} lacks gold or prediction; write {{'gold': …, 'prediction': …}}.")
    gold = row["gold"]
    golds = gold if isinstance(gold, list) else [gold]
    prediction = row["prediction"]
    # a number may stand without quotes; true and false, which are numbers to Python, may not
    texts = [_text(each) for each in (prediction, *golds)]
    if None in texts:
        raise UserError(f"{where} holds a gold or prediction that is neither text nor a number: write strings.")
    prediction, *golds = map(str, texts)
    kind = row.get("kind")
    if kind is not None and kind not in KINDS:
        raise UserError(f"{where} has kind {kind!r}; write one of {', '.join(KINDS)}, or leave it out.")
    expected = row.get("expected")
    if expected is not None and not isinstance(expected, bool):
        raise UserError(f"{where} has expected {expected!r}; write true or false, or leave it out.")
    return Pair(number, tuple(golds), prediction, kind or kind_of(prediction), expected, row)


def _text(value: object) -> str | None:
    """Return text as it is, and a number as question sets have it; None for anything else."""
    if isinstance(value, str):
        return value
    return format_number(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def kind_of(prediction: str) -> str:
    """Return what a prediction is of which nobody says it: a `response` if it holds a box, answer tags, an end of
    reasoning or a line break, or is longer than seven words or 200 characters, else an `answer`.
    """
    marked = any(mark in prediction.strip() for mark in _MARKS)
    is_long = len(prediction) > _BARE_CHARS or len(prediction.split()) > _BARE_WORDS
    prose = is_long and (len(prediction) > _BARE_CHARS or has_prose(prediction))
    return "response" if marked or prose else "answer"


def grade_pairs(
    pairs: Sequence[Pair], verifier: Verifier, answer_format: AnswerFormat, second: Verifier | None = None
) -> Iterator[GradedPair]:
    """Yield every pair with its verdict, in order, a few hundred at a time."""
    for begin in range(0, len(pairs), _IN_FLIGHT):
        chosen = pairs[begin : begin + _IN_FLIGHT]
        verdicts = verifier.verify(pair.item(answer_format) for pair in chosen)
        others: Iterable[Verdict | None] = [None] * len(chosen)
        if second is not None:
            others = second.verify((pair.boxed, pair.gold, AnswerFormat.BOXED) for pair in chosen)
        for pair, verdict, other in zip(chosen, verdicts, others, strict=True):
            yield GradedPair(pair, verdict, other)


@dataclass(frozen=True, slots=True)
class Summary:
    """What an audit found. The lists are the lines to look at."""

    pairs: int
    outcomes: Mapping[str, int]
    judged: int
    agreed: int
    false_accepts: tuple[GradedPair, ...]
    false_rejects: tuple[GradedPair, ...]
    disagreements: tuple[GradedPair, ...]
    median_ms: float
    mean_ms: float
    in_process: float


def summarise(graded: Sequence[GradedPair]) -> Summary:
    """Count. A pair without `expected` has no part in right, false accepts and false rejects."""
    judged = [g for g in graded if g.pair.expected is not None]
    milliseconds = [g.verdict.seconds * 1e3 for g in graded] or [0.0]
    return Summary(
        pairs=len(graded),
        outcomes={outcome.value: sum(g.verdict.outcome is outcome for g in graded) for outcome in Outcome},
        judged=len(judged),
        agreed=sum(g.verdict.right == g.pair.expected for g in judged),
        false_accepts=tuple(g for g in judged if g.verdict.right and not g.pair.expected),
        false_rejects=tuple(g for g in judged if not g.verdict.right and g.pair.expected),
        disagreements=tuple(g for g in graded if g.disagrees),
        median_ms=median(milliseconds),
        mean_ms=mean(milliseconds),
        in_process=mean([not g.verdict.rule.startswith(_BY_WORKERS) for g in graded] or [True]),
    )
