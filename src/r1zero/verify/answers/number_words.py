"""Numbers in words: `five`, `forty-two`, `two hundred and six`."""

from __future__ import annotations

import re

_ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
         "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_VALUES = {word: value for value, word in enumerate(_ONES)} | {word: 10 * k for k, word in enumerate(_TENS, start=2)}
_SCALES = {"thousand": 10**3, "million": 10**6}
_MAX_CHARS = 80
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mbox)\{([^{}]*)\}")
# The words and, perhaps, the same number in figures beside them.
_WITH_FIGURES = re.compile(r"([A-Za-z][A-Za-z -]*[a-z])(?: *\(([0-9][0-9,]*)\))?")


def spoken_number(text: str) -> int | None:
    """Read a whole number in words, perhaps with the figures in brackets behind it; None for others."""
    if len(text) > _MAX_CHARS or not text.lstrip("\\{ ")[:1].isalpha():
        return None
    found = _WITH_FIGURES.fullmatch(_TEXT.sub(r"\1", text).strip())
    value = _value(found[1].lower().replace("-", " ").split()) if found else None
    if found is None or value is None or (found[2] and int(found[2].replace(",", "")) != value):
        return None
    return value


def _value(words: list[str]) -> int | None:
    total = part = 0
    last = 1000  # what the last word stood for: units follow tens, and tens hundreds
    for place, word in enumerate(words):
        if word == "and" and last >= 100 and 0 < place < len(words) - 1:
            continue
        if word == "hundred" and 0 < part < 10:
            part, last = 100 * part, 100
        elif word in _SCALES and 0 < part < 1000:
            total, part, last = total + _SCALES[word] * part, 0, 1000
        elif word in _VALUES and (last >= 100 or (20 <= last < 100 and 0 < _VALUES[word] < 10)):
            part, last = part + _VALUES[word], _VALUES[word]
        else:
            return None
    return total + part if words else None
