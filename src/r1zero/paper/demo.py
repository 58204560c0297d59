"""The demo: the paper's figure 5 in miniature, one seed in minutes: GRPO and Dr. GRPO side by side from one base model.

base/           the base model, from the package or `--from-scratch`
world/          the questions; from scratch, also the texts
dr_grpo/ grpo/  a run for each objective
curves.png      the picture, beside the paper's own curves
report.html     the page
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import datasets
from rich.console import Console
from rich.markup import escape

from r1zero.config import Recipe
from r1zero.config.load import packaged_recipe
from r1zero.errors import UserError, parsed, reason
from r1zero.objectives.from_recipe import recipe_objective
from r1zero.paper import curves
from r1zero.paper.base_model import BASE, STEPS, WORLD_SEED, copy_shipped, is_shipped, pretraining, round_base
from r1zero.paper.jobs import RunJob
from r1zero.paper.miniature import WORLD, questions
from r1zero.paper.schedule import carry_out
from r1zero.paper.studies.fig5 import EVERY_WRONG, WRONG_LENGTH
from r1zero.paper.world import write_questions
from r1zero.policy.device import set_threads
from r1zero.pretrain.run import pretrain_run
from r1zero.report.charts.model import Chart
from r1zero.report.data.lengths import ClassSums, class_sums, mean_lengths, shares
from r1zero.report.data.run_data import load_run
from r1zero.report.data.seed_groups import SeedGroup
from r1zero.report.draw.files import draw_charts
from r1zero.report.draw.numbers import number
from r1zero.report.pages.run import write_report
from r1zero.runs.exclusive import exclusive
from r1zero.runs.files import write_text, writing
from r1zero.runs.foreign import read_text
from r1zero.runs.rollout_rows import RolloutFileError, read_rows
from r1zero.runs.run import Run
from r1zero.training.train import train
from r1zero.training.watch import View
from r1zero.types import Fate

PLAN = "demo.json"
"""What was begun: the seed, and where the base model comes from."""
_OLD_SEED = "demo_seed.txt"  # in base/, of a demo on arithmetic by an older version
_SETS = ("wide", "test")
_EVERY, _PRETRAINING_EVERY = 10, 200  # steps from one printed line to the next


def run_demo(
    out: Path,
    objectives: Sequence[str],
    seed: int,
    console: Console,
    *,
    from_scratch: bool = False,
    workers: int = 2,
    pretrain_steps: int = STEPS,
    changes: Mapping[str, object] | None = None,
) -> Path:
    """Train with each objective, `workers` runs side by side, draw, report, say what was seen; returns the page.

    Parts that are already done are kept. `changes` are dotted overrides of the demo's recipe.

    Raises:
        UserError: anything the user has to mend, in one sentence.
    """
    place = out.resolve()  # runs know their base model by its whole path; what is printed is what was asked for
    jobs = [_job(place, objective, seed, changes or {}) for objective in dict.fromkeys(objectives)]
    if not jobs:
        raise UserError("--objectives names none; give one or more, such as --objectives dr_grpo grpo.")
    made = [recipe_objective(job.asked()) for job in jobs]  # a wrong name is better told now than after pretraining
    with exclusive(out):
        _begin(out, jobs, seed, from_scratch)
        _make_base(out, seed if from_scratch else None, pretrain_steps, console)
        console.print(
            f"{escape(str(out / BASE))}: {jobs[0].asked().train.steps} steps with each objective", soft_wrap=True
        )
        for each in made:
            console.print(f"{each.name} {each.hash}: {each.formula}", highlight=False, markup=False, soft_wrap=True)
        _carry_out(jobs, place, workers, console)
        return _show(out, jobs, console)


def _job(out: Path, objective: str, seed: int, changes: Mapping[str, object]) -> RunJob:
    """Return the run of one objective. Raises UserError where a setting cannot be used."""
    own: dict[str, object] = {
        "model.path": str(out / BASE),
        "questions.name": questions(out, "wide"),
        "evaluation.benchmarks": [
            {"name": questions(out, "test"), "limit": packaged_recipe("demo", Recipe).evaluation.benchmarks[0].limit}
        ],
        "objective.name": objective,
        "train.seed": seed,
    }
    return RunJob(objective, "demo", own | dict(changes))


def _begin(out: Path, jobs: Sequence[RunJob], seed: int, from_scratch: bool) -> None:
    """Note what is begun, and write the questions. Raises UserError where something else was begun there."""
    if (out / BASE / _OLD_SEED).exists():
        raise UserError(
            f"{out} holds a demo on arithmetic, of an older version, which `r1zero report {out}` still shows; choose "
            "another --out."
        )
    plan = {"seed": seed, "from_scratch": from_scratch}
    found = [_read_plan(out / PLAN)] if (out / PLAN).exists() else []
    runs = [(job, Run.open(out / job.name)) for job in jobs if (out / job.name / "run.json").is_file()]
    found += [{"seed": run.recipe.train.seed} for _, run in runs]
    for each in found:
        if each["seed"] != seed:
            raise UserError(
                f"--seed {seed} is not the seed {each['seed']} that the demo in {out} was begun with; give --seed "
                f"{each['seed']} to continue it, or choose another --out."
            )
        if each.get("from_scratch", from_scratch) != from_scratch:
            raise UserError(
                f"The demo in {out} was begun {'without' if from_scratch else 'with'} --from-scratch; give the same "
                "to continue it, or choose another --out."
            )
    if from_scratch and not found and is_shipped(out / BASE):
        raise UserError(
            f"{out / BASE} is the base model that comes with r1zero, as `r1zero recipe prepare demo` puts it there; "
            "leave --from-scratch out, or choose another --out."
        )
    for job, run in runs:
        done = max((row["step"] for row in run.read("metrics")), default=0)
        if job.asked().train.steps < done:
            raise UserError(
                f"--steps {job.asked().train.steps} is less than the {done} steps that {run.path} has done; give "
                f"--steps {done} or more, or choose another --out."
            )
    with writing(out):
        (out / WORLD).mkdir(parents=True, exist_ok=True)
        for name in _SETS:
            if not Path(questions(out, name)).is_file():
                write_questions(out / WORLD, name, WORLD_SEED)
        write_text(out / PLAN, json.dumps(plan) + "\n")


def _read_plan(path: Path) -> dict[str, object]:
    try:
        plan = parsed(read_text(path))
        if type(plan["seed"]) is not int or type(plan["from_scratch"]) is not bool:
            raise ValueError("seed must be a whole number, from_scratch true or false")
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read ({reason(error)}); remove it, and give the same command again."
        ) from None
    return plan


def _make_base(out: Path, seed: int | None, steps: int, console: Console) -> None:
    """Put the base model there, if it is not: the package's, or one pretrained here with a seed."""
    if (out / BASE).exists():
        return
    if seed is None:
        copy_shipped(out / BASE)
        return
    job = pretraining(out, seed, steps)
    console.print(f"pretraining a base model: {steps:,} steps, in {escape(str(out / job.name))}", soft_wrap=True)
    datasets.disable_progress_bars()
    set_threads(1)  # all that so small a model can use; and the same bits whatever else the machine does

    def watch(step: int, total: int, numbers: dict[str, float]) -> None:
        if step % _PRETRAINING_EVERY == 0:
            console.print(f"pretraining step {step:>5,}/{total:,}  loss {numbers['pretrain/loss']:.3f} nats a token")

    if not job.done(out.resolve()):
        pretrain_run(job.asked(), out / job.name, resume=True, watch=watch)
    round_base(out / job.name, out / BASE)


def _carry_out(jobs: Sequence[RunJob], out: Path, workers: int, console: Console) -> None:
    """Make the runs, or what is left of them, and print how they go on: side by side, or one by one in this process."""
    told = dict.fromkeys((job.name for job in jobs), 0)
    _lines(out, told)  # what was done before is not told again

    def tell() -> None:
        for line in _lines(out, told):
            console.print(line, highlight=False, markup=False, soft_wrap=True)

    if workers > 1:
        carry_out(jobs, out, workers, lambda job, seconds: tell(), looked=tell)
        return
    set_threads(1)
    for job in jobs:
        if not job.done(out):
            train(job.asked(), out / job.name, resume=True, view=_Telling(tell))


class _Telling(View):
    """Has the lines of a run printed that is made in this process."""

    def __init__(self, tell: Callable[[], None]):
        self.tell = tell

    def stepped(self, step: int, numbers: Mapping[str, float]) -> None:
        """Print what is due."""
        self.tell()


def _lines(out: Path, told: dict[str, int]) -> list[str]:
    """Return the lines that are due, the earlier steps first; `told`, run → the last step told of, moves on."""
    due: list[tuple[int, str]] = []
    for name in told:
        while (path := out / name / "rollouts" / f"step-{told[name] + _EVERY:06d}.parquet").is_file():
            told[name] += _EVERY
            try:
                rows = read_rows(path, ("outcome", "stop", "length"))
            except RolloutFileError:  # the page says so
                continue
            sums = class_sums((row["outcome"], row["stop"], row["length"]) for row in rows)
            due.append((told[name], step_line(told[name], name, sums)))
    return [line for _, line in sorted(due, key=lambda each: each[0])]


def step_line(step: int, objective: str, sums: ClassSums) -> str:
    """Return the line of one step of one run: how many answers are right, and how long those of each kind are."""
    right, wrong, share = mean_lengths(sums)[Fate.CORRECT], curves.wrong_length(sums), shares(sums)
    return (
        f"step {step:>4}  {_name(objective):<8}  right {share[Fate.CORRECT]:>4.0%}  tokens of right answers "
        f"{_tokens(right):>4}, of wrong ones {_tokens(wrong):>4}  cut off {share[Fate.TRUNCATED]:>4.0%}"
    )


def _show(out: Path, jobs: Sequence[RunJob], console: Console) -> Path:
    """Draw the picture, write the page, and say what was seen; returns the page."""
    groups = {job.name: SeedGroup(_name(job.name), (load_run(out / job.name),)) for job in jobs}
    draw_charts(picture(groups), out / "curves", columns=4)
    console.print(f"learning curves: {escape(str(out / 'curves.png'))}", soft_wrap=True)
    page = write_report([out / job.name for job in jobs], out / "report.html").page
    console.print(f"report: {escape(str(page))}", soft_wrap=True)
    console.print(seen(groups), highlight=False, markup=False, soft_wrap=True)
    return page


def picture(groups: Mapping[str, SeedGroup]) -> list[Chart]:
    """Return lengths of wrong answers and reward over training, each beside the paper's own where it has both runs."""
    every = list(groups.values())
    lengths = curves.by_step(every, curves.wrong_length)
    wrong = Chart("demo-wrong", "Length of wrong answers", "tokens", lengths, EVERY_WRONG)
    reward = Chart("demo-reward", "Training reward", "", curves.trained(every, "rollout/reward"), percent=True)
    if tuple(groups) != curves.PAIR:
        return [wrong, reward]
    theirs = curves.published("grpo_vs_dr_grpo")
    panels = [
        curves.beside(wrong, curves.by_objective(theirs["eval_incorrect_length"])),
        curves.beside(reward, curves.by_objective(theirs["train_reward"])),
    ]
    return [chart for panel in panels for chart in (panel.ours, panel.paper) if isinstance(chart, Chart)]


def seen(groups: Mapping[str, SeedGroup]) -> str:
    """Return one sentence: how long wrong answers are at the end under each objective, and whether GRPO's are longer.

    By how much counts is the margin of the study of figure 5.
    """
    ends = {name: curves.wrong_at_end(group.runs[0]) for name, group in groups.items()}
    if not {"grpo", "dr_grpo"} <= set(ends):
        told = " and ".join(f"{_long(end)} under {_name(name)}" for name, end in ends.items())
        return f"At the end wrong answers are {told}; the paper's comparison takes --objectives dr_grpo grpo."
    biased, plain = ends["grpo"], ends["dr_grpo"]
    if math.isnan(biased - plain):
        none = " and ".join(_name(name) for name in ("grpo", "dr_grpo") if math.isnan(ends[name]))
        return f"This seed did not show it: at the end {none} gave no wrong answer, whose length could be told."
    margin = curves.share_of_budget(groups.values(), *WRONG_LENGTH).value
    steps = len(curves.ending(tuple(groups["grpo"].runs[0].lengths)))
    apart = round(biased, 1) - round(plain, 1)  # as a reader takes one printed number from the other
    both = (
        f"wrong answers end at {biased:.1f} tokens under GRPO and at {plain:.1f} under Dr. GRPO, {abs(apart):.1f} "
        f"apart (mean of the last {steps} steps, those cut off included)"
    )
    if biased - plain >= margin:
        return f"Seen: {both}."
    return (
        f"This seed did not show it: {both}; from {margin:g} on it would count, and another --seed "
        "with another --out may show it."
    )


def _name(objective: str) -> str:
    return curves.NAMES.get(objective, objective)


def _tokens(length: float | None) -> str:
    return "-" if length is None else f"{length:.1f}"


def _long(length: float) -> str:
    return "none" if math.isnan(length) else f"{number(length)} tokens long"
