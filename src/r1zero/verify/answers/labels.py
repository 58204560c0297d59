r"""What a chain such as `x = 2 + 3 = 5` states: the name on its left, and the one value that counts.

- A chain that begins with a name (`x`, `f(x)`, `AB`, `|AB|`, `A:B`, `(p, q)`, `\angle A`) states its last exact link:
  of `x = 1/3 \approx 0.33` that is 1/3.
- A chain of plain numbers (`10^3 = 1000`) states its value if all links agree, and nothing if they do not: `5 = 4 = 3`
  offers several answers.
- Anything else (`a + 3z = 0`) is an equation, and states no value.
"""

from __future__ import annotations

from r1zero.verify.answers.equality import equal, real_value, symbols
from r1zero.verify.answers.tree import Chain, Expr, Items, Op, Shape, Sym, Words, is_expression, walk
from r1zero.verify.answers.values import CONSTANTS

_EQUAL = ("=", "~")


def stated(shape: Shape) -> tuple[str | None, Shape] | None:
    """Return (name or None, value) of a chain of equalities; None if it states no value or is no chain."""
    return head(shape)


def head(shape: Shape, *, sums: bool = False) -> tuple[str | None, Shape] | None:
    """As `stated`; with `sums`, a sum of letters (`m + n = 5`) counts as a name too."""
    if not isinstance(shape, Chain) or any(relation not in _EQUAL for relation in shape.relations):
        return None
    name = None if _is_constant(shape.links[0], shape.relations[0]) else spelled(shape.links[0])
    if name is None and sums and _is_sum_of_letters(shape.links[0]):
        name = "sum"
    exact = list(shape.links)
    if "~" in shape.relations[1:] or (name is None and "~" in shape.relations):
        exact = exact[: shape.relations.index("~", 1 if name is not None else 0) + 1]
    if name is None:
        return _computed(shape, exact)
    return name, exact[-1] if len(exact) > 1 else shape.links[-1]


def _is_constant(shape: Shape, relation: str) -> bool:
    r"""Whether a letter is a number and no name: `\pi`, and e in `e \approx 2.7`; the e of `e = \frac12` is a name."""
    return shape == Sym("\\pi") or (relation == "~" and isinstance(shape, Sym) and shape.name in CONSTANTS)


def _computed(shape: Chain, exact: list[Shape]) -> tuple[None, Shape] | None:
    """Return a chain of plain numbers that all agree."""
    numbers = [link for link in shape.links if is_expression(link) and not symbols(link)]  # type: ignore[arg-type]
    if len(numbers) < len(shape.links):
        return None
    for one, other, relation in zip(numbers, numbers[1:], shape.relations, strict=False):
        if relation == "=" and equal(one, other) is False:  # type: ignore[arg-type]
            return None
        if relation == "~" and not _near(one, other):  # type: ignore[arg-type]
            return None
    return None, exact[-1]


def contradictory(shape: Shape) -> bool:
    """Tell whether it is a chain of plain numbers that do not agree, or says of a name that it is that name."""
    if not isinstance(shape, Chain) or any(relation not in _EQUAL for relation in shape.relations):
        return False
    if len(shape.links) > 2 and spelled(shape.links[0]) is not None and shape.links[0] in shape.links[1:]:
        return True
    numbers = all(is_expression(link) and not symbols(link) for link in shape.links)  # type: ignore[arg-type]
    return numbers and stated(shape) is None


def _near(one: Expr, other: Expr) -> bool:
    """Within a tenth: an approximation is not graded, but 3 ≈ 7 is none."""
    values = [real_value(one), real_value(other)]
    if values[0] is None or values[1] is None:
        return False
    low, high = sorted(abs(value) for value in values if value is not None)
    return high * 9 <= low * 10 and values[0] * values[1] >= 0


def spelled(shape: Shape) -> str | None:
    """Return the name that a link is, or None: letters, products and quotients of letters, |AB|, f(x), (p, q), A:B."""
    if isinstance(shape, Words):
        return shape.text
    if isinstance(shape, Items):
        parts = [spelled(item) for item in shape.items]
        return None if None in parts or shape.left == "{" else f"({','.join(part for part in parts if part)})"
    if not is_expression(shape):
        return None
    if isinstance(shape, Sym):
        return shape.name.partition("(")[0] if shape.name[-1:] == ")" else shape.name
    if isinstance(shape, Op) and shape.name in (*_NAMING, *_NAMED) and not _has_number(shape):
        parts = [spelled(arg) for arg in shape.args]
        if None in parts:
            return None
        together = _NAMING.get(shape.name, "").join(part for part in parts if part)
        is_length = shape.name == "abs" and together.isalpha() and together.isupper()
        return f"{shape.name}({together})" if shape.name in _NAMED and not is_length else together
    return None


_NAMING = {"mul": "", "div": "/", "ratio": ":", "degree": ""}
_NAMED = frozenset({"abs", "sin", "cos", "tan"})
"""What makes another name of a name: `|x| = 5` is not `x = 5`. Only of points, |AB| is AB."""


def _has_number(expr: Expr) -> bool:
    return not all(isinstance(node, Sym | Op) for node in walk(expr))


def _is_sum_of_letters(shape: Shape) -> bool:
    if not isinstance(shape, Op) or shape.name != "add" or _has_number(shape):
        return False
    return all(not isinstance(node, Op) or node.name in ("add", "neg", "mul") for node in walk(shape))
