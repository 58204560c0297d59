"""Self-reflection by temperature: keywords, a judge, and both on one response (section 2.3, Fig. 3 right, 9 to 11).

Keywords alone count responses that only use the words, a judge alone those that it imagines to reflect; a response that
both find is what the paper counts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from r1zero.analyze.answering import items_of, positive
from r1zero.analyze.judges.llm import Agreement, Judge, beside_rules
from r1zero.analyze.judges.rubrics import REFLECTION, Judgement
from r1zero.analyze.keywords import (
    Counted,
    Detector,
    FlagsByQuestion,
    KeywordCount,
    Piece,
    count_levels,
    excerpt,
    keyword_table,
    questions_with,
)
from r1zero.analyze.responses import ModelResponses
from r1zero.statistics import Estimate

DETECTIONS = ("keywords", "whole words", "judge", "cross")
"""`cross` is keywords (wherever they stand) and the judge's class 2 on the same response."""
BY_WORDS = ("keywords", "whole words")
"""Those that need no judge."""
_SHOWN = 6


@dataclass(frozen=True, slots=True)
class ReflectingPassage:
    """A reflecting response, its words marked, and where it comes from."""

    question_id: str
    sample: int
    found_by: str
    right: bool
    reason: str
    """What the judge says of it."""
    excerpt: list[Piece]


@dataclass(frozen=True, slots=True)
class ReflectionRow:
    """Self-reflection in one cell."""

    temperature: float
    questions: int
    responses: int
    counts: dict[str, Counted]
    """By `DETECTIONS`."""
    share_of_questions: dict[str, Estimate | None]
    """Questions with at least one reflecting response, of those with any response that could be told, with Wilson's
    95 % interval; None where there is none.
    """
    classes: dict[str, int]
    """The judge's four classes, and what could not be judged."""
    judge: str
    agreement: Agreement | None
    keywords: list[KeywordCount]
    passages: list[ReflectingPassage]

    @property
    def judged(self) -> int:
        """Responses that the judge has put into a class."""
        return sum(count for name, count in self.classes.items() if name.isdecimal())


@dataclass(frozen=True, slots=True)
class Flags:
    """What was found in each response of a cell, grouped by question."""

    by_detection: dict[str, FlagsByQuestion]
    judged: list[Judgement]
    """By the judge, in order."""

    @property
    def labels(self) -> list[int | None]:
        """The judge's classes, in order."""
        return [judgement.label for judgement in self.judged]


def flags_of(cell: ModelResponses, detector: Detector, judge: Judge) -> Flags:
    """Return all detections on a cell. Of a response that could not be judged, `judge` and `cross` are unknown."""
    judged = judge.judge(items_of(cell))
    keywords = [[detector.holds(reply.text) for reply in group.replies] for group in cell.groups]
    whole = [[detector.holds(reply.text, whole=True) for reply in group.replies] for group in cell.groups]
    by_judge = positive(cell, judged, REFLECTION)
    cross = [
        [None if b is None else a and b for a, b in zip(*both, strict=True)]
        for both in zip(keywords, by_judge, strict=True)
    ]
    return Flags({"keywords": keywords, "whole words": whole, "judge": by_judge, "cross": cross}, judged)


def analyse(cell: ModelResponses, detector: Detector, judge: Judge, rules: Judge) -> tuple[ReflectionRow, Flags]:
    """Return self-reflection of one cell by `judge`, beside the rules'; and the flags that it stands on."""
    flags = flags_of(cell, detector, judge)
    row = ReflectionRow(
        cell.temperature,
        len(cell.groups),
        len(flags.labels),
        {name: count_levels(found) for name, found in flags.by_detection.items()},
        {name: questions_with(found, cell.questions) for name, found in flags.by_detection.items()},
        _classes(flags),
        judge.name,
        beside_rules(judge, rules, items_of(cell), flags.labels),
        keyword_table([reply.text for reply in cell.replies], detector),
        _passages(cell, flags, detector),
    )
    return row, flags


def _classes(flags: Flags) -> dict[str, int]:
    counts, refused = Counter(flags.labels), sum(judgement.refused for judgement in flags.judged)
    classes = {str(number): counts[number] for number in REFLECTION.classes}
    return classes | {"unparsable": counts[None] - refused, "refused": refused}


def _passages(cell: ModelResponses, flags: Flags, detector: Detector) -> list[ReflectingPassage]:
    """Return the first reflecting responses: those of both detections first, one a question."""
    found: dict[str, ReflectingPassage] = {}
    judged = cell.by_question(flags.judged)
    for detection in ("cross", "judge", "keywords"):
        for group, marks, said in zip(cell.groups, flags.by_detection[detection], judged, strict=True):
            if any(marks) and group.id not in found and len(found) < _SHOWN:
                sample = marks.index(True)
                reply, reason = group.replies[sample], said[sample].reason
                pieces = excerpt(reply.text, detector.spans(reply.text))
                found[group.id] = ReflectingPassage(group.id, sample, detection, reply.right, reason, pieces)
    return list(found.values())
