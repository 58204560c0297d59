r"""Gold answers: the answer that a gold states at the end of a whole solution, and what cannot be graded at all.

Sets come with golds such as `12 + 24 = 36 … #### 36`, `so $x = \boxed{15}$`, `Final answer: 14` and `['12']`. Where
the mark is unmistakable, the answer behind it is the gold; what cannot be graded is listed, and never scored.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from r1zero.types import Question
from r1zero.verify.answers.characters import INVISIBLE
from r1zero.verify.answers.equality import usable
from r1zero.verify.answers.grammar import parse
from r1zero.verify.answers.tokens import MAX_CHARS
from r1zero.verify.answers.tree import Opaque, Words
from r1zero.verify.extraction.boxes import balanced
from r1zero.verify.gold_marks import NUMERAL, last_mark
from r1zero.verify.math_verify_guard import has_prose

_LISTED = re.compile(r"[\[({]\s*[\[({]*\s*(?:'[^']*'|\"[^\"]*\")\s*(?:[,:'\"\])}\s].*)?[\])}]", re.DOTALL)
_ADJACENT = re.compile(r"['\"]\s+['\"]")  # numpy's way: Python would read the two as one text
_MOST_WORDS = 20  # of a gold that is one sentence
# Arithmetic that is carried out: `25 + 25 = 75`, GSM8K's `<<12*3=36>>`.
_COMPUTED = re.compile(
    r"[0-9)][%$\s]{0,5}(?:[-+*/×÷−]|x(?=\s)|\\times|\\cdot|\\div)\s{0,5}[$(]*[0-9]"
    r"(?:[0-9.,%$\s()+*/×÷−-]|x(?=\s)|\\times|\\cdot|\\div){0,120}=\s{0,5}[$(<−-]*[0-9]"
)
_CONCLUDING = re.compile(
    r"\b(?:we|let|so|thus|hence|therefore|because|gives?|gets?|got|leaves|makes|equals|totals?|yields?|becomes|answer)\b",
    re.IGNORECASE,
)
# The grammar may read these as letters and units; they are words of a solution all the same.
_SOLVING = re.compile(r"\b(?:we|let|gets?|got|gives?|leaves|makes|remain|answer)\b", re.IGNORECASE)
_FOREIGN_SOLVING = re.compile("所以|因此|得到|我们|我們|поэтому|значит|donc|daher", re.IGNORECASE)
_FOREIGN_WORD = re.compile(r"[^\W\d_a-zA-ZͰ-Ͽ]{2}")
_SAYING = re.compile(
    r"\b(?:is|are|was|were|has|have|had|will|can|there|he|she|they|it|since|then)\b|[^\W\d_a-zA-ZͰ-Ͽ]{4}", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"[.!?]\s+(?=[A-Z])")
_SENTENCE = "a sentence, so only the same words are right"
_FEWEST_WORDS = 3  # of a sentence
_COSTLY = ("^", "!", "binom", "**")


@dataclass(frozen=True, slots=True)
class GoldFault:
    """One accepted answer that is of no use, and why."""

    question: str
    gold: str
    why: str


@lru_cache(maxsize=4096)
def final_gold(gold: str) -> str:
    """Return the answer that a gold marks as its final one, else the gold: of a whole solution what its last mark says
    (a box, `####`, answer tags, `final answer:`), where that is unmistakable; of a printed list of one text that text.
    """
    mark = last_mark(gold)
    answer = gold if mark is None else mark.answer
    if answer is None:
        return gold
    listed = _printed_list(answer)
    return listed[0].strip() if listed is not None and len(listed) == 1 else answer


def _printed_list(gold: str) -> list[str] | None:
    """Return the texts of a list, tuple, set or table as Python prints it, or None where it is none of texts alone."""
    if len(gold) > MAX_CHARS or not _LISTED.fullmatch(gold.strip()):
        return None
    if _ADJACENT.search(gold):
        return gold.split()
    try:
        found = ast.literal_eval(gold.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    while isinstance(found, list | tuple | set) and len(found) == 1:
        found = next(iter(found))
    if isinstance(found, str):
        return [found]
    if isinstance(found, dict):
        found = [*found, *found.values()]
    return list(map(str, found)) if isinstance(found, list | tuple | set) else None


@lru_cache(maxsize=4096)
def unreadable(gold: str) -> str | None:
    """Tell why nothing can be compared with this gold answer, not even the same text; None for nearly all."""
    if not gold.strip():
        return "blank"
    if len(gold) > MAX_CHARS:
        return "too long"
    if not balanced(gold):
        return "unbalanced braces"
    if any(not char.isprintable() and not char.isspace() for char in INVISIBLE.sub("", gold)):
        return "a character that cannot be printed"
    return None


def unusable(gold: str) -> str | None:
    """Tell why no response can be graded by a gold answer: it is `unreadable`, or a text that marks no answer."""
    why = unreadable(gold)
    if why is None and "\\boxed" in gold:
        return "its last box holds no answer"
    if why is None and (listed := _printed_list(gold)) is not None:
        return f"a printed list of {len(listed)} answers, and nothing says whether one or all are asked for"
    if why is None and (mark := last_mark(gold)) is not None and mark.answer is None:
        return "it is not clear which answer its last mark gives"
    if why is None and ((len(gold.split()) > _MOST_WORDS and has_prose(gold)) or _is_working(gold)):
        return "a text that marks no final answer"
    return why


def _is_working(gold: str) -> bool:
    """Tell whether a gold is a sentence that computes or concludes (`25 + 25 = 50, so 50 pears`), or several sentences
    with a number: no answer, for no response is the same text. A value with its unit, a name, an interval is none."""
    if not NUMERAL.search(gold):
        return False
    if _FOREIGN_SOLVING.search(gold) or (_SOLVING.search(gold) and len(gold.split()) >= _FEWEST_WORDS):
        return True
    computed = len(_COMPUTED.findall(gold))
    if computed > 1 or (computed and has_prose(gold)):
        return True
    if not (has_prose(gold) or _SAYING.search(gold) or _FOREIGN_WORD.search(gold)) or _is_read(gold):
        return False
    sentences = [piece for piece in _SENTENCE_END.split(gold) if len(piece.split()) >= _FEWEST_WORDS]
    return len(sentences) > 1 or _CONCLUDING.search(gold) is not None


def _wordy(gold: str) -> str | None:
    """Tell why a gold with a number is right in its own words only: it says something (`Alice is 5 years older`), or
    is more words than the grammar reads. It may be an option's text, so it is kept."""
    if not NUMERAL.search(gold) or _is_read(gold):
        return None
    if _SAYING.search(gold):
        return _SENTENCE
    is_long = len(gold.split()) > _FEWEST_WORDS and has_prose(gold)
    return "words around a number, so only the same words are right" if is_long else None


def _is_read(gold: str) -> bool:
    """Tell whether the grammar reads a gold as an answer that is more than words."""
    return not isinstance(parse(gold), Words | Opaque | None)


def gold_fault(gold: str) -> str | None:
    """Tell why a gold answer is of no use, or of little: it is `unusable`, a sentence, or too large to compute."""
    why = unusable(gold)
    if why is None:
        why = _wordy(gold)
    if why is None and any(mark in gold for mark in _COSTLY):
        shape = parse(gold)
        if shape is not None and not usable(shape):
            return "too large to compute, so only the same text is right"
    return why


@dataclass(frozen=True, slots=True)
class ReadGolds:
    """A set's questions with golds that can be graded: each the final answer that it marks. `taken` are golds that
    were whole solutions, with what was taken of them; `left_out` those of the questions that have no usable gold;
    `costly` those that are right as the same text only.
    """

    questions: tuple[Question, ...]
    taken: tuple[tuple[str, str], ...]
    left_out: tuple[GoldFault, ...]
    costly: tuple[GoldFault, ...]

    @property
    def sentences(self) -> tuple[GoldFault, ...]:
        """Those of `costly` that are sentences: a set of which most are such has its answers in another column."""
        return tuple(fault for fault in self.costly if fault.why == _SENTENCE)


def read_golds(questions: Iterable[Question]) -> ReadGolds:
    """Take the final answer from every gold of a set, and leave out the questions that no response can be graded by."""
    kept, taken, left_out, costly = [], [], [], []
    for question in questions:
        golds = tuple(dict.fromkeys(map(final_gold, question.gold)))
        taken += [(gold, final_gold(gold)) for gold in question.gold if final_gold(gold) != gold]
        faults = [(GoldFault(question.id, gold, why), unusable(gold)) for gold in golds if (why := gold_fault(gold))]
        unusables = [fault for fault, why in faults if why]
        if len(unusables) == len(golds):
            left_out += unusables
            continue
        costly += [fault for fault, why in faults if not why]
        kept.append(question if golds == question.gold else replace(question, gold=golds))
    return ReadGolds(tuple(kept), tuple(taken), tuple(left_out), tuple(costly))


def listed(faults: Sequence[GoldFault], most: int = 5) -> str:
    """Return the first faults as a sentence's end: `set/3 (unbalanced braces); …`."""
    shown = "; ".join(f"{fault.question} ({fault.why})" for fault in faults[:most])
    return shown + (f" and {len(faults) - most:,} more" if len(faults) > most else "")
