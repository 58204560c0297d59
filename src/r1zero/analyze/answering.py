"""Does a model answer, or go on with the text? By template, and which template is best (section 2.1, Fig. 3 left)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from r1zero.analyze.judges.llm import Agreement, Judge, beside_rules
from r1zero.analyze.judges.rubrics import ANSWERING, Item, Judgement, Rubric
from r1zero.analyze.keywords import responses_with
from r1zero.analyze.responses import ModelResponses
from r1zero.statistics import Estimate, clustered

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Example:
    """A response and what the judge said of it."""

    question: str
    response: str
    label: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Answering:
    """One template: who answers, with 95 % intervals over questions."""

    template: str
    temperature: float
    questions: int
    responses: int
    judge: str
    rate: Estimate | None
    """Share of the judged responses that try to answer; None where none was judged."""
    unparsable: int
    refused: int
    accuracy: Estimate
    truncated: float
    agreement: Agreement | None
    """With the rule-based judge, where another one judged."""
    continuing: list[Example]
    """Responses that do not try to answer."""


def items_of(cell: ModelResponses) -> list[Item]:
    """Return every response of a cell with its question, in order."""
    return [Item(group.question, reply.text) for group in cell.groups for reply in group.replies]


def positive(cell: ModelResponses, judged: Sequence[Judgement], rubric: Rubric) -> list[list[bool | None]]:
    """Tell which responses are of the class that is counted, by question; None of one that was not judged."""
    return cell.by_question([None if j.label is None else j.label == rubric.positive for j in judged])


def analyse(cell: ModelResponses, judge: Judge, rules: Judge) -> Answering:
    """Return the answering rate of one cell, by `judge`, beside the rules'."""
    items = items_of(cell)
    judged = judge.judge(items)
    continuing = [(item, j) for item, j in zip(items, judged, strict=True) if j.label == 0]
    return Answering(
        cell.template,
        cell.temperature,
        len(cell.groups),
        len(items),
        judge.name,
        responses_with(positive(cell, judged, ANSWERING), cell.questions),
        sum(j.label is None and not j.refused for j in judged),
        sum(j.refused for j in judged),
        clustered([group.right / len(group.replies) for group in cell.groups], cell.questions),
        sum(reply.truncated for reply in cell.replies) / len(items),
        beside_rules(judge, rules, items, [j.label for j in judged]),
        [Example(item.question, item.response, j.label, j.reason) for item, j in continuing[:_SHOWN]],
    )


def best(rows: Sequence[Answering]) -> Answering:
    """Return the template that makes the model answer most; of two equal ones that with more right answers."""
    return max(rows, key=lambda row: (row.rate.value if row.rate else -1.0, row.accuracy.value))


def greediest(cells: Sequence[ModelResponses]) -> Mapping[str, ModelResponses]:
    """For each template the cell of the lowest temperature: the answering rate is judged there."""
    templates = dict.fromkeys(cell.template for cell in cells)
    return {name: min((c for c in cells if c.template == name), key=lambda c: c.temperature) for name in templates}
