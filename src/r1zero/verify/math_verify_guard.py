r"""What must not reach Math-Verify: texts whose evaluation would explode, and prose that it would read past.

Its parser ignores words, so `3 \text{ is wrong}` would be 3 to it; and sympy computes 9^{9^{9}} when asked. Both are
told from the text alone, in linear time, before anything is evaluated. What slips through is stopped by the worker's
limits.
"""

from __future__ import annotations

import re

from r1zero.verify.answers.tokens import words

MAX_CHARS = 600
_MAX_DEPTH = 16
_MAX_DIGITS = 60
_MAX_NUMBERS = 120
_MAX_EXPONENT = 2000
_MAX_COUNTED = 1000  # in texts with factorials, sums, products, limits

_NUMBERS = re.compile(r"[0-9]+")
_EXPONENT = re.compile(r"(?:\^|\*\*)\s*[{(]*\s*[-+]?\s*([0-9]+)")
_TOWER = re.compile(r"(?:\^|\*\*)[^,;=]*?(?:\^|\*\*)")
_COUNTING = re.compile(r"!|\\binom|\\sum|\\prod|\\int|\\lim|\\Gamma|\\zeta|\\frac\s*\{\s*d|factorial|gamma|\\bigcup")
_TEXT = re.compile(r"\\(?:text|mbox|textbf|textit|textrm|textnormal|mathrm|operatorname|hbox)\s*\{([^{}]*)\}")
_MACRO = re.compile(r"\\[A-Za-z]+\*?(?:\{[a-z]*matrix\*?\}|\{array\}\{[clr|]*\}|\{cases\})?")
_WORD = re.compile(r"[A-Za-z]{4,}")
_KNOWN = words(
    """
    sqrt frac arcsin arccos arctan sinh cosh tanh infinity infty alpha beta gamma delta theta lambda sigma omega
    """
)


_COMMAND = re.compile(r"\\([A-Za-z]+|.)", re.DOTALL)
_FAITHFUL = words(
    """
    frac dfrac tfrac cfrac sqrt over binom dbinom tbinom cdot times div pm sum prod int lim to infty infinity
    sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh coth log ln lg exp pi e
    alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau phi
    varphi chi psi omega Gamma Delta Theta Lambda Sigma Phi Psi Omega
    le leq leqslant ge geq geqslant lt gt ne neq in cup mathbb circ
    begin end text mbox textbf textit textrm textnormal mathrm mathbf operatorname hbox
    left right big Big bigg Bigg bigl bigr Bigl Bigr displaystyle textstyle limits quad qquad
    lfloor rfloor lceil rceil lvert rvert vert cdots ldots dots
    """
) | frozenset("{}|%$,;:! \\")
"""Commands that Math-Verify takes for what they mean. It passes over all others: `\\arg 5` would be 5 to it."""
_LETTERS_AND_SIGNS = re.compile(r"[A-Za-z0-9\s\\+\-*/^_=<>,.()\[\]{}|!%$&~]*")
_RELATION = r"(?:\\(?:le|leq|leqslant|ge|geq|geqslant|lt|gt|ne|neq|in)(?![A-Za-z])|[<>]|!=)"
# A subscript of what is no letter, a relation that lacks a side, a series or limit without bounds, an arrow to nowhere.
_LOOSE = re.compile(
    rf"[0-9)\]}}$]\s*_|\A[\s$]*{_RELATION}|{_RELATION}[\s$]*\Z"
    r"|\\(?:lim|sum|prod)(?![A-Za-z])(?!\s*(?:\\limits\s*)?_)|\A(?!.*\\lim).*\\to(?![A-Za-z])",
    re.DOTALL,
)


def is_unfaithful(text: str) -> bool:
    """Tell whether it holds a command, sign or subscript that Math-Verify would pass over, reading another answer."""
    if not _LETTERS_AND_SIGNS.fullmatch(text) or _LOOSE.search(text):
        return True
    return any(found[1] not in _FAITHFUL for found in _COMMAND.finditer(text))


def refusal(text: str) -> str | None:
    """Tell why a text is not handed on to be evaluated, or None if it may be."""
    if len(text) > MAX_CHARS:
        return "too long"
    if _depth(text) > _MAX_DEPTH:
        return "nested too deeply"
    numbers = _NUMBERS.findall(text)
    if len(numbers) > _MAX_NUMBERS:
        return "too many numbers"
    if any(len(digits) > _MAX_DIGITS for digits in numbers):
        return "too many digits"
    if any(int(found[1][:9]) > _MAX_EXPONENT for found in _EXPONENT.finditer(text)):
        return "a large exponent"
    if (
        _TOWER.search(text)
        and (levels := _towers(text))
        and (levels > 1 or any(len(digits) > 1 or digits > "4" for digits in numbers))
    ):
        return "a tower of powers"
    if _COUNTING.search(text) and any(int(digits[:9]) > _MAX_COUNTED for digits in numbers):
        return "a large count"
    if re.search(r"!\s*!|[)}\]]\s*!", text.replace("$", "")):
        return "a factorial of an expression"
    return None


def has_prose(text: str) -> bool:
    """Tell whether words stand in it that are neither macros, functions nor short names."""
    for spoken in _TEXT.findall(text):
        if re.search(r"[A-Za-z]{3,}", spoken) and spoken.strip() not in _KNOWN:
            return True
    bare = _MACRO.sub(" ", _TEXT.sub(" ", text))
    return any(word.lower() not in _KNOWN for word in _WORD.findall(bare))


def is_foreign(text: str) -> bool:
    """Tell whether it holds letters or signs of no notation: look-alikes, control characters, surrogates."""
    return any((not char.isprintable() and char not in "\n\t\r") or ord(char) > 127 for char in text)


def _depth(text: str) -> int:
    depth = deepest = 0
    for char in text:
        depth += (char in "{([") - (char in "})]")
        deepest = max(deepest, depth)
    return deepest


def _towers(text: str) -> int:
    """Tell how many exponents stand in the exponent of another, at most."""
    levels: list[bool] = []  # for each open bracket, whether it is an exponent
    expected = inside = False  # an exponent: right behind its sign, or in one without brackets
    deepest = 0
    for place, char in enumerate(text):
        if char == "^" or text.startswith("**", place):
            deepest = max(deepest, sum(levels) + inside)
            expected, inside = True, False
        elif char in "{([":
            levels.append(expected)
            expected = inside = False
        elif char in "})]":
            if levels:
                levels.pop()
            inside = False
        elif char.isalnum() or char == "\\":
            inside, expected = inside or expected, False
        elif not (expected and char in " +-*"):
            expected = inside = False
    return deepest
