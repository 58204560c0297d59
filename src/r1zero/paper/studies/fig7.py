"""Figure 7: does pretraining on the domain raise the ceiling of reinforcement learning (section 3.4)?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from r1zero.config.pretrain import PretrainRecipe
from r1zero.paper import curves
from r1zero.paper.claims import Findings, FoundTable, Hypothesis, Size, Study, over_seeds
from r1zero.paper.curves import beside
from r1zero.paper.hypotheses import Margin
from r1zero.paper.jobs import Job, RunJob
from r1zero.paper.miniature import FIRST, base, in_miniature, trained
from r1zero.report.charts.model import Chart
from r1zero.report.data.seed_groups import SeedGroup

BASES = {
    "plain": "plain base",
    "domain": "domain-pretrained",
    "numina": "QA-pretrained",
    "longer": "control: plain text for as long",
    "plainer": "control: plain text for as long as the domain's",
}
SCORE = Margin(
    5,
    "points",
    "half of the smaller of the paper's two gaps at the end (14.0 points with questions and answers, 9.6 with the "
    "domain alone), and beyond the 1 to 2 points by which one run's evaluations move",
)
LENGTH = (0.1, "a tenth of the token budget; the paper's responses end 751 of 3,000 tokens apart, a quarter of it")
_LLAMA = {"plain": "Llama3.2-3B", "domain": "FineMath", "numina": "NuminaQA"}


def grid(out: Path, size: Size) -> list[Job]:
    """Return plain text; from there on the domain's facts, from there on questions with answers; and plain text
    throughout.
    """
    jobs: list[Job] = []
    for seed in range(FIRST, FIRST + size.fewer_seeds):
        plain = base(out, size, "plain", seed, part=0.15)
        domain = base(out, size, "domain", seed, start=plain.name, part=0.15)
        numina = base(out, size, "numina", seed, corpus="qa", start=domain.name, part=0.15)
        longer = base(out, size, "longer", seed, corpus="plain", start=plain.name, part=0.3)
        plainer = base(out, size, "plainer", seed, corpus="plain", start=plain.name, part=0.15)
        starts = {"plain": plain, "longer": longer, "plainer": plainer, "domain": domain, "numina": numina}
        runs = [trained(out, size, f"on-{name}", start, seed) for name, start in starts.items()]
        jobs += [plain, domain, numina, longer, plainer, *runs, trained(out, size, "on-numina-grpo", numina, seed,
                                                               objective="grpo")]  # fmt: skip
    return jobs


def published_grid(seeds: int) -> list[Job]:
    """Return Llama-3.2-3B; what was released of it continued on FineMath; that continued on NuminaMath; each trained
    with the R1 template on MATH.
    """
    numina = RunJob("bases/numina-0", "llama-3.2-3b-numinaqa-pretrain", kind=PretrainRecipe)
    domain: dict[str, object] = {"model.path": "HuggingFaceTB/FineMath-Llama-3B"}
    bases: dict[str, tuple[dict[str, object], str | None]] = {
        "plain": ({}, None), "domain": (domain, None), "numina": (domain, numina.name),
    }  # fmt: skip
    jobs: list[Job] = [numina]
    for seed in range(seeds):
        jobs += [
            RunJob(f"runs/on-{name}-{seed}", "llama-3.2-3b-r1", {**model, "train.seed": seed}, start)
            for name, (model, start) in bases.items()
        ]
        grpo: dict[str, object] = {"objective.name": "grpo", "objective.constant": None, "train.seed": seed}
        jobs.append(RunJob(f"runs/on-numina-grpo-{seed}", "llama-3.2-3b-r1", domain | grpo, numina.name))
    return jobs


def read(out: Path, jobs: Sequence[Job]) -> Findings:
    """Return the two panels of the figure, and claims over seeds."""
    groups = curves.seed_groups(out, jobs, BASES | {"numina-grpo": "GRPO"}, "runs/on-")
    bases = [groups[name] for name in BASES if name in groups]
    pair = [replace(groups["numina"], label="Dr. GRPO"), groups["numina-grpo"]]
    by_base, llama = curves.published("domain_pretraining"), curves.published("llama_numinaqa")
    theirs = {BASES[name]: by_base[key] for name, key in _LLAMA.items()}
    panels = [
        beside(Chart("fig7-accuracy", "Score by base model", "", curves.evaluated(bases, "accuracy"), percent=True),
               theirs, scale=0.01),
        beside(Chart("fig7-pair", "Score on the QA-pretrained base", "", curves.evaluated(pair, "accuracy"),
                     percent=True), curves.by_objective(llama["accuracy"]), scale=0.01),
        beside(Chart("fig7-length", "Length on the QA-pretrained base", "tokens",
                     curves.trained(pair, "rollout/length")), curves.by_objective(llama["length"])),
    ]  # fmt: skip
    claims = [
        _higher(groups, "numina", "plain", "Pretraining on the domain and on questions with answers raises the ceiling "
                "of reinforcement learning."),
        _higher(groups, "domain", "plain", "Pretraining on the domain alone raises it."),
        over_seeds("GRPO makes responses of the QA-pretrained base longer than Dr. GRPO does.",
                   "length at the end, GRPO − Dr. GRPO", curves.apart(pair[1], pair[0], curves.length_at_end),
                   curves.share_of_budget(pair, *LENGTH)),
    ]  # fmt: skip
    if "longer" in groups:
        claims.insert(2, _higher(groups, "domain", "plainer", "That too is the text, not the longer pretraining."))
        claims.insert(1, _higher(groups, "numina", "longer", "It is the text, not the longer pretraining: the ceiling "
                                 "is above that of plain text for as long."))  # fmt: skip
    rows = [
        [group.label, curves.spread([curves.score(run, last=False) for run in group.runs]),
         curves.spread([curves.score(run) for run in group.runs])]
        for group in bases
    ]  # fmt: skip
    notes = [
        "Plain text holds chats, exercises without answers, and one in ten questions with its answer.",
        "The domain-pretrained base has read twice as much as the plain one, the QA-pretrained one three times as "
        "much: each has a control that has read as much plain text.",
    ]
    notes = notes if in_miniature(jobs) else []
    scores = FoundTable("Scores", ["base model", "before", "after"], rows)
    return Findings(claims, panels, [scores], notes, curves.paths_of(groups.values()))


def _higher(groups: dict[str, SeedGroup], higher: str, lower: str, text: str) -> Hypothesis:
    measured = f"score after training, {BASES[higher]} − {BASES[lower]}"
    points = [100 * each for each in curves.apart(groups[higher], groups[lower], curves.score)]
    return over_seeds(text, measured, points, SCORE)


STUDIES = (
    Study(
        "fig7", "Figure 7 (8 in v1)", "Domain pretraining",
        "Reinforcement learning from a plain, a domain-pretrained and a QA-pretrained base model.",
        grid, published_grid, read, "A control has read plain text for as long as the last of them.",
    ),
)  # fmt: skip
