r"""Tokens → expression: sums, products (written or implied), powers, fractions, roots, functions, mixed numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

from r1zero.verify.answers.macros import MANY, applied, base_name, clock, expression, read_bounds, read_braced, total
from r1zero.verify.answers.tokens import Token, UnreadableError, ValuelessError
from r1zero.verify.answers.tree import BOUND, Expr, Matrix, Num, Op, Shape, Sym, negated, renamed
from r1zero.verify.answers.units import BARE, SCALES

MAX_DEPTH = 30
_INVERSES = {name: f"arc{name}" for name in ("sin", "cos", "tan", "cot", "sec", "csc")}
_BRACED = frozenset({"frac", "binom", "sqrt"})
# Letters that name functions rather than factors: `f(2)`. The second set only before one letter or number: `P(x)`.
_FUNCTION_LETTERS = frozenset("fghFGH")
_APPLIED_LETTERS = frozenset("PQWVIuUTN")
_CLOSERS = {"lfloor": "rfloor", "lceil": "rceil"}


class ExpressionReader(ABC):
    """The part of the reader that knows arithmetic; `Reader` adds lists, sets and relations."""

    def __init__(self, tokens: tuple[Token, ...]) -> None:
        self.tokens, self.at = tokens, 0
        self._depth = 0
        self._bars = 0  # how many |…| are open

    # -- tokens

    def peek(self, ahead: int = 0) -> Token | None:
        """Return the next token, or None at the end."""
        place = self.at + ahead
        return self.tokens[place] if place < len(self.tokens) else None

    def take(self) -> Token:
        """Return the next token, consumed."""
        token = self.peek()
        if token is None:
            raise UnreadableError("it ends too early")
        self.at += 1
        return token

    def sees(self, kind: str, *texts: str) -> bool:
        """Tell whether the next token is of that kind (and one of these texts)."""
        token = self.peek()
        return token is not None and token.kind == kind and (not texts or token.text in texts)

    def done(self, *closers: str) -> bool:
        """Tell whether the end, or one of the closing brackets, is next."""
        token = self.peek()
        if token is None:
            if closers:
                raise UnreadableError("an open bracket")
            return True
        return bool(closers) and token.kind in ("close", "brace") and token.text in closers

    @contextmanager
    def deeper(self) -> Iterator[None]:
        """One level of nesting."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise UnreadableError("nested too deeply")
        yield
        self._depth -= 1

    # -- sums and products

    def sum(self) -> Expr:
        """Return a sum, which must be an expression."""
        return expression(self.sum_or_shape())

    def sum_or_shape(self) -> Shape:
        """Return a sum, or a lone bracketed shape (tuple, set, interval, matrix)."""
        with self.deeper():
            begin = self.at
            first = self.product()
            if not self.sees("op", "+", "-", "pm", "mp", ":"):
                return first
            terms = [expression(first)]
            ratio: list[Expr] = []
            while self.sees("op", "+", "-", "pm", "mp", ":"):
                sign = self.take().text
                term = expression(self.product())
                if sign == ":":
                    ratio.append(total(terms))
                    terms = [term]
                elif sign in ("pm", "mp"):
                    terms[:] = [Op(sign, (total(terms), term))]
                else:
                    terms.append(term if sign == "+" else negated(term))
        if not ratio:
            return total(terms)
        return clock(self.tokens[begin : self.at]) or Op("ratio", (*ratio, total(terms)))

    def product(self) -> Shape:
        """Return signed factors, joined by signs or by nothing."""
        signs = ""
        while self.sees("op", "+", "-", "pm", "mp"):
            signs += {"+": "", "-": "-", "pm": "p", "mp": "m"}[self.take().text]
            if len(signs) > 3:
                raise UnreadableError("many signs")
        shape = self.factors()
        for sign in reversed(signs):
            value = expression(shape)
            shape = negated(value) if sign == "-" else Op("pm" if sign == "p" else "mp", (Num(Fraction(0)), value))
        return shape

    def factors(self) -> Shape:
        """Return factors from left to right; `a/bc` is (a/b)·c unless nothing but a number stands before the slash."""
        result = self.power()
        while True:
            if self.sees("op", "*", "/", "mod"):
                sign = self.take().text
                negative = self.sees("op", "-")
                if negative:
                    self.take()
                other = expression(self.power())
                name = {"*": "mul", "/": "div", "mod": "mod"}[sign]
                result = Op(name, (expression(result), negated(other) if negative else other))
            elif self.implied():
                result = self._times(expression(result))
            else:
                return result

    def implied(self) -> bool:
        """Tell whether the next token begins a factor without a sign."""
        token = self.peek()
        if token is None or token.kind in ("sep", "relation", "close", "unit", "word", "postfix", "primes"):
            return False
        if token.kind == "environment":
            return False
        if token.kind == "brace":
            return token.text == "{"
        if token.kind == "op":
            return token.text == "|" and not self._bars
        if token.kind == "run":
            is_unit = token.text.lower() in BARE and not token.text.isupper()
            return not (is_unit or token.text.lower() in SCALES)
        return True

    def _times(self, left: Expr) -> Expr:
        """`left` times the next factor; a whole number before a proper fraction is a mixed number."""
        token = self.peek()
        previous = self.tokens[self.at - 1]
        after_whole = isinstance(left, Num) and left.decimals is None and previous.kind == "number"
        if token is not None and token.kind == "number":
            if (previous.kind, previous.text) in (("close", ")"), ("postfix", "!")):  # (n - 2) 2^n, 5! 5!
                return Op("mul", (left, expression(self.power())))
            if not (after_whole and token.spaced and self._slash_follows()):
                raise UnreadableError("two numbers side by side")
            top, bottom = self.take(), (self.take(), self.take())[1]
            if not (top.value and bottom.value and top.value < bottom.value):
                raise UnreadableError("two numbers side by side")
            return Op("add", (left, Num(top.value / bottom.value)))
        is_fraction = token is not None and token.kind == "function" and token.text == "frac"
        right = expression(self.power())
        inner = right.args[0] if isinstance(right, Op) and right.name == "percent" else right
        if is_fraction and after_whole and isinstance(inner, Op) and inner.name == "div":
            top, bottom = inner.args
            if isinstance(top, Num) and isinstance(bottom, Num) and 0 < top.value < bottom.value:
                mixed = Op("add", (left, inner))
                return mixed if inner is right else Op("percent", (mixed,))
        return Op("mul", (left, right))

    def _slash_follows(self) -> bool:
        slash, bottom = self.peek(1), self.peek(2)
        return bool(slash and bottom and (slash.kind, slash.text) == ("op", "/") and bottom.kind == "number")

    # -- powers and what stands behind a factor

    def power(self) -> Shape:
        """Return a primary with its exponent, factorials, percent signs and degrees."""
        shape = self.primary()
        while True:
            if self.sees("op", "^"):
                self.take()
                shape = Op("pow", (expression(shape), self.exponent()))
            elif self.sees("postfix"):
                name = {"!": "factorial", "%": "percent", "degree": "degree"}[self.take().text]
                if name == "factorial" and isinstance(shape, Op) and shape.name == "factorial":
                    raise UnreadableError("double factorial")
                shape = Op(name, (expression(shape),))
            elif self.sees("op", "_"):
                digits = self.tokens[self.at - 1]
                if not (isinstance(shape, Num) and digits.kind == "number" and digits.text.replace(".", "").isdigit()):
                    raise ValuelessError("a base of something that is not a string of digits")
                self.take()
                base = base_name(self.spelled())
                shape = shape if base == "{10}" else Sym(f"{digits.text}_{base}")
            else:
                return shape

    def exponent(self) -> Expr:
        """Return what stands after `^`: a group, or one signed factor, itself with an exponent perhaps."""
        with self.deeper():
            negative = False
            while self.sees("op", "-", "+"):
                negative ^= self.take().text == "-"
            value = self.argument() if self.sees("brace", "{") else expression(self.primary())
            if self.sees("op", "^"):
                self.take()
                value = Op("pow", (value, self.exponent()))
        return negated(value) if negative else value

    def argument(self, *, digit: bool = False) -> Expr:
        r"""Return a macro's argument: a braced expression, or what TeX takes without braces (`digit`: one digit)."""
        if self.sees("brace", "{"):
            self.take()
            with self.deeper():
                bars, self._bars = self._bars, 0
                value = self.sum()
                self._bars = bars
            if not self.sees("brace", "}"):
                raise UnreadableError("an open brace")
            self.take()
            return value
        token = self.peek()
        if digit and token is not None and token.kind == "number" and len(token.text) > 1:
            if not token.text.isdigit():
                raise UnreadableError("an argument that is not a digit")
            first, rest = token.text[0], token.text[1:]
            tokens = (Token("number", first, Fraction(first)), Token("number", rest, Fraction(rest)))
            self.tokens = (*self.tokens[: self.at], *tokens, *self.tokens[self.at + 1 :])
        return expression(self.primary())

    def spelled(self) -> str:
        """Return the canonical spelling of a subscript or accented name."""
        if not self.sees("brace", "{"):
            token = self.take()
            if token.kind not in ("number", "letter", "symbol", "run", "word"):
                raise UnreadableError("a strange subscript")
            return f"{{{token.text}}}"
        depth, spelled = 0, ""
        while True:
            token = self.take()
            depth += {"{": 1, "}": -1}.get(token.text, 0) if token.kind == "brace" else 0
            spelled += token.text
            if depth == 0:
                return spelled

    # -- primaries

    def primary(self) -> Shape:
        """Return a number, name, function, bracket or matrix."""
        token = self.peek()
        if token is None:
            raise UnreadableError("it ends too early")
        if token.kind in ("open", "brace"):
            return self._rounded(_CLOSERS[token.text]) if token.text in _CLOSERS else self.bracketed()
        if token.kind == "environment":
            return self.matrix()
        self.at += 1
        if token.kind == "number":
            assert token.value is not None
            return Num(token.value, token.decimals)
        if token.kind in ("letter", "symbol"):
            return self._name(token.text)
        if token.kind == "run":
            return self._letters(token)
        if token.kind == "function":
            return self._function(token.text)
        if token.kind == "accent":
            return self._accented(token.text)
        if token.kind == "op" and token.text == "|":
            return self._absolute()
        raise UnreadableError(f"{token.text!r} was not expected")

    @abstractmethod
    def bracketed(self) -> Shape:
        """Read a bracket and what it holds."""

    @abstractmethod
    def matrix(self) -> Shape:
        """Return a matrix environment."""

    def _absolute(self) -> Expr:
        self._bars += 1
        with self.deeper():
            value = self.sum_or_shape()
        self._bars -= 1
        if not self.sees("op", "|"):
            raise UnreadableError("an open bar")
        self.take()
        if isinstance(value, Matrix):
            flat = tuple(entry for row in value.rows for entry in row)
            return Op("det", tuple(map(expression, flat)))
        return Op("abs", (expression(value),))

    def _rounded(self, closer: str) -> Expr:
        name = {"lfloor": "floor", "lceil": "ceil"}[self.take().text]
        with self.deeper():
            value = self.sum()
        if not self.sees("close", closer):
            raise UnreadableError("an open floor")
        self.take()
        return Op(name, (value,))

    def _name(self, name: str) -> Expr:
        """Return a symbol with its primes, subscript and, if it names a function, its arguments."""
        while self.sees("primes") or self.sees("op", "_"):
            name += self.take().text if self.sees("primes") else f"{self.take().text}{self.spelled()}"
        if self.sees("open", "(") and self._is_applied(name):
            name += self._arguments()
        return Sym(name)

    def _is_applied(self, name: str) -> bool:
        if name[0] in _FUNCTION_LETTERS:
            return True
        inner, closing = self.peek(1), self.peek(2)
        if inner is None or closing is None:
            return False
        simple = inner.kind in ("letter", "number") and closing.text == ")"
        return simple and (name[0] in _APPLIED_LETTERS or name[-1] in "'}")

    def _arguments(self) -> str:
        depth, spelled = 0, ""
        while True:
            token = self.take()
            depth += {"open": 1, "close": -1}.get(token.kind, 0)
            spelled += token.text
            if depth == 0:
                return spelled

    def _letters(self, run: Token) -> Expr:
        """Return the first of letters side by side, which are a product; a longer lower-case word is one name."""
        if len(run.text) > 12:
            raise UnreadableError("a word")
        if len(run.text) > 3 and run.text.islower():
            return Sym(run.text)
        letters = tuple(Token("letter", letter) for letter in run.text[1:])
        self.tokens = (*self.tokens[: self.at], *letters, *self.tokens[self.at :])
        return self._name(run.text[0])

    def _accented(self, accent: str) -> Expr:
        return self._name(f"\\{accent}{self.spelled()}")

    def _function(self, name: str) -> Expr:
        if name in _BRACED:
            return read_braced(self, name)
        if name in ("sum", "prod"):
            return self._series(name)
        base: Expr | None = None
        exponent: Expr | None = None
        while self.sees("op", "_", "^"):
            if self.take().text == "_":
                base = self.argument()
            else:
                exponent = self.exponent()
        if isinstance(exponent, Op) and exponent == negated(Num(Fraction(1))) and name in _INVERSES:
            name, exponent = _INVERSES[name], None
        if name == "lg":
            name, base = "log", Num(Fraction(10))
        value = applied(name, self._operands(name), base)
        return value if exponent is None else Op("pow", (value, exponent))

    def _series(self, name: str) -> Expr:
        r"""`\sum_{k=1}^{n} body`; the body ends at the next plus or minus."""
        index, low, high = read_bounds(self)
        with self.deeper():
            body = expression(self.factors())
        bound = Sym(f"{BOUND}{self._depth}")
        return Op(name, (bound, low, high, renamed(body, index, bound)))

    def expect(self, kind: str, text: str) -> None:
        """Consume that token. UnreadableError if another one is next."""
        if not self.sees(kind, text):
            raise UnreadableError(f"{text} is missing")
        self.take()

    def _operands(self, name: str) -> tuple[Expr, ...]:
        """Return a function's arguments: what its brackets hold, or the factors up to the next sign or function."""
        with self.deeper():
            if self.sees("open", "(", "["):
                self.take()
                values = [self.sum()]
                while name in MANY and self.sees("sep", ","):
                    self.take()
                    values.append(self.sum())
                if not self.sees("close", ")", "]"):
                    raise UnreadableError("an open bracket")
                self.take()
                return tuple(values)
            value = expression(self.power()) if not self.sees("op", "-") else self._negative()
            while self.sees("op", "/") or (self.implied() and not self.sees("function") and not self.sees("open", "(")):
                if self.sees("op", "/"):
                    self.take()
                    value = Op("div", (value, expression(self.power())))
                else:
                    value = self._times(value)
        return (value,)

    def _negative(self) -> Expr:
        self.take()
        return negated(expression(self.power()))
