r"""Other graders, as second opinions: `r1zero verify --second …` lists where they disagree with ours.

- `math_verify`: Math-Verify alone, gold and answer both in a box.
- `paper_fast`, `paper_slow`: the *rules* of the paper's grader (understand-r1-zero, PAPER.md 2.3) written anew from
  their description: normalise and drop unit words, then compare; the slow one asks Math-Verify too. They are no copy:
  of its 130 unit words only the usual ones and the published single letters are here, and where the original hands text
  to sympy's parser (which runs it as code) these use our own arithmetic. Its known mistakes are kept on purpose:
  `a+1` is `c+1` to it, `(a)` is `(c)`, and `x=5` is `y=5`.

All have the signature of a reward function and run in the same killable workers.
"""

from __future__ import annotations

import logging
import re

from r1zero.verify.answers.equality import equal, symbols
from r1zero.verify.answers.grammar import parse
from r1zero.verify.answers.tokens import words
from r1zero.verify.answers.tree import is_expression
from r1zero.verify.extraction.boxes import last_box

SECOND = {
    "math-verify": "r1zero.verify.workers.second_grader:math_verify",
    "paper-fast": "r1zero.verify.workers.second_grader:paper_fast",
    "paper-slow-rules": "r1zero.verify.workers.second_grader:paper_slow",
}
"""The names that `--second` takes, as reward functions."""

_UNIT_WORDS = words(
    """
    a c d g h l m o s t ab bc by per cm km mm ft in inch inche foot feet yard mile mph meter metre liter gram kg
    pound ounce hour minute min second sec day week month year degree dollar cent percent point unit square
    cubic people student way time apple
    """
)
_UNIT = re.compile(r"(?<![A-Za-z])(" + "|".join(sorted(_UNIT_WORDS, key=len, reverse=True)) + r")(?:e?s)?(?![A-Za-z])")
_DRESS = re.compile(r"\\left|\\right|\\[!,;: ]|\\quad|\\\$|\$|\\%|%|\^\s*\{?\s*\\circ\s*\}?|\n")
_TEXT = re.compile(r"\\(?:text|mbox|textbf|mathrm)\{([^{}]*)\}")


def math_verify(response: str, gold: list[str]) -> bool | None:
    """Return Math-Verify with golds and answer boxed; None if no gold can be parsed."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    logging.disable(logging.CRITICAL)
    answer = last_box(response)
    if answer is None:
        return False
    where = (LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig())
    read = [parse(rf"\boxed{{{text}}}", where, parsing_timeout=None) for text in (answer, *gold)]  # type: ignore[arg-type]
    if not any(read[1:]):
        return None
    return any(verify(one, read[0], timeout_seconds=None) for one in read[1:] if one)


def paper_fast(response: str, gold: list[str]) -> bool:
    """Return the paper's training-time rules: normalised text, or simple algebra on what is left."""
    answer = last_box(response)
    return answer is not None and any(_stripped(text) == _stripped(answer) or _algebra(text, answer) for text in gold)


def paper_slow(response: str, gold: list[str]) -> bool:
    """Return the paper's evaluation-time rules: the fast ones, or Math-Verify."""
    return paper_fast(response, gold) or bool(math_verify(response, gold))


def _stripped(text: str) -> str:
    """Return normalised text: no dress, no unit words, no `k=`, fractions in one form."""
    text = _TEXT.sub(r"\1", _DRESS.sub("", text))
    text = text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").replace("\\\\", "\\")
    for _ in range(2):
        text = _UNIT.sub("", text)
    text = re.sub(r"^\s*\.", "0.", text)
    name, equals, value = text.partition("=")
    if equals and "=" not in value and len(name.strip()) <= 2:
        text = value
    text = re.sub(r"\\sqrt([A-Za-z0-9])", r"\\sqrt{\1}", text)
    text = re.sub(r"\\frac\s*([0-9])\s*([0-9])", r"\\frac{\1}{\2}", "".join(text.split()))
    text = re.sub(r"^(-?[0-9]+)/([0-9]+)$", r"\\frac{\1}{\2}", text)
    return "\\frac{1}{2}" if text == "0.5" else text


def _algebra(gold: str, answer: str) -> bool:
    """Return equality of values where the expressions are simple: at most two letters, no powers but of one digit."""
    golds, answers = (_parts(_stripped(text).replace(",\\", ",").lower()) for text in (gold, answer))
    if golds[0] != answers[0] or len(golds[1]) != len(answers[1]):
        return False
    return all(_same_part(one, other) for one, other in zip(golds[1], answers[1], strict=True))


def _parts(text: str) -> tuple[str, list[str]]:
    """(brackets, elements) of a tuple or interval; no brackets for anything else. Thousands lose their commas."""
    if len(text) > 2 and text[0] in "([" and text[-1] in ")]" and "," in text:
        return text[0] + text[-1], text[1:-1].split(",")
    return "", [re.sub(r"(?<=[0-9]),(?=[0-9]{3})", "", text)]


def _same_part(gold: str, answer: str) -> bool:
    if gold == answer:
        return True
    fraction = re.compile(r"\\frac\{-?[0-9]+\}\{[0-9]+\}")
    if fraction.fullmatch(gold) and fraction.fullmatch(answer):
        return False  # an unreduced fraction is rejected
    if re.fullmatch(r"-?[0-9]+", gold) and not re.fullmatch(r"-?[0-9]+(?:\.0*)?", answer):
        return False
    if any(re.search(r"\^\{|\^\(|\^[0-9]{2}", text) for text in (gold, answer)):
        return False
    shapes = [parse(text) for text in (gold, answer)]
    if not all(shape is not None and is_expression(shape) for shape in shapes):
        return False
    if len(symbols(shapes[0]) | symbols(shapes[1])) > 2:  # type: ignore[arg-type]
        return False
    return equal(shapes[0], shapes[1], rounding=False) is True  # type: ignore[arg-type]
