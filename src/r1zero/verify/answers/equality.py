r"""Whether two expressions have the same value: `equal(gold, answer)` is True, False, or None where it cannot be told.

Numbers are compared exactly if they are rational, else to 40 digits. Expressions with symbols are compared at several
points (the same in every run): a difference at one point is proof of difference, agreement at all is taken for
equality. Points where either has no real value say nothing. There is one tolerance, and it is stated: a decimal
with at least `ROUNDED_DIGITS` decimals and significant digits stands for a number that rounds (or is cut) to it, so
0.3333333 is 1/3 but 0.333 is not. Two decimals are never rounded to one another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from r1zero.verify.answers.purse import TooLargeError, purse
from r1zero.verify.answers.tree import (
    BOUND,
    INFINITY,
    Chain,
    Difference,
    Expr,
    Items,
    Matrix,
    Measured,
    Num,
    Op,
    Shape,
    Sym,
    UnionOf,
    is_expression,
    walk,
)
from r1zero.verify.answers.values import (
    BUDGET,
    CONSTANTS,
    SERIES,
    Evaluator,
    NoValueError,
    UndefinedError,
    Value,
)

ROUNDED_DIGITS = 6
_DIGITS = 60
_AGREE = 1e-40
_POINTS = 6
_NEEDED = 3
_SCALES = (Fraction(1), Fraction(1, 4), Fraction(9), Fraction(1), Fraction(1), Fraction(5))
_PRIMES = (101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167, 173, 179, 181, 191, 193, 197, 199, 211)
_WHOLE_ONLY = frozenset({"factorial", "binom", "mod", "gcd", "lcm"})
_NO_VALUE = frozenset({"\\infty", "\\emptyset", "\\ldots"})


def equal(gold: Expr, answer: Expr, *, rounding: bool = True) -> bool | None:
    """Tell whether they are equal; None where this module cannot tell. TooLargeError if one is too large to compute.

    Without `rounding`, a long decimal stands for nothing but itself.
    """
    if gold == answer:
        return True
    for one, other in ((gold, answer), (answer, gold)):
        endless = infinite(one)
        if endless is not None:
            theirs = infinite(other)
            return theirs == endless if theirs is not None else (None if _mentions(other, _NO_VALUE) else False)
    if isinstance(gold, Num) and isinstance(answer, Num):
        return gold.value == answer.value or (rounding and _rounds(gold, answer))
    if _is_time(gold) or (_is_time(answer) and _may_be_time(gold)):
        return False  # of a day: 10:30 is not 1:3; the same time was found above
    if isinstance(gold, Op) and isinstance(answer, Op) and (_is_long_ratio(gold) or _is_long_ratio(answer)):
        return proportional(gold.args, answer.args) if gold.name == answer.name else False
    names = symbols(gold) | symbols(answer)
    if names & _NO_VALUE:
        return None if _mentions(gold, _NO_VALUE) else False
    if _valueless(gold) or _valueless(answer):
        return False  # 5/0 is nothing but itself, and so is 12:00
    if not names:
        same = _same_at({}, gold, answer)
        return _rounds(gold, answer) if same is False and rounding else same
    return _same_everywhere(gold, answer, sorted(names))


def _is_long_ratio(expr: Op) -> bool:
    """Return a ratio that is no quotient: of three terms, or with a zero in it."""
    return expr.name == "ratio" and (len(expr.args) > 2 or _is_clock(expr))


def _is_time(expr: Expr) -> bool:
    return isinstance(expr, Op) and expr.name == "time"


def _may_be_time(gold: Expr) -> bool:
    """Tell whether a gold ratio, though in lowest terms, may be a time as well: 7:15, but not 3:5."""
    if not isinstance(gold, Op) or gold.name != "ratio" or len(gold.args) != 2:
        return False
    return isinstance(gold.args[1], Num) and 10 <= gold.args[1].value < 60


def _is_clock(ratio: Op) -> bool:
    """`12:00`: no ratio has a zero in it."""
    return any(arg == Num(Fraction(0)) for arg in ratio.args)


def _valueless(expr: Expr) -> bool:
    """Tell whether a number is none, as 5/0."""
    if symbols(expr):
        return False
    try:
        Evaluator({}, _DIGITS)(expr)
    except NoValueError:
        return True
    except UndefinedError:
        return False
    return False


def infinite(expr: Expr) -> int | None:
    """Return +1 or −1 for ±∞, else None."""
    if expr == INFINITY:
        return 1
    if isinstance(expr, Op) and expr.name in ("neg", "add") and len(expr.args) == 1:
        inner = infinite(expr.args[0])
        return -inner if inner is not None and expr.name == "neg" else inner
    return None


def symbols(expr: Expr) -> set[str]:
    """Return the names that need a value."""
    names = {node.name for node in walk(expr) if isinstance(node, Sym) and node.name not in CONSTANTS}
    return {name for name in names if not name.startswith(BOUND)}


def names_in(expr: Expr) -> set[str]:
    """Return all names, constants too."""
    return {node.name for node in walk(expr) if isinstance(node, Sym)}


def real_value(expr: Expr) -> Fraction | None:
    """Return the value of a number, exactly or to 60 digits; None if it has none that is real."""
    try:
        at = Evaluator({}, _DIGITS)
        value = at(expr)
    except UndefinedError:
        return None
    if isinstance(value, Fraction):
        return value
    if at.mp.im(value) != 0:
        return None
    sign, mantissa, exponent, _ = at.mp.re(value)._mpf_  # m·2^e: exact, and comparable with fractions
    return (-1 if sign else 1) * Fraction(int(mantissa)) * Fraction(2) ** exponent


def proportional(golds: tuple[Expr, ...], answers: tuple[Expr, ...]) -> bool | None:
    """Tell whether a ratio of several terms is another's multiple: 1:2:3 is 2:4:6."""
    if len(golds) != len(answers):
        return False
    pairs = zip(golds[1:], answers[1:], strict=True)
    crossed = [(Op("mul", (g, answers[0])), Op("mul", (a, golds[0]))) for g, a in pairs]
    if any(_is_clock(Op("ratio", terms)) for terms in (golds, answers)):
        return golds == answers
    return every(equal(one, other) for one, other in crossed)


def every(verdicts: Iterator[bool | None]) -> bool | None:
    """False if one is, else None if one is, else True."""
    found: bool | None = True
    for verdict in verdicts:
        if verdict is False:
            return False
        if verdict is None:
            found = None
    return found


def points_for(exprs: tuple[Expr, ...], names: list[str]) -> Iterator[dict[str, Fraction]]:
    """Yield the points at which expressions in these names are compared: positive, then negative, or whole where
    needed.
    """
    whole = any(_needs_whole(expr) for expr in exprs)
    for k in range(_POINTS):
        point = {}
        for i, name in enumerate(names):
            prime = _PRIMES[(5 * i + 7 * k) % len(_PRIMES)]
            if whole:
                point[name] = Fraction(2 + (3 * k + i * (i + 3)) % 11)
            else:
                value = Fraction(prime, 61 + 11 * ((i + k) % 5)) * _SCALES[k]
                point[name] = -value if k >= _NEEDED + 1 and (i + k) % 2 == 0 else value
        yield point


def _needs_whole(expr: Expr) -> bool:
    for node in walk(expr):
        if isinstance(node, Op) and symbols(node):
            if node.name in _WHOLE_ONLY or (node.name in SERIES and any(map(symbols, node.args[1:3]))):
                return True
            if node.name == "pow" and symbols(node.args[1]) and _is_negative(node.args[0]):
                return True
    return False


def _is_negative(expr: Expr) -> bool:
    return isinstance(expr, Op) and expr.name == "neg" and not symbols(expr)


def _mentions(expr: Expr, names: frozenset[str]) -> bool:
    return any(isinstance(node, Sym) and node.name in names for node in walk(expr))


def _same_everywhere(gold: Expr, answer: Expr, names: list[str]) -> bool | None:
    agreed = 0
    is_real = not (_mentions(gold, frozenset("i")) or _mentions(answer, frozenset("i")))
    for point in points_for((gold, answer), names):
        try:
            same = _same_at(point, gold, answer, real=is_real)
        except UndefinedError:
            continue
        if same is False:
            return False
        agreed += same is True
    return True if agreed >= _NEEDED else None


def _same_at(point: Mapping[str, Fraction], gold: Expr, answer: Expr, *, real: bool = False) -> bool | None:
    """Tell whether they agree at a point; None where they have no value (or, with `real`, no real one)."""
    pair = _pair(point, gold, answer, _DIGITS)
    if pair is None or (real and not pair.real):
        return None
    if isinstance(pair.one, Fraction) and isinstance(pair.other, Fraction):
        return pair.one == pair.other
    scale = max(abs(pair.one), abs(pair.other))
    if pair.gap <= scale * _AGREE:
        return True
    if pair.gap > _AGREE:
        return False
    # Both near zero: what is zero in truth shrinks with more digits.
    finer = _pair(point, gold, answer, 2 * _DIGITS)
    return None if finer is None else bool(finer.gap < pair.gap * _AGREE)


@dataclass(frozen=True, slots=True)
class _Pair:
    one: Value
    other: Value
    gap: Value
    real: bool


def _pair(point: Mapping[str, Fraction], gold: Expr, answer: Expr, digits: int) -> _Pair | None:
    at = Evaluator(point, digits)
    try:
        one, other = at.both(at(gold), at(answer))
    except UndefinedError:
        return None
    is_real = isinstance(one, Fraction) or (at.mp.im(one) == 0 and at.mp.im(other) == 0)
    return _Pair(one, other, abs(one - other), is_real)


def _rounds(gold: Expr, answer: Expr) -> bool:
    """Tell whether one is a long decimal that the other, which is none, rounds to."""
    long, exact = (gold, answer) if _decimals(gold) is not None else (answer, gold)
    decimals = _decimals(long)
    if decimals is None or _decimals(exact) is not None or decimals < ROUNDED_DIGITS:
        return False
    value, written = real_value(exact), real_value(long)
    if value is None or written is None or value.denominator == 1:
        return False
    if len(str(abs(int(written * 10**decimals)))) < ROUNDED_DIGITS:
        return False
    unit = Fraction(1, 10**decimals)  # of the last place
    is_cut = value * written > 0 and 0 <= abs(value) - abs(written) < unit
    return is_cut or 2 * abs(value - written) <= unit


def _decimals(expr: Expr) -> int | None:
    """Return the decimals of a written decimal (or its negative), else None."""
    while isinstance(expr, Op) and expr.name in ("neg",):
        expr = expr.args[0]
    return expr.decimals if isinstance(expr, Num) else None


def usable(shape: Shape) -> bool:
    """Tell whether every value in a gold answer can be computed."""
    point = _EveryName()
    with purse(BUDGET):
        for expr in _expressions(shape):
            try:
                Evaluator(point)(expr)
            except TooLargeError:
                return False
            except UndefinedError:
                continue
    return True


class _EveryName(dict[str, Fraction]):
    """A point at which every name but the constants has a value."""

    def __contains__(self, name: object) -> bool:
        return name not in CONSTANTS and name not in _NO_VALUE and not str(name).startswith(BOUND)

    def __missing__(self, name: str) -> Fraction:
        return Fraction(17, 7)


def _expressions(shape: Shape) -> Iterator[Expr]:
    if is_expression(shape):
        yield shape  # type: ignore[misc]
    elif isinstance(shape, Measured):
        yield shape.value
    else:
        children = {
            Items: lambda s: s.items,
            Chain: lambda s: s.links,
            UnionOf: lambda s: s.parts,
            Difference: lambda s: (s.whole, s.part),
            Matrix: lambda s: tuple(entry for row in s.rows for entry in row),
        }.get(type(shape), lambda s: ())
        for child in children(shape):
            yield from _expressions(child)
