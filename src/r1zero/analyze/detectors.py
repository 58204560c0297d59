"""How well the detectors find what a reader finds: precision and recall on the hand-labelled passages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from r1zero.analyze.judges.rubrics import ANSWERING, REFLECTION, Item
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
        hits = self.true + self.false
        return self.true / hits if hits else None

    @property
    def recall(self) -> float | None:
        """Share of what is there that it hits; None where nothing is there."""
        there = self.true + self.missed
        return self.true / there if there else None


def measure(detector: Detector | None = None) -> list[DetectorScore]:
    """Return every detector on both halves of the passages."""
    finder = detector or Detector()
    rules = {rubric.name: RuleJudge(rubric) for rubric in (REFLECTION, ANSWERING)}

    def judged(passage: Passage, rubric: str) -> int | None:
        return rules[rubric].judge([Item(QUESTIONS[passage.question], passage.text)])[0].label

    rows: list[tuple[str, Callable[[Passage], bool], Callable[[Passage], bool]]] = [
        ("reflection: keywords", lambda p: finder.holds(p.text), _reflects),
        ("reflection: keywords as whole words", lambda p: finder.holds(p.text, whole=True), _reflects),
        ("reflection: rule-based judge", lambda p: judged(p, "reflection") == REFLECTION.positive, _reflects),
        ("answering: rule-based judge", lambda p: judged(p, "answering") == ANSWERING.positive, lambda p: p.label != 0),
    ]
    halves = (("first half", FIRST), ("second half", SECOND))
    return [_measured(name, half, part, hit, truth) for name, hit, truth in rows for half, part in halves]


def _reflects(passage: Passage) -> bool:
    return passage.label == REFLECTION.positive


def _measured(
    name: str,
    half: str,
    passages: Sequence[Passage],
    hit: Callable[[Passage], bool],
    truth: Callable[[Passage], bool],
) -> DetectorScore:
    pairs = [(hit(passage), truth(passage)) for passage in passages]
    return DetectorScore(name, half, pairs.count((True, True)), pairs.count((True, False)), pairs.count((False, True)))


def table(measured: Sequence[DetectorScore]) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows."""
    headings = ["detector", "passages", "precision", "recall", "right", "wrong", "missed"]
    share = lambda value: "–" if value is None else f"{value:.2f}"  # noqa: E731
    return headings, [
        [m.detector, m.passages, share(m.precision), share(m.recall), str(m.true), str(m.false), str(m.missed)]
        for m in measured
    ]
