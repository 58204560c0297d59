"""Words of self-reflection in a response: the paper's list (§2.3), matched in lower case wherever they stand."""

from __future__ import annotations

import re

KEYWORDS = (
    "recheck", "rethink", "reassess", "reevaluate", "re-evaluate", "reevaluation", "re-examine", "reexamine",
    "reconsider", "reanalyze", "double-check", "check again", "think again", "verify again", "go over the steps",
)  # fmt: skip
"""`wait` and `try again` are not on it: they stand in too many responses that reflect on nothing."""

_ANY = re.compile("|".join(re.escape(word) for word in sorted(KEYWORDS, key=len, reverse=True)), re.IGNORECASE)


def keyword_spans(text: str) -> list[tuple[int, int]]:
    """Where keywords stand in a text, as (start, end)."""
    return [found.span() for found in _ANY.finditer(text)]
