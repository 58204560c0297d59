r"""The paper's own rules of where a tagged answer stands, to grade as its tables and curves were graded.

`understand_r1_zero/math_grader.py` of sail-sg/understand-r1-zero at dfca49d: `answer_tag_reward_fn`, by which the R1
template is trained and evaluated, and `answer_tag_reward_fn_for_orz`, for Open-Reasoner-Zero's models. They look for
exact substrings, anywhere in the response and in any order, and tell two things apart: a response without them is
unformatted (None here); one with them whose answer cannot be read is formatted and wrong (a blank answer here).
"""

from __future__ import annotations

import re

_BRACE = re.compile(r"[{}]")
_BOX, _OPEN = r"\boxed", r"\boxed{"


def strictly_tagged(response: str) -> str | None:
    """Return the answer of a response that holds `</think> <answer>`, with one blank, and `</answer>`; else None."""
    return _answer(response) if "</think> <answer>" in response and "</answer>" in response else None


def loosely_tagged(response: str) -> str | None:
    """Return the answer of a response that holds `<answer>` and `</answer>`; else None."""
    return _answer(response) if "<answer>" in response and "</answer>" in response else None


def _answer(response: str) -> str:
    """Return all that stands behind the last `<answer>`, without closing tags; of a box in it the content."""
    answer = response.rpartition("<answer>")[2].replace("</answer>", "")
    return (_box(answer) if _BOX in answer else answer).strip()


def _box(answer: str) -> str:
    r"""Return what the last `\boxed` holds; blank if a brace is not right behind it, or is never closed.

    Braces are counted whether they are escaped or not, and the last box alone counts.
    """
    box = answer[answer.rindex(_BOX) :]
    depth = 0
    for brace in _BRACE.finditer(box):
        depth += 1 if brace[0] == "{" else -1
        if brace[0] == "}" and depth == 0:
            return box[len(_OPEN) : brace.start()] if box.startswith(_OPEN) else ""
    return ""
