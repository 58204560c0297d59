r"""The cheap exact path: what can be decided in the caller's process, in bounded time, without a worker.

    text      the same text, but for dress
    choice    the same option, of which one side says the text too
    number    two plain numbers, compared as exact fractions
    …         the rules of `r1zero.verify.answers.rules`, on the parsed answers

What stays open goes on to Math-Verify, unless it would explode or be misread there (`r1zero.verify.math_verify_guard`).
"""

from __future__ import annotations

import re

from r1zero.types import Outcome, Verdict
from r1zero.verify.answers.characters import plain
from r1zero.verify.answers.choices import choice, same_choice
from r1zero.verify.answers.equality import ROUNDED_DIGITS, usable
from r1zero.verify.answers.grammar import parse
from r1zero.verify.answers.numbers import decimals, number, tidy
from r1zero.verify.answers.purse import TooLargeError, purse
from r1zero.verify.answers.rules import same
from r1zero.verify.answers.tokens import MAX_CHARS
from r1zero.verify.golds import unreadable
from r1zero.verify.math_verify_guard import has_prose, is_foreign, is_unfaithful, refusal

_DRESS = re.compile(r"\\(?:displaystyle|text(?:bf|it|rm)?|mathrm|mbox|left|right|q?quad|[,; ])|[${}]")


def grade_exact(gold: str, answer: str) -> Verdict | None:
    """Right or wrong where that is certain without algebra by others, else None. Pure; never raises.

    An answer that is refused because of its size or its characters is wrong; a gold
    answer that is refused leaves the verdict ungraded.
    """
    try:
        why = unreadable(gold)
        if why is not None:
            return Verdict(Outcome.UNGRADED, rule=f"gold unreadable: {why}")
        by_letter = same_choice(gold, answer)
        if by_letter is not None:
            return Verdict(Outcome.RIGHT if by_letter else Outcome.WRONG, rule="choice")
        verdict = _graded(_short(gold), _short(answer))
        option = choice(gold) if verdict is None or not verdict.right else None
        if option is not None and option.text:  # `(B) 12` is 12, too
            by_text = _graded(_short(option.text), _short(answer))
            return by_text if by_text is not None and by_text.right else verdict
        return verdict
    except Exception as error:  # noqa: BLE001  a fault of ours costs this verdict, and is counted, but never the run
        return Verdict(Outcome.UNGRADED, rule=f"exact path failed: {type(error).__name__}")


def _short(text: str) -> str:
    """`tidy` of a text of a readable length; a longer one is only stripped."""
    return tidy(text) if len(text) <= 2 * MAX_CHARS else text.strip()


def _graded(gold: str, answer: str) -> Verdict | None:
    if not answer:
        return Verdict(Outcome.WRONG, rule="blank")
    if gold == answer:
        return Verdict(Outcome.RIGHT, rule="text")
    if len(answer) > MAX_CHARS:
        return Verdict(Outcome.WRONG, rule="refused: too long")
    gold_number, answer_number = number(gold), number(answer)
    if gold_number is not None and answer_number is not None:
        if gold_number == answer_number:
            return Verdict(Outcome.RIGHT, rule="number")
        if max(decimals(gold) or 0, decimals(answer) or 0) < ROUNDED_DIGITS:  # else one may be the other, rounded
            return Verdict(Outcome.WRONG, rule="number")
    return _by_shape(gold, answer)


def _by_shape(gold: str, answer: str) -> Verdict | None:
    gold_shape, answer_shape = parse(gold), parse(answer)
    if gold_shape is not None and answer_shape is not None:
        try:
            with purse():
                judged, rule = same(gold_shape, answer_shape)
        except (TooLargeError, RecursionError) as error:
            why = str(error) or "nested too deeply"
            if usable(gold_shape):
                return Verdict(Outcome.WRONG, rule=f"refused: {why}")
            return Verdict(Outcome.UNGRADED, rule=f"gold refused: {why}")
        if judged is not None:
            return Verdict(Outcome.RIGHT if judged else Outcome.WRONG, rule=rule)
    return _kept_back(plain(gold), plain(answer))


def _kept_back(gold: str, answer: str) -> Verdict | None:
    """Return what Math-Verify must not see."""
    if is_foreign(answer) or is_foreign(gold):
        same_text = gold.casefold() == answer.casefold()
        return Verdict(Outcome.RIGHT if same_text else Outcome.WRONG, rule="characters")
    for rule, holds in (("words", has_prose), ("notation", is_unfaithful)):
        if holds(gold) or holds(answer):
            same_text = _letters_and_digits(gold) == _letters_and_digits(answer)
            return Verdict(Outcome.RIGHT if same_text else Outcome.WRONG, rule=rule)
    if "dots" in gold + answer:
        return Verdict(Outcome.WRONG, rule="ellipsis")
    why = refusal(gold)
    if why is not None:
        return Verdict(Outcome.UNGRADED, rule=f"gold refused: {why}")
    why = refusal(answer)
    return None if why is None else Verdict(Outcome.WRONG, rule=f"refused: {why}")


def _letters_and_digits(text: str) -> str:
    """Return a text with prose in it, as it is compared: without blanks, case and macros that only dress."""
    return "".join(_DRESS.sub("", text).split()).casefold()
