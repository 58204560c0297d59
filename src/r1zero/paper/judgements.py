"""What a language model says of an evaluation's responses, as a job: asked once, kept, and read when the page is made.

    judgements/answering-Qwen2.5-7B-no-t0    judgements.json, and judgements.sqlite with every answer as it came

A response is known by a hash of what was judged, so that nothing is ever read for another's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from r1zero.analyze.answering import items_of
from r1zero.analyze.judges.llm import Judge, LLMJudge, connect_judge
from r1zero.analyze.judges.rubrics import RUBRICS, Item, Judgement
from r1zero.analyze.judges.rules import RuleJudge
from r1zero.analyze.responses import saved_cell
from r1zero.errors import UserError, reason
from r1zero.runs.exclusive import exclusive
from r1zero.runs.files import write_text, writing
from r1zero.runs.foreign import read_text

FILE = "judgements.json"


@dataclass(frozen=True, slots=True)
class JudgeServer:
    """A language model that judges, and where it is asked."""

    address: str
    model: str
    workers: int = 16
    """The most questions to it side by side."""
    patience_s: float = 120.0
    """How long it is waited for where it is away."""

    @property
    def name(self) -> str:
        """Who judges, as every output says it."""
        return f"LLM judge {self.model}"

    def open(self, rubric: str, out: Path) -> LLMJudge:
        """Return it, ready to judge; what it answers is kept in a folder. Raises UserError."""
        client = connect_judge(self.address, kept=out / "judgements.sqlite", patience_s=self.patience_s)
        return LLMJudge(RUBRICS[rubric], client, self.model, workers=self.workers)


class _Kept(BaseModel):
    judge: str
    rubric: str
    bill: dict[str, Any] | None
    classes: dict[str, tuple[Annotated[int, Field(ge=0)] | None, bool]]
    """What was judged, as a hash → its class if it could be read, and whether it was refused."""


@dataclass(frozen=True, slots=True)
class JudgementJob:
    """A judgement of every response of an evaluation, by a language model. Without one, the job is left out."""

    name: str
    start: str
    """The evaluation."""
    rubric: str
    judge: JudgeServer | None = None
    by_rules: bool = False
    """A rehearsal's: the rules judge where there is no language model."""

    def done(self, out: Path) -> bool:
        """Tell whether all judgements are there. Those of another language model than the one that is named are not."""
        try:
            kept = read_judgements(out / self.name)
        except UserError:
            return False
        return self.judge is None or kept.judge == self.judge.name

    def carry_out(self, out: Path) -> None:
        """Judge, or what is left of it. Raises UserError."""
        folder = out / self.name
        items = items_of(saved_cell(out / self.start))
        with exclusive(folder):
            judge: Judge = RuleJudge(RUBRICS[self.rubric])
            if not self.by_rules:
                assert self.judge is not None
                judge = self.judge.open(self.rubric, folder)
            judged = judge.judge(items)
            classes = {_key(item): (found.label, found.refused) for item, found in zip(items, judged, strict=True)}
            bill = asdict(judge.bill()) if isinstance(judge, LLMJudge) else None
            kept = _Kept(judge=judge.name, rubric=self.rubric, bill=bill, classes=classes)
            with writing(folder):
                write_text(folder / FILE, kept.model_dump_json() + "\n")


def _key(item: Item) -> str:
    text = json.dumps([item.question, item.response]).encode()
    return hashlib.blake2b(text, digest_size=12).hexdigest()


def read_judgements(folder: Path) -> _Kept:
    """Return what is kept in a job's folder. Raises UserError where it is not all there, or damaged."""
    try:
        return _Kept.model_validate_json(read_text(folder / FILE))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder / FILE} cannot be read ({reason(error)}); remove {folder}, and judge again with --judge."
        ) from None


class KeptJudge:
    """The language model whose judgements are on disk."""

    def __init__(self, name: str, folders: Sequence[Path]):
        self.name, self._folders = name, folders
        kept = [read_judgements(folder) for folder in folders]
        self._classes = {key: found for each in kept for key, found in each.classes.items()}
        self.tokens = [
            sum((each.bill or {}).get(f"{what}_tokens", 0) for each in kept) for what in ("prompt", "answer")
        ]
        """Of its prompts and of its answers."""

    def judge(self, items: Sequence[Item]) -> list[Judgement]:
        """See `Judge`. Raises UserError where other responses were judged."""
        try:
            found = [self._classes[_key(item)] for item in items]
        except KeyError:
            raise UserError(
                f"{self._folders[0].parent} holds judgements of other responses than the evaluations' now; remove it, "
                "and judge again with --judge."
            ) from None
        return [Judgement(label, "", refused) for label, refused in found]


def judge_of(out: Path, evaluations: Sequence[str], jobs: Sequence[JudgementJob], rubric: str) -> Judge:
    """Return one language model where it has judged all of these evaluations; the rules where none has."""
    wanted, names = set(evaluations), set[str]()
    made = {job.start: out / job.name for job in jobs if job.rubric == rubric and job.start in wanted and job.done(out)}
    for folder in made.values():
        names.add(read_judgements(folder).judge)
    rules = RuleJudge(RUBRICS[rubric])
    if made.keys() != wanted or len(names) != 1 or rules.name in names:  # a rehearsal's are by rules
        return rules
    return KeptJudge(names.pop(), [*made.values()])
