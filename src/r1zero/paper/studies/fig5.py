"""Figures 1 and 5: GRPO against Dr. GRPO, and which of GRPO's two terms controls length (section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from r1zero.paper import curves
from r1zero.paper.claims import Findings, FoundTable, Hypothesis, Panel, Size, Study, over_seeds
from r1zero.paper.curves import NAMES, PAIR, beside
from r1zero.paper.hypotheses import Alternative, Margin
from r1zero.paper.jobs import Job, RunJob
from r1zero.paper.miniature import FIRST, base, compared, in_miniature
from r1zero.report.charts.model import Chart
from r1zero.report.charts.run import reward_against_length
from r1zero.report.data.seed_groups import SeedGroup

VARIANTS = (*PAIR, "grpo_no_std", "grpo_no_length")
WRONG_LENGTH = (
    0.1,
    "a tenth of the token budget; the paper's wrong answers end 1,021 of 3,000 tokens apart, a third of it, and those "
    "of Dr. GRPO, which end where they began, wander by a tenth",
)
ALL_LENGTHS = (
    0.05,
    "a twentieth of the token budget; the paper's responses end 427 of 3,000 tokens apart, a seventh of it",
)
REWARD = Margin(
    0.05,
    "",
    "the paper's own rewards end 0.024 to 0.032 apart, where it calls training equally good, and move by 0.01 to 0.02 "
    "from one point to the next",
)
EVERY_WRONG = "Every response without a right answer, those at the token limit included."
_NOTES = (
    "Evaluations are greedy and training is not, so that lengths differ between the two; the claim is about training.",
    "Wrong: every response without a right answer, those at the token limit included. End: the last tenth of the "
    "steps.",
)
_MINIATURE_NOTES = (
    "The miniature is made for the mechanism, not for its size in large models: its questions leave guesses wrong "
    "while a model learns, its answers tell early whether they are wrong, and looking again cannot change them. Where "
    "a model forgets to tell, for which there is no reward, or soon guesses right, lengths do not part.",
    "Each seed has its own base model, and both objectives start from it.",
    "World and recipe were made looking at runs of other seeds, which count for no claim.",
)


def grid(out: Path, size: Size, objectives: Sequence[str]) -> list[Job]:
    """Return a base model a seed, and from each a run with every objective."""
    bases = [base(out, size, "qa", seed) for seed in range(FIRST, FIRST + size.seeds)]
    runs = [
        compared(out, size, objective, start, seed)
        for seed, start in enumerate(bases, start=FIRST)
        for objective in objectives
    ]
    return [*bases, *runs]


def published_grid(objectives: Sequence[str], seeds: int) -> list[Job]:
    """Return the paper's own setting: Qwen2.5-1.5B, R1 template, MATH."""
    return [
        RunJob(f"runs/{objective}-{seed}", "qwen2.5-1.5b-r1",
                 {"objective.name": objective, "objective.constant": None if objective.startswith("grpo") else 3000.0,
                  "train.seed": seed})
        for seed in range(seeds)
        for objective in objectives
    ]  # fmt: skip


def read_fig5(out: Path, jobs: Sequence[Job]) -> Findings:
    """Return the five panels of figure 5, the lengths that the claim is about, and the claim."""
    found = curves.seed_groups(out, jobs, NAMES)
    groups = list(found.values())
    paper = {key: curves.by_objective(points) for key, points in curves.published("grpo_vs_dr_grpo").items()}
    panels = [
        beside(_reward("fig5", groups), paper["train_reward"]),
        beside(Chart("fig5-length", "Output length", "tokens", curves.trained(groups, "rollout/length")),
               paper["train_length"]),
        Panel(_wrong_lengths("fig5", groups)),
        beside(Chart("fig5-correct", "Length of correct, evaluated", "tokens",
                     curves.evaluated(groups, "length_correct")), paper["eval_correct_length"]),
        beside(Chart("fig5-incorrect", "Length of incorrect, evaluated", "tokens",
                     curves.evaluated_wrong(groups), EVERY_WRONG), paper["eval_incorrect_length"]),
        beside(Chart("fig5-score", "Evaluation score", "", curves.evaluated(groups, "accuracy"), percent=True),
               paper["eval_average_score"], scale=0.01),
    ]  # fmt: skip
    longer = _longer(found, "grpo", "dr_grpo", "Wrong answers end longer under GRPO than under Dr. GRPO.")
    claims = [longer, equal_reward(found), growing(found, "grpo"), growing(found, "dr_grpo")]
    return Findings(claims, panels, [table(found)], _notes(jobs), curves.paths_of(found.values()))


def read_fig1(out: Path, jobs: Sequence[Job]) -> Findings:
    """Return reward against length along training."""
    found = curves.seed_groups(out, jobs, NAMES)
    paper = curves.published("grpo_vs_dr_grpo")
    chart = reward_against_length(list(found.values()))
    claim = over_seeds(
        "Dr. GRPO is the more token-efficient: its responses end shorter.",
        "length of all responses at the end, GRPO − Dr. GRPO",
        curves.apart(found["grpo"], found["dr_grpo"], curves.length_at_end),
        curves.share_of_budget(found.values(), *ALL_LENGTHS),
    )
    theirs = {o: _joined(paper["train_length"][o], paper["train_reward"][o]) for o in PAIR}
    panels = [beside(chart, curves.by_objective(theirs))] if chart else []
    return Findings([claim, equal_reward(found)], panels, [], _notes(jobs), curves.paths_of(found.values()))


def read_ablation(out: Path, jobs: Sequence[Job]) -> Findings:
    """Tell which of the two terms makes wrong answers long."""
    found = curves.seed_groups(out, jobs, NAMES)
    groups = list(found.values())
    claims = [
        _longer(found, "grpo_no_std", "grpo_no_length",
                "The length term controls length: with it (and without std) wrong answers end longer than with std "
                "alone."),
        _longer(found, "grpo", "grpo_no_length", "Taking the length term out of GRPO shortens wrong answers."),
    ]  # fmt: skip
    panels = [Panel(_wrong_lengths("ablation", groups)), Panel(_reward("ablation", groups))]
    return Findings(claims, panels, [table(found)], _notes(jobs), curves.paths_of(found.values()))


def growing(found: dict[str, SeedGroup], objective: str) -> Hypothesis:
    """Test whether wrong answers grow in training: under GRPO they do, under Dr. GRPO by less than matters."""
    biased = objective == "grpo"
    return over_seeds(
        f"Wrong answers {'grow' if biased else 'do not grow'} under {NAMES[objective]}.",
        "length of wrong answers, end − start of training",
        [curves.wrong_at_end(run) - curves.wrong_at_start(run) for run in found[objective].runs],
        curves.share_of_budget(found.values(), *WRONG_LENGTH),
        Alternative.GREATER if biased else Alternative.BELOW,
    )


def equal_reward(found: dict[str, SeedGroup]) -> Hypothesis:
    """Test that lengths are compared at equal reward."""
    return over_seeds(
        "Rewards at the end are no different.",
        "reward at the end, GRPO − Dr. GRPO",
        curves.apart(found["grpo"], found["dr_grpo"], curves.reward_at_end),
        REWARD,
        Alternative.EQUIVALENT,
    )


def table(found: dict[str, SeedGroup]) -> FoundTable:
    """Return the end of training in numbers."""
    truncated = partial(curves.at_end, key="rollout/truncated")
    numbers = (curves.reward_at_end, curves.score, curves.right_at_end, curves.wrong_at_end, truncated)
    rows = [
        [group.label, *(curves.spread([number(run) for run in group.runs]) for number in numbers)]
        for group in found.values()
    ]
    headings = ["", "reward", "score on held-out questions", "length of right", "length of wrong", "truncated"]
    return FoundTable("At the end: mean ± standard deviation over seeds", headings, rows)


def _notes(jobs: Sequence[Job]) -> list[str]:
    return [*_NOTES, *(_MINIATURE_NOTES if in_miniature(jobs) else ())]


def _longer(found: dict[str, SeedGroup], longer: str, shorter: str, text: str) -> Hypothesis:
    more, less = found[longer], found[shorter]
    measured = f"length of wrong answers at the end, {more.label} − {less.label}"
    margin = curves.share_of_budget(found.values(), *WRONG_LENGTH)
    return over_seeds(text, measured, curves.apart(more, less, curves.wrong_at_end), margin)


def _reward(study: str, groups: Sequence[SeedGroup]) -> Chart:
    series = curves.trained(groups, "rollout/reward")
    return Chart(f"{study}-reward", "Training reward", "", series, percent=True)


def _wrong_lengths(study: str, groups: Sequence[SeedGroup]) -> Chart:
    series = curves.by_step(groups, curves.wrong_length)
    return Chart(f"{study}-wrong", "Length of wrong answers in training", "tokens", series, EVERY_WRONG)


def _joined(lengths: Sequence[Sequence[float]], rewards: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return [length, reward] where both curves are known: each reward with the length of the nearest step."""
    nearest = lambda step: min(lengths, key=lambda point: abs(point[0] - step))[1]  # noqa: E731
    return [[nearest(step), reward] for step, reward in rewards]


STUDIES = (
    Study(
        "fig1", "Figure 1, right", "Reward against length",
        "The way of training in the plane of mean length and reward.",
        partial(grid, objectives=PAIR), partial(published_grid, PAIR), read_fig1,
    ),
    Study(
        "fig5", "Figure 5", "GRPO against Dr. GRPO",
        "Reward, lengths of right and of wrong answers, and score on held-out questions along training.",
        partial(grid, objectives=PAIR), partial(published_grid, PAIR), read_fig5,
    ),
    Study(
        "ablation", "Appendix C, figure 8", "Which term controls length",
        "GRPO without its std, and without its 1/|o|, between GRPO and Dr. GRPO.",
        lambda out, size: grid(out, replace(size, seeds=size.fewer_seeds), VARIANTS),
        partial(published_grid, VARIANTS), read_ablation,
    ),
)  # fmt: skip
