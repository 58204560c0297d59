r"""The value of an expression: exactly where it is rational, else to many digits, and never at more than a set cost.

Nothing in an answer is run as code, and nothing is computed before its size is known: a power or factorial whose exact
value would have more than `MAX_BITS` bits is refused (`TooLargeError`) unseen, every node is paid from a budget, and
a sum that would lose digits is left undecided (`UndefinedError`). All that is computed to compare one answer with one
gold is also paid from one `purse`: it is the caller's process that computes here, and nobody could kill that.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from r1zero.verify.answers.purse import TooLargeError, spend
from r1zero.verify.answers.tokens import words
from r1zero.verify.answers.tree import Expr, Num, Op, Sym

MAX_BITS = 1 << 15
BUDGET = 100_000
"""Units of work, a microsecond or two each, that one expression may cost at one point."""
_MAX_MAGNITUDE = 1 << 12  # bits before or after the point of an inexact value
_MAX_TERMS = 2000
_LOST = 90  # bits between two summands beyond which an inexact sum forgets the smaller

Value = Any
"""A `Fraction`, or one of mpmath's real or complex numbers."""


class UndefinedError(Exception):
    """It has no value here: a division by zero, a function that is not known, digits that would be lost."""


class NoValueError(UndefinedError):
    """It has no value at all, as a division by zero."""


class Evaluator:
    """Values of expressions at one point, with `digits` digits where they are not exact."""

    def __init__(self, point: Mapping[str, Fraction], digits: int = 60) -> None:
        self._point = point
        self._bound: dict[str, Fraction] = {}
        self._digits = digits
        self._left = BUDGET

    def __call__(self, expr: Expr) -> Value:
        """Return the value. TooLargeError or UndefinedError if there is none to be had."""
        self._pay(1)  # names and numbers too: sums in sums of them cost nothing else
        if isinstance(expr, Num):
            return expr.value
        if isinstance(expr, Sym):
            return self._symbol(expr.name)
        if expr.name in SERIES:
            return self._series(expr)
        handler = OPERATIONS.get(expr.name)
        if handler is None:
            raise UndefinedError(expr.name)
        try:
            result = handler(self, *(self(arg) for arg in expr.args))
        except (ZeroDivisionError, OverflowError, ValueError, TypeError, ArithmeticError) as error:
            raise UndefinedError(expr.name) from error
        return self._checked(result)

    def _series(self, expr: Op) -> Value:
        """Return a sum or product over whole numbers, term by term."""
        index, low, high, body = expr.args
        first, last = self(low), self(high)
        for end in (first, last):
            if not isinstance(end, Fraction) or end.denominator != 1:
                raise UndefinedError("bounds that are not whole")
        if last - first > _MAX_TERMS:
            raise TooLargeError("many terms")
        assert isinstance(index, Sym)
        total: Value = Fraction(0 if expr.name == "sum" else 1)
        for k in range(int(first), int(last) + 1):
            self._pay(3)
            self._bound[index.name] = Fraction(k)
            term = self(body)
            total = self._checked(_add(self, total, term) if expr.name == "sum" else _mul(self, total, term))
        return total

    def _symbol(self, name: str) -> Value:
        if name in self._bound:
            return self._bound[name]
        if name in self._point:
            return self._point[name]
        constant = _CONSTANTS.get(name)
        if constant is None:
            raise UndefinedError(name)
        return constant(self.mp)

    @property
    def mp(self) -> Any:
        """mpmath's arithmetic of this thread, at this evaluator's precision."""
        context = getattr(_contexts, "mp", None)
        if context is None:
            from mpmath.ctx_mp import MPContext  # 50 ms, and most answers are rational

            context = _contexts.mp = MPContext()
        if context.dps != self._digits:
            context.dps = self._digits
        return context

    def _pay(self, cost: int) -> None:
        spend(cost)
        self._left -= cost
        if self._left < 0:
            raise TooLargeError("too many operations")

    def _checked(self, value: Value) -> Value:
        if isinstance(value, Fraction):
            bits = value.numerator.bit_length() + value.denominator.bit_length()
            if bits > 2 * MAX_BITS:
                raise TooLargeError("too many digits")
            self._pay(1 + (bits * bits >> 20))
            return value
        self._pay(30)
        mp = self.mp
        if mp.isnan(value) or mp.isinf(value):
            raise UndefinedError("no finite value")
        if value != 0 and abs(mp.mag(value)) > _MAX_MAGNITUDE:
            raise UndefinedError("too large or small to tell from others")
        return value

    def inexact(self, value: Value) -> Value:
        """Return the value as one of mpmath's."""
        if isinstance(value, Fraction):
            self._pay(3)
            if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MAX_MAGNITUDE:
                raise UndefinedError("too large or small to tell from others")
            return self.mp.mpf(value.numerator) / value.denominator
        return value

    def both(self, one: Value, other: Value) -> tuple[Value, Value]:
        """Return two values of one kind."""
        if isinstance(one, Fraction) and isinstance(other, Fraction):
            return one, other
        return self.inexact(one), self.inexact(other)


_contexts = threading.local()
_CONSTANTS: dict[str, Callable[[Any], Value]] = {
    "\\pi": lambda mp: +mp.pi,
    "e": lambda mp: +mp.e,
    "i": lambda mp: mp.mpc(0, 1),
}
SERIES = frozenset({"sum", "prod"})
CONSTANTS = frozenset(_CONSTANTS)
"""Letters with a value of their own."""


def _add(at: Evaluator, *values: Value) -> Value:
    total = values[0]
    for value in values[1:]:
        one, other = at.both(total, value)
        total = one + other
        inexact = not isinstance(total, Fraction) and one != 0 and other != 0
        if inexact and abs(at.mp.mag(one) - at.mp.mag(other)) > _LOST:
            raise UndefinedError("digits would be lost")
    return total


def _mul(at: Evaluator, one: Value, other: Value) -> Value:
    one, other = at.both(one, other)
    return one * other


def _div(at: Evaluator, one: Value, other: Value) -> Value:
    if other == 0:
        raise NoValueError("division by zero")
    one, other = at.both(one, other)
    return one / other


def _pow(at: Evaluator, base: Value, exponent: Value) -> Value:
    if base == 0:
        if not isinstance(exponent, Fraction) or exponent <= 0:
            raise NoValueError("a power of zero")
        return Fraction(0)
    if isinstance(exponent, Fraction) and isinstance(base, Fraction):
        if exponent.denominator == 1:
            return _whole_power(base, exponent.numerator)
        exact = _rational_root(base, exponent)
        if exact is not None:
            return exact
    if isinstance(exponent, Fraction) and exponent.denominator == 1:
        if abs(exponent) > _MAX_MAGNITUDE:
            raise TooLargeError("a large exponent")
        return at.inexact(base) ** int(exponent)
    base, exponent = at.inexact(base), at.inexact(exponent)
    if abs(at.mp.mag(exponent)) + at.mp.mag(at.mp.mag(base) or 1) > 16 and at.mp.mag(exponent) > 0:
        raise TooLargeError("a large exponent")
    return at.mp.power(base, exponent)


def _whole_power(base: Fraction, exponent: int) -> Fraction:
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if base not in (1, -1) and bits * abs(exponent) > MAX_BITS:
        raise TooLargeError("a large power")
    if base in (1, -1):
        exponent %= 2
    return base**exponent


def _rational_root(base: Fraction, exponent: Fraction) -> Fraction | None:
    """Return base^(a/b) for a positive base that is the b-th power of a small fraction."""
    if base <= 0 or exponent.denominator > 6 or max(base.numerator, base.denominator) > 1 << 40:
        return None
    roots = []
    for part in (base.numerator, base.denominator):
        root = round(part ** (1 / exponent.denominator))
        if root**exponent.denominator != part:
            return None
        roots.append(root)
    return _whole_power(Fraction(*roots), exponent.numerator)


def _root(at: Evaluator, value: Value, degree: Value) -> Value:
    if not isinstance(degree, Fraction) or degree.denominator != 1 or not 2 <= degree <= 1000:
        return _pow(at, value, _div(at, Fraction(1), degree))
    # an odd root of a negative number is the real one
    if degree % 2 and (isinstance(value, Fraction) or at.mp.im(value) == 0) and value < 0:
        return -_root(at, -value, degree)
    if value == 0:
        return Fraction(0)
    return _pow(at, value, 1 / degree)


def _factorial(at: Evaluator, value: Value) -> Value:
    if not isinstance(value, Fraction) or value.denominator != 1 or value < 0:
        raise UndefinedError("a factorial of something else")
    if value > 2500:  # its bits are below MAX_BITS
        raise TooLargeError("a large factorial")
    at._pay(int(value))
    return Fraction(math.factorial(int(value)))


def _binom(at: Evaluator, top: Value, bottom: Value) -> Value:
    for value in (top, bottom):
        if not isinstance(value, Fraction) or value.denominator != 1 or value < 0:
            raise UndefinedError("a binomial of something else")
    if top > 5000:
        raise TooLargeError("a large binomial")
    at._pay(int(top))
    return Fraction(math.comb(int(top), int(bottom)))


def _det(at: Evaluator, *entries: Value) -> Value:
    size = math.isqrt(len(entries))
    if size * size != len(entries) or size > 5:
        raise UndefinedError("no square matrix")
    if size == 1:
        return entries[0]
    total: Value = Fraction(0)
    for column in range(size):
        minor = [entries[r * size + c] for r in range(1, size) for c in range(size) if c != column]
        term = _mul(at, entries[column], _det(at, *minor))
        total = _add(at, total, -term if column % 2 else term)
    return total


def _function(name: str) -> Callable[..., Value]:
    """Return one of mpmath's functions of one argument, with exact values at zero and one where they are rational."""

    def apply(at: Evaluator, value: Value) -> Value:
        exact = _EXACT.get((name, value)) if isinstance(value, Fraction) else None
        if exact is not None:
            return Fraction(exact)
        value = at.inexact(value)
        if at.mp.mag(value) > (12 if name in ("exp", "sinh", "cosh", "tanh", "coth") else 60):
            raise TooLargeError("a large argument")
        return getattr(at.mp, _MPMATH.get(name, name))(value)

    return apply


_PLAIN = words("sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh coth exp")
_EXACT: dict[tuple[str, int | Fraction], int] = {
    ("sin", 0): 0,
    ("cos", 0): 1,
    ("tan", 0): 0,
    ("exp", 0): 1,
    ("arcsin", 0): 0,
}
_MPMATH = {name: name.replace("arc", "a") for name in ("arcsin", "arccos", "arctan", "arccot", "arcsec", "arccsc")}


def _ln(at: Evaluator, value: Value) -> Value:
    if value == 0:
        raise NoValueError("a logarithm of zero")
    if isinstance(value, Fraction) and value > 0:
        parts = [at.mp.ln(part) for part in (value.numerator, value.denominator)]
        return Fraction(0) if value == 1 else parts[0] - parts[1]
    return at.mp.ln(at.inexact(value))


def _log(at: Evaluator, value: Value, base: Value | None = None) -> Value:
    """With a base, as its quotient of natural logarithms; `log` alone is the natural one."""
    return _ln(at, value) if base is None else _div(at, _ln(at, value), _ln(at, base))


def _abs(at: Evaluator, value: Value) -> Value:
    del at
    return abs(value)


def _whole_part(direction: Callable[[Any], int]) -> Callable[..., Value]:
    def apply(at: Evaluator, value: Value) -> Value:
        if not isinstance(value, Fraction):
            if at.mp.im(value) != 0:
                raise UndefinedError("a floor of a complex number")
            nearest = at.mp.nint(value)
            if abs(value - nearest) < at.mp.mpf(10) ** (10 - at.mp.dps):
                raise UndefinedError("too near a whole number to tell")
            return Fraction(int(at.mp.floor(value)) + (direction is math.ceil))
        return Fraction(direction(value))

    return apply


def _mod(at: Evaluator, one: Value, other: Value) -> Value:
    del at
    if not isinstance(one, Fraction) or not isinstance(other, Fraction) or other == 0:
        raise UndefinedError("a remainder of something else")
    return one % other


def _whole_numbers(fold: Callable[..., int]) -> Callable[..., Value]:
    def apply(at: Evaluator, *values: Value) -> Value:
        del at
        if any(not isinstance(value, Fraction) or value.denominator != 1 for value in values):
            raise UndefinedError("a common divisor of something else")
        return Fraction(fold(*(int(value) for value in values)))

    return apply


def _extreme(pick: Callable[..., Value]) -> Callable[..., Value]:
    def apply(at: Evaluator, *values: Value) -> Value:
        if all(isinstance(value, Fraction) for value in values):
            return pick(values)
        return pick([at.inexact(value) for value in values])

    return apply


def _degree(at: Evaluator, value: Value) -> Value:
    return at.inexact(value) * at.mp.pi / 180


OPERATIONS: dict[str, Callable[..., Value]] = {
    "add": _add,
    "neg": lambda at, value: -value,
    "mul": _mul,
    "div": _div,
    "ratio": _div,
    "time": _div,
    "pow": _pow,
    "root": _root,
    "factorial": _factorial,
    "binom": _binom,
    "det": _det,
    "abs": _abs,
    "floor": _whole_part(math.floor),
    "ceil": _whole_part(math.ceil),
    "mod": _mod,
    "gcd": _whole_numbers(math.gcd),
    "lcm": _whole_numbers(math.lcm),
    "max": _extreme(max),
    "min": _extreme(min),
    "percent": lambda at, value: _div(at, value, Fraction(100)),
    "degree": _degree,
    "ln": _ln,
    "log": _log,
} | {name: _function(name) for name in _PLAIN}
"""What can be computed, by the names that `Op` carries."""
