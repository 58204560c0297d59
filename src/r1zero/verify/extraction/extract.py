r"""Where a response's final answer stands: `extract(response, answer_format)`.

The formats are those of `r1zero.types.AnswerFormat`. All scans are linear in the length of the response whatever it
holds: model output is hostile by accident (a megabyte of `\boxed{`), and a quadratic regular expression stalls a run.

Four things are never an answer: what stands in the reasoning (before the last `</think>`), what stands in an echo of
the prompt or in a new turn of the conversation that the model went on to invent (`turns`), a box that the response
itself takes back, and an earlier box when the last one is broken. The paper's own rules (`authors`) know none of this,
and get the response as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from r1zero.types import AnswerFormat
from r1zero.verify.extraction.authors import loosely_tagged, strictly_tagged
from r1zero.verify.extraction.boxes import balanced as balanced
from r1zero.verify.extraction.boxes import last_answer
from r1zero.verify.extraction.boxes import last_box as last_box
from r1zero.verify.extraction.stated import stated_answer
from r1zero.verify.extraction.turns import first_turn

_THINK_THEN_ANSWER = re.compile(r"</think>\s*<answer>")

# Atomic and possessive (`(?>`, `++`): an integer is taken whole or not at all, so no attempt backtracks through digits.
# Thousands are separated by a comma in any of its TeX dresses: 1,234  1{,}234  1,\!234.
_INTEGER = r"(?>[0-9]{1,3}(?:(?:,|\{,\}|,\\!)[0-9]{3}(?![0-9]))++|[0-9]++)"
_NUMBER = re.compile(
    # A minus is a sign unless it follows a digit, letter or closing bracket: "x = -3" but "10-3", "x-3", "f(2)-3".
    r"(?P<sign>(?<![\w)\]}])[-\u2212])?"
    r"(?:"
    rf"\\[dt]?frac\{{(?P<top>{_INTEGER})\}}\{{(?P<bottom>{_INTEGER})\}}"
    rf"|(?P<a>{_INTEGER})/(?P<b>{_INTEGER})(?![0-9]|\.[0-9])"
    rf"|(?P<plain>{_INTEGER}(?:\.[0-9]++)?|(?<![0-9])\.[0-9]++)"
    r")"
)


def extract(response: str, answer_format: AnswerFormat) -> str | None:
    """Return the final answer in `response`, stripped of outer white space, or None when it holds none in that format.

    Never raises and never guesses: an unclosed last box is None even if an earlier box was closed. Source: the answer
    extraction of understand-r1-zero's reward functions (PAPER.md 2.3); unlike it, any white space between the R1
    template's tags is accepted, because whether a tokenizer emits a blank or a line feed there is no mathematics, and
    boxes that are listed side by side are one answer with several parts. The two formats that are those functions'
    own rules accept what they accept; there alone an answer may be blank: formatted, and wrong.
    """
    authors_rule = _AUTHORS.get(answer_format)
    return _FORMATS[answer_format](first_turn(response)) if authors_rule is None else authors_rule(response)


def final_part(response: str) -> str:
    """Return what stands behind the reasoning: after the last `</think>`; nothing, if the reasoning was never ended."""
    _, mark, rest = response.rpartition("</think>")
    return rest if mark else "" if "<think>" in response else response


def _boxed(response: str) -> str | None:
    return last_answer(final_part(response))


def _bare(response: str) -> str | None:
    return response.strip() or None


def _auto(response: str) -> str | None:
    """Return the last box, else answer tags, else a stated final answer, else the last number or expression."""
    final = final_part(response)
    if "\\boxed" in final or "\\fbox" in final:
        return last_answer(final)
    start = final.rfind("<answer>")
    if start >= 0:
        inner, closed, _ = final[start + len("<answer>") :].partition("</answer>")
        return (inner.strip() or None) if closed else None
    return stated_answer(final)


def _tagged(response: str) -> str | None:
    """Return the R1 template's answer. Its prompt ends in `<think>`, so the response holds only the closing tag."""
    if _THINK_THEN_ANSWER.search(response) is None:
        return None
    start = response.rfind("<answer>") + len("<answer>")
    end = response.find("</answer>", start)
    if end < 0:
        return None
    answer = response[start:end].strip()
    return last_answer(answer) if "\\boxed" in answer else answer or None


def _last_number(response: str) -> str | None:
    """The last number: no thousands separators, an ASCII minus, fractions as `a/b`, no `$`, `%` or final period."""
    last = None
    for last in _NUMBER.finditer(response):  # noqa: B007
        pass
    if last is None:
        return None
    digits = last["plain"] or f"{last['top'] or last['a']}/{last['bottom'] or last['b']}"
    return ("-" if last["sign"] else "") + re.sub(r"[^0-9./]", "", digits)


_FORMATS: dict[AnswerFormat, Callable[[str], str | None]] = {
    AnswerFormat.BOXED: _boxed,
    AnswerFormat.ANSWER_TAGS: _tagged,
    AnswerFormat.LAST_NUMBER: _last_number,
    AnswerFormat.AUTO: _auto,
    AnswerFormat.BARE: _bare,
}
_AUTHORS: dict[AnswerFormat, Callable[[str], str | None]] = {
    AnswerFormat.ANSWER_TAGS_STRICT: strictly_tagged,
    AnswerFormat.ANSWER_TAGS_LOOSE: loosely_tagged,
}
