"""The judge that is always there: both rubrics by rules that anyone can read, no model asked.

Each rule is a row: a name, a pattern, where it looks, and what a hit is worth. The judge is weaker than a good language
model on implicit reflection, so its name stands in every output, and its agreement with a language model is measured
wherever both have judged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from r1zero.analyze.judges.rubrics import Item, Judgement, Rubric

VERSION = 2
NAME = f"rule-based judge (r1zero rules, version {VERSION})"
_FLAGS = re.IGNORECASE | re.MULTILINE
_HEAD = 400  # characters in which a response shows whether it answers


@dataclass(frozen=True, slots=True)
class Rule:
    """`points` when the pattern stands in the response: in its beginning, or (`anywhere`) in all of it."""

    name: str
    points: float
    pattern: str
    anywhere: bool = False


_WORKING = (
    r"\b(?:we (?:have|get|can|need|know|find|must|factor|use|should|see)|let'?s|let (?:us|me)|"
    r"to (?:find|solve|determine|calculate|compute|check)|first,|step 1|since|because|therefore|thus|hence|so,? |"
    r"note that|by the|suppose|assume|there (?:are|is)|let [a-z] )"
)
ANSWERING = (
    Rule("a boxed or tagged answer", 3, r"\\boxed\s*\{|<answer>", anywhere=True),
    Rule("states an answer", 2, r"\b(?:final answer|answer is|the answer|answer:|solution:|total is)", anywhere=True),
    Rule("words of working", 1.5, _WORKING),
    Rule("an equation", 1.5, r"[\w)}\]π] ?[=≈] ?[-\d\\(a-zπ]"),
    Rule("a bare result", 1.5, r"\A\W{0,8}-?\$?\d[\d.,/]*\$?\W{0,3}(?:\w+\W*)?\Z"),
    Rule("a short statement", 1, r"\A\s*(?:there are|it is|they are|the \w+ (?:is|are))\b[^?]{1,80}\.?\s*\Z"),
    Rule("code that computes", 2, r"^```(?:python)?\s*$|^\s*(?:def \w+\(|import \w+|from \w+ import)|\bprint\("),
    Rule("another question is asked", -3, r"\A[^.!\n]{0,300}\?|\A\W*(?:find|what|how many|compute|determine|prove)\b|"
         r"^(?:find|what|how many|compute)\b[^.?]{10,}[.?]\s*$"),
    Rule("a next exercise", -3, r"^\W{0,4}(?:question|problem|exercise|example|q)\W{0,2}\d+\b"),
    Rule("a list of choices", -2, r"\A\s*\(?A[.)][^\n]*\s+\(?B[.)]"),
    Rule("an exam's or a web page's furniture", -3, r"\(\d+ (?:marks?|points?)\)|copyright|all rights reserved|posted "
         r"(?:by|on)|reply to|share on|click here|privacy policy|<(?:div|p|li|html|span|table)\b|https?://"),
    Rule("a made-up conversation", -2, r"\A\s*(?:user|human)\s*:|\bthank you for|my homework|\bhomework\?"),
)  # fmt: skip

_SPEAKER = r"\b(?:let me|let us|let's|I|we|should|must|will|(?:need|have|want|going|like) to)"
_CHECK = r"(?:verify|confirm|double[- ]check|make sure|check)"
_RESULT = r"(?:answer|result|solution|calculation|work)"
_REASONING = (  # what a step is about: "I rechecked the mailbox" is none
    r"(?:\w+ )?(?:answer|result|solution|calculation|step|work|arithmetic|formula|equation|number|problem|question|"
    r"sign|figure|unit|sum|product|logic|reasoning|assumption|case|condition|value|expression|factori|derivation|"
    r"approach|math|numerator|denominator|root|term|digit|count|total|definition|statement|wording|angle|side|area|"
    r"coefficient)"
)
_REFLECTING = {
    "interrupts itself": (
        r"\b(?:no,? wait|wait[,.!]|wait (?:a|but|that)\b|hold on\b(?! to)|hmm+\b|oops\b|actually, no"
        r"|on second thought)"
    ),
    "finds a mistake": (
        r"\bI(?:'ve| have)? (?:made an? (?:\w+ )?(?:mistake|error)|misread|forgot|miscalculated|overlooked)"
        r"|\b(?:this|that|it) (?:is|was|seems) ?(?:not|n't) (?:right|correct|possible)"
        r"|\b(?:this|that|it)(?:'s| is) (?:not (?:right|correct)|wrong|incorrect)"
        r"|\bcan(?:'t|not) be (?:right|correct)"
        r"|\b(?:this|which) contradicts"
        r"|\bthere (?:is|was) an? (?:mistake|error) in (?:my|our|the)"
    ),
    "checks its result": (
        r"\b(?:let me|let us|let's|we (?:can|should|must|need to)|I (?:will|need to|should)|to) (?:also )?"
        rf"{_CHECK} (?:this|that|our|the {_RESULT}|my|it\b|if this|by|again)"
        rf"|\b(?:checking|verifying) (?:our|my|this|the) {_RESULT}"
        r"|\b(?:plug|substitut)(?:ging|ing)? (?:this|it|these|them)?\s*back"
        r"|\b(?:to|let me) double[- ]check\b"
        r"|\b(?:is|are) (?:this|that|it|-?\d+) (?:right|correct)\?"
    ),
    "takes another way": (
        r"\b(?:start over|try (?:again|another (?:way|approach|method)))"
        r"|\b(?:a different|another) (?:way|approach|method) to (?:see|check|verify|confirm)"
        r"|\blet(?:'s| us| me) try (?:a different|another)"
    ),
    "re-does a step": (
        rf"(?:^|[.:;!]\s+|{_SPEAKER} )"
        r"(?:re-?(?:check|think|assess|evaluat|examin|consider|analy[sz])(?:e|ed|ing)?|double[- ]check(?:ing|ed)?)\b"
        rf"(?! (?:the|an?|his|her|their) (?!{_REASONING}))"
    ),
    "looks again": (
        rf"(?:{_SPEAKER}|\bto) (?:check|think|verify|look|count|compute|calculate) again\b|\bgo over the steps\b"
    ),
}  # fmt: skip
REFLECTION = tuple(Rule(name, 1, pattern, anywhere=True) for name, pattern in _REFLECTING.items())

_CODE_LINE = re.compile(
    r"^\s*(?:import \w|from \w+ import|def \w+\(|class \w+|for \w+ in |while .*:$|if .*:$|else:$|elif .*:$|return\b|"
    r"print\(|#|@|try:$|except|[a-z_][\w.\[\]]*(?:, *[a-z_]\w*)* *[-+*/]?= *[^=]|[\w.]+\(.*\)$|[)\]}]+$)"
)
_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_WORD = re.compile(r"[\w']+")


class RuleJudge:
    """A rubric by rules."""

    name = NAME

    def __init__(self, rubric: Rubric):
        self.rubric = rubric

    def judge(self, items: Sequence[Item]) -> list[Judgement]:
        """Return a judgement of every response; rules always come to one."""
        decide = _DECIDE[self.rubric.name]
        return [decide(item) for item in items]


def answering(item: Item) -> Judgement:
    """Tell whether a response tries to answer (1) or continues the text in some other way (0)."""
    text = item.response.strip()
    if not _WORD.search(text):
        return Judgement(0, "nothing is said")
    if loops(text[: 2 * _HEAD]):
        return Judgement(0, "repeats itself from the beginning")
    hits = _hits(ANSWERING, text)
    if any(rule.points > 0 for rule in hits) or any(rule.points < 0 for rule in hits):
        total = sum(rule.points for rule in hits)
        return Judgement(int(total > 0), "; ".join(rule.name for rule in hits))
    shared = _content(item.question) & _content(text[:_HEAD])
    return Judgement(
        int(bool(shared)), f"speaks of {', '.join(sorted(shared))}" if shared else "speaks of other things"
    )


def reflection(item: Item) -> Judgement:
    """Return the four classes: 2 wins over all others, then only code (3), then no attempt (0), else an attempt (1)."""
    hits = _hits(REFLECTION, item.response)
    if hits:
        return Judgement(2, "; ".join(rule.name for rule in hits))
    if only_code(item.response):
        return Judgement(3, "only code")
    attempt = answering(item)
    return Judgement(int(attempt.label == 1), attempt.reason)


def loops(text: str, *, gram: int = 4) -> bool:
    """Tell whether a text of some length mostly says the same words in a row again."""
    words = _WORD.findall(text.lower())
    grams = [tuple(words[i : i + gram]) for i in range(len(words) - gram + 1)]
    return len(grams) >= 8 and len(set(grams)) / len(grams) < 0.3


def only_code(text: str) -> bool:
    """Tell whether a response is a program and hardly anything else."""
    outside = _FENCE.sub("", text)
    prose = [line for line in outside.splitlines() if line.strip() and not _CODE_LINE.match(line)]
    has_code = "```" in text or re.search(r"^\s*(?:import |from \w+ import|def |print\()", text, re.MULTILINE)
    return bool(has_code) and sum(len(_WORD.findall(line)) for line in prose) <= 5


_DECIDE = {"answering": answering, "reflection": reflection}


def _hits(rules: Sequence[Rule], text: str) -> list[Rule]:
    head = text[:_HEAD]
    return [rule for rule in rules if re.search(rule.pattern, text if rule.anywhere else head, _FLAGS)]


def _content(text: str) -> set[str]:
    """Return words of four letters or more, and numbers."""
    return {word for word in _WORD.findall(text.lower()) if len(word) > 3 or word.isdigit()}
