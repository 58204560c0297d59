"""Words of self-reflection in responses: the paper's list (section 2.3, its Fig. 9), or a user's own.

Two counts, always side by side: the paper's, a lower-cased substring wherever it stands ("double-checking account" and
"I rechecked the mailbox" count), and one of whole words only (they do not; neither does "rechecking my work").
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from r1zero.errors import UserError
from r1zero.statistics import Estimate, clustered

KEYWORDS = (
    "recheck", "rethink", "reassess", "reevaluate", "re-evaluate", "reevaluation", "re-examine", "reexamine",
    "reconsider", "reanalyze", "double-check", "check again", "think again", "verify again", "go over the steps",
)  # fmt: skip
"""The paper's fifteen. `wait` and `try again` are left out there: they stand in many texts that reflect on nothing."""


_PART = r"[^\W_]"  # a letter or a digit: an underscore is Markdown's emphasis


@dataclass(frozen=True, slots=True)
class Span:
    """A keyword's place in a text; `whole` says whether it stands there as a word of its own."""

    start: int
    end: int
    keyword: str
    whole: bool


class Detector:
    """Finds keywords in texts, without regard to case."""

    def __init__(self, keywords: Sequence[str] = KEYWORDS):
        cleaned = [" ".join(word.lower().split()) for word in keywords]
        self.keywords = tuple(dict.fromkeys(word for word in cleaned if word))
        if not self.keywords:
            raise UserError("--keywords holds no word; give a file with one keyword a line, or leave it out.")
        # each keyword by itself, as the paper counts them: "re-evaluate" in "re-evaluated" hides no other
        self._patterns = [(word, re.compile(re.escape(word), re.IGNORECASE)) for word in self.keywords]

    def spans(self, text: str, *, whole: bool = False) -> list[Span]:
        """Tell where keywords stand, in order; with `whole`, only those that are words of their own."""
        found = [
            Span(*match.span(), word, _is_whole(text, *match.span()))
            for word, pattern in self._patterns
            for match in pattern.finditer(text)
        ]
        return sorted((span for span in found if span.whole or not whole), key=lambda span: (span.start, -span.end))

    def holds(self, text: str, *, whole: bool = False) -> bool:
        """Tell whether any keyword stands in a text."""
        return bool(self.spans(text, whole=whole))


def _is_whole(text: str, start: int, end: int) -> bool:
    """Tell whether neither side goes on in letters, digits or, by a hyphen, in another part of the word."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    return not re.search(rf"{_PART}-?\Z", before) and not re.match(rf"-?{_PART}", after)


@dataclass(frozen=True, slots=True)
class KeywordCount:
    """One keyword over many responses: how often it stands there, and in how many responses."""

    keyword: str
    occurrences: int
    responses: int
    whole_occurrences: int
    whole_responses: int


def keyword_table(texts: Iterable[str], detector: Detector) -> list[KeywordCount]:
    """Return counts of every keyword of the list, those that never stand there included, the most frequent first."""
    counts = {word: [0, 0, 0, 0] for word in detector.keywords}
    for text in texts:
        spans = detector.spans(text)
        for at, found in ((0, spans), (2, [span for span in spans if span.whole])):
            for word, times in Counter(span.keyword for span in found).items():
                counts[word][at] += times
                counts[word][at + 1] += 1
    table = [KeywordCount(word, *numbers) for word, numbers in counts.items()]
    return sorted(table, key=lambda row: -row.occurrences)


@dataclass(frozen=True, slots=True)
class Counted:
    """How many responses, and how many questions with at least one such response (the paper's Fig. 3 right)."""

    responses: int
    questions: int
    told: int
    """Responses of which it is known; those that no judge could judge are none of them."""


FlagsByQuestion = Sequence[Sequence[bool | None]]
"""One flag per response (None: unknown), grouped by question."""


def told(flags_PG: FlagsByQuestion) -> list[list[bool]]:
    """Return the flags that are known, of the questions that have any."""
    return [known for group in flags_PG if (known := [flag for flag in group if flag is not None])]


def count_levels(flags_PG: FlagsByQuestion) -> Counted:
    """Return counts at both levels."""
    known = told(flags_PG)
    return Counted(sum(map(sum, known)), sum(map(any, known)), sum(map(len, known)))


def questions_with(flags_PG: FlagsByQuestion, questions: Sequence[str] | None = None) -> Estimate | None:
    """Compute the share of questions with a flagged response, of those with a response that could be told.

    `questions` says what each group asks, where some may ask the same; without it they all differ.
    """
    return _share([float(any(group)) for group in told(flags_PG)], flags_PG, questions)


def responses_with(flags_PG: FlagsByQuestion, questions: Sequence[str] | None = None) -> Estimate | None:
    """Compute the share of flagged responses, questions alike, of those that could be told; `questions` as above."""
    return _share([sum(group) / len(group) for group in told(flags_PG)], flags_PG, questions)


def _share(values: Sequence[float], flags_PG: FlagsByQuestion, questions: Sequence[str] | None) -> Estimate | None:
    if not values:
        return None
    of_known = questions and [
        asked for asked, group in zip(questions, flags_PG, strict=True) if any(flag is not None for flag in group)
    ]
    return clustered(values, of_known)


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an excerpt: a keyword, or what stands between two."""

    text: str
    keyword: bool


def excerpt(text: str, spans: Sequence[Span], *, around: int = 240) -> list[Piece]:
    """Return an excerpt around the first keyword, or the beginning of a text without one, as pieces in order."""
    low, high = 0, min(len(text), 2 * around)
    if spans:
        low, high = max(0, spans[0].start - around), min(len(text), spans[0].end + around)
    pieces, at = [Piece("… ", False)] if low else [], low
    for span in spans:
        if span.start >= at and span.end <= high:
            pieces += [Piece(text[at : span.start], False), Piece(text[span.start : span.end], True)]
            at = span.end
    pieces.append(Piece(text[at:high], False))
    pieces += [Piece(" …", False)] if high < len(text) else []
    return [piece for piece in pieces if piece.text]


def read_keywords(path: Path) -> tuple[str, ...]:
    """Return a user's list: one keyword or phrase a line; empty lines and lines that begin with # are none."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"--keywords {path} cannot be read ({error}); give a text file with one keyword a line."
        ) from None
    return Detector([line for line in lines if not line.startswith("#")]).keywords
