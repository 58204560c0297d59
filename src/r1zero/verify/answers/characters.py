r"""An answer's text in the characters that `tokens` knows: Unicode signs as macros, other forms of a letter or digit as
what they show, and a few ways of writing in words.

What Unicode calls compatible (NFKC) is the same answer: full-width, bold and circled forms, raised and lowered ones.
Letters of other scripts that merely look Latin are no such forms, and marks that turn the direction of writing are
kept, for with them a text shows another answer than it holds: both make an answer unreadable.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby

# Unicode signs that say the same as a macro. Letters of other alphabets that look Latin are deliberately absent.
_SIGNS = {
    "×": "\\times ", "·": "\\cdot ", "⋅": "\\cdot ", "∙": "\\cdot ", "∗": "*", "÷": "/", "∕": "/", "⁄": "/",
    "−": "-", "–": "-", "－": "-", "±": "\\pm ", "∓": "\\mp ", "≤": "\\le ", "≥": "\\ge ", "⩽": "\\le ", "⩾": "\\ge ",
    "≠": "\\ne ", "≈": "\\approx ", "≡": "\\equiv ", "∈": "\\in ", "∪": "\\cup ", "∩": "\\cap ", "∅": "\\emptyset ",
    "∖": "\\setminus ", "∞": "\\infty ", "π": "\\pi ", "√": "\\sqrt ", "∛": "\\sqrt[3]",
    "°": "^\\circ ", "º": "^\\circ ",
    "℃": "^\\circ C", "′": "'", "’": "'", "‘": "'", "″": "''", "“": '"', "”": '"', "∠": "\\angle ", "△": "\\triangle ",
    "ℝ": "\\mathbb{R}", "ℤ": "\\mathbb{Z}", "ℕ": "\\mathbb{N}", "ℚ": "\\mathbb{Q}", "ℂ": "\\mathbb{C}",
    "½": "\\frac{1}{2}", "⅓": "\\frac{1}{3}", "⅔": "\\frac{2}{3}", "¼": "\\frac{1}{4}", "¾": "\\frac{3}{4}",
    "⅕": "\\frac{1}{5}", "⅖": "\\frac{2}{5}", "⅗": "\\frac{3}{5}", "⅘": "\\frac{4}{5}", "⅙": "\\frac{1}{6}",
    "⅚": "\\frac{5}{6}", "⅛": "\\frac{1}{8}", "⅜": "\\frac{3}{8}", "⅝": "\\frac{5}{8}", "⅞": "\\frac{7}{8}",
    "α": "\\alpha ", "β": "\\beta ", "γ": "\\gamma ", "δ": "\\delta ", "ε": "\\epsilon ", "θ": "\\theta ",
    "λ": "\\lambda ", "μ": "\\mu ", "ρ": "\\rho ", "σ": "\\sigma ", "τ": "\\tau ", "φ": "\\phi ", "ω": "\\omega ",
    "Δ": "\\Delta ", "Ω": "\\Omega ", "⌊": "\\lfloor ", "⌋": "\\rfloor ", "⌈": "\\lceil ", "⌉": "\\rceil ",
    "（": "(", "）": ")", "，": ",", "；": ";", "：": ":", "［": "[", "］": "]", "＝": "=", "＋": "+", "％": "%",
    "。": ".",
    "…": "\\ldots ", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u2003": " ", "\u2002": " ", "\u3000": " ",
    "£": "\\pounds ", "€": "\\euro ",
}  # fmt: skip
_SIGN = re.compile("|".join(map(re.escape, _SIGNS)))
# Marks that no reader sees: blanks of no width, joiners, soft hyphens, byte order marks. Those that turn the direction
# of writing are not among them: with them a text shows another answer than it holds.
INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufe00-\ufe0f\ufeff]")

# 1 000 000: groups of three after a blank. A list would have commas.
_SPACED_THOUSANDS = re.compile(r"(?<![0-9.,}] )(?<![0-9.,])([1-9][0-9]{0,2})((?: [0-9]{3})+)(?![0-9]| [0-9])")


# A system of equations, as a column behind one brace.
_SYSTEM = re.compile(
    r"\\left\s*\\(?:\{|lbrace)\s*\\begin\{(?:array|matrix|aligned)\}(?:\{[clr|@ ]*\})?(.*)"
    r"\\end\{(?:array|matrix|aligned)\}\s*\\right\s*\.?",
    re.DOTALL,
)
# `for any integer k`, `where $k$ is an integer`: k is in Z.
_WHOLE_NUMBER = re.compile(
    r"[,\s]*\(?(?:\\text\s*\{)?[,\s]*(?:where|for|with)\s*(?:(?:any|all|every|each|some)\s+)?"
    r"(?:integers?\s*\}?[\s$]*([a-z])|\}?[\s$]*([a-z])[\s$]*(?:\\text\s*\{)?\s*is\s+(?:an|any)\s+integer)[\s$.}]*\)?\Z"
)
_IDLE_ENDS = ("\\,", "\\;", "\\:", "\\!", "\\ ")


def plain(text: str) -> str:
    """`text` with Unicode signs as macros, other forms of letters and digits as these, super- and subscripts in braces,
    and without marks that nobody sees and Markdown's bold ones."""
    if not text.isascii():
        text = _compatible(_SIGN.sub(lambda found: _SIGNS[found[0]], INVISIBLE.sub("", text)))
    while text.endswith(_IDLE_ENDS):
        text = text[:-2].rstrip()
    text = text.strip().removesuffix("\\").rstrip() if not text.strip().endswith("\\\\") else text.strip()
    if text.startswith("**") and text.endswith("**") and len(text) > 4:
        text = text[2:-2]
    text = _SYSTEM.sub(r"\\begin{cases}\1\\end{cases}", text.rstrip(", "))
    if "integer" in text:
        text = _WHOLE_NUMBER.sub(lambda found: rf", {found[1] or found[2]} \in \mathbb{{Z}}", text)
    return _SPACED_THOUSANDS.sub(lambda found: found[1] + found[2].replace(" ", ""), text)


def _compatible(text: str) -> str:
    """Return a text with every form that Unicode calls compatible (NFKC) as what it shows: full-width, bold, circled,
    raised (an exponent) and lowered ones. Letters of other scripts that only look alike are no such forms."""
    pieces = []
    for form, chars in groupby(text, _form):
        shown = unicodedata.normalize("NFKC", "".join(chars))
        if form == "<fraction>" and len(parts := shown.split("\u2044")) == 2 and parts[1]:
            shown = f"\\frac{{{parts[0]}}}{{{parts[1]}}}"
        pieces.append({"<super>": f"^{{{shown}}}", "<sub>": f"_{{{shown}}}"}.get(form, shown))
    return _SIGN.sub(lambda found: _SIGNS[found[0]], "".join(pieces))


def _form(char: str) -> str:
    """Return the kind of form that a character is of another, `""` for most."""
    return "" if char.isascii() else unicodedata.decomposition(char).partition(" ")[0]
