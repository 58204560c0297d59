r"""Plain numbers, read without the full parser: nearly all answers of training are decided by this alone.

There are no floats and no tolerance: 0.333 is not 1/3, and 2^53 is not 2^53 + 1.
"""

from __future__ import annotations

import re
from fractions import Fraction

MAX_NUMBER_CHARS = 200
"""Longer texts are not read as numbers: `int()` is quadratic in the digits, and no answer is that long."""

# A blank is kept between two word characters (2 3 is not 23), after a backslash (a control space), and where without
# it a list would read as one number (32, 349).
_IDLE_BLANK = re.compile(r"(?!(?<=[0-9],) [0-9]{3})(?:(?<![\w\\]) |(?<!\\) (?!\w))")
_GROUPED = r"[0-9]{1,3}(?:(?:,|\{,\}|,\\!)[0-9]{3})+"
_WHOLE = rf"(?:{_GROUPED}|[0-9]+)"
_PLAIN_NUMBER = re.compile(
    r"(?P<sign>[-+\u2212])?(?:"
    rf"\\[dt]?frac\{{(?P<top_sign>[-+\u2212])?(?P<top>{_WHOLE})\}}\{{(?P<bottom>{_WHOLE})\}}"
    r"|\\[dt]?frac(?P<short_top>[0-9])(?P<short_bottom>[0-9])"
    rf"|(?P<a>{_WHOLE})/(?P<b>{_WHOLE})"
    rf"|(?P<whole>{_WHOLE})?(?:\.(?P<decimals>[0-9]*))?"
    r")"
)


def tidy(text: str) -> str:
    """`unwrap(text)` without the blanks that carry no meaning: what two texts are compared by."""
    return _IDLE_BLANK.sub("", " ".join(unwrap(text).split()))


def unwrap(text: str) -> str:
    """`text` without outer white space, outer `$…$` or `$$…$$`, and one final period inside and outside of them."""
    text = text.strip().removesuffix(".").rstrip()
    for mark in ("$$", "$"):
        inner = text[len(mark) : -len(mark)]
        if len(text) > 2 * len(mark) and text.startswith(mark) and text.endswith(mark):
            if "$" not in inner and not inner.endswith("\\"):  # else the outer dollars do not belong together
                return inner.strip().removesuffix(".").rstrip()
            break
    return text


def number(text: str) -> Fraction | None:
    """Return the exact value of a plain number, or None: `1,234`, `-3.50`, `.5`, `3/4`, `\\frac{3}{4}`, `14{,}916`.

    Separators must stand before every third digit (12,34 is no number); a zero denominator is no number.
    """
    if len(text) > MAX_NUMBER_CHARS:
        return None
    match = _PLAIN_NUMBER.fullmatch(text)
    if match is None:
        return None
    top = match["top"] or match["short_top"] or match["a"]
    bottom = match["bottom"] or match["short_bottom"] or match["b"]
    if top and bottom:
        denominator = _whole(bottom)
        if denominator == 0:
            return None
        value = Fraction(_whole(top), denominator)
    elif match["whole"] or match["decimals"]:
        decimals = match["decimals"] or ""
        value = Fraction(_whole((match["whole"] or "") + decimals), 10 ** len(decimals))
    else:
        return None
    minuses = sum(match[name] in ("-", "\u2212") for name in ("sign", "top_sign"))
    return -value if minuses % 2 else value


def decimals(text: str) -> int | None:
    """Tell how many digits stand after the point of a plain decimal; None if it has no point."""
    digits = text.lstrip("+-\u2212").rpartition(".")
    return len(digits[2]) if digits[1] and digits[2].isdigit() and "frac" not in text and "/" not in text else None


def _whole(digits: str) -> int:
    return int(re.sub(r"[^0-9]", "", digits))
