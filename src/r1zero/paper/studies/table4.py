"""Table 4 and figure 2: benchmark scores of trained models beside their bases and beside others' models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from r1zero.paper import curves
from r1zero.paper.claims import (
    Findings,
    FoundTable,
    Hypothesis,
    Panel,
    Size,
    Study,
    higher_score,
    over_questions,
    published_scores,
)
from r1zero.paper.hypotheses import Margin, of_questions, weakest
from r1zero.paper.jobs import EvaluationJob, Job, RunJob
from r1zero.paper.miniature import base, compared, evaluated, in_miniature
from r1zero.paper.other_seeds import repeated, with_other_seeds
from r1zero.paper.studies import fig7
from r1zero.paper.studies.base_models import NAMES, cells_of, slug
from r1zero.published import BENCHMARKS, FORMATS, SETS, BenchmarkRow
from r1zero.report.charts.model import IntervalChart, IntervalRow
from r1zero.statistics import Estimate, Z, clustered

RAISED = Margin(5, "points", "less than a third of the 17.9 points by which the paper's 1.5B model rises")
_FIVE = [{"name": name} for name in SETS]
_STEPS = "Please reason step by step, and put your final answer within \\boxed{}."


@dataclass(frozen=True)
class TableRow:
    """A row of the table: what the paper calls the model, and which one is asked here under its template."""

    name: str
    template: str
    source: str
    """A released model, by its Hub name; or what is made here: the name of a job, without its seed."""
    instruction: str = ""

    @property
    def ours(self) -> bool:
        """Whether the model is made here."""
        return self.source.startswith(("runs/", "bases/"))

    @cached_property
    def published(self) -> BenchmarkRow:
        """The paper's numbers."""
        return next(row for row in BENCHMARKS if (row.model, row.template) == (self.name, self.template))

    def job_name(self) -> str:
        """Return the name of its evaluation."""
        if self.ours:
            return f"evaluations/{self.source.replace('/', '-')}-0"
        budget = self.published.max_new_tokens
        return f"evaluations/{slug(self.source)}-{self.template}{'' if budget == 3000 else f'-{budget}'}"

    def job(self) -> EvaluationJob:
        """Return its evaluation, greedy, within the budget that the row says."""
        start, model = (f"{self.source}-0", "") if self.ours else (None, self.source)
        return EvaluationJob(self.job_name(), self.template, _FIVE, model=model, start=start,
                             max_new_tokens=self.published.max_new_tokens, instruction=self.instruction,
                             answer_format=FORMATS.get(self.template))  # fmt: skip


ROWS = (
    TableRow("Qwen2.5-Math-1.5B", "qwen_math", "Qwen/Qwen2.5-Math-1.5B"),
    TableRow("Qwen2.5-Math-1.5B", "no", "Qwen/Qwen2.5-Math-1.5B"),
    TableRow("Oat-Zero-1.5B", "qwen_math", "runs/qwen2.5-math-1.5b"),
    TableRow("R1-Distill-Qwen-1.5B @3k", "chat", "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"),
    TableRow("R1-Distill-Qwen-1.5B @8k", "chat", "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"),
    TableRow("Qwen2.5-Math-1.5B-Instruct", "chat", "Qwen/Qwen2.5-Math-1.5B-Instruct"),
    TableRow("Llama-3.2-3B", "r1", "meta-llama/Llama-3.2-3B"),
    TableRow("Llama-3.2-3B + Dr. GRPO", "r1", "runs/on-plain"),
    TableRow("Llama-3.2-3B-FineMath", "r1", "HuggingFaceTB/FineMath-Llama-3B"),
    TableRow("Llama-3.2-3B-FineMath + Dr. GRPO", "r1", "runs/on-domain"),
    TableRow("Llama-3.2-3B-NuminaQA", "r1", "bases/numina"),
    TableRow("Oat-Zero-3B", "r1", "runs/on-numina"),
    TableRow("Llama-3.2-3B-Instruct", "chat", "meta-llama/Llama-3.2-3B-Instruct", _STEPS),
    TableRow("Qwen2.5-Math-7B", "qwen_math", "Qwen/Qwen2.5-Math-7B"),
    TableRow("Qwen2.5-Math-7B", "no", "Qwen/Qwen2.5-Math-7B"),
    TableRow("SimpleRL-Zero-7B", "qwen_math", "hkust-nlp/Qwen-2.5-Math-7B-SimpleRL-Zero"),
    TableRow("PRIME-Zero-7B", "prime_zero", "PRIME-RL/Eurus-2-7B-PRIME-Zero"),
    TableRow("OpenReasoner-Zero-7B @3k", "open_reasoner_zero", "Open-Reasoner-Zero/Open-Reasoner-Zero-7B"),
    TableRow("OpenReasoner-Zero-7B @8k", "open_reasoner_zero", "Open-Reasoner-Zero/Open-Reasoner-Zero-7B"),
    TableRow("Oat-Zero-7B", "qwen_math", "runs/qwen2.5-math-7b"),
    TableRow("R1-Distill-Qwen-7B @3k", "chat", "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"),
    TableRow("R1-Distill-Qwen-7B @8k", "chat", "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"),
    TableRow("Qwen2.5-Math-7B-Instruct", "chat", "Qwen/Qwen2.5-Math-7B-Instruct"),
)
"""The paper's 23, in its order. Templates are those of the authors' evaluation, where a chat model has its own."""
FIGURE_2 = ("Qwen2.5-Math-7B", "SimpleRL-Zero-7B", "PRIME-Zero-7B", "OpenReasoner-Zero-7B @3k",
            "R1-Distill-Qwen-7B @3k", "Qwen2.5-Math-7B-Instruct", "Oat-Zero-7B")  # fmt: skip
"""Models of the picture: those of 7B parameters, within 3000 tokens."""


@dataclass(frozen=True, slots=True)
class Higher:
    """A claim of the table: that one row is above each of others, by the average of the five sets."""

    text: str
    higher: str
    lower: tuple[str, ...]
    share: float
    """Of the paper's smallest such difference: the margin."""

    @property
    def margin(self) -> Margin:
        """The smallest difference that matters."""
        least = min(_named(self.higher).published.average - _named(each).published.average for each in self.lower)
        part = {0.5: "half", 1 / 3: "a third"}[self.share]
        return Margin(round(self.share * least, 1), "points", f"{part} of the {least:.1f} points in the paper")


CLAIMS = (
    Higher("Dr. GRPO raises Qwen2.5-Math-1.5B.", "Oat-Zero-1.5B", ("Qwen2.5-Math-1.5B",), 1 / 3),
    Higher("Dr. GRPO raises Qwen2.5-Math-7B.", "Oat-Zero-7B", ("Qwen2.5-Math-7B",), 1 / 3),
    Higher("Dr. GRPO raises Llama-3.2-3B.", "Llama-3.2-3B + Dr. GRPO", ("Llama-3.2-3B",), 0.5),
    Higher("Dr. GRPO raises the FineMath base.", "Llama-3.2-3B-FineMath + Dr. GRPO", ("Llama-3.2-3B-FineMath",), 1 / 3),
    Higher("Dr. GRPO raises the NuminaQA base.", "Oat-Zero-3B", ("Llama-3.2-3B-NuminaQA",), 1 / 3),
    Higher("Within 3000 tokens Oat-Zero-7B is above every other model of 7B that was trained without demonstrations.",
           "Oat-Zero-7B", ("SimpleRL-Zero-7B", "PRIME-Zero-7B", "OpenReasoner-Zero-7B @3k"), 0.5),
    Higher("Oat-Zero-1.5B is above Qwen2.5-Math-1.5B-Instruct.", "Oat-Zero-1.5B", ("Qwen2.5-Math-1.5B-Instruct",), 0.5),
    Higher("Oat-Zero-7B is above Qwen2.5-Math-7B-Instruct.", "Oat-Zero-7B", ("Qwen2.5-Math-7B-Instruct",), 0.5),
    Higher("Distilled models need more than 3000 tokens (1.5B).",
           "R1-Distill-Qwen-1.5B @8k", ("R1-Distill-Qwen-1.5B @3k",), 0.5),
    Higher("Distilled models need more than 3000 tokens (7B).",
           "R1-Distill-Qwen-7B @8k", ("R1-Distill-Qwen-7B @3k",), 0.5),
)  # fmt: skip
NOTES = (
    "Released models are evaluated as they are; Oat-Zero, the runs on Llama and the NuminaQA base are made here, the "
    "first seed of each.",
    "Every score is of one greedy response a question. The paper's rows of R1-Distill-Qwen, but for 1.5B @8k, hold "
    "values that are no multiples of 1/N: means over samples.",
    "The paper prints 0.2 for Qwen2.5-Math-7B without a template on AIME24, a slip for 20.0 by its own average.",
)


def _named(name: str) -> TableRow:
    """Return a row by its name; of a base under two templates the one that its training has."""
    return next(row for row in ROWS if row.name == name)


def grid(out: Path, size: Size, seed: int) -> list[Job]:
    """Return the QA base model and what both objectives make of it, greedy."""
    start = base(out, size, "qa", seed)
    runs = [compared(out, size, objective, start, seed) for objective in curves.PAIR]
    return [start, *runs, *(evaluated(out, size, each, "no") for each in (start, *runs))]


def published_grid(_seeds: int) -> list[Job]:
    """Return all rows: the runs that make some of them, one seed, and an evaluation each on the five benchmarks."""
    made = {f"{row.source}-0" for row in ROWS if row.ours}
    llama: list[Job] = [job for job in fig7.published_grid(1) if job.name in made]
    runs = [oat_zero(size, 0) for size in ("1.5b", "7b")]
    known = {job.name for job in (*llama, *runs)}
    rows = [row.job() for row in ROWS]
    return [*runs, *llama, *(job for job in rows if job.start is None or job.start in known)]


def oat_zero(size: str, seed: int) -> RunJob:
    """Return the run that makes an Oat-Zero model of Qwen2.5-Math: by one name in every study."""
    return RunJob(f"runs/qwen2.5-math-{size}-{seed}", f"qwen2.5-math-{size}", {"train.seed": seed})


def read(out: Path, jobs: Sequence[Job]) -> Findings:
    """Return scores beside the paper's, figure 2, and the claims on the same questions."""
    return _read_miniature(out, jobs) if in_miniature(jobs) else _read_published(out, jobs)


def _read_published(out: Path, jobs: Sequence[Job]) -> Findings:
    folders = {job.name: out / job.name for job in jobs if isinstance(job, EvaluationJob)}
    rows = [row for row in ROWS if row.job_name() in folders]
    sets = {row: curves.rights_by_set(folders[row.job_name()]) for row in rows}
    averages = {row: curves.balanced(folders[row.job_name()]) for row in rows}
    claims = [
        _higher(claim, {row.name: averages[row] for row in reversed(rows)})
        for claim in CLAIMS
        if {claim.higher, *claim.lower} <= {row.name for row in rows}
    ]
    table = FoundTable(
        "Per cent right, greedy; averages of the five sets with 95 % interval, and the paper's beside ours",
        ["model", "template", "tokens", *SETS, "average", "the paper's"],
        [_shown(row, sets[row], averages[row]) for row in rows],
    )
    theirs = published_scores("4", NAMES, jobs, [row.published for row in ROWS])
    drawn = {name: row for row in reversed(rows) for name in (row.name,) if name in FIGURE_2}
    shown = [drawn[name] for name in FIGURE_2 if name in drawn]
    panels = [_panel(name, {row: sets[row].get(name) for row in shown}) for name in SETS]
    panels.append(_average_panel({row: averages[row] for row in shown}))
    return Findings(claims, panels, [table, theirs], NOTES)


def _shown(row: TableRow, sets: Mapping[str, Sequence[float]], average: Sequence[float]) -> list[str]:
    scores = [f"{100 * sum(sets[name]) / len(sets[name]):.1f}" if name in sets else "–" for name in SETS]
    found, template = _interval(average), NAMES.get(row.template, row.template)
    return [row.name, template, str(row.published.max_new_tokens), *scores, _percent(found),
            f"{row.published.average:.1f}"]  # fmt: skip


def _higher(claim: Higher, averages: Mapping[str, Sequence[float]]) -> Hypothesis:
    """Test that a row is above each of others: by the nearest."""
    tests = {each: higher_score(averages[each], averages[claim.higher], claim.margin) for each in claim.lower}
    test = weakest(tests.values())
    [nearest, *_] = [name for name, each in tests.items() if each is test]
    last = ", the nearest" if len(claim.lower) > 1 else ""
    return Hypothesis(claim.text, f"average of the five sets, {claim.higher} − {nearest}{last}", test)


def _interval(average: Sequence[float]) -> Estimate:
    """Return a mean over sets with its 95 % interval over questions."""
    mean, sample = sum(average) / len(average), of_questions(average, 1.0)
    room = Z * sample.error if sample else 1.0
    return Estimate(mean, max(0.0, mean - room), min(1.0, mean + room))


def _percent(found: Estimate) -> str:
    return f"{100 * found.value:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _panel(name: str, rights: Mapping[TableRow, Sequence[float] | None]) -> Panel:
    i = SETS.index(name)
    known = {row: values for row, values in rights.items() if values}
    theirs = {row.name: row.published.percent[i] for row in known}
    return _beside(name, {row.name: clustered(values) for row, values in known.items()}, theirs)


def _average_panel(averages: Mapping[TableRow, Sequence[float]]) -> Panel:
    found = {row.name: _interval(values) for row, values in averages.items()}
    return _beside("average", found, {row.name: row.published.average for row in averages})


def _beside(name: str, ours: Mapping[str, Estimate], theirs: Mapping[str, float]) -> Panel:
    """Return figure 2 on one set, and the paper's own."""
    chart = _chart(name, ours)
    paper = tuple(
        IntervalRow(row.label, row.style, theirs[row.label] / 100, None, None, f"{theirs[row.label]:.1f} %")
        for row in chart.rows
    )
    return Panel(chart, replace(chart, key=f"paper-{chart.key}", title=f"The paper: {name}", rows=paper, about=""))


def _chart(name: str, scores: Mapping[str, Estimate]) -> IntervalChart:
    rows = tuple(
        IntervalRow(label, "s1" if label.startswith("Oat-Zero") else "s0", found.value, found.low, found.high,
                    _percent(found))
        for label, found in scores.items()
    )  # fmt: skip
    return IntervalChart(f"fig2-{name}", name, rows, about="Right, greedy; lines are 95 % intervals over questions.")


def _read_miniature(out: Path, jobs: Sequence[Job]) -> Findings:
    """Return scores, and whether training raised them on the same questions."""
    rows, scores = [], {}
    for job, cell in cells_of(out, jobs):
        name = job.name.removeprefix("evaluations/")
        scores[name] = curves.rights(out / job.name)
        tokens = sum(reply.tokens for reply in cell.replies) / len(cell.replies)
        rows.append([name.partition("-")[2], _percent(clustered(scores[name])), f"{tokens:.1f}"])
    start = next((values for name, values in scores.items() if name.startswith("bases-")), None)
    claims = []
    if start is not None:
        for name, values in scores.items():
            if name.startswith("runs-"):
                text = f"Training raises the score ({name.split('-')[1]})."
                claims.append(over_questions(text, "after − before, held-out questions", start, values, RAISED))
    tables = [
        FoundTable("Per cent right, greedy, with 95 % interval", ["model", "right", "tokens"], rows),
        published_scores("4", NAMES, jobs, [row.published for row in ROWS]),
    ]
    found = {name.split("-")[1]: clustered(values) for name, values in scores.items()}
    return Findings(claims, [Panel(_chart("held-out questions", found))], tables)


STUDIES = (
    Study(
        "table4", "Table 4, figure 2", "Trained models on benchmarks",
        "Greedy scores of trained models beside other models, their bases among them.",
        repeated(grid), published_grid, with_other_seeds(read),
    ),
)  # fmt: skip
