"""Which rows to take: `where = 'level >= 3 and source in ["amc", "aime"]'`, a small language that runs nothing.

    row         = row or row | row and row | not row | (row) | comparison | column
    comparison  = value (== != < <= > >= value)… | value [not] in value
    value       = column | number | "text" | 'text' | true | false | [value, …] | (value, value, …)

A column is a name, dotted (`extra_info.level`) or in backticks (`` `my column` ``). A text that is written as a number
counts as that number beside one. `in` looks into lists, and for texts into texts.

A row is taken, not taken, or cannot be told: a column is missing in it, empty, or of another kind than it is compared
with. What cannot be told is neither true nor false: `or` and `and` decide without it where they can.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from r1zero.errors import SettingName, UserError
from r1zero.questions.cells import MISSING, Row, value_at

Truth = bool | None
"""Whether something holds; None where that cannot be told."""
Value = Callable[[Row], object]
Test = Callable[[Row], Truth]

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
    |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<name>[^\W\d]\w*(?:\.\w+)*|`[^`]+`)
    |(?P<sign><=|>=|==|!=|[<>()\[\],]))""",
    re.VERBOSE,
)
_WORDS = frozenset({"and", "or", "not", "in", "true", "false"})
_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_COMPARING = ("==", "!=", *_ORDERS)
_FOREIGN = {"=": "==", "&": "and", "|": "or", "!": "not"}
_DEEPEST = 50
_LONGEST = 10_000
_NUMERIC = re.compile(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Where:
    """A filter: `text` as it was written, the `columns` that it reads, and what it says of a row."""

    text: str
    columns: tuple[str, ...]
    test: Test

    def __call__(self, row: Row) -> Truth:
        """Tell whether a row is taken; None where that cannot be told of it."""
        return self.test(row)


def parse_where(text: str) -> Where:
    """Return the filter that a setting spells. Raises UserError, which names the place in it."""
    return _Parser(text).whole()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def _tokens(text: str) -> list[_Token]:
    found, at = [], 0
    if len(text) > _LONGEST:
        _wrong(text, _LONGEST, f"it is longer than {_LONGEST:,} characters")
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            start = len(text) - len(text[at:].lstrip())
            letter = text[start]
            meant = f"write {_FOREIGN[letter]}" if letter in _FOREIGN else "nothing here begins so"
            meant = "the text that begins here does not end" if letter in "\"'`" else meant
            _wrong(text, start, f"{letter!r}: {meant}")
        kind, token = match.lastgroup, match[match.lastgroup]
        kind = token if kind == "sign" or (kind == "name" and token in _WORDS) else kind
        found.append(_Token(kind, token, match.start(match.lastgroup)))
        at = match.end()
    return [*found, _Token("end", "", len(text))]


def _wrong(text: str, at: int, why: str) -> NoReturn:
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    raise UserError(
        SettingName("questions.where"),
        f" = {shown!r} is not a valid filter (at character {at + 1}: {why}): write comparisons of columns with numbers "
        "and texts, such as level >= 3 and source in [\"amc\", \"aime\"]",
    )  # fmt: skip


class _Parser:
    """Recursive descent over the tokens, to as many levels as anybody writes."""

    def __init__(self, text: str):
        self.text, self.tokens, self.place, self.depth = text, _tokens(text), 0, 0
        self.columns: dict[str, None] = {}

    def whole(self) -> Where:
        test = self._any()
        if self._next().kind != "end":
            self._fail("an operator, or the end, is expected")
        return Where(self.text, tuple(self.columns), test)

    def _next(self) -> _Token:
        return self.tokens[self.place]

    def _take(self, *kinds: str) -> _Token | None:
        token = self._next()
        if token.kind not in kinds:
            return None
        self.place += 1
        return token

    def _fail(self, why: str) -> NoReturn:
        token = self._next()
        _wrong(self.text, token.at, f"{why}, and {f'{token.text!r} is there' if token.text else 'it ends'}")

    def _any(self) -> Test:
        tests = [self._all()]
        while self._take("or"):
            tests.append(self._all())
        return tests[0] if len(tests) == 1 else lambda row: _joined([test(row) for test in tests], decides=True)

    def _all(self) -> Test:
        tests = [self._one()]
        while self._take("and"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda row: _joined([test(row) for test in tests], decides=False)

    def _one(self) -> Test:
        self.depth += 1
        if self.depth > _DEEPEST:
            self._fail(f"it is nested deeper than {_DEEPEST} levels")
        if self._take("not"):
            inner = self._one()
            test: Test = lambda row: None if (holds := inner(row)) is None else not holds  # noqa: E731
        elif self._next().kind == "(" and not self._is_list():
            self._take("(")
            test = self._any()
            if not self._take(")"):
                self._fail("a closing parenthesis is expected")
        else:
            test = self._comparison()
        self.depth -= 1
        return test

    def _is_list(self) -> bool:
        """Tell whether what a parenthesis opens is a value: a list, or one that is compared behind it."""
        depth = 0
        for i in range(self.place, len(self.tokens)):
            kind = self.tokens[i].kind
            depth += (kind in "([") - (kind in ")]") if kind in ("(", ")", "[", "]") else 0
            if kind == "," and depth == 1:
                return True
            if depth == 0:
                return False
        return False

    def _comparison(self) -> Test:
        first = self._next()
        left = self._value()
        if (not_in := self._take("not")) and self._next().kind != "in":
            self._fail("in is expected behind not")
        if self._take("in"):
            right = self._value()
            return lambda row: _inside(left(row), right(row), bool(not_in))
        tests: list[Test] = []
        while sign := self._take(*_COMPARING):
            right = self._value()
            tests.append(_comparing(sign.kind, left, right))
            left = right
        if not tests and first.kind not in ("name", "true", "false"):
            self._fail("a comparison is expected")
        if not tests:
            return lambda row: found if isinstance(found := left(row), bool) else None
        return lambda row: _joined([test(row) for test in tests], decides=False)

    def _value(self) -> Value:
        if token := self._take("number"):
            whole = len(token.text) < 300 and not re.search(r"[.eE]", token.text)
            number = int(token.text) if whole else float(token.text)
            return lambda row: number
        if token := self._take("text"):
            text = re.sub(r"\\(.)", r"\1", token.text[1:-1])
            return lambda row: text
        if token := self._take("true", "false"):
            return lambda row: token.kind == "true"
        if token := self._take("name"):
            name = token.text.strip("`")
            self.columns[name] = None
            return lambda row: value_at(row, name)
        if opened := self._take("[", "("):
            return self._list("]" if opened.kind == "[" else ")")
        return self._fail("a column, a number or a text is expected")

    def _list(self, closing: str) -> Value:
        values: list[Value] = []
        while not self._take(closing):
            if values and not self._take(","):
                self._fail(f"a comma or {closing} is expected")
            if values and self._take(closing):
                break
            if self._next().kind in ("[", "("):
                self._fail("lists hold no lists: a number or a text is expected")
            values.append(self._value())
        return lambda row: [value(row) for value in values]


def _joined(truths: Sequence[Truth], decides: bool) -> Truth:
    """Kleene's `or` (which True decides) or `and` (which False does)."""
    return decides if decides in truths else None if None in truths else not decides


def _comparing(sign: str, left: Value, right: Value) -> Test:
    def test(row: Row) -> Truth:
        pair = _of_one_kind(left(row), right(row))
        if pair is None:
            return None
        if sign in ("==", "!="):
            return (pair[0] == pair[1]) is (sign == "==")
        return None if isinstance(pair[0], bool | list) else _ORDERS[sign](*pair)

    return test


def _inside(item: object, place: object, negated: bool) -> Truth:
    if item is MISSING or item is None:
        return None
    if isinstance(place, list | tuple):
        pairs = [_of_one_kind(item, each) for each in place]
        found = any(pair is not None and pair[0] == pair[1] for pair in pairs)
        told = found or not place or any(pair is not None for pair in pairs)
    else:
        told = isinstance(place, str) and isinstance(item, str)
        found = told and str(item) in str(place)
    return found is not negated if told else None


def _of_one_kind(left: object, right: object) -> tuple[object, object] | None:
    """Return two values as they are compared, a text beside a number as its number; None where they cannot be."""
    values = [_number(each) if _is_number(other) else each for each, other in ((left, right), (right, left))]
    one, two = values
    if all(map(_is_number, values)):
        return None if any(each != each for each in values) else (one, two)  # NaN: nothing
    if isinstance(one, list | tuple) and isinstance(two, list | tuple):
        return list(one), list(two)
    return (one, two) if any(all(isinstance(each, kind) for each in values) for kind in (bool, str)) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _number(value: object) -> object:
    return float(value) if isinstance(value, str) and len(value) < 100 and _NUMERIC.fullmatch(value) else value
