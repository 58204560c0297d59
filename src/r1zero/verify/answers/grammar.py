r"""Tokens → shape: a recursive-descent reader of answers as people and models write them.

    answer      element (separator element)*            separators: , ; and or
    element     link (relation link)*                   x = 5,  2 < x \le 7,  x \in [0, 1]
    link        part (\cup part | \setminus part)*      a set, an interval, a matrix, words, or a value with its unit

Expressions are read by `expressions`. Where conventions differ (is `f(2)` a product?) one reading is taken
for gold and answer alike. What is not understood raises `UnreadableError` and is left to other means.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

from r1zero.verify.answers.equality import real_value, symbols
from r1zero.verify.answers.expressions import ExpressionReader
from r1zero.verify.answers.notation import usual
from r1zero.verify.answers.number_words import spoken_number
from r1zero.verify.answers.purse import TooLargeError
from r1zero.verify.answers.tokens import Token, UnreadableError, ValuelessError, tokenize, words
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
    UnionOf,
    Words,
    is_expression,
    negated,
)
from r1zero.verify.answers.units import SCALES, spoken, unit_of
from r1zero.verify.answers.values import CONSTANTS

MAX_ITEMS = 200
_LINK_ENDS = ("sep", "relation", "close", "environment")
_DETERMINANTS = ("\\begin{vmatrix}", "\\begin{Vmatrix}")
_MATRICES = tuple(f"\\begin{{{name}}}" for name in ("pmatrix", "bmatrix", "matrix", "array", "Bmatrix", "smallmatrix"))
_CHOICES = ("Option", "option", "Choice", "choice")
_LETTERS = frozenset("ABCDEFGHIJ")
_NONE = (Token("none", ""),) * 3
_HARMLESS = words(
    """
    the answer is final value approximately about exactly equals therefore so
    """
)


@lru_cache(maxsize=1024)
def parse(text: str) -> Shape | None:
    """Return what an answer's text says, or None if it is not in the notation that is read here. Never raises."""
    tokens: tuple[Token, ...] = ()
    try:
        said = spoken_number(text)
        if said is not None:
            return Num(Fraction(said))
        tokens = usual(tokenize(text))
        shape = Reader(tokens).whole()
        if "mod" in text and _is_broken(shape):
            raise ValuelessError("a remainder of no whole number")
        return shape
    except ValuelessError:
        return Opaque(" ".join(token.text for token in tokens))
    except (UnreadableError, RecursionError):
        return None


def _is_broken(shape: Shape) -> bool:
    """Tell whether it is a number that is not whole."""
    if not is_expression(shape) or symbols(shape):  # type: ignore[arg-type]
        return False
    try:
        value = real_value(shape)  # type: ignore[arg-type]
    except TooLargeError:
        return False
    return value is not None and value.denominator != 1


def _continues(token: Token) -> bool:
    """Tell whether a sign right behind a choice's letter goes on computing with it."""
    return token.kind in ("op", "postfix", "primes") and not (token.text == "-" and token.spaced)


class Reader(ExpressionReader):
    """Reads one answer."""

    def whole(self) -> Shape:
        """Return all tokens as one answer."""
        label = self._choice_label()
        if not self.tokens[self.at :] and label is not None:
            return label
        shape = self.answer()
        if self.at < len(self.tokens):
            raise UnreadableError(f"{self.tokens[self.at].text!r} was not expected")
        return shape if label is None else Chain((label, shape), ("label",))

    def _choice_label(self) -> Words | None:
        r"""`\textbf{(C)}`, `C)`, `C:` or `Option C` at the start, before nothing or before the choice's own value."""
        named = self.sees("run", *_CHOICES) or self.sees("word", *_CHOICES)
        place = 1 if named else 0
        first, second, third = (*self.tokens[place : place + 3], *_NONE)[:3]
        if first.text == "(" and second.kind in ("word", "letter") and third.text == ")":
            letter, end = second, place + 3
        elif first.kind in ("word", "letter") and (second.text in (")", ".", ":") or (named and second is _NONE[0])):
            letter, end = first, place + (1 if second is _NONE[0] else 2)
        else:
            return None
        behind = self.tokens[end : end + 3]
        is_plain = letter.kind == "letter" and not named
        if len(letter.text) != 1 or (is_plain and not self._is_plain_label(letter.text, second.text, behind)):
            return None
        if behind and behind[0].kind in ("sep", "relation"):
            return None
        another = len(behind) == 3 and behind[0].text + behind[2].text == "()" and behind[1].text in _LETTERS
        if behind and (another or _continues(behind[0])):
            raise ValuelessError("a choice and more")
        self.at = end
        return Words(letter.text, letter=True, choice=True)

    def _is_plain_label(self, letter: str, sign: str, behind: tuple[Token, ...]) -> bool:
        """Tell whether a letter in mathematics is a choice and no variable: (c) alone, or C) and C: before a number."""
        if sign == letter:  # (c), but (e) and (i) are numbers
            return not behind and letter.upper() in _LETTERS and letter not in CONSTANTS
        return letter in _LETTERS and (sign == ")" or bool(behind and behind[0].kind in ("number", "unit")))

    def answer(self, *closers: str) -> Shape:
        """Return elements up to the end, or up to a closing bracket, which is left standing."""
        rows: list[list[Shape]] = [[]]
        while not self.done(*closers):
            token = self.peek()
            if token is not None and token.kind == "sep":
                self.at += 1
                if token.text == ";" and rows[-1]:
                    rows.append([])
                continue
            if rows[-1] and not self._after_separator():
                raise UnreadableError("two answers without a separator")
            rows[-1].append(self.element())
            if sum(map(len, rows)) > MAX_ITEMS:
                raise UnreadableError("too many items")
        rows = [row for row in rows if row]
        if not rows:
            raise UnreadableError("nothing")
        if len(rows) > 1 and any(len(row) > 1 for row in rows):
            return Items(tuple(Items(tuple(row), "(", ")") if len(row) > 1 else row[0] for row in rows))
        items = [item for row in rows for item in row]
        return items[0] if len(items) == 1 else Items(tuple(items))

    def _after_separator(self) -> bool:
        return self.at > 0 and self.tokens[self.at - 1].kind == "sep"

    def element(self) -> Shape:
        r"""Return one element: a link, or links joined by relations.

        A leading `\approx` or `=` says nothing; any other relation says something of a thing without a name.
        """
        links: list[Shape] = []
        relations: list[str] = []
        if self.sees("relation"):
            relations = [relation] if (relation := self._relation(leading=True)) not in ("~", "=") else []
            links = [UNNAMED] if relations else []
        links.append(self.link())
        while self.sees("relation"):
            relations.append(self._relation())
            links.append(self.link())
        return Chain(tuple(links), tuple(relations)) if relations else links[0]

    def _relation(self, *, leading: bool = False) -> str:
        relation = self.take().text
        if relation == "equiv" and not leading:
            return "="
        if relation == "not":
            if not self.sees("relation", "="):
                raise ValuelessError("a relation that is denied")
            self.at += 1
            return "!="
        return relation

    def link(self) -> Shape:
        """Return a set, an interval, words, or a value."""
        parts = [self.part()]
        while (token := self.peek()) is not None and token.kind == "op" and token.text in ("cup", "setminus"):
            self.at += 1
            if token.text == "setminus":
                return Difference(parts[0] if len(parts) == 1 else UnionOf(tuple(parts)), self.part())
            parts.append(self.part())
        return parts[0] if len(parts) == 1 else UnionOf(tuple(parts))

    def part(self) -> Shape:
        """Return what stands between `\\cup` signs."""
        token, after = self.peek(), self.peek(1)
        if token is not None and token.kind == "unit":
            self.at += 1
            return self._with_unit(self.sum(), token.text)
        if after is not None and after.kind == "unit" and self.sees("op", "-"):
            self.at += 2
            return self._with_unit(negated(self.sum()), after.text)
        spoken_first = token is not None and token.kind in ("run", "word")
        if token is not None and spoken_first and after is not None and token.text.lower() in _HARMLESS:
            return self._introduced(self.rest_of_link())
        if token is not None and (token.kind == "word" or (token.kind == "run" and self._only_words())):
            return self._words()
        shape = self.sum_or_shape()
        return self._with_unit(shape) if is_expression(shape) else shape  # type: ignore[arg-type]

    def _only_words(self) -> bool:
        """Tell whether a run of letters is prose: no single letters or signs beside it up to the end of the link."""
        rest = self.rest_of_link()
        return all(token.kind in ("run", "word") for token in rest) and (
            len(rest) > 1 or len(rest[0].text) > 3 or rest[0].text.lower() in ("yes", "no", "odd")
        )

    def rest_of_link(self) -> list[Token]:
        """Return the tokens up to the end of this link."""
        found: list[Token] = []
        depth = 0
        for token in self.tokens[self.at :]:
            depth += {"{": 1, "}": -1}.get(token.text, 0) if token.kind == "brace" else 0
            if depth < 0:
                break
            if token.kind in _LINK_ENDS or (token.kind == "op" and token.text in ("&", "cup", "setminus", "|")):
                break
            found.append(token)
        return found

    def _words(self) -> Shape:
        rest = self.rest_of_link()
        if any(token.kind not in ("word", "run", "letter", "number", "primes", "op", "brace") for token in rest):
            return self._introduced(rest)
        if rest[-1].kind == "number" and all(token.text.lower() in _HARMLESS for token in rest[:-1]):
            return self._introduced(rest)
        self.at += len(rest)
        words = [token.text for token in rest]
        if len(words) == 1 and len(words[0]) == 1:
            return Words(words[0], letter=True)
        return Words(spoken(words))

    def _introduced(self, rest: list[Token]) -> Shape:
        """Return a value after words that only introduce it: `the answer is 5`, `about 3.5`."""
        while (token := self.peek()) is not None and token.kind in ("word", "run") and token.text.lower() in _HARMLESS:
            self.at += 1
        token = self.peek()
        if token is not None and token.kind in ("word", "run") and self._only_words():
            return self._words()
        if token is None or token.kind in ("word", "run") or not rest:
            raise UnreadableError("words and signs mixed")
        shape = self.sum_or_shape()
        return self._with_unit(shape) if is_expression(shape) else shape  # type: ignore[arg-type]

    def _with_unit(self, value: Expr, unit: str = "") -> Shape:
        """Return the value with the words behind it: a unit, a percent sign, or a scale such as million."""
        negative = isinstance(value, Op) and value.name == "neg"
        inner = value.args[0] if isinstance(value, Op) and negative else value
        if isinstance(inner, Op) and inner.name in ("percent", "degree"):
            percent = inner.name == "percent"
            value, unit = inner.args[0], "" if percent else "degree"
            value = negated(value) if negative else value
            if percent:
                return Measured(value, "", percent=True)
        rest = self.rest_of_link()
        if rest and rest[0].kind in ("word", "run") and rest[0].text.lower() in SCALES:
            self.at += 1
            value, rest = Op("mul", (value, Num(SCALES[rest[0].text.lower()]))), rest[1:]
        if not rest:
            return Measured(value, unit) if unit else value
        if len(rest) == 1 and (rest[0].kind == "unit" or rest[0].text == "%"):
            self.at += 1
            percent = rest[0].kind != "unit"
            return Measured(value, "" if percent else rest[0].text, percent=percent)
        if rest[0].kind == "primes":  # minutes or seconds of arc, feet or inches
            if len(rest) > 1 or len(rest[0].text) > 2:
                raise ValuelessError("primes behind a value")
            self.at += 1
            return Measured(value, rest[0].text)
        allowed = ("word", "run", "letter", "number", "op", "brace", "postfix", "open", "primes")
        if any(token.kind not in allowed or token.text in ("_", "+", "|", "&") for token in rest):
            raise UnreadableError("words and signs mixed")
        found = unit_of([token.text for token in rest if token.kind != "brace"])
        if found is None:
            raise UnreadableError("no unit")
        self.at += len(rest)
        if found == "percent":
            return Measured(value, "", percent=True)
        return Measured(value, unit + found)

    # -- brackets

    def bracketed(self) -> Shape:
        """Read a bracket and what it holds: an expression in parentheses, a tuple, an interval or a set."""
        opening = self.take()
        with self.deeper():
            if opening.text == "{" and (token := self.peek()) is not None and token.text in ("}",):
                self.take()
                return Items((), "{", "}")
            if opening.text == "{" and self.sees("letter"):
                self._skip_set_builder()
            inner = self.answer(")", "]", "}")
            closing = self.take()
        left, right = opening.text, closing.text
        if left in ("lfloor", "lceil"):
            raise UnreadableError("a list in a floor")
        if isinstance(inner, Chain) and left == "{":
            return inner
        bare = isinstance(inner, Items) and not inner.left
        if isinstance(inner, Items) and bare:
            return Items(inner.items, left, right)
        if left == "{" and right == "}":
            return Items((inner,), "{", "}") if opening.kind == "open" else inner
        return inner

    def _skip_set_builder(self) -> None:
        r"""`\{x \mid x > 3\}` and `\{x \in \mathbb{R} : x > 3\}` say no more than `x > 3`."""
        for place in range(self.at + 1, min(self.at + 8, len(self.tokens))):
            token = self.tokens[place]
            if token.kind == "op" and token.text in ("|", ":"):
                within = [t.text for t in self.tokens[self.at + 1 : place]]
                if within and within[:1] == ["in"] and "R" not in within:  # of whole numbers, say
                    raise UnreadableError("a set of other numbers")
                self.at = place + 1
                return
            if token.kind in ("sep", "close") or token.text in "<>=+-*/^":
                return

    def matrix(self) -> Shape:
        """Return a matrix environment, or the determinant of one."""
        begin = self.take()
        if begin.text not in (*_MATRICES, *_DETERMINANTS):
            raise UnreadableError(begin.text)
        rows: list[list[Shape]] = [[]]
        with self.deeper():
            while (token := self.peek()) is not None and token.kind != "environment":
                if token.kind == "sep" and token.text == "row":
                    self.at += 1
                    rows.append([])
                elif token.kind == "op" and token.text == "&":
                    self.at += 1
                else:
                    rows[-1].append(self.element())
        self.take()
        rows = [row for row in rows if row]
        if not rows or any(len(row) != len(rows[0]) for row in rows):
            raise UnreadableError("ragged matrix")
        if begin.text in _DETERMINANTS:
            flat = tuple(entry for row in rows for entry in row)
            if len(rows) != len(rows[0]) or not all(map(is_expression, flat)):
                raise UnreadableError("no determinant")
            return Op("det", flat)  # type: ignore[arg-type]
        return Matrix(tuple(map(tuple, rows)))
