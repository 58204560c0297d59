"""How well the detectors find what a reader finds: precision and recall on the hand-labelled passages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from r1zero.analyze.judges.rubrics import ANSWERING, REFLECTION, Item, Rubric
from r1zero.analyze.judges.rules import RuleJudge
from r1zero.analyze.keywords import Detector
from r1zero.analyze.passages import FIRST, QUESTIONS, SECOND, Passage


@dataclass(frozen=True, slots=True)
class DetectorScore:
    """A detector on passages: hits are right (`true`), wrong (`false`) or lacking (`missed`)."""

    detector: str
    passages: str
    true: int
    false: int
    missed: int

    @property
    def precision(self) -> float | None:
        """Share of its hits that are right; None of no hit."""
        return self.true / (self.true + self.false) if self.true + self.false else None

    @property
    def recall(self) -> float | None:
        """Share of what is there that it hits; None where nothing is there."""
        return self.true / (self.true + self.missed) if self.true + self.missed else None


def measure(detector: Detector | None = None) -> list[DetectorScore]:
    """Return every detector on both halves of the passages."""
    finder = detector or Detector()

    def judged(passage: Passage, rubric: Rubric) -> bool:
        (judgement,) = RuleJudge(rubric).judge([Item(QUESTIONS[passage.question], passage.text)])
        return judgement.label == rubric.positive

    def reflects(passage: Passage) -> bool:
        return passage.label == REFLECTION.positive

    rows: list[tuple[str, Callable[[Passage], bool], Callable[[Passage], bool]]] = [
        ("reflection: keywords", lambda p: finder.holds(p.text), reflects),
        ("reflection: keywords as whole words", lambda p: finder.holds(p.text, whole=True), reflects),
        ("reflection: rule-based judge", lambda p: judged(p, REFLECTION), reflects),
        ("answering: rule-based judge", lambda p: judged(p, ANSWERING), lambda p: p.label != 0),
    ]
    found = []
    for name, hit, truth in rows:
        for half, passages in (("first half", FIRST), ("second half", SECOND)):
            pairs = Counter((hit(passage), truth(passage)) for passage in passages)
            found.append(DetectorScore(name, half, pairs[True, True], pairs[True, False], pairs[False, True]))
    return found


def table(measured: Sequence[DetectorScore]) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows."""
    headings = ["detector", "passages", "precision", "recall", "right", "wrong", "missed"]
    share = lambda value: "–" if value is None else f"{value:.2f}"  # noqa: E731
    return headings, [
        [m.detector, m.passages, share(m.precision), share(m.recall), str(m.true), str(m.false), str(m.missed)]
        for m in measured
    ]
