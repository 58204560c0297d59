r"""Whether two shapes are the same answer: a table of rules, of which the first that applies decides.

Every rule takes (gold, answer) and returns True, False, None (it applies but cannot tell) or PASS (it does not apply).
The rules that treat the sides differently say so; all others are symmetric.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from r1zero.verify.answers.equality import equal, every, names_in, symbols
from r1zero.verify.answers.intervals import REALS, listed, region, same_equation, same_region
from r1zero.verify.answers.labels import contradictory, head, stated
from r1zero.verify.answers.normalise import natural_order, spread
from r1zero.verify.answers.purse import spend
from r1zero.verify.answers.tree import (
    UNNAMED,
    Chain,
    Difference,
    Expr,
    Items,
    Matrix,
    Measured,
    Num,
    Op,
    Opaque,
    Shape,
    Sym,
    UnionOf,
    Words,
    is_expression,
    renamed,
    walk,
)
from r1zero.verify.answers.units import in_letters, same_words


class Pass:
    """What a rule returns that does not apply."""


PASS = Pass()
Rule = Callable[[Shape, Shape], "bool | Pass | None"]
MAX_PAIRINGS = 10_000
_EMPTY = (Sym("\\emptyset"), Items((), "{", "}"))


def same(gold: Shape, answer: Shape) -> tuple[bool | None, str]:
    """Return the judgement and the name of the rule that made it. TooLargeError if a value is too large to compute."""
    spend(10)  # lists of lists are compared pair by pair
    gold, answer = spread(gold), spread(answer)
    for name, rule in RULES:
        judged = rule(gold, answer)
        if not isinstance(judged, Pass):
            return judged, name
    return None, "open"


def _same(gold: Shape, answer: Shape) -> bool | None:
    return same(gold, answer)[0]


# -- rules


def _identical(gold: Shape, answer: Shape) -> bool | Pass:
    return True if gold == answer else PASS


def _opaque(gold: Shape, answer: Shape) -> bool | Pass:
    """Return what stands for no answer is equal to nothing but itself."""
    return False if isinstance(gold, Opaque) or isinstance(answer, Opaque) else PASS


def _empty(gold: Shape, answer: Shape) -> bool | Pass:
    """The empty set is nothing else."""
    if gold in _EMPTY or answer in _EMPTY:
        return all(shape in _EMPTY or shape == Words("empty set") for shape in (gold, answer))
    return PASS


def _choice(gold: Shape, answer: Shape) -> bool | Pass | None:
    """`(C) 12` is choice C, and is 12."""
    if isinstance(answer, Chain) and answer.relations == ("label",):
        if isinstance(gold, Chain) and gold.relations == ("label",):
            return _same(gold.links[0], answer.links[0])
        return _same(gold, answer.links[0 if _letter(gold) else 1])
    if isinstance(gold, Chain) and gold.relations == ("label",):
        return _same(gold.links[0 if _letter(answer) else 1], answer)
    return PASS


def _words(gold: Shape, answer: Shape) -> bool | Pass:
    """Return prose is compared word by word, letters by themselves; prose is never a number."""
    if not isinstance(gold, Words) and not isinstance(answer, Words):
        return PASS
    one, other = _letter(gold), _letter(answer)
    if one and other:
        chosen = any(isinstance(shape, Words) and shape.choice for shape in (gold, answer))
        return one == other or (chosen and one.casefold() == other.casefold())
    if isinstance(gold, Words) and isinstance(answer, Words):
        return gold.text.casefold() == answer.text.casefold()
    text, shape = (gold, answer) if isinstance(gold, Words) else (answer, gold)
    assert isinstance(text, Words)
    spelled = _letters(shape)
    return spelled is not None and same_words(spelled.casefold()).replace(" ", "") == text.text.replace(" ", "")


def _value_of_name(gold: Shape, answer: Shape) -> bool | Pass | None:
    """`x = 5` is 5, and is `x = 5`, and is not `y = 5`; of a chain of results the last counts."""
    if not isinstance(gold, Chain) and not isinstance(answer, Chain):
        return PASS
    one, other = stated(gold), stated(answer)
    if contradictory(answer) or contradictory(gold):
        return False
    if isinstance(gold, Chain) and isinstance(answer, Chain):
        if one is None or other is None:
            return PASS
        if one[0] is None or other[0] is None or one[0] == other[0]:
            judged = _same(one[1], other[1])
            return PASS if judged is not True and one[0] is not None and _has_symbols(one[1]) else judged
        return PASS if _has_symbols(one[1]) or _has_symbols(other[1]) else False
    if isinstance(gold, Chain):
        return PASS if one is None else _same(one[1], answer)
    if other is None and not isinstance(gold, Items):
        other = head(answer, sums=_is_number(gold))
    return PASS if other is None else _same(gold, other[1])


def _equation(gold: Shape, answer: Shape) -> bool | Pass | None:
    """Two equations are the same if one is a multiple of the other; an equation is not its right-hand side."""
    sides = [_sides(shape) for shape in (gold, answer)]
    if sides[0] is not None and sides[1] is not None:
        return same_equation(sides[0], sides[1])
    if sides[0] is None and sides[1] is None:
        return PASS
    other = answer if sides[0] is not None else gold
    return False if is_expression(other) or isinstance(other, Measured | Items | Matrix) else PASS


def _set_of_numbers(gold: Shape, answer: Shape) -> bool | Pass | None:
    """Return intervals, inequalities and unions in any notation, if at least one side is no plain pair."""
    if not _is_region(gold) and not _is_region(answer):
        return PASS
    one, other = region(gold) or listed(gold), region(answer) or listed(answer)
    if one is not None and other is not None:
        return same_region(one, other)
    described = one or other
    shape = answer if one is not None else gold
    if described is not None and (is_expression(shape) or isinstance(shape, Measured | Matrix | Items)):
        return False
    return PASS


def _several(gold: Shape, answer: Shape) -> bool | Pass | None:
    """Return lists and sets in any order, tuples in theirs; brackets must match, but a bare list may be either."""
    if not isinstance(gold, Items) or not isinstance(answer, Items):
        single = answer if isinstance(gold, Items) else gold
        if isinstance(gold, Items) or isinstance(answer, Items):
            return False if is_expression(single) or isinstance(single, Measured | Matrix) else PASS
        return PASS
    if len(gold.items) != len(answer.items):
        return False
    brackets = {(gold.left, gold.right), (answer.left, answer.right)}
    if ("", "") in brackets:
        brackets.discard(("", ""))
        ordered = bool(brackets) and brackets != {("{", "}")}
        if brackets - {("{", "}"), ("(", ")")}:
            return False
    elif len(brackets) > 1:
        return False
    else:
        ordered = brackets != {("{", "}")}
    if ordered and _out_of_order(gold, answer):
        return False
    if ordered or _named_in_order(gold, answer):
        return every(_same(one, other) for one, other in zip(gold.items, answer.items, strict=True))
    return _in_any_order(gold.items, answer.items)


def _matrices(gold: Shape, answer: Shape) -> bool | Pass | None:
    """Return entry by entry; a column is also a tuple."""
    if isinstance(gold, Matrix) and isinstance(answer, Matrix):
        if [len(row) for row in gold.rows] != [len(row) for row in answer.rows]:
            return False
        pairs = zip((e for row in gold.rows for e in row), (e for row in answer.rows for e in row), strict=True)
        return every(_same(one, other) for one, other in pairs)
    if isinstance(gold, Matrix) or isinstance(answer, Matrix):
        rows = _rows(answer if isinstance(gold, Matrix) else gold)
        if rows is not None:
            return _matrices(rows, answer) if isinstance(answer, Matrix) else _matrices(gold, rows)
        matrix, other = (gold, answer) if isinstance(gold, Matrix) else (answer, gold)
        assert isinstance(matrix, Matrix)
        if isinstance(other, Items) and other.left == "(":
            flat = tuple(entry for row in matrix.rows for entry in row)
            vector = 1 in (len(matrix.rows), len(matrix.rows[0]))
            return _several(Items(flat, "(", ")"), other) if vector else False
        return False if is_expression(other) or isinstance(other, Measured | Items) else PASS
    return PASS


def _rows(shape: Shape) -> Matrix | None:
    """`[[1, 2], [3, 4]]` as the matrix that programs print so."""
    if not isinstance(shape, Items) or shape.left != "[":
        return None
    rows = tuple(item.items for item in shape.items if isinstance(item, Items) and item.left == "[")
    return Matrix(rows) if len(rows) == len(shape.items) and len(set(map(len, rows))) == 1 else None


def _measured(gold: Shape, answer: Shape) -> bool | Pass | None:
    r"""A unit may be left out, but two must agree, and a percent sign is one; p % is p/100.

    p % is also p, since a question may ask for the number of percent: if the gold says percent, or is a whole number or
    decimal of at least 1. A bare 50 is not 0.5. A number of degrees is the angle that is written with a \pi.
    """
    if not isinstance(gold, Measured) and not isinstance(answer, Measured):
        return PASS
    one, other = _unitless(gold), _unitless(answer)
    if one is None or other is None:
        return PASS
    if one.unit and not other.unit:
        other = in_letters(other.value, one.unit) or other
    if one.percent or other.percent:
        if one.unit or other.unit:
            return False
        if one.percent == other.percent:
            return equal(one.value, other.value)
        plain = equal(one.value, other.value) if one.percent or _may_be_percent(one.value) else False
        if plain is not False:
            return plain
        hundredth = [Op("div", (m.value, Num(Fraction(100)))) if m.percent else m.value for m in (one, other)]
        return equal(hundredth[0], hundredth[1])
    for angle, plain in ((one, other), (other, one)):
        if angle.unit == "degree" and not plain.unit and "\\pi" in names_in(plain.value):
            return equal(Op("degree", (angle.value,)), plain.value)
    if one.unit and other.unit and one.unit != other.unit:
        return False
    if other.unit.startswith("'") and not one.unit:
        return False  # 5' is 5 feet or minutes only where the gold says so
    return equal(one.value, other.value)


def _expressions(gold: Shape, answer: Shape) -> bool | Pass | None:
    """Return the same value; a constant of integration has many letters."""
    if is_expression(gold) and is_expression(answer):
        return equal(gold, _constant_renamed(gold, answer))  # type: ignore[arg-type]
    return PASS


def _kinds(gold: Shape, answer: Shape) -> bool | Pass:
    """A number is no relation, no set, no clock time and no matrix; an equation is no inequality."""
    for one, other in ((gold, answer), (answer, gold)):
        if _is_number(one) and (isinstance(other, Items | Matrix | UnionOf | Difference) or _is_ordered(other)):
            return False
        if _is_ordered(one) and (is_expression(other) or _is_equation(other)):
            return False
        if isinstance(one, Chain) and one.links[0] == UNNAMED and not isinstance(other, Chain):
            return False
    return PASS


RULES: tuple[tuple[str, Rule], ...] = (
    ("same", _identical),
    ("notation", _opaque),
    ("empty set", _empty),
    ("choice", _choice),
    ("words", _words),
    ("name and value", _value_of_name),
    ("equation", _equation),
    ("interval", _set_of_numbers),
    ("matrix", _matrices),
    ("list", _several),
    ("unit", _measured),
    ("value", _expressions),
    ("kind", _kinds),
)


# -- parts of rules


def _is_region(shape: Shape) -> bool:
    """Tell whether it may be a set of numbers and is no plain pair; a list of inequalities is one."""
    if isinstance(shape, UnionOf | Difference | Chain) or shape == REALS:
        return True
    return isinstance(shape, Items) and shape.left == "" and region(shape) is not None


def _named_in_order(gold: Items, answer: Items) -> bool:
    """Tell whether one side names its items by different letters and the other names none: then the order counts."""
    for one, other in ((gold, answer), (answer, gold)):
        heads = [found[0] if (found := stated(item)) else None for item in one.items]
        if None not in heads and not any(stated(item) for item in other.items):
            letters = {name[0] for name in heads if name}
            return len(letters) == len(heads) > 1
    return False


def _out_of_order(gold: Items, answer: Items) -> bool:
    """Whether one side names its items by letters in another order than the alphabet's, and the other names none."""
    for one, other in ((gold, answer), (answer, gold)):
        order = natural_order([found[0] if (found := stated(item)) else None for item in one.items])
        if order is not None and order != sorted(order) and not any(stated(item) for item in other.items):
            return True
    return False


def _in_any_order(golds: tuple[Shape, ...], answers: tuple[Shape, ...]) -> bool | None:
    """Return a matching of equal items, each used once."""
    if len(golds) * len(answers) > MAX_PAIRINGS:
        return None
    left = list(answers)
    unsure = False
    for gold in golds:
        doubtful = None
        for place, answer in enumerate(left):
            judged = _same(gold, answer)
            if judged:
                doubtful = place
                break
            if judged is None and doubtful is None:
                doubtful, unsure = place, True
        if doubtful is None:
            return False
        del left[doubtful]
    return None if unsure else True


def _is_ordered(shape: Shape) -> bool:
    return isinstance(shape, Chain) and any(relation in ("<", ">", "<=", ">=", "!=") for relation in shape.relations)


def _is_equation(shape: Shape) -> bool:
    return isinstance(shape, Chain) and set(shape.relations) <= {"=", "~"}


def _constant_renamed(gold: Expr, answer: Expr) -> Expr:
    """Return the answer, with its constant of integration called C where the gold's is: `x^2 + C` is `x^2 + k`."""
    constant = Sym("C")
    if not (isinstance(gold, Op) and gold.name == "add" and constant in gold.args):
        return answer
    if all(name.isupper() for name in symbols(gold)):  # a sum of angles, say, and no function of x
        return answer
    theirs = (
        [arg for arg in answer.args if arg in _CONSTANTS] if isinstance(answer, Op) and answer.name == "add" else []
    )
    if len(theirs) != 1 or theirs[0] in gold.args or constant in walk(answer):
        return answer
    return renamed(answer, theirs[0], constant)


_CONSTANTS = tuple(Sym(name) for name in ("c", "K", "k", "C_{1}", "c_{1}", "C_{0}", "c_{0}", "C'"))


def _may_be_percent(gold: Expr) -> bool:
    """Tell whether a bare gold may be a number of percent: a proportion as 0.75 or 3/4 is none."""
    return isinstance(gold, Num) and gold.value >= 1


def _letter(shape: Shape) -> str | None:
    """Return the letter of a choice or a lone symbol; a letter in `\\text` keeps its case."""
    if isinstance(shape, Words) and shape.letter:
        return shape.text
    return shape.name if isinstance(shape, Sym) and len(shape.name) == 1 else None


def _letters(shape: Shape) -> str | None:
    """A product of letters as the word it may be."""
    if isinstance(shape, Sym):
        return shape.name
    if isinstance(shape, Op) and shape.name == "mul":
        parts = [_letters(arg) for arg in shape.args]
        return None if None in parts else "".join(part for part in parts if part)
    return None


def _unitless(shape: Shape) -> Measured | None:
    if isinstance(shape, Measured):
        return shape
    return Measured(shape, "") if is_expression(shape) else None  # type: ignore[arg-type]


def _is_number(shape: Shape) -> bool:
    if isinstance(shape, Measured):
        return True
    return is_expression(shape) and not symbols(shape)  # type: ignore[arg-type]


def _has_symbols(shape: Shape) -> bool:
    return is_expression(shape) and bool(symbols(shape))  # type: ignore[arg-type]


def _sides(shape: Shape) -> tuple[Expr, Expr] | None:
    if isinstance(shape, Chain) and shape.relations == ("=",) and all(map(is_expression, shape.links)):
        return shape.links  # type: ignore[return-value]
    return None
