r"""What a chain such as `x = 2 + 3 = 5` states: the name on its left, and the one value that counts.

- A chain that begins with a name (`x`, `f(x)`, `AB`, `|AB|`, `A:B`, `(p, q)`, `\angle A`) states its last exact link:
  of `x = 1/3 \approx 0.33` that is 1/3.
- A chain of plain numbers (`10^3 = 1000`) states its value if all links agree, and nothing if they do not: `5 = 4 = 3`
  offers several answers.
- Anything else (`a + 3z = 0`) is an equation, and states no value.
"""

from __future__ import annotations

from r1zero.verify.equal import equal, real_value, symbols
from r1zero.verify.nodes import Chain, Expr, Group, Op, Shape, Sym, Words, is_expression, walk

_EQUAL = ("=", "~")


def stated(shape: Shape) -> tuple[str | None, Shape] | None:
    """(name or None, value) of a chain of equalities; None if it states no value or is no chain."""
    return head(shape)


def head(shape: Shape, *, sums: bool = False) -> tuple[str | None, Shape] | None:
    """As `stated`; with `sums`, a sum of letters (`m + n = 5`) counts as a name too."""
    if not isinstance(shape, Chain) or any(relation not in _EQUAL for relation in shape.relations):
        return None
    name = spelled(shape.links[0])
    if name is None and sums and _is_sum_of_letters(shape.links[0]):
        name = "sum"
    exact = list(shape.links)
    if "~" in shape.relations[1:] or (name is None and "~" in shape.relations):
        exact = exact[: shape.relations.index("~", 1 if name is not None else 0) + 1]
    if name is not None:
        return (name, exact[-1]) if len(exact) > 1 else (name, shape.links[-1])
    return _computed(shape, exact)


def _computed(shape: Chain, exact: list[Shape]) -> tuple[None, Shape] | None:
    """A chain of plain numbers that all agree."""
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
    """Whether it is a chain of plain numbers that do not agree."""
    if not isinstance(shape, Chain) or any(relation not in _EQUAL for relation in shape.relations):
        return False
    numbers = all(is_expression(link) and not symbols(link) for link in shape.links)  # type: ignore[arg-type]
    return numbers and stated(shape) is None


def _near(one: Expr, other: Expr) -> bool:
    """Within a tenth: an approximation is not graded, but 3 ≈ 7 is none."""
    values = [real_value(expr) for expr in (one, other)]
    if None in values:
        return False
    low, high = sorted(abs(value) for value in values)  # type: ignore[arg-type]
    return bool(high * 9 <= low * 10)


def spelled(shape: Shape) -> str | None:
    """The name that a link is, or None: letters, products and quotients of letters, |AB|, f(x), (p, q), A:B."""
    if isinstance(shape, Words):
        return shape.text
    if isinstance(shape, Group):
        parts = [spelled(item) for item in shape.items]
        return None if None in parts or shape.left == "{" else f"({','.join(part for part in parts if part)})"
    if not is_expression(shape):
        return None
    if isinstance(shape, Sym):
        return shape.name.partition("(")[0] if shape.name[-1:] == ")" else shape.name
    if isinstance(shape, Op) and shape.name in _NAMING and not _has_number(shape):
        parts = [spelled(arg) for arg in shape.args]
        return None if None in parts else _NAMING[shape.name].join(part for part in parts if part)
    return None


_NAMING = {"mul": "", "div": "/", "ratio": ":", "abs": "", "sin": "", "cos": "", "tan": "", "degree": ""}


def _has_number(expr: Expr) -> bool:
    return not all(isinstance(node, Sym | Op) for node in walk(expr))


def _is_sum_of_letters(shape: Shape) -> bool:
    if not isinstance(shape, Op) or shape.name != "add" or _has_number(shape):
        return False
    return all(not isinstance(node, Op) or node.name in ("add", "neg", "mul") for node in walk(shape))
