"""What the rules in verdicts mean: one table, for `r1zero verify` and the documentation."""

from __future__ import annotations

MEANING = {
    "text": "the same text, but for blanks, dollar signs and a final period",
    "number": "two plain numbers, compared exactly",
    "same": "the same notation, but for dress",
    "empty set": "the empty set is nothing else",
    "choice": "the letter of a choice, or the value that stands beside it",
    "words": "words, compared as words",
    "name and value": "the value that a name or a chain of equalities states",
    "equation": "equations, compared up to a constant factor",
    "interval": "intervals, inequalities and unions, compared by their ends",
    "matrix": "matrices, entry by entry",
    "list": "lists and sets in any order, tuples in theirs",
    "unit": "a value with a unit or a percent sign",
    "value": "the same value, exactly or at several points",
    "kind": "different kinds of answer",
    "notation": "notation that stands for no answer of its own, so only the same text is right",
    "characters": "characters that no notation has, so only the same text is right",
    "ellipsis": "dots stand for what was left out, so only the same text is right",
    "blank": "the answer is blank",
    "math_verify": "Math-Verify compared them",
    "unparsed": "Math-Verify cannot read the answer",
    "gold unparsed": "Math-Verify cannot read the gold answer",
    "no answer": "the response holds no answer in this format",
    "no gold": "there is no gold answer",
    "worker died": "the grading process died, perhaps of its memory limit",
}
_WITH_A_REASON = {
    "refused": "the answer was refused unseen",
    "gold refused": "the gold answer was refused unseen",
    "gold unreadable": "the gold answer is of no use",
}


def explained(rule: str) -> str:
    """Return a rule with its meaning."""
    meaning = MEANING.get(rule) or _WITH_A_REASON.get(rule.partition(": ")[0])
    return f"{rule} ({meaning})" if meaning else rule
