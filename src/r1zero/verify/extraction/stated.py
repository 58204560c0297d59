r"""Answers stated in prose: after a phrase such as "the final answer is", else the last expression or number."""

from __future__ import annotations

import re

from r1zero.verify.answers.grammar import parse
from r1zero.verify.answers.tokens import MAX_CHARS

_PHRASE = re.compile(
    r"(?:final\s+answer|answer|result|(?:correct\s+)?(?:option|choice)(?=\s+is)|r[ée]ponse|respuesta|antwort|答案|答)\s*(?:is|are|est|es|ist|是|为|為)?\s*[:：]?(?=\W)"
    r"(?:\s*\**)",
    re.IGNORECASE,
)
_CLOSING = re.compile(r"\.?\s*(?:I hope it is correct\.?|Hope this helps[.!]?)\s*$", re.IGNORECASE)
# Each `$` and `\[` opens and closes at the next one of its kind: possessive, so linear.
_MATHS = re.compile(
    r"\$\$([^$]++)\$\$|\$((?:[^$\\]|\\.)++)\$"
    r"|\\\(((?:[^\\]|\\(?!\)))*+)\\\)"
    r"|\\\[((?:[^\\]|\\(?!\]))*+)\\\]",
    re.DOTALL,
)
_WHOLE = r"(?>[0-9]{1,3}(?:(?:,|\{,\}|,\\!)[0-9]{3}(?![0-9]))++|[0-9]++)"
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)\]}])[-+\u2212]\s?)?(?:"
    r"(?P<fraction>\\[dtc]?frac\{-?[0-9]++\}\{[0-9]++\})"
    rf"|(?P<a>(?<![A-Za-z0-9.,]){_WHOLE})/(?P<b>[0-9]++)(?![0-9]|\.[0-9])"
    r"|(?P<comma>(?<![A-Za-z0-9.,])[0-9]++,[0-9]{1,2}(?![0-9,]))"
    rf"|(?P<plain>(?<![A-Za-z0-9.]){_WHOLE}(?:\.[0-9]++)?|(?<![\w.])\.[0-9]++)(?![A-Z])"
    r")(?P<percent>\s?\\?%)?"
)
_TAIL = 3000
# Behind these words stands why, and no longer what: "C because I computed it".
_REASON = re.compile(r",?\s+(?:because|since|due to|given that|owing to)\s", re.IGNORECASE)
_ENDS = re.compile(r"\n\s*\n|\n(?=[A-Z#*-])|(?<=[^0-9])\.\s|\.\s+(?=[A-Z])|\.$")


def stated_answer(text: str) -> str | None:
    """Return the answer of a response without box and tags; None if it holds neither an expression nor a number.

    The last statement of a final answer counts, and within it the last formula, else the whole if it can be read as an
    answer, else the last number. Without such a statement the last formula or number of the text counts.
    """
    text = _CLOSING.sub("", text[-_TAIL:].rstrip())
    phrases = [found for found in _PHRASE.finditer(text) if text[found.end() :].strip(" *$.:\n")]
    for found in reversed(phrases[-3:]):
        statement = _sentence(text[found.end() :])
        answer = _within(statement)
        if answer is not None:
            return answer
    return _last(text)


def _sentence(text: str) -> str:
    text = text.lstrip(" :\n*")
    for end in (_ENDS.search(text), _REASON.search(text)):
        text = text if end is None else text[: end.start()]
    return text.strip(" *\n.")


def _within(statement: str) -> str | None:
    formula = _last_formula(statement)
    if formula is not None and not _NUMBER.search(statement, formula[1]):
        return formula[0]
    if 0 < len(statement) <= MAX_CHARS and "$" not in statement and parse(statement) is not None:
        return statement
    return _last(statement)


def _last(text: str) -> str | None:
    """Return the last formula or number, whichever ends later."""
    formula, number = _last_formula(text), _last_number(text)
    if formula is not None and (number is None or number[1] <= formula[1]):
        return formula[0]
    return None if number is None else number[0]


def _last_formula(text: str) -> tuple[str, int] | None:
    """The last text between maths marks that can be an answer, and where it ends."""
    best = None
    for best in _MATHS.finditer(text):  # noqa: B007
        pass
    if best is None:
        return None
    inner = next(group for group in best.groups() if group is not None).strip()
    if not inner or re.search(r"[a-z]{3,} [a-z]{3,}", inner):  # two dollar amounts with prose between them
        return None
    shape = parse(inner)
    if shape is None and "=" in inner:
        inner = inner.rpartition("=")[2].strip() or inner
    return inner, best.end()


def _last_number(text: str) -> tuple[str, int] | None:
    last = None
    for last in _NUMBER.finditer(text):  # noqa: B007
        pass
    if last is None:
        return None
    sign = "-" if (last["sign"] or "+").strip() != "+" else ""
    spelled = last["fraction"] or last["plain"] or (f"{last['a']}/{last['b']}" if last["a"] else "")
    spelled = spelled or last["comma"].replace(",", ".")
    return sign + spelled + ("\\%" if last["percent"] else ""), last.end()
