r"""Answers to questions of choice that repeat the option's text: `B. none of the above` and `(B) 12` choose B.

A letter alone and one with its text are compared by the letter, whatever the text says: the question has it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MAX_CHARS = 500
_DRESS = re.compile(r"\\(?:text(?:bf|it|rm|normal)?|math(?:rm|bf)|mbox)(?![a-z])|\*\*|[${}]")
_BLANK = re.compile(r"\\[,; ]|~|\s+")
_QUAD = re.compile(r"\\q?quad(?![a-z])")
_CHOICE = re.compile(
    r"((?:the\s+)?(?:(?:final|correct)\s+)?(?:answer|option|choice)(?:\s+is\b|\s*:)?\s*)?"
    r"(?:\(\s*([A-J])\s*\)|\[([A-J])\]|([A-J])\s*(?:[.):]|[-–—]\s(?=\s*[a-z]{3})|$))([:\s]*)(.*)",
    re.DOTALL | re.IGNORECASE,
)
# Behind an option's letter: a sign that computes with it (`(B) -5` has none), another option, or that it is out.
_COMPUTED = re.compile(r"[*/^=<>!_|]|[-+]\s|\\(?:cup|cap|times|cdot|pm|mp|leq?|geq?|in|to|setminus|div)(?![a-z])")
_ANOTHER = re.compile(r"(?:and|or|&|,|/)(?![a-z])|(?:.*\s)?\(?[A-J][.):](?:\s|$)|[A-J]$", re.DOTALL)
_TAKEN_BACK = re.compile(
    r"(?:(?:is|was|seems)\s+)?(?:wrong|incorrect|impossible|not\s+(?:correct|right|the\s+answer))\W*$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Choice:
    """An option's letter, upper-case; the text behind it, `""` where there is none; and whether anything stands beside
    the letter but brackets."""

    letter: str
    text: str
    alone: bool


def choice(answer: str) -> Choice | None:
    """Return the option that an answer chooses by its letter, or None if it is no such answer or names several."""
    if len(answer) > _MAX_CHARS:
        return None
    found = _CHOICE.fullmatch(_BLANK.sub(" ", _DRESS.sub("", _QUAD.sub(" : ", answer))).strip())
    if found is None:
        return None
    named, *letters, gap, text = found.groups()
    if any(form.match(text) for form in (_COMPUTED, _ANOTHER, _TAKEN_BACK)) or (text[:1] in "+-" and text and not gap):
        return None
    return Choice(next(filter(None, letters)).upper(), text, not (named or text))


def same_choice(gold: str, answer: str) -> bool | None:
    """Tell whether two answers choose the same option, where one says more than its letter; None if that is not so."""
    one = choice(gold)
    other = None if one is None else choice(answer)
    if one is None or other is None or (one.alone and other.alone):
        return None
    return one.letter == other.letter
