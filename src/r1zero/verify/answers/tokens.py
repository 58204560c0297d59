r"""An answer's text → tokens: TeX, plain notation and common Unicode signs, through tables.

Macros that only dress (`\left`, `\,`, `\displaystyle`, `$`) are dropped, so two answers that differ by dress have equal
tokens. Characters that merely look like others (Cyrillic `х`) and control characters are unknown, and an answer with
one is compared as text alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from r1zero.verify.answers.characters import plain

MAX_CHARS = 2000
"""Longer answers are not read: no gold is that long."""
MAX_DIGITS = 400


def words(text: str) -> frozenset[str]:
    """Return the words of `text`."""
    return frozenset(text.split())


class UnreadableError(Exception):
    """The text is not in the notation that is read here. Not an error of its user: it is compared by other means."""


class ValuelessError(UnreadableError):
    """The notation is known and says nothing that could be an answer, as `(1, 2) + 1`: no other means is asked."""


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is one of number, letter, run, word, function, symbol, op, relation, open, close, sep, postfix, unit,
    accent, environment; `text` its canonical spelling."""

    kind: str
    text: str
    value: Fraction | None = None
    decimals: int | None = None
    spaced: bool = False  # white space stood before it
    tight: bool = False  # a blank that TeX does not print: `\!`


_DROPPED = words(
    """
    left right big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr middle displaystyle textstyle
    scriptstyle scriptscriptstyle limits nolimits rm bf it sf tt sl sc em bfseries mdseries itshape upshape slshape
    scshape rmfamily sffamily ttfamily normalfont mathit mathbf boldsymbol bm pmb mathsf mathcal mathnormal mathbin
    mathrel mathord mathop mathopen mathclose mathpunct mathinner ensuremath smash underline uline nonumber boxed fbox
    framebox large Large LARGE huge Huge tiny small footnotesize scriptsize normalsize notag hfill centering noindent
    mathstrut strut null relax displaylimits
    """
)
_DROPPED_ARGUMENTS = {
    "phantom": 1, "hphantom": 1, "vphantom": 1, "color": 1, "textcolor": 1, "colorbox": 1, "fcolorbox": 2, "bbox": 0,
    "hspace": 1, "vspace": 1, "mspace": 1, "rule": 2, "raisebox": 1, "scalebox": 1, "fontsize": 2, "hskip": 0,
    "require": 1, "class": 1, "style": 1, "cssId": 1, "htmlClass": 1, "htmlStyle": 1,
}  # fmt: skip
"""Macros that dress, with the number of arguments that say how: `\\colorbox{yellow}{12}`."""
_BLANKS = words(
    """
    , ; : > ! ~ quad qquad thinspace enspace medspace thickspace negthinspace space newline allowbreak
    """
) | {" ", "\n"}
_TEXTS = words(
    """
    text mbox textnormal textbf textit textrm textsf texttt textsc textsl mathrm operatorname hbox emph textup mathtt
    makebox
    """
)
DISPLAYS = words(
    """
    equation equation* displaymath math align align* aligned aligned* alignat alignat* alignedat gather gather*
    gathered split multline multline* eqnarray eqnarray* flalign flalign* center dmath dmath* cases dcases rcases
    """
)
"""Environments that show what stands in them and say nothing themselves."""
_UNIT_LETTERS = frozenset("msghLlNJWVKACFT")  # upright, they are units or the letters of choices
_ACCENTS = words(
    """
    overline bar hat vec tilde widehat widetilde dot ddot overrightarrow overleftrightarrow underline mathbb
    mathfrak mathscr
    """
)
_OPERATORS = {
    "times": "*", "cdot": "*", "ast": "*", "div": "/", "pm": "pm", "mp": "mp", "bmod": "mod", "mod": "mod",
    "cup": "cup", "setminus": "setminus", "backslash": "setminus",
}  # fmt: skip
_RELATIONS = {
    "le": "<=", "leq": "<=", "leqslant": "<=", "leqq": "<=", "ge": ">=", "geq": ">=", "geqslant": ">=", "geqq": ">=",
    "lt": "<", "gt": ">", "ne": "!=", "neq": "!=", "approx": "~", "simeq": "~", "thickapprox": "~", "in": "in",
    "equiv": "equiv", "doteq": "=", "coloneqq": "=",
}  # fmt: skip
_PLAIN_RELATIONS = {
    "<=": "<=", ">=": ">=", "=<": "<=", "=>": ">=", "!=": "!=", "==": "=", ":=": "=", "=": "=", "<": "<", ">": ">",
    "~": "~",
}  # fmt: skip
FUNCTIONS = words(
    """
    sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh coth log ln lg exp max min
    gcd lcm sqrt frac binom abs det floor ceil
    """
)
_SPELLINGS = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "sfrac": "frac", "nicefrac": "frac", "dbinom": "binom",
    "tbinom": "binom", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "arctg": "arctan", "tg": "tan",
    "ctg": "cot", "cosec": "csc", "surd": "sqrt",
}  # fmt: skip
_SYMBOLS = {
    "infinity": "\\infty", "inf": "\\infty", "infty": "\\infty", "varnothing": "\\emptyset", "emptyset": "\\emptyset",
    "oo": "\\infty", "pi": "\\pi", "varphi": "\\phi", "varepsilon": "\\epsilon", "vartheta": "\\theta",
    "ldots": "\\ldots", "cdots": "\\ldots", "dots": "\\ldots", "dotsc": "\\ldots", "dotsb": "\\ldots",
}  # fmt: skip
_SPECIAL = {
    "%": ("postfix", "%"), "$": ("unit", "dollar"), "pounds": ("unit", "pound"), "euro": ("unit", "euro"),
    "&": ("op", "&"), "lor": ("sep", "and"), "or": ("sep", "and"), "not": ("relation", "not"),
}  # fmt: skip
_MACRO_TABLES = (("op", _OPERATORS), ("relation", _RELATIONS), ("symbol", _SYMBOLS))
_GREEK = words(
    """
    alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi
    omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell hbar angle triangle odot oplus partial
    nabla prime star perp parallel
    """
)
_RENAMED = {"degree": ("postfix", "degree"), "row": ("sep", "row"), "joint": ("sep", "and"), "power": ("op", "^")}
_BRACKETS = {
    "{": "{", "}": "}", "lbrace": "{", "rbrace": "}", "lbrack": "[", "rbrack": "]", "langle": "(", "rangle": ")",
    "lfloor": "lfloor", "rfloor": "rfloor", "lceil": "lceil", "rceil": "rceil", "lvert": "|", "rvert": "|",
    "vert": "|", "mid": "|", "|": "||",
}  # fmt: skip
_OPENING = frozenset(["(", "[", "{", "lfloor", "lceil"])

_THOUSANDS = r"[0-9]{1,3}(?:(?:,|\{,\}|,\\!\s?|\\,|\\!)[0-9]{3}(?![0-9]))+(?![0-9]|,[0-9]{1,2}(?![0-9]))"
_LEXEME = re.compile(
    r"(?P<blank>\s+|[~$]|\\[()\[\]])"
    r"|(?P<degree>\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))|\\degree(?:s)?(?![A-Za-z])|\\circ(?![A-Za-z]))"
    r"|(?P<modulus>\\pmod\s*(?:\{[^{}]*\}|[0-9])|\(\s*(?:\\?mod|\\bmod|\\text\{mod\})(?![a-z])[^()]*\))"
    r"|(?P<label>\\label\{[^{}]*\}|\\tag\{[^{}]*\})"
    r"|(?P<environment>\\(?:begin|end)\s*\{[A-Za-z*]+\}(?:\[[a-z]\])?(?:\{[clr|@0-9 ]*\})?)"
    r"|(?P<row>\\\\(?:\[[^\[\]]{0,10}\])?)"
    r"|(?P<primes>\^\s*\{\s*(?:\\prime\s*)+\}|\^\s*\\prime(?![A-Za-z])|'+)"
    r"|(?P<repeating>[0-9]{0,20}\.[0-9]{0,20}\\(?:(?:overline|dot|bar)\{[0-9]{1,20}\}|dot\s?[0-9])"
    r"(?:[0-9]{0,18}\\dot(?:\{[0-9]\}|\s?[0-9]))?)"
    r"|(?P<macro>\\(?:[A-Za-z]+|[^A-Za-z]))"
    rf"|(?P<number>(?:{_THOUSANDS}|[0-9]+)(?:\.[0-9]+|\.(?![0-9.]))?(?:[eE][+-]?[0-9]{{1,6}}(?![0-9A-Za-z]))?"
    r"|\.[0-9]+(?:[eE][+-]?[0-9]{1,6}(?![0-9A-Za-z]))?)"
    r"|(?P<joint>(?:and|or)(?![a-z]))"
    r"|(?P<run>[A-Za-z]+)"
    r"|(?P<han>[\u4e00-\u9fff]+)"
    r"|(?P<relation><=|>=|=<|=>|!=|==|:=|[=<>])"
    r"|(?P<power>\*\*)"
    r"|(?P<op>[-+*/^_&:|])"
    r"|(?P<bracket>[\[\](){}])"
    r"|(?P<sep>[,;，、])"
    r"|(?P<postfix>[!%])"
    r"|(?P<ignored>[\"`])"
)
_SHORT_NUMBER = re.compile(
    r"(?P<number>[0-9]{1,3}(?:(?:\{,\}|,\\!\s?)[0-9]{3}(?![0-9]))+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?(?![0-9eE.\\]|\{,))"
)


def tokenize(text: str) -> tuple[Token, ...]:
    """Return the tokens of an answer.

    Raises:
        UnreadableError: it is longer than `MAX_CHARS` or holds a character or macro that is not in the tables.
    """
    if len(text) > MAX_CHARS:
        raise UnreadableError("too long")
    return tuple(_tokens(plain(text), prose=False, depth=0))


def _tokens(text: str, *, prose: bool, depth: int) -> list[Token]:
    """`prose` is inside `\\text{…}`, where letters are words and never a product."""
    if depth > 4:
        raise UnreadableError("texts nested too deeply")
    found: list[Token] = []
    at, spaced, brackets = 0, False, 0
    while at < len(text):
        # In a tuple or a set a comma separates: (2,100) is a pair.
        match = (brackets > 0 and _SHORT_NUMBER.match(text, at)) or _LEXEME.match(text, at)
        if match is None and prose and text[at] in ".?":  # `p.m.`
            at += 1
            continue
        if match is None:
            raise UnreadableError(f"character {text[at]!a}")
        kind, lexeme, at = match.lastgroup or "", match[0], match.end()
        if kind == "macro" and (name := lexeme[1:]) in _TEXTS:
            inner, at = _argument(text, at)
            found += _text_tokens(inner, name, spaced, depth)
            spaced = inner[-1:].isspace()
            continue
        if kind in ("blank", "modulus", "label", "ignored") or (kind == "macro" and lexeme[1:] in _BLANKS):
            if (kind == "macro" and lexeme == "\\!") or (kind == "macro" and lexeme == "\\,"):
                continue
            spaced = True
            continue
        if kind == "macro" and (name := lexeme[1:]) in _DROPPED_ARGUMENTS:
            at = _behind_dress(text, at, _DROPPED_ARGUMENTS[name])
            spaced |= name.endswith("space")
            continue
        if kind == "macro" and lexeme[1:] in _DROPPED:
            if text.startswith(".", at) and lexeme in ("\\left", "\\right"):
                at += 1
            continue
        found += _token(kind, lexeme, spaced, prose=prose)
        brackets += {"open": 1, "close": -1}.get(found[-1].kind, 0)
        spaced = False
    return found


def _argument(text: str, at: int) -> tuple[str, int]:
    """Return the braced argument that starts at `at`, and where it ends."""
    while at < len(text) and text[at].isspace():
        at += 1
    if not text.startswith("{", at):
        raise UnreadableError("a text macro without braces")
    depth = 0
    for place in range(at, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[at + 1 : place], place + 1
    raise UnreadableError("unbalanced braces")


def _behind_dress(text: str, at: int, arguments: int) -> int:
    """Tell where the arguments of a macro that only dresses end: a star, one in brackets, and so many in braces."""
    at += text.startswith("*", at)
    if text.startswith("[", at) and (end := text.find("]", at)) > 0:
        at = end + 1
    for _ in range(arguments):
        _, at = _argument(text, at)
    return at


def _text_tokens(inner: str, macro: str, spaced: bool, depth: int) -> list[Token]:
    name = _SPELLINGS.get(inner.strip(), inner.strip())
    if name in FUNCTIONS and (macro == "operatorname" or name not in ("min", "max", "sec", "deg")):
        return [Token("function", name, spaced=spaced)]
    if macro in ("mathrm", "mathbf") and len(name) == 1 and name.isalpha() and name.isascii():
        is_unit = macro == "mathrm" and name in _UNIT_LETTERS
        return [Token("word" if is_unit else "letter", name, spaced=spaced)]
    if name in ("arg", "Re", "Im"):
        return [Token("letter", name, spaced=spaced)]
    return _tokens(inner, prose=True, depth=depth + 1)


def _token(kind: str, lexeme: str, spaced: bool, *, prose: bool) -> list[Token]:
    if kind == "number":
        return [_number(lexeme, spaced)]
    if kind == "repeating":
        return [_repeating(lexeme, spaced)]
    if kind == "han":
        return [Token("word", lexeme, spaced=spaced)]
    if kind == "run":
        return [_run(lexeme, spaced, prose=prose)]
    if kind == "macro":
        return [_macro(lexeme[1:], spaced)]
    if kind == "bracket":
        return [Token("brace" if lexeme in "{}" else "open" if lexeme in _OPENING else "close", lexeme, spaced=spaced)]
    if kind == "environment":
        return [Token(kind, re.sub(r"\s|(?<=\})[{\[].*", "", lexeme), spaced=spaced)]
    if kind == "primes":
        return [Token("primes", "'" * (lexeme.count("'") + lexeme.count("prime")), spaced=spaced)]
    if kind == "relation":
        return [Token(kind, _PLAIN_RELATIONS[lexeme], spaced=spaced)]
    if kind == "sep":
        return [Token(kind, ";" if lexeme == ";" else ",", spaced=spaced)]
    kind, spelled = _RENAMED.get(kind, (kind, lexeme))
    return [Token(kind, spelled, spaced=spaced)]


def _number(lexeme: str, spaced: bool) -> Token:
    mantissa, _, exponent = lexeme.lower().partition("e")
    whole, _, decimals = mantissa.partition(".")
    digits = re.sub(r"[^0-9]", "", whole)
    if len(digits) + len(decimals) > MAX_DIGITS or abs(int(exponent or 0)) > MAX_DIGITS:
        raise UnreadableError("too many digits")
    value = Fraction(int(digits + decimals or "0"))
    if decimals:
        value /= 10 ** len(decimals)
    if exponent:
        value *= Fraction(10) ** int(exponent)
    spelled = str(value) if exponent else f"{digits}.{decimals}" if decimals else digits
    return Token("number", spelled, value, len(decimals) if "." in mantissa else None, spaced)


def _repeating(lexeme: str, spaced: bool) -> Token:
    r"""`0.1\overline{6}` and `0.1\dot6` are 1/6; `0.\dot{1}4285\dot{7}` is 1/7."""
    before, _, behind = lexeme.partition("\\")
    whole, _, decimals = before.partition(".")
    period = re.sub(r"[^0-9]", "", behind)
    tail = Fraction(int(period), 10 ** len(period) - 1) / 10 ** len(decimals)
    value = Fraction(int(whole + decimals or "0"), 10 ** len(decimals)) + tail
    return Token("number", str(value), value, None, spaced)


def _run(lexeme: str, spaced: bool, *, prose: bool) -> Token:
    low = _SPELLINGS.get(lexeme, lexeme)
    if prose:
        return Token("word", lexeme, spaced=spaced)
    if low in FUNCTIONS:
        return Token("function", low, spaced=spaced)
    if lexeme in _SYMBOLS:
        return Token("symbol", _SYMBOLS[lexeme], spaced=spaced)
    return Token("letter" if len(lexeme) == 1 else "run", lexeme, spaced=spaced)


def _macro(name: str, spaced: bool) -> Token:
    name = _SPELLINGS.get(name, name)
    if name in _BRACKETS:
        spelled = _BRACKETS[name]
        if spelled in ("|", "||"):
            return Token("op", "|", spaced=spaced)
        return Token("open" if spelled in _OPENING else "close", spelled, spaced=spaced)
    for kind, table in _MACRO_TABLES:
        if name in table:
            return Token(kind, table[name], spaced=spaced)
    if name in FUNCTIONS:
        return Token("function", name, spaced=spaced)
    if name in _GREEK:
        return Token("symbol", f"\\{name}", spaced=spaced)
    if name in _ACCENTS:
        return Token("accent", name, spaced=spaced)
    if name.startswith("quad") and len(name) < 8:  # \quadx: its blank was lost
        return Token("letter", name[-1], spaced=True)
    if name in ("sum", "prod"):
        return Token("function", name, spaced=spaced)
    if name in _SPECIAL:
        kind, spelled = _SPECIAL[name]
        return Token(kind, spelled, spaced=spaced)
    raise UnreadableError(f"\\{name}")
