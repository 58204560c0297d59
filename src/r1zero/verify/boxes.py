r"""`\boxed{…}`: the last one, and the boxes listed right before it.

Boxes that are joined by nothing but commas, `and` or `or` are one answer with several parts; a response that lists
several different ones has said them all, and is wrong where one was asked for. A box behind other words (`\boxed{1},
wait, \boxed{2}`) replaces what came before.
"""

from __future__ import annotations

import re

from r1zero.verify.table import words

_BRACE_OR_ESCAPE = re.compile(r"\\.|[{}]", re.DOTALL)
_MACROS = ("\\boxed", "\\fbox")
_UNBRACED = re.compile(r"\s+(-?[0-9]+(?:[./][0-9]+)*|[A-Za-z](?![A-Za-z]))|([0-9])")
_MAX_GAP = 80
_MAX_BOXES = 100
_DRESS = re.compile(r"\$|\\[()\[\]]|\\(?:quad|qquad|text|mbox|textbf|[,;:! \\])|[{}~*&\s]+")
_NAME = re.compile(r"[A-Za-z](?:_\{?[A-Za-z0-9]\}?)?\s*=")
_REVISION = words(
    """
    but thus so then wait no not actually hence therefore instead correct correction rather sorry mistake final
    otherwise however yes check
    """
)
_MAX_WORDS = 5


def last_answer(text: str) -> str | None:
    r"""The content of the last box, or of the list of boxes that ends there, joined by commas.

    None when there is none, or the last has no content, or is not closed. `\boxed 7` is read as TeX does.
    """
    start = _last_start(text, len(text))
    last = None if start < 0 else _content(text, start)
    if last is None:
        return None
    answers = [last[0]]
    for _ in range(_MAX_BOXES):
        before = _last_start(text, start)
        found = None if before < 0 else _content(text, before)
        if found is None or found[1] > start or not _joins(text[found[1] : start]):
            break
        answers.insert(0, found[0])
        start = before
    different = list(dict.fromkeys(answers))
    return ", ".join(different)


def last_box(text: str) -> str | None:
    r"""The content of the last `\boxed{…}` alone, or None when it is unclosed or blank."""
    start = _last_start(text, len(text))
    found = None if start < 0 else _content(text, start)
    return None if found is None else found[0]


def balanced(text: str) -> bool:
    r"""Whether the braces of `text` match; `\{` and `\}` do not count, nor does a brace after any other backslash."""
    return _closing_brace("{" + text + "}", 0, len(text) + 2) == len(text) + 1


def _last_start(text: str, end: int) -> int:
    return max(text.rfind(macro, 0, end) for macro in _MACROS)


def _content(text: str, start: int) -> tuple[str, int] | None:
    """What the box at `start` holds and where it ends, or None."""
    macro = next(macro for macro in _MACROS if text.startswith(macro, start))
    opening = start + len(macro)
    while opening < len(text) and text[opening].isspace():
        opening += 1
    if text.startswith("{", opening):
        closing = _closing_brace(text, opening, len(text))
        inner = "" if closing is None else text[opening + 1 : closing].strip()
        return (inner, closing + 1) if inner and closing is not None else None
    bare = _UNBRACED.match(text, start + len(macro))
    return (bare[1] or bare[2], bare.end()) if bare is not None else None


def _closing_brace(text: str, opening: int, end: int) -> int | None:
    """The index of the brace that closes the one at `opening`, or None."""
    depth = 0
    for token in _BRACE_OR_ESCAPE.finditer(text, opening, end):
        if token[0] == "{":
            depth += 1
        elif token[0] == "}":
            depth -= 1
            if depth == 0:
                return token.start()
    return None


def _joins(gap: str) -> bool:
    """Whether what stands between two boxes makes them parts of one answer."""
    if len(gap) > _MAX_GAP:
        return False
    bare = _NAME.sub(" ", _DRESS.sub(" ", gap))
    words = [word.lower() for word in re.findall(r"[A-Za-z]+", bare)]
    if re.sub(r"[A-Za-z,;\s]+|\([a-z]\)", "", bare):
        return False
    if not words:
        return True
    others = [word for word in words if word not in ("and", "or", "also")]
    joined = len(others) < len(words)
    return joined and len(others) <= _MAX_WORDS and not _REVISION.intersection(others)
