"""Built-in arithmetic: an endless seeded set of questions that needs no file, in five levels and three styles.

Question i is a pure function of (seed, i, levels, split, style): no state, no order of calls. Standard library only.

| level | expressions | example |
|---|---|---|
| 1 | a + b, both of 1..9 | 3+8 |
| 2 | a + b and a − b with one number of 10..99 and one of 1..9 | 7+52, 52-7 |
| 3 | a + b and a − b, both of 10..99 (may carry) | 37+48 |
| 4 | a × b of 2..9 and 10..99; a + b + c of 10..99 | 7*48, 12+30+58 |
| 5 | two steps with parentheses: (a ± b)·c, a·(b ± c), a − (b ± c) | (12-5)*4 |

Every answer is a whole number ≥ 0. Training and test questions are disjoint by *content*: whether an expression is a
test expression depends on its value-preserving canonical form alone (3+8 and 8+3 are one), never on seed, index,
level or wording, so no training stream of any seed can contain a test expression.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

from r1zero.errors import SettingName, UserError
from r1zero.types import Question

LEVELS = (1, 2, 3, 4, 5)
STYLES = ("symbols", "words", "bare")
SPLITS = ("train", "test", "all")
DEFAULT_COUNT = 1_000_000

# Part of every fingerprint: to be raised whenever the same parameters would give other questions.
GENERATOR_VERSION = 1

_Item = TypeVar("_Item")

_TEST_SHARE = 10  # one expression in ten is a test expression

_APPLY: Mapping[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}

Step = tuple[int, str, int, int]
"""One calculation: left, operator, right, result."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An expression of two or three numbers: what a worked solution is written from.

    `terms[k] ops[k] terms[k+1]` reads left to right. `group` is the index of the operator whose pair stands in
    parentheses (0: the first two terms, 1: the last two), or None for an expression without parentheses.
    """

    level: int
    terms: tuple[int, ...]
    ops: tuple[str, ...]
    group: int | None = None

    def __post_init__(self) -> None:
        if len(self.terms) != len(self.ops) + 1 or len(self.ops) not in (1, 2):
            raise ValueError(f"{len(self.terms)} terms and {len(self.ops)} operators make no expression")
        if len(self.ops) == 2 and self.group is None and set(self.ops) != {"+"}:
            raise ValueError("two operators without parentheses must both be +: anything else depends on precedence")

    @property
    def steps(self) -> tuple[Step, ...]:
        """The calculations in the order they are done: (12-5)*4 gives (12,'-',5,7), (7,'*',4,28)."""
        terms, ops = list(self.terms), list(self.ops)
        steps = []
        at = self.group or 0
        while ops:
            left, op, right = terms[at], ops.pop(at), terms[at + 1]
            result = _APPLY[op](left, right)
            steps.append((left, op, right, result))
            terms[at : at + 2] = [result]
            at = 0
        return tuple(steps)

    @property
    def answer(self) -> int:
        """The expression's value."""
        return self.steps[-1][3]

    def text(self, space: str = "") -> str:
        """Return the expression as written, with `space` around its operators: "(12-5)*4" or "(12 - 5) * 4"."""
        pieces = [str(term) for term in self.terms]
        if self.group is not None:
            pieces[self.group] = "(" + pieces[self.group]
            pieces[self.group + 1] += ")"
        return pieces[0] + "".join(f"{space}{op}{space}{piece}" for op, piece in zip(self.ops, pieces[1:], strict=True))

    @property
    def canonical(self) -> str:
        """The same string for every order of the operands of a sum or product: 3+8 and 8+3 are one expression."""
        if self.group is None:
            commutes = len(set(self.ops)) == 1 and self.ops[0] in "+*"
            terms = sorted(self.terms) if commutes else self.terms
            return Problem(self.level, tuple(terms), self.ops).text()
        at = self.group
        inner = Problem(self.level, self.terms[at : at + 2], (self.ops[at],)).canonical
        outer_op, other = self.ops[1 - at], str(self.terms[2 if at == 0 else 0])
        sides = [f"({inner})", other] if at == 0 else [other, f"({inner})"]
        return outer_op.join(sorted(sides) if outer_op in "+*" else sides)

    @property
    def split(self) -> str:
        """ "test" for one expression in ten, "train" for the others: a hash of the canonical form decides."""
        digest = hashlib.sha256(f"r1zero arithmetic split: {self.canonical}".encode()).digest()
        return "test" if int.from_bytes(digest[:8]) % _TEST_SHARE == 0 else "train"


class _Draw:
    """Whole numbers from a string key. Built on `Random.random()`, the one method whose sequence Python guarantees."""

    def __init__(self, key: str) -> None:
        self._random = random.Random(key)

    def below(self, n: int) -> int:
        return int(self._random.random() * n)

    def between(self, low: int, high: int) -> int:
        """Return a whole number of low..high, both included."""
        return low + self.below(high - low + 1)

    def one_of(self, items: Sequence[_Item]) -> _Item:
        return items[self.below(len(items))]


def _sum(draw: _Draw, left: tuple[int, int], right: tuple[int, int], level: int) -> Problem:
    return Problem(level, (draw.between(*left), draw.between(*right)), ("+",))


def _difference(draw: _Draw, left: tuple[int, int], right: tuple[int, int], level: int) -> Problem:
    """Return the larger minus the smaller, so that no answer is negative."""
    a, b = draw.between(*left), draw.between(*right)
    return Problem(level, (max(a, b), min(a, b)), ("-",))


_DIGIT, _FACTOR, _TWO_DIGITS = (1, 9), (2, 9), (10, 99)


def _level_1(draw: _Draw) -> Problem:
    return _sum(draw, _DIGIT, _DIGIT, 1)


def _level_2(draw: _Draw) -> Problem:
    shape = draw.below(3)
    if shape == 0:
        return _difference(draw, _TWO_DIGITS, _DIGIT, 2)
    left, right = (_DIGIT, _TWO_DIGITS) if shape == 1 else (_TWO_DIGITS, _DIGIT)
    return _sum(draw, left, right, 2)


def _level_3(draw: _Draw) -> Problem:
    return draw.one_of((_sum, _difference))(draw, _TWO_DIGITS, _TWO_DIGITS, 3)


def _level_4(draw: _Draw) -> Problem:
    if draw.below(2):
        return Problem(4, tuple(draw.between(*_TWO_DIGITS) for _ in range(3)), ("+", "+"))
    factors = (draw.between(*_FACTOR), draw.between(*_TWO_DIGITS))
    return Problem(4, factors if draw.below(2) else factors[::-1], ("*",))


def _level_5(draw: _Draw) -> Problem:
    plus = draw.below(2) == 1
    b, c = draw.between(2, 20), draw.between(2, 20)
    pair = (b, c) if plus else (max(b, c) + 1, min(b, c))  # a difference is at least 1
    inner = "+" if plus else "-"
    shape = draw.below(3)
    if shape == 0:
        return Problem(5, (*pair, draw.between(*_FACTOR)), (inner, "*"), group=0)
    if shape == 1:
        return Problem(5, (draw.between(*_FACTOR), *pair), ("*", inner), group=1)
    return Problem(5, (draw.between(b + c, 99), *pair), ("-", inner), group=1)


_GENERATORS: Mapping[int, Callable[[_Draw], Problem]] = {
    1: _level_1,
    2: _level_2,
    3: _level_3,
    4: _level_4,
    5: _level_5,
}


def problem(seed: int, index: int, levels: Sequence[int] = (3,), split: str = "train") -> Problem:
    """Return problem `index` of the stream that `seed` names: the same in every style, process and version of Python.

    Its level is drawn evenly from `levels` (a level named twice is drawn twice as often). Draws are repeated until one
    belongs to `split`; "all" takes the first. Arguments are those of an `ArithmeticQuestions`, which checks them.
    """
    draw = _Draw(f"r1zero arithmetic {seed} {index}")
    level = draw.one_of(levels)
    while True:  # ends: every level holds expressions of both splits (a test lists level 1's)
        candidate = _GENERATORS[level](draw)
        if split in ("all", candidate.split):
            return candidate


_NAMES = ("Tom", "Mia", "Omar", "Lena", "Ravi", "Ana", "Kofi", "Yuki")
_THINGS = ("apples", "marbles", "stickers", "pencils", "shells", "coins", "stamps", "buttons")

# Wordings by (operators, group). {a}, {b} and {c} are the terms in the expression's order.
_WORDINGS: Mapping[tuple[tuple[str, ...], int | None], tuple[str, ...]] = {
    (("+",), None): (
        "What is {a} plus {b}?",
        "What is the sum of {a} and {b}?",
        "{name} has {a} {things} and buys {b} more. How many {things} does {name} have?",
        "One box holds {a} {things} and another holds {b}. How many {things} are in the two boxes?",
    ),
    (("-",), None): (
        "What is {a} minus {b}?",
        "What is left when {b} is taken from {a}?",
        "{name} has {a} {things} and gives {b} of them away. How many {things} does {name} keep?",
        "A box holds {a} {things}, and {b} of them are {name}'s. How many are not?",
    ),
    (("*",), None): (
        "What is {a} times {b}?",
        "What is the product of {a} and {b}?",
        "{name} fills {a} boxes with {b} {things} each. How many {things} is that?",
    ),
    (("+", "+"), None): (
        "What is {a} plus {b} plus {c}?",
        "What is the sum of {a}, {b} and {c}?",
        "{name} finds {a} {things} on Monday, {b} on Tuesday and {c} on Friday. How many {things} does {name} find?",
    ),
    (("+", "*"), 0): (
        "What is the sum of {a} and {b}, times {c}?",
        "Each of {c} bags holds {a} red and {b} green {things}. How many {things} do the bags hold?",
    ),
    (("-", "*"), 0): (
        "What is the difference of {a} and {b}, times {c}?",
        "Each of {c} bags held {a} {things}, and {b} fell out of each. How many {things} are still in the bags?",
    ),
    (("*", "+"), 1): (
        "What is {a} times the sum of {b} and {c}?",
        "On each of {a} days {name} finds {b} {things} before noon and {c} after. How many {things} does {name} find?",
    ),
    (("*", "-"), 1): (
        "What is {a} times the difference of {b} and {c}?",
        "On each of {a} days {name} finds {b} {things} and loses {c} of them. How many {things} does {name} keep?",
    ),
    (("-", "+"), 1): (
        "What is {a} minus the sum of {b} and {c}?",
        "{name} has {a} {things} and gives {b} to one friend and {c} to another. How many {things} does {name} keep?",
    ),
    (("-", "-"), 1): (
        "What is {a} minus the difference of {b} and {c}?",
        "{name} has {a} {things}, lends out {b} and gets {c} back. How many {things} does {name} have now?",
    ),
}


def phrase(problem: Problem, style: str, key: str = "") -> str:
    """Return the problem as a question: "37+48=" (bare), "What is 37 + 48?" (symbols) or in words, chosen by `key`."""
    if style == "bare":
        return f"{problem.text()}="
    if style == "symbols":
        return f"What is {problem.text(' ')}?"
    draw = _Draw(f"r1zero arithmetic wording {key}")
    wording = draw.one_of(_WORDINGS[problem.ops, problem.group])
    terms = dict(zip("abc", problem.terms, strict=False))  # two terms leave {c} out, and their wordings never name it
    return wording.format(name=draw.one_of(_NAMES), things=draw.one_of(_THINGS), **terms)


@dataclass(frozen=True)
class ArithmeticQuestions(Sequence[Question]):
    """`size` questions, each made when it is asked for. Options as in `arithmetic`, which checks them."""

    levels: tuple[int, ...]
    style: str
    split: str
    size: int
    seed: int
    called: str = ""
    """Another name, which the fingerprint does not know."""

    @property
    def name(self) -> str:
        """ "arithmetic" for training questions, "arithmetic-test" and "arithmetic-all" for the others."""
        if self.called:
            return self.called
        return "arithmetic" if self.split == "train" else f"arithmetic-{self.split}"

    @property
    def fingerprint(self) -> str:
        """A hash of the parameters and of the generator's version: equal fingerprints, equal questions."""
        content = [GENERATOR_VERSION, self.levels, self.style, self.split, self.size, self.seed]
        return hashlib.sha256(json.dumps(["arithmetic", *content]).encode()).hexdigest()[:16]

    def problem(self, index: int) -> Problem:
        """Return the operands behind question `index` (0 ≤ index < size): what a corpus of worked steps is written
        from.
        """
        if not 0 <= index < self.size:
            raise IndexError(f"question {index} of {self.size}")
        return problem(self.seed, index, self.levels, self.split)

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> Question: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Question, ...]: ...
    def __getitem__(self, index: int | slice) -> Question | tuple[Question, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(self.size)))
        i = index + self.size if index < 0 else index
        made = self.problem(i)
        text = phrase(made, self.style, f"{self.seed} {i}")
        return Question(f"{self.name}/{i}", text, (str(made.answer),), str(made.level))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def arithmetic(
    level: int | Sequence[int] = 3,
    style: str = "symbols",
    split: str = "train",
    count: int = DEFAULT_COUNT,
    seed: int = 0,
) -> ArithmeticQuestions:
    """Return the built-in set.

    `level` is one of 1..5 or a list of them (mixed evenly); `style` one of "symbols", "words" and "bare"; `split` one
    of "train", "test" (one expression in ten, never in "train") and "all".

    Raises:
        UserError: an option has another type or value; the sentence names it.
    """
    given = tuple(level) if isinstance(level, list | tuple) else (level,)
    levels = tuple(each for each in given if isinstance(each, int) and not isinstance(each, bool) and each in LEVELS)
    if not given or len(levels) < len(given):
        raise UserError(
            SettingName("questions.options.level"), f" is {level!r}: set it to a level from 1 to 5 or to a list of them"
        )
    if style not in STYLES:
        raise UserError(SettingName("questions.options.style"), f" is {style!r}: set it to one of {', '.join(STYLES)}")
    if split not in SPLITS:
        raise UserError(
            SettingName("questions.split"), f" is {split!r}: for arithmetic set it to one of {', '.join(SPLITS)}"
        )
    if not _is_whole(count) or count < 1:
        raise UserError(SettingName("questions.options.count"), f" is {count!r}: set it to a whole number from 1 up")
    if not _is_whole(seed) or seed < 0:
        raise UserError(SettingName("questions.options.seed"), f" is {seed!r}: set it to a whole number from 0 up")
    return ArithmeticQuestions(levels, style, split, count, seed)
