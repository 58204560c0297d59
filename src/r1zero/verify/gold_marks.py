r"""Where a gold that is a whole solution marks its final answer: a box, `####`, answer tags, `Final answer:`, bold.

The last mark counts. What stands behind it is its answer where that is unmistakable: alone, or before a remark without
any number (`Great!`, `I hope it is correct.`). Linear in the text's length: marks are found by short patterns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from r1zero.verify.extraction.boxes import last_answer
from r1zero.verify.math_verify_guard import has_prose

NUMERAL = re.compile(
    r"[0-9]|\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)"
    r"teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|thousand)\b",
    re.IGNORECASE,
)
_TAIL = 300  # characters at the end, in which stop tokens and closing words are looked for
_MOST = 200  # characters of a stated answer
_ENDING = re.compile(
    r"(?:\s|</answer>|</?s>|<(?:eos|pad|end_of_turn)>|<\|[\w ]{1,30}\|>|\[EOS\]"
    r"|(?<![A-Za-z])(?:I\s+hope\s+(?:it|this)\s+is\s+correct|(?:I\s+)?hope\s+(?:this|that)\s+helps)[.!]?)++\Z",
    re.IGNORECASE,
)
_HASHES = re.compile(r"(?<!#)####(?!#)")
_STATED = re.compile(
    r"(?<![A-Za-z])(?:answer[ \t*_]{0,6}(?:(?:is|are)\b|[:：=\n])"
    r"|(?:ans|solution|result)[ \t*_]{0,6}[:：]"
    r"|(?:答案|答え|ответ|respuesta|réponse|resposta|risposta|antwort)[ \t*]{0,6}"
    r"(?:是|为|為|は|(?:es|est|ist|é|è)\b|[:：=]))",
    re.IGNORECASE,
)
_LOOK_BACK = 60
_BEFORE_STATED = re.compile(
    r"(?:\A|[\n.:;,!?>。，；：]|\b(?:so|thus|hence|therefore|that|then|and)\b)[\s*#_]*"
    r"(?:(?:the|our|my|final|correct)\s+)*\Z",
    re.IGNORECASE,
)
_LEADING = re.compile(r"[\s*:：_]*(?:(?:therefore|thus|then|hence|simply|just)\b[\s*:：_,]*)?", re.IGNORECASE)
_GOES_ON = re.compile(r"[0-9)$}%][.!?]\s+(?=\S)|[.!?]\s+(?=check\b)", re.IGNORECASE)
_CHECK = re.compile(r"(?:check|verification|proof)\b", re.IGNORECASE)
_REVISED = re.compile(r"\b(?:wait|no|not|wrong|actually|or|but|instead|unless|if|than)\b|n't\b", re.IGNORECASE)
_LAST_LINE = re.compile(r"(?:\*\*([^*\n]{1,200})\*\*\.?|#{1,3}[ \t]+([^#\n]{1,200}))\Z")


@dataclass(frozen=True, slots=True)
class Mark:
    """A place where a text marks its final answer; `answer` is None where it is not clear what that is."""

    start: int
    answer: str | None


def last_mark(gold: str) -> Mark | None:
    """Return the last mark of a final answer in a gold, or None where it has none."""
    text = _without_ending(gold)
    if text.endswith("####"):  # nothing stands behind it: what stands before is the answer, if that is alone
        bare = text.rstrip("# \t\n")
        is_alone = bool(bare) and "\n" not in bare and "=" not in bare and not has_prose(bare)
        return _last_of(bare) or Mark(len(bare), bare if is_alone else None)
    return _last_of(text)


def _last_of(text: str) -> Mark | None:
    found = [mark for read in (_boxed, _behind_hashes, _in_tags, _stated, _set_off) if (mark := read(text)) is not None]
    return max(found, key=lambda mark: mark.start, default=None)


def _without_ending(text: str) -> str:
    """Return a text without stop tokens and closing words at its end."""
    text = text.rstrip()
    found = _ENDING.search(text, max(0, len(text) - _TAIL))
    return text if found is None else text[: found.start()]


def _boxed(text: str) -> Mark | None:
    start = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    answer = last_answer(text) if start >= 0 else None
    return None if answer is None else Mark(start, answer)


def _behind_hashes(text: str) -> Mark | None:
    start = text.rfind("####")
    if start < 0 or not _HASHES.match(text, start):
        return None
    line, _, rest = text[start + 4 :].strip().partition("\n")
    return Mark(start, _undressed(line) if _is_remark(rest) else None)


def _in_tags(text: str) -> Mark | None:
    start = text.rfind("<answer>")
    if start < 0:
        return None
    inner, _, rest = text[start + 8 :].partition("</answer>")
    return Mark(start, inner.strip() if inner.strip() and _is_remark(rest) else None)


def _stated(text: str) -> Mark | None:
    start = end = -1
    for found in _STATED.finditer(text):
        is_begun = _BEFORE_STATED.search(text, max(0, found.start() - _LOOK_BACK), found.start())
        if (is_begun or not found[0].isascii()) and text[found.end() :].strip(" \t\n*:."):
            start, end = found.span()
    if start < 0:
        return None
    line, _, rest = _behind(text, end).partition("\n")
    ends = _GOES_ON.search(line)
    if ends is not None:
        line, more = line[: ends.start() + 1], line[ends.end() :]
        value = line.strip(" \t*.!?")
        is_checked = bool(_CHECK.match(more)) and re.search(rf"(?<!\w){re.escape(value)}(?!\w)", more) is not None
        rest = rest if is_checked else f"{more}\n{rest}"
    is_clear = 0 < len(line) <= _MOST and _is_remark(rest)
    return Mark(start, _undressed(line.rstrip(" \t*.")) if is_clear else None)


def _behind(text: str, end: int) -> str:
    found = _LEADING.match(text, end)
    return text[end if found is None else found.end() :]


def _set_off(text: str) -> Mark | None:
    r"""Return a last line that is bold, or a heading, and holds no words: `We get 12.\n\n**12**`."""
    start = text.rfind("\n") + 1
    found = _LAST_LINE.match(text, start)
    if found is None or (start == 0 and found[1]):  # all of a text in bold is no mark, and read as it is
        return None
    shown = (found[1] or found[2]).strip()
    return Mark(start, shown) if NUMERAL.search(shown) and not has_prose(shown) else None


def _undressed(line: str) -> str | None:
    """Return a line without Markdown's bold and one pair of dollars around the whole; None where nothing is left."""
    line = line.strip()
    for dress in ("**", "$"):
        inner = line[len(dress) : -len(dress)].strip()
        if line.startswith(dress) and line.endswith(dress) and inner and dress not in inner:
            line = inner
    return line or None


def _is_remark(rest: str) -> bool:
    """Tell whether what follows an answer leaves it as it is: nothing, or words without number, formula or revision."""
    if not rest.strip(" \t\n*."):
        return True
    return (
        not re.search(r"[=\\$#]", rest) and not NUMERAL.search(rest) and not _REVISED.search(rest) and has_prose(rest)
    )
