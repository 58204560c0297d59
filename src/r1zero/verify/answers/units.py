"""Words beside a number: units and their spellings, scales that multiply, and words that make it no answer at all."""

from __future__ import annotations

import re
from fractions import Fraction

from r1zero.verify.answers.tokens import words
from r1zero.verify.answers.tree import Expr, Measured, Num, Op, Sym

# canonical unit → its other spellings; plurals in "s" need no row
_SPELLINGS = {
    "degree": "deg °", "inch": "in inches", "foot": "ft feet", "yard": "yd", "mile": "mi", "mph": "mi/hr mile/hour",
    "meter": "metre metres m", "centimeter": "cm centimetre centimetres", "millimeter": "mm millimetre millimetres",
    "kilometer": "km kilometre kilometres", "nanometer": "nm", "gram": "g", "kilogram": "kg kgs", "milligram": "mg",
    "pound": "lb lbs", "ounce": "oz", "liter": "litre litres l", "milliliter": "ml millilitre", "second": "sec s secs",
    "minute": "min mins", "hour": "hr h hrs", "day": "", "week": "wk", "month": "mo", "year": "yr yrs",
    "dollar": "$ usd buck", "euro": "eur", "cent": "¢", "percent": "pct percentage %", "hertz": "hz", "joule": "j",
    "watt": "w",
    "newton": "n", "volt": "v", "kelvin": "k", "radian": "rad", "square": "sq", "cubic": "cu",
    "unit": "", "point": "pt",
    "kilometer/hour": "kph kmph km/h km/hr", "meter/second": "m/s", "kilocalorie": "kcal",
}  # fmt: skip
_CANONICAL = {other: name for name, others in _SPELLINGS.items() for other in (name, *others.split())}

BARE = frozenset(word for word in _CANONICAL if word.isalpha() and len(word) > 1) - {
    "in", "mi", "mo", "pt", "min", "deg", "cu", "day", "sq", "rad",
} | words(
    """
    inches degrees dollars cents meters miles hours minutes seconds days weeks months years people ways apples
    feet pounds ounces liters grams units points square squared cubed cm mm km kg mph deg degs sq min in
    """
)  # fmt: skip
"""Units that are read as such outside `\\text{…}` too, after a number."""

SCALES = {
    "hundred": Fraction(10**2),
    "thousand": Fraction(10**3),
    "million": Fraction(10**6),
    "billion": Fraction(10**9),
    "trillion": Fraction(10**12),
}
"""Number words that multiply what stands before them."""

REFUSED = words(
    """
    not no or wrong but if unless except never is isn isnt than less more least most either neither nor false
    incorrect instead maybe perhaps possibly plus minus times dozen half double twice
    """
)
"""Words that change what a number says: with one of them it is no value with a unit."""

MAX_WORDS = 5
_MAX_LETTERS = 20

_HARMLESS = words(
    """
    approximately about exactly the is answer of a an per total around roughly only
    """
)


def unit_of(words: list[str]) -> str | None:
    """Return the canonical unit of words (and of `^2`, `/` and the like among them), or None if they are no unit.

    Any noun is a unit (`7 apples`); `cm`, `centimeters` and `centimetre` are the same one.
    """
    together = " ".join(words).lower()
    if together in ("a m", "p m", "am", "pm"):
        return together.replace(" ", "")
    spoken = [word.lower() for word in words if re.search(r"[A-Za-z$]", word)]
    if len(spoken) > MAX_WORDS or any(word in REFUSED or len(word) > _MAX_LETTERS for word in spoken):
        return None
    squared = {"square": "^2", "sq": "^2", "squared": "^2", "cubic": "^3", "cu": "^3", "cubed": "^3"}
    powers = [squared[word] for word in spoken if word in squared] if len(spoken) > 1 else []
    kept = [word for word in words if not (powers and word.lower() in squared)]
    kept = [word for word in kept if word.lower() not in ("a", "the", "of")]
    parts = ["/" if word.lower() == "per" else _singular(word) for word in kept]
    return _CANONICAL.get("".join([*parts, *powers]), "".join([*parts, *powers]))


def in_letters(expr: Expr, unit: str) -> Measured | None:
    """Return a value in a known unit whose letters read as a product: the `m/s` of `10 m/s`. None of others."""
    words: list[str] = []
    while isinstance(expr, Op) and expr.name in ("mul", "div"):
        divided = expr.name == "div"
        expr, factor = expr.args
        power: list[str] = []
        if isinstance(factor, Op) and factor.name == "pow":
            factor, exponent = factor.args
            negative = isinstance(exponent, Op) and exponent.name == "neg"
            exponent = exponent.args[0] if isinstance(exponent, Op) and negative else exponent
            divided ^= negative
            power = (
                []
                if exponent == Num(Fraction(1))
                else ["^", str(exponent.value)]
                if isinstance(exponent, Num)
                else ["?"]
            )
        if not isinstance(factor, Sym):
            return None
        words = [*(["/"] if divided else []), factor.name, *power, *words]
    return Measured(expr, unit) if words and unit_of(words) == unit else None


def _singular(word: str) -> str:
    low = word.lower()
    if word in ("M", "K"):  # as symbols these are other units than in lower case
        return word
    if low in _CANONICAL:
        return _CANONICAL[low]
    stem = low[:-1] if low.endswith("s") and not low.endswith("ss") and len(low) > 3 else low
    return _CANONICAL.get(stem, stem)


_SAME_WORDS = {
    "dne": "does not exist", "d n e": "does not exist", "doesn't exist": "does not exist",
    "it does not exist": "does not exist", "no solutions": "no solution", "there is no solution": "no solution",
    "there are no solutions": "no solution", "cbd": "cannot be determined", "can not be determined":
    "cannot be determined", "can't be determined": "cannot be determined",
}  # fmt: skip
_INTRODUCED = re.compile(r"^(?:the )?(?:final )?answer is (?=[a-z])")


def spoken(words: list[str]) -> str:
    """Return words as they are compared: lower case, single blanks, without articles and `the answer is`."""
    said = _INTRODUCED.sub("", " ".join(word.lower() for word in words)).replace(" ' ", "'")
    low = same_words(said).split()
    return " ".join(word for word in low if word not in ("the", "a", "an")) or " ".join(low)


def same_words(said: str) -> str:
    """Return the usual words for an abbreviation, as `does not exist` for `dne`; others as they are."""
    return _SAME_WORDS.get(said, said)
