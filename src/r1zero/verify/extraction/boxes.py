r"""`\boxed{…}`: the last one, and the boxes listed right before it.

A list of boxes is one answer with several parts, whatever joins them: commas, `and`, `or`, `maybe`, bullets, numbers.
So a response that lists several different ones has said them all, and is wrong where one was asked for. A box behind
words that go on or revise (`\boxed{1}, wait, \boxed{2}`) or behind mathematics replaces what came before. A box in a
box is part of it.
"""

from __future__ import annotations

import re
from itertools import islice

from r1zero.verify.answers.tokens import words

_BRACE_OR_ESCAPE = re.compile(r"\\.|[{}]", re.DOTALL)
_MACROS = ("\\boxed", "\\fbox")
_BLANKS = re.compile(r"\s*+")
_UNBRACED = re.compile(r"\s++(-?[0-9]+(?:[./][0-9]+)*|[A-Za-z](?![A-Za-z]))|([0-9])")
_MAX_BRACES = 20_000
"""Braces and commands after which a box must have closed: more is a loop, not an answer."""
_MAX_NESTED = 4000
_MAX_GAP = 120
_MAX_BOXES = 100

_DRESS = re.compile(
    r"\$|\\[()\[\]]|\\[hv]?phantom\{[^{}]*\}|\\(?:qquad|quad|textbf|text|mbox|lor|vee|mid|vert|[,;:! \\])|[{}~*&]"
)
_BULLET = re.compile(r"\n\s*+[-+•–—](?=\s|$)")  # elsewhere it is a minus
_NUMBERED = re.compile(r"(?<!\w)\(?(?:[0-9]{1,2}|[A-Za-z]|[ivxIVX]{1,4})[.):](?!\w)")
_NAME = re.compile(r"[A-Za-z](?:_\{?[A-Za-z0-9]\}?)?\s*=")
_SEPARATORS = re.compile(r"(?:[,;:.!?/|()\[\]\"'…–—\s]|--)+")
_WORD = re.compile(r"[^\W\d_]+")
_REVISION = words(
    """
    but thus so then wait no not actually hence therefore instead correct correction rather sorry mistake final
    otherwise however yes check
    """
)
_JOINING = words(
    """
    and or also maybe perhaps possibly probably likely alternatively alternative alternatives either else another
    might may could vs versus ou oder und et 或 和
    """
)
_LABELS = words(
    """
    option case answer answers possible possibility choice candidate first second third part solution step attempt
    guess try value
    """
)
_MAX_WORDS = 5
# What a response says of its box right behind or before it that makes it no answer.
_TAKEN_BACK = re.compile(
    r"[^\w\\]{0,12}(?:(?:is|was|are|seems|looks)\s++)?"
    r"(?:wrong|incorrect|mistaken|invalid|impossible|not\s++(?:correct|right|valid|possible|the\s++answer))\b"
)
_DENIED = re.compile(r"(?:\bnot|n't|\bnever|\bcannot be|\binstead of|\brather than)[\s:$({\[\\*]*\Z")
_LOOK_BACK = 30
# An empty box behind these words repeats the instruction to answer in one.
_ASKED = re.compile(r"\b(?:within|in|inside|into|using|with|like|as)\s+(?:an?\s+|the\s+)?[$`\"'(]*\Z")
_EMPTY_BOX = re.compile(r"\\(?:boxed|fbox)\s?\{\s?\}")


def last_answer(text: str) -> str | None:
    r"""Return the content of the last box, or of the list of boxes that ends there, joined by commas.

    None when there is none, or the last has no content, is not closed, runs on in digits or is taken back. `\boxed 7`
    is read as TeX does; the empty box of a repeated instruction (`put your final answer within \boxed{}`) is no box.
    """
    start = _last_start(text, 0, len(text))
    for _ in range(_MAX_BOXES):
        if start < 0 or not (_EMPTY_BOX.match(text, start) and _ASKED.search(text[max(0, start - _LOOK_BACK) : start])):
            break
        start = _last_start(text, 0, start)
    last = None if start < 0 else _content(text, start)
    if last is None:
        return None
    start, content, end = _outermost(text, start, *last)
    if text[end : end + 1].isdigit() or _TAKEN_BACK.match(text, end):
        return None
    if _DENIED.search(text[max(0, start - _LOOK_BACK) : start]):
        return None
    answer, seen = content, {content}
    for _ in range(_MAX_BOXES):
        before = _last_start(text, 0, start)
        found = None if before < 0 else _content(text, before)
        joint = None if found is None or found[1] > start else _joint(text[found[1] : start])
        if found is None or joint is None:
            break
        if found[0] not in seen:
            answer = f"{found[0]}{joint}{answer}"
        seen.add(found[0])
        start = before
    return answer


def last_box(text: str) -> str | None:
    r"""Return the content of the last `\boxed{…}` alone, or None when it is unclosed or blank."""
    start = _last_start(text, 0, len(text))
    found = None if start < 0 else _content(text, start)
    return None if found is None else found[0]


def balanced(text: str) -> bool:
    r"""Tell whether the braces of `text` match; `\{` and `\}` do not count, nor braces after another backslash."""
    return _closing_brace("{" + text + "}", 0, len(text) + 2) == len(text) + 1


def _last_start(text: str, begin: int, end: int) -> int:
    return max(text.rfind(macro, begin, end) for macro in _MACROS)


def _content(text: str, start: int) -> tuple[str, int] | None:
    """Return what the box at `start` holds and where it ends, or None."""
    macro = next(macro for macro in _MACROS if text.startswith(macro, start))
    found = _BLANKS.match(text, start + len(macro))
    opening = len(text) if found is None else found.end()
    if text.startswith("{", opening):
        closing = _closing_brace(text, opening, len(text))
        inner = "" if closing is None else text[opening + 1 : closing].strip()
        return (inner, closing + 1) if inner and closing is not None else None
    bare = _UNBRACED.match(text, start + len(macro))
    return (bare[1] or bare[2], bare.end()) if bare is not None else None


def _outermost(text: str, start: int, content: str, end: int) -> tuple[int, str, int]:
    """The outermost box around the one at `start`, or that one: (start, content, end). A box that holds nothing but a
    box holds what that one does."""
    outer, place = (start, content, end), start
    for _ in range(_MAX_BOXES):
        place = _last_start(text, max(0, start - _MAX_NESTED), place)
        if place < 0:
            break
        closing = _closing_brace(text, place, min(len(text), end + _MAX_NESTED))
        found = _content(text, place) if closing is not None and closing >= end else None
        if found is not None and found[1] > end:
            alone = found[0].strip("$ ") == text[outer[0] : outer[2]]
            outer = (place, outer[1] if alone else found[0], found[1])
    return outer


def _closing_brace(text: str, opening: int, end: int) -> int | None:
    """Return the index of the brace that closes the first one from `opening` on, or None."""
    depth = 0
    for token in islice(_BRACE_OR_ESCAPE.finditer(text, opening, end), _MAX_BRACES):
        if token[0] == "{":
            depth += 1
        elif token[0] == "}":
            depth -= 1
            if depth == 0:
                return token.start()
    return None


def _joint(gap: str) -> str | None:
    """Tell how two boxes with `gap` between them make one answer (as a list, or as an equation); None if they do not.

    What is left of the gap without dress, list marks and names must be no mathematics and no prose of its own.
    """
    lines = [line.strip() for line in gap.split("\n")]
    gap = "\n".join(line for place, line in enumerate(lines) if line or place == 0)
    if len(gap) > 10 * _MAX_GAP:
        return None
    bare = _NAME.sub(" ", _NUMBERED.sub(" ", _BULLET.sub(" ", _DRESS.sub(" ", gap)))).strip()
    if bare == "=":
        return " = "
    if len(bare) > _MAX_GAP or re.sub(r"\s+", "", _WORD.sub("", _SEPARATORS.sub(" ", bare))):
        return None
    spoken = [word.lower() for word in _WORD.findall(bare)]
    if _REVISION.intersection(spoken):
        return None
    others = [word for word in spoken if word not in _JOINING and word not in _LABELS]
    is_joined = not _JOINING.isdisjoint(spoken)
    return ", " if not others or (is_joined and len(others) <= _MAX_WORDS) else None
