r"""Macros with arguments of their own: fractions, binomials, roots, and the bounds of sums."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol

from r1zero.verify.nodes import Expr, Num, Op, Shape, Sym, is_expression
from r1zero.verify.tokens import Token, UnreadableError


class Tokens(Protocol):
    """What is needed of the reader."""

    def take(self) -> Token: ...  # noqa: D102
    def sees(self, kind: str, *texts: str) -> bool: ...  # noqa: D102
    def expect(self, kind: str, text: str) -> None: ...  # noqa: D102
    def sum(self) -> Expr: ...  # noqa: D102
    def primary(self) -> Shape: ...  # noqa: D102
    def argument(self, *, digit: bool = False) -> Expr: ...  # noqa: D102


def read_braced(reader: Tokens, name: str) -> Expr:
    r"""What stands after `\\frac`, `\\binom` or `\\sqrt`."""
    if name == "sqrt":
        degree: Expr = Num(Fraction(2))
        if reader.sees("open", "["):
            reader.take()
            degree = reader.sum()
            if not reader.sees("close", "]"):
                raise UnreadableError("an open root")
            reader.take()
        return Op("root", (reader.argument(), degree))
    if reader.sees("open", "("):  # frac(1, 2) is nobody's notation
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
    """A shape that has a value, or UnreadableError."""
    if not is_expression(shape):
        raise UnreadableError("arithmetic with something that has no value")
    return shape  # type: ignore[return-value]


def total(terms: list[Expr]) -> Expr:
    """A sum, or its only term."""
    return terms[0] if len(terms) == 1 else Op("add", tuple(terms))
