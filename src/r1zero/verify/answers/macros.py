r"""Macros with arguments of their own: fractions, binomials, roots, and the bounds of sums."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Protocol

from r1zero.verify.answers.number_words import spoken_number
from r1zero.verify.answers.tokens import Token, UnreadableError, ValuelessError
from r1zero.verify.answers.tree import Expr, Matrix, Num, Op, Shape, Sym, is_expression, walk
from r1zero.verify.answers.values import CONSTANTS

MANY = frozenset({"max", "min", "gcd", "lcm"})
"""Functions of several operands."""


class Tokens(Protocol):
    """What is needed of the reader."""

    def take(self) -> Token: ...  # noqa: D102
    def sees(self, kind: str, *texts: str) -> bool: ...  # noqa: D102
    def expect(self, kind: str, text: str) -> None: ...  # noqa: D102
    def sum(self) -> Expr: ...  # noqa: D102
    def primary(self) -> Shape: ...  # noqa: D102
    def argument(self, *, digit: bool = False) -> Expr: ...  # noqa: D102


def read_braced(reader: Tokens, name: str) -> Expr:
    r"""Return what stands after `\\frac`, `\\binom` or `\\sqrt`."""
    if name == "sqrt":
        degree: Expr = Num(Fraction(2))
        if reader.sees("open", "["):
            reader.take()
            degree = reader.sum()
            if not reader.sees("close", "]"):
                raise UnreadableError("an open root")
            reader.take()
        return Op("root", (reader.argument(), degree))
    if reader.sees("open", "("):  # frac(1, 2) is notation that is not in use
        raise UnreadableError("a fraction without braces")
    top = reader.argument(digit=True)
    bottom = reader.argument(digit=True)
    return Op("div" if name == "frac" else "binom", (top, bottom))


def read_bounds(reader: Tokens) -> tuple[Sym, Expr, Expr]:
    """`_{k=1}^{n}`: the index and its bounds."""
    if not reader.sees("op", "_"):
        raise UnreadableError("a sum without bounds")
    reader.take()
    reader.expect("brace", "{")
    index = reader.primary()
    reader.expect("relation", "=")
    low = reader.sum()
    reader.expect("brace", "}")
    reader.expect("op", "^")
    high = reader.argument()
    if not isinstance(index, Sym):
        raise UnreadableError("a sum over no letter")
    return index, low, high


def expression(shape: Shape) -> Expr:
    """Return a shape that has a value, or UnreadableError. Of what holds a matrix others may know the value."""
    if isinstance(shape, Matrix):
        raise UnreadableError("arithmetic with a matrix")
    if not is_expression(shape):
        raise ValuelessError("arithmetic with something that has no value")
    return shape  # type: ignore[return-value]


def total(terms: list[Expr]) -> Expr:
    """Return a sum, or its only term."""
    return terms[0] if len(terms) == 1 else Op("add", tuple(terms))


def clock(tokens: tuple[Token, ...]) -> Expr | None:
    """Return the time of a day that `hh:mm` is; None for a ratio.

    `10:30` is a time although it could be shortened to 1:3, and so is `12:05`; `5:12` and `2:3` may be ratios.
    """
    if [token.kind for token in tokens] != ["number", "op", "number"]:
        return None
    hour, minute = tokens[0], tokens[2]
    if not (hour.text.isdigit() and len(hour.text) <= 2 and minute.text.isdigit() and len(minute.text) == 2):
        return None
    hours, minutes = int(hour.text), int(minute.text)
    if hours > 24 or minutes > 59:
        return None
    if minute.text[0] == "0":
        return Sym(f"{hours}:{minute.text}")
    shortens = math.gcd(hours, minutes) > 1
    return Op("time", (Num(Fraction(hours)), Num(Fraction(minutes)))) if shortens else None


def applied(name: str, operands: tuple[Expr, ...], base: Expr | None) -> Expr:
    """Return a function of its operands. The maximum or determinant of one number is no answer that anybody means."""
    letters = (node.name for expr in operands for node in walk(expr) if isinstance(node, Sym))
    if (name == "det" or (name in MANY and len(operands) < 2)) and CONSTANTS.issuperset(letters):
        raise ValuelessError(f"{name} of one number")
    return Op(name, operands if base is None else (*operands, base))


def base_name(subscript: str) -> str:
    """Return the base of a number: `_{two}` is `_{2}`."""
    value = spoken_number(subscript.strip("{}"))
    return subscript if value is None else f"{{{value}}}"
