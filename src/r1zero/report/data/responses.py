"""Saved responses → what the page embeds of them: whole groups of evenly spaced steps, within a budget, and plainly
told how many were left out.

Offsets into texts are in UTF-16 units, as the page's script counts.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from r1zero.analyze.keywords import Detector
from r1zero.errors import plural
from r1zero.report.data.lengths import class_of
from r1zero.report.data.run_data import RunData
from r1zero.report.draw.numbers import some
from r1zero.runs.rollout_rows import RolloutFileError, Row, count_rows, extra_of, grouped, read_rows
from r1zero.runs.steps import step_of
from r1zero.types import COARSE_FATES
from r1zero.verify.extraction.turns import own_span

MOST_STEPS = 12
MOST_EVALUATIONS = 4
_EVALUATIONS = 1 / 3  # of the budget
MOST_RESPONSES = 4000
MOST_CHARACTERS = 3_000_000
LONGEST = 16_000
"""Characters of one text; of a longer one the middle is left out."""
_HEAD = 10_000
_COLUMNS = (
    "question_id", "level", "gold", "sample", "prompt", "response", "stop", "length", "outcome", "extracted", "rule",
    "logprobs", "reward", "advantage", "source", "extra",
)  # fmt: skip
_NEEDED = ("response", "stop", "length", "outcome")
_MOST_COLUMNS = 20
_LONGEST_COLUMN = 400  # characters of one
_BARS = 96  # of a response's surprisal, drawn token by token
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(/[0-9]+)?")

_REFLECTION = Detector()  # the paper's keywords, counted as the paper counts


@dataclass(frozen=True, slots=True)
class Embedded:
    """The responses of one run that a page holds, ready for JSON, and a sentence on those it does not."""

    steps: list[dict[str, Any]]
    """Of training, then of evaluations: these have the name of their question set as `set`."""
    shown: int
    saved: int
    sentence: str


@dataclass(frozen=True, slots=True)
class _Saved:
    """A file of responses: of a training step, or of one question set evaluated after a step."""

    step: int
    questions: str
    path: Path


def embed(run: RunData, share: float = 1.0, problems: list[str] | None = None) -> Embedded:
    """Choose and encode a run's responses, in a share of the page's budget.

    Steps are evenly spaced, the first and the last among them; of a step too large for its part, evenly spaced
    questions with all their responses. Evaluations have a third of the budget.
    """
    problems = [] if problems is None else problems
    training = [_Saved(n, "", run.path / "rollouts" / f"step-{n:06d}.parquet") for n in run.rollout_steps]
    evaluations, counts = _evaluations(run, problems)
    share_of_evaluations = share * _EVALUATIONS if evaluations else 0.0
    saved = sum(count for sums in run.lengths.values() for count, _ in sums.values())
    steps, said = _choose(training, "step", MOST_STEPS, share - share_of_evaluations, saved, problems)
    sentences = [said] if training else []
    if evaluations:
        evaluated, said = _choose(evaluations, "file", MOST_EVALUATIONS, share_of_evaluations, counts, problems)
        steps += evaluated
        sentences.append(f"Of evaluations: {said[0].lower()}{said[1:]}")
    return Embedded(steps, _shown(steps), saved + counts, " ".join(sentences) or "It has saved no responses.")


def _evaluations(run: RunData, problems: list[str]) -> tuple[list[_Saved], int]:
    """The saved evaluations that can be read, by step and set, and how many responses they hold."""
    found, responses, torn = [], 0, []
    for path in sorted(run.path.glob("evaluations/step-*/*.parquet")):
        if (step := step_of(path.parent)) is None:
            continue
        try:
            responses += count_rows(path, _NEEDED)
            found.append(_Saved(step, path.stem, path))
        except RolloutFileError:
            torn.append(f"{path.parent.name}/{path.name}")
    if torn:
        problems.append(f"Of the saved evaluations, {some(torn)} cannot be read; left out.")
    return found, responses


def _choose(
    files: Sequence[_Saved], unit: str, most: int, share: float, saved: int, problems: list[str]
) -> tuple[list[dict[str, Any]], str]:
    """Return what is taken of files that hold so many saved responses, by step, and a sentence on it."""
    chosen: list[dict[str, Any]] = []
    clipped = asked = 0
    steps = spaced(sorted({file.step for file in files}), most)
    near = [file for file in files if file.step in steps]
    for file in near:
        try:
            groups = list(grouped(map(_whole, read_rows(file.path, optional=_COLUMNS))))
        except RolloutFileError as error:
            where = f"the evaluation on {file.questions} after step" if file.questions else "step"
            problems.append(f"The responses of {where} {file.step} cannot be read ({error.reason}); left out.")
            continue
        room = share / len(near)
        kept = _fitting(groups, room * MOST_RESPONSES, room * MOST_CHARACTERS)
        chosen.append({"step": file.step, "set": file.questions, "groups": [_group(rows) for rows in kept]})
        clipped += sum(len(row["response"] or "") > LONGEST for rows in kept for row in rows)
        asked += len(groups)
    text = f"All {plural(saved, 'saved response')} of {plural(len(chosen), unit)}"
    if _shown(chosen) != saved:
        answered = sum(len(step["groups"]) for step in chosen)
        some = f"{answered:,} of their {plural(asked, 'question')} with all responses"
        text = f"{_shown(chosen):,} of {saved:,} saved responses: {len(chosen)} of {len(files)} saved {unit}s, evenly "
        text += f"spaced, {'all questions of each' if answered == asked else some}"
    if clipped:
        text += f"; the middle of {plural(clipped, 'response')} longer than {LONGEST:,} characters is left out"
    return chosen, text + "."


def _shown(steps: Sequence[dict[str, Any]]) -> int:
    return sum(len(group["rows"]) for step in steps for group in step["groups"])


def spaced(items: Sequence[Any], most: int) -> list[Any]:
    """At most `most` evenly spaced items, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    if most < 2:
        return list(items[:most])
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def answer_span(response: str, extracted: str | None) -> tuple[int, int] | None:
    """Tell where the extracted answer stands in a response: in the last box or answer tag that holds it, else its last
    place. Numbers are found in another dress too: 1,234 for 1234, \\frac{1}{2} for 1/2.
    """
    if not extracted:
        return None
    begin, end = own_span(response)
    answer = re.escape(extracted)
    if len(extracted) <= 40 and _NUMBER.fullmatch(extracted):
        answer = rf"(?<![0-9.]){_dressed(extracted)}(?![0-9]|\.[0-9])"
    held = rf"(?:\\(?:boxed|fbox)\s*\{{|<answer>)[^{{}}<>\n]{{0,20}}?(?P<answer>{answer})"
    for pattern in (held, f"(?P<answer>{answer})"):
        places = [found.span("answer") for found in re.compile(pattern).finditer(response, begin, end)]
        if places:
            return places[-1]
    return None


def utf16(text: str, offset: int) -> int:
    """Return an offset in characters as one in UTF-16 units."""
    return len(text[:offset].encode("utf-16-le", errors="surrogatepass")) // 2


def sparkline(logprobs: Sequence[float]) -> str:
    """Return surprisal along a response, at most 96 characters: 0 is none, z is 7 nats a token or more."""
    count = min(len(logprobs), _BARS)
    edges = [round(i * len(logprobs) / count) for i in range(count + 1)] if count else []
    means = [-sum(logprobs[a:b]) / (b - a) for a, b in pairwise(edges)]
    return "".join(_DIGITS[max(0, min(35, round(5 * mean)))] if math.isfinite(mean) else "z" for mean in means)


def _whole(row: Row) -> Row:
    """A row of a file that may lack some columns."""
    return {"question_id": None, "response": "", **row, "sample": row.get("sample") or 0}


def _fitting(groups: Sequence[list[Row]], responses: float, characters: float) -> list[list[Row]]:
    """Evenly spaced groups within a budget; one at least."""
    if not groups:
        return []
    size = lambda text: min(LONGEST, len(text or ""))  # noqa: E731
    sizes = [size(rows[0].get("prompt")) + sum(200 + size(row["response"]) for row in rows) for rows in groups]
    mean = sum(sizes) / len(groups)
    fit = min(responses / max(1, max(map(len, groups))), characters / mean)
    return spaced(groups, max(1, int(fit)))


def _group(rows: Sequence[Row]) -> dict[str, Any]:
    first = rows[0]
    return {
        "q": str(first.get("question_id") or ""),
        "level": first.get("level"),
        "gold": [str(gold) for gold in first.get("gold") or []],
        "prompt": _clip(first.get("prompt") or ""),
        "extra": _extra(first),
        "rows": [_row(row) for row in rows],
    }


def _extra(row: Row) -> list[list[str]]:
    """Return a question's further columns as names and texts, each cut to what a reader takes in."""
    told = []
    for name, value in [*extra_of(row.get("extra")).items()][:_MOST_COLUMNS]:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        more = len(text) - _LONGEST_COLUMN
        told.append([name, f"{text[:_LONGEST_COLUMN]} … ({more:,} more characters)" if more > 0 else text])
    return told


def _row(row: Row) -> list[Any]:
    text = _clip(row["response"] or "")
    logprobs = [math.nan if each is None else each for each in row.get("logprobs") or ()]
    answer = answer_span(text, row.get("extracted"))
    outcome = str(row.get("outcome"))
    return [
        row["sample"],
        text,
        COARSE_FATES.index(class_of(outcome, str(row.get("stop")))),
        outcome,
        str(row.get("stop")),
        row.get("length"),
        _finite(row.get("reward"), 4),
        _finite(row.get("advantage"), 4),
        _finite(-sum(logprobs) / len(logprobs) if logprobs else None, 4),
        row.get("extracted"),
        row.get("rule") or "",
        None if answer is None else _units(text, answer),
        [_units(text, (span.start, span.end)) for span in _REFLECTION.spans(text)],
        sparkline(logprobs),
    ]


def _units(text: str, span: tuple[int, int]) -> list[int]:
    return [utf16(text, span[0]), utf16(text, span[1])]


def _clip(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    tail = LONGEST - _HEAD
    return f"{text[:_HEAD]}\n[… {len(text) - LONGEST:,} characters left out …]\n{text[-tail:]}"


def _finite(value: object, digits: int) -> float | None:
    return round(float(value), digits) if isinstance(value, int | float) and math.isfinite(value) else None


def _dressed(number: str) -> str:
    """Return a pattern of the ways to write a plain number: thousands separators, TeX fractions, a long minus."""
    sign = "[-\u2212]" if number.startswith("-") else ""
    separated = [r"(?:,|\{,\}|,\\!)?".join(map(re.escape, part)) for part in number.lstrip("-").split("/")]
    if len(separated) == 1:
        return sign + separated[0]
    top, bottom = separated
    return rf"{sign}(?:{top}/{bottom}|\\[dt]?frac\{{{top}\}}\{{{bottom}\}})"
