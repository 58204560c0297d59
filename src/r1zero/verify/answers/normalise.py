"""Two ways to say the same made one, before answers are compared: `±` as two values, names in their natural order."""

from __future__ import annotations

import re
from itertools import pairwise

from r1zero.verify.answers.labels import spelled, stated
from r1zero.verify.answers.tree import Chain, Expr, Items, Measured, Op, Shape, is_expression, walk

_LETTER = re.compile(r"([A-Za-z]|\\[A-Za-z]+)(?:_\{([0-9]+)\})?")
# Letters that have an order other than the alphabet's, Latin before Greek: coordinates, the outermost first.
_COORDINATES = (("\\rho", "\\theta", "\\phi"), ("\\rho", "\\phi", "\\theta"), ("r", "\\theta", "z"))


def spread(shape: Shape) -> Shape:
    """`±` as two values, in lists too; names that repeat (p, q; p, q) as tuples; `x = 1, 2` as two; `y = 2, x = 5` and
    `(y, x) = (2, 5)` in the order of the names."""
    if is_expression(shape):
        both = _both_signs(shape)  # type: ignore[arg-type]
        return shape if both is None else Items(both)
    if isinstance(shape, Measured):
        both = _both_signs(shape.value)
        return shape if both is None else Items(tuple(Measured(v, shape.unit, shape.percent) for v in both))
    if isinstance(shape, Chain) and shape.relations == ("=",):
        shape = _ordered_chain(shape)
        inner = spread(shape.links[1])
        if isinstance(inner, Items) and not inner.left and inner != shape.links[1]:
            return Items(tuple(Chain((shape.links[0], item), ("=",)) for item in inner.items))
    if isinstance(shape, Items) and shape.left in ("", "{"):
        items: list[Shape] = []
        for item in shape.items:
            inner = spread(item)
            items += inner.items if isinstance(inner, Items) and not inner.left and inner != item else [item]
        if all(isinstance(item, Items) and item.left == "(" for item in items):
            items = list(dict.fromkeys(items))  # a solution counts once however often it is listed
        return _ordered(_tuples_of_names(Items(tuple(items), shape.left, shape.right)))
    return _ordered(shape) if isinstance(shape, Items) and shape.left == "(" else shape


def _both_signs(expr: Expr) -> tuple[Expr, Expr] | None:
    if not any(isinstance(node, Op) and node.name in ("pm", "mp") for node in walk(expr)):
        return None
    return _signed(expr, "pm"), _signed(expr, "mp")


def _signed(expr: Expr, positive: str) -> Expr:
    if not isinstance(expr, Op):
        return expr
    args = tuple(_signed(arg, positive) for arg in expr.args)
    if expr.name in ("pm", "mp"):
        return Op("add", (args[0], args[1] if expr.name == positive else Op("neg", (args[1],))))
    return Op(expr.name, args)


def _tuples_of_names(group: Items) -> Items:
    heads = [stated(item) for item in group.items]
    names = [found[0] if found else None for found in heads]
    size = len(set(names))
    rounds, left = divmod(len(names), size or 1)
    if None in names or size < 2 or rounds < 2 or left or names != names[:size] * rounds:
        return group
    values = [found[1] for found in heads if found]
    order = natural_order(names[:size]) or range(size)
    rows = [tuple(values[k + place] for place in order) for k in range(0, len(values), size)]
    return Items(tuple(Items(row, "(", ")") for row in rows), group.left, group.right)


def _ordered(group: Items) -> Items:
    """`y = 2, x = 5` as `x = 5, y = 2`: against a tuple without names the place of a value says what it is."""
    names = [found[0] if (found := stated(item)) else None for item in group.items]
    order = natural_order(names) if _is_run(names) else None
    return group if order is None else Items(tuple(group.items[k] for k in order), group.left, group.right)


def _ordered_chain(chain: Chain) -> Chain:
    names, values = chain.links
    if not isinstance(names, Items) or not isinstance(values, Items) or len(names.items) != len(values.items):
        return chain
    order = natural_order([spelled(item) for item in names.items])
    if order is None:
        return chain
    sides = [Items(tuple(side.items[k] for k in order), side.left, side.right) for side in (names, values)]
    return Chain((sides[0], sides[1]), chain.relations)


def _is_run(names: list[str | None]) -> bool:
    """Tell whether letters belong together as x, y, z and a, b, c do: p and x are two matters, in any order."""
    letters = sorted(name[0] for name in names if name)
    return all(ord(other) - ord(one) <= 2 for one, other in pairwise(letters))


def natural_order(names: list[str | None]) -> list[int] | None:
    """Return the places of different letters in their natural order; None if they are not all letters, or not
    different.
    """
    letters = [_LETTER.fullmatch(name) if name else None for name in names]
    if len(names) < 2 or len(set(names)) < len(names) or None in letters:
        return None
    if tuple(names) in _COORDINATES:
        return None
    keys = [(found[1][0] == "\\", found[1], int(found[2] or 0)) for found in letters if found]
    return sorted(range(len(names)), key=keys.__getitem__)
