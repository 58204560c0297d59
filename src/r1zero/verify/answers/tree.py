"""What an answer's text is read as: expressions (numbers, symbols, operations) and the shapes around them.

All are frozen and hashable; nothing here computes. `grammar` makes them, `values` gives expressions their values,
`rules` compares shapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Num:
    """A written number, exactly. `decimals` counts the digits after its point; None if it has none."""

    value: Fraction
    decimals: int | None = None


@dataclass(frozen=True, slots=True)
class Sym:
    """A name: `x`, `a_{n}`, `\\pi`, `f(2)`, `204_{5}`. Two symbols are the same if and only if their names are."""

    name: str


@dataclass(frozen=True, slots=True)
class Op:
    """An operation or function on its operands; `OPERATIONS` of `values` lists the known names."""

    name: str
    args: tuple[Expr, ...]


Expr = Num | Sym | Op


@dataclass(frozen=True, slots=True)
class Words:
    """Prose, or the letter of a choice: lower-case words; `letter` if it is one letter, which keeps its case; `choice`
    if it is written as one, as (c), C) or Option C."""

    text: str
    letter: bool = False
    choice: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """A value with a unit (`""` for none) or a percent sign."""

    value: Expr
    unit: str
    percent: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    """Several answers or coordinates: `left` and `right` are their brackets, `""` for a bare list, `{` for a set."""

    items: tuple[Shape, ...]
    left: str = ""
    right: str = ""


@dataclass(frozen=True, slots=True)
class Chain:
    """Links joined by relations: `x = 5`, `2 < x < 7`, `x \\in [0, 1]`; `len(links) == len(relations) + 1`."""

    links: tuple[Shape, ...]
    relations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnionOf:
    """Sets joined by `\\cup`."""

    parts: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """A set less another: `\\mathbb{R} \\setminus \\{0\\}`."""

    whole: Shape
    part: Shape


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of entries; brackets carry no meaning (a determinant is an `Op`)."""

    rows: tuple[tuple[Shape, ...], ...]


@dataclass(frozen=True, slots=True)
class Opaque:
    """What can be read but stands for no answer, as `(1, 2) + 1`: nothing but the same text is equal to it."""

    text: str


Shape = Num | Sym | Op | Words | Measured | Items | Chain | UnionOf | Difference | Matrix | Opaque

BOUND = "#"
"""What the name of a sum's index begins with: no answer can spell it, and it needs no value from outside."""
INFINITY = Sym("\\infty")
UNNAMED = Sym("")
"""What a relation with nothing before it speaks of, as in `< 5`."""


def is_expression(shape: Shape) -> bool:
    """Tell whether it has a value by itself."""
    return isinstance(shape, Num | Sym | Op)


def walk(expr: Expr) -> Iterator[Expr]:
    """Yield the expression and all its parts, outermost first."""
    waiting = [expr]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, Op):
            waiting.extend(node.args)


def negated(expr: Expr) -> Expr:
    """Return −expr."""
    return Op("neg", (expr,))


def renamed(expr: Expr, old: Sym, new: Sym) -> Expr:
    """`expr` with one symbol under another name."""
    if expr == old:
        return new
    return Op(expr.name, tuple(renamed(arg, old, new) for arg in expr.args)) if isinstance(expr, Op) else expr
