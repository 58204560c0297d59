r"""Sets of real numbers: intervals, inequalities, unions and finite sets in one normal form, compared by their ends."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from r1zero.verify.answers.equality import equal, every, infinite, points_for, real_value, symbols
from r1zero.verify.answers.tree import (
    INFINITY,
    Chain,
    Difference,
    Expr,
    Items,
    Num,
    Op,
    Shape,
    Sym,
    UnionOf,
    is_expression,
    negated,
)
from r1zero.verify.answers.values import Evaluator, UndefinedError

_MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
REALS = Sym("\\mathbb{R}")
"""All real numbers."""


@dataclass(frozen=True, slots=True)
class Interval:
    """From `low` to `high`; each end belongs to it unless it is open."""

    low: Expr
    high: Expr
    open_low: bool
    open_high: bool


@dataclass(frozen=True, slots=True)
class Region:
    """A union of intervals, and the name of the variable that runs through it (None where none was given)."""

    parts: tuple[Interval, ...]
    name: str | None = None


def region(shape: Shape) -> Region | None:
    """Return the set of numbers that a shape describes, None if it describes none (or none that is understood)."""
    if isinstance(shape, Chain):
        return _from_chain(shape)
    if isinstance(shape, Items) and not shape.left and len(shape.items) == 2:
        return _both(*shape.items)
    parts = _parts(shape)
    return None if parts is None else Region(parts)


def listed(shape: Shape) -> Region | None:
    """Return a bare list of numbers as the set of them."""
    if isinstance(shape, Items) and not shape.left and all(map(is_expression, shape.items)):
        return region(Items(shape.items, "{", "}"))
    return None


def _both(one: Shape, other: Shape) -> Region | None:
    """`x < 1, x > 2` is either; `x > 1, x < 2` is both: two rays that meet mean what they share."""
    if not isinstance(one, Chain) or not isinstance(other, Chain):
        return None
    first, second = _from_chain(one), _from_chain(other)
    if first is None or second is None or first.name != second.name or first.name is None:
        return None
    if len(first.parts) != 1 or len(second.parts) != 1:
        return None
    below, above = sorted((first.parts[0], second.parts[0]), key=lambda part: infinite(part.low) or 0)
    if infinite(below.low) != -1 or infinite(above.high) != 1 or infinite(above.low) is not None:
        return Region((*first.parts, *second.parts), first.name)
    ends = real_value(above.low), real_value(below.high) if infinite(below.high) is None else None
    if None in ends:
        return None
    if ends[0] < ends[1]:  # type: ignore[operator]
        return Region((Interval(above.low, below.high, above.open_low, below.open_high),), first.name)
    return Region((below, above), first.name)


def same_region(gold: Region, answer: Region) -> bool | None:
    """Tell whether two sets are equal: the same name (where both have one) and intervals in ascending order."""
    if gold.name is not None and answer.name is not None and gold.name != answer.name:
        return False
    golds, answers = _ordered(gold.parts), _ordered(answer.parts)
    if len(golds) != len(answers):
        return False
    return every(_same_interval(one, other) for one, other in zip(golds, answers, strict=True))


def _same_interval(one: Interval, other: Interval) -> bool | None:
    if (one.open_low, one.open_high) != (other.open_low, other.open_high):
        return False
    return every(equal(a, b) for a, b in ((one.low, other.low), (one.high, other.high)))


def _parts(shape: Shape) -> tuple[Interval, ...] | None:
    if shape == REALS:
        return (_interval(negated(INFINITY), INFINITY, "(", ")"),)
    if isinstance(shape, UnionOf):
        found = [_parts(part) for part in shape.parts]
        return None if None in found else tuple(i for part in found if part is not None for i in part)
    if isinstance(shape, Difference):
        return _without(shape)
    if not isinstance(shape, Items):
        return None
    if shape.left == "{":
        points = [item for item in shape.items if is_expression(item)]
        whole = len(points) == len(shape.items)
        return tuple(Interval(p, p, False, False) for p in points) if whole else None  # type: ignore[arg-type]
    if len(shape.items) == 2 and shape.left in ("(", "[") and all(map(is_expression, shape.items)):
        low, high = shape.items
        return (_interval(low, high, shape.left, shape.right),)  # type: ignore[arg-type]
    return None


def _without(shape: Difference) -> tuple[Interval, ...] | None:
    """Return a set less some points."""
    whole, holes = _parts(shape.whole), shape.part
    items = holes.items if isinstance(holes, Items) and holes.left == "{" else (holes,)
    if whole is None or len(whole) != 1 or not all(map(is_expression, items)):
        return None
    values = [(real_value(item), item) for item in items]  # type: ignore[arg-type]
    if any(value is None for value, _ in values):
        return None
    cuts = [item for _, item in sorted(values, key=lambda pair: pair[0])]  # type: ignore[arg-type, return-value]
    lows, highs = [whole[0].low, *cuts], [*cuts, whole[0].high]
    last = len(cuts)
    return tuple(
        Interval(low, high, whole[0].open_low if k == 0 else True, whole[0].open_high if k == last else True)
        for k, (low, high) in enumerate(zip(lows, highs, strict=True))
    )


def _interval(low: Expr, high: Expr, left: str, right: str) -> Interval:
    return Interval(low, high, left == "(" or infinite(low) is not None, right == ")" or infinite(high) is not None)


def _ordered(parts: tuple[Interval, ...]) -> list[Interval]:
    """Return ascending where every low end is a number; neighbours that touch are joined."""
    keyed = []
    for part in parts:
        endless = infinite(part.low)
        value = real_value(part.low) if endless is None else None
        if value is None and endless is None:
            return list(parts)
        keyed.append(((endless or 0, value or 0), part))
    keyed.sort(key=lambda pair: pair[0])
    joined: list[Interval] = []
    for _, part in keyed:
        before = joined[-1] if joined else None
        if before is not None and equal(before.high, part.low) and not (before.open_high and part.open_low):
            joined[-1] = Interval(before.low, part.high, before.open_low, part.open_high)
        else:
            joined.append(part)
    return joined


# -- inequalities


def _from_chain(chain: Chain) -> Region | None:
    links, relations = chain.links, chain.relations
    if relations == ("in",) and is_expression(links[0]):
        parts = _parts(links[1])
        return None if parts is None else Region(parts, _spelled(links[0]) or None)
    if not all(map(is_expression, links)):
        return None
    if len(links) == 2:
        return _from_inequality(links[0], links[1], relations[0])  # type: ignore[arg-type]
    if len(links) == 3 and set(relations) in ({"<"}, {"<="}, {"<", "<="}, {">"}, {">="}, {">", ">="}):
        return _between(links, relations)  # type: ignore[arg-type]
    return None


def _between(links: tuple[Expr, Expr, Expr], relations: tuple[str, ...]) -> Region | None:
    """`1 < x \\le 2`."""
    low, middle, high = links
    first, second = relations
    if first[0] == ">":
        low, high, first, second = high, low, second, first
    if isinstance(middle, Op) and middle.name == "abs" and isinstance(middle.args[0], Sym):
        value = real_value(low) if not symbols(low) else None
        if value is None or value < 0:
            return None
        ends = ("[" if "=" in first else "(", "]" if "=" in second else ")")
        mirrored = ("[" if "=" in second else "(", "]" if "=" in first else ")")
        right, left = _interval(low, high, *ends), _interval(negated(high), negated(low), *mirrored)
        return Region((left, right), middle.args[0].name)
    if not isinstance(middle, Sym) or symbols(low) - {"\\infty"} or symbols(high) - {"\\infty"}:
        return None
    left, right = "[" if "=" in first else "(", "]" if "=" in second else ")"
    return Region((_interval(low, high, left, right),), middle.name)


def _from_inequality(left: Expr, right: Expr, relation: str) -> Region | None:
    """`x < 3`, `3 \\ge x`, `2x + 1 < 5`, `x \\ne 3`: anything linear in one symbol."""
    if isinstance(left, Op) and left.name == "abs" and isinstance(left.args[0], Sym) and relation in ("<", "<="):
        open_ends = ("(", ")") if relation == "<" else ("[", "]")
        return None if symbols(right) else Region((_interval(negated(right), right, *open_ends),), left.args[0].name)
    names = (symbols(left) | symbols(right)) - {"\\infty"}
    if len(names) != 1 or relation not in (*_MIRRORED, "!="):
        return None
    [name] = names
    solved = _bound(left, right, name)
    if solved is None:
        return None
    bound, falling = solved
    if falling and relation != "!=":
        relation = _MIRRORED[relation]
    below = _interval(negated(INFINITY), bound, "(", "]" if relation == "<=" else ")")
    above = _interval(bound, INFINITY, "[" if relation == ">=" else "(", ")")
    parts = {"<": (below,), "<=": (below,), ">": (above,), ">=": (above,), "!=": (below, above)}[relation]
    return Region(parts, name or None)


def _bound(left: Expr, right: Expr, name: str) -> tuple[Expr, bool] | None:
    """Tell where left − right, linear in `name`, is zero, and whether it falls there."""
    if left == Sym(name) and name not in symbols(right):
        return right, False
    if right == Sym(name) and name not in symbols(left):
        return left, True
    difference = Op("add", (left, negated(right)))
    at = []
    for x in (0, 1, 2, 7):
        try:
            at.append(Evaluator({name: Fraction(x)})(difference))
        except UndefinedError:
            return None
    slope = at[1] - at[0]
    if not all(isinstance(value, Fraction) for value in at) or slope == 0:
        return None
    if at[2] - at[1] != slope or at[3] - at[0] != 7 * slope:
        return None
    return Num(-at[0] / slope), slope < 0


def _spelled(shape: Shape) -> str | None:
    return shape.name if isinstance(shape, Sym) else None


def same_equation(gold: tuple[Expr, Expr], answer: tuple[Expr, Expr]) -> bool | None:
    """Tell whether two equations say the same: left − right is the other's, times a constant that is not zero."""
    one = Op("add", (gold[0], negated(gold[1])))
    other = Op("add", (answer[0], negated(answer[1])))
    names = sorted(symbols(one) | symbols(other))
    if not names or symbols(one) != symbols(other):
        return None if not names else False
    first: tuple[object, object] | None = None
    agreed = 0
    for point in points_for((one, other), names):
        at = Evaluator(point)
        try:
            pair = at.both(at(one), at(other))
        except UndefinedError:
            continue
        if (pair[0] == 0) != (pair[1] == 0):
            return False
        if pair[0] == 0:
            continue
        if first is None:
            first = pair
            continue
        crossed = at.both(at.both(pair[0], first[1])[0], first[1])[0] * at.inexact(first[1])
        other_way = at.inexact(pair[1]) * at.inexact(first[0])
        scale = max(abs(crossed), abs(other_way))
        if abs(crossed - other_way) > scale * 1e-40:
            return False
        agreed += 1
    return True if agreed >= 2 else None
