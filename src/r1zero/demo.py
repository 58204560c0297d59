"""The demo: a tiny base model, trained with verified rewards on built-in arithmetic, in a few minutes on a laptop.

The base model has read three kinds of answers to two-digit sums and differences: worked ones, which are right; quick
guesses, which mostly are not; and text that runs on to further questions. Pretraining teaches it to write all three in
their proportions; reinforcement learning has to find out, from rewards alone, which kind pays.
"""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from r1zero.config import Recipe
from r1zero.config.load import packaged_recipe
from r1zero.errors import UserError
from r1zero.objectives.from_recipe import recipe_objective
from r1zero.policy.device import set_threads
from r1zero.policy.tiny import character_tokenizer, tiny_model
from r1zero.pretrain import pretrain
from r1zero.questions.arithmetic import Problem, arithmetic
from r1zero.report.charts import run as charts
from r1zero.report.data.run_data import load_run
from r1zero.report.data.seed_groups import SeedGroup
from r1zero.report.draw.files import draw_charts
from r1zero.report.pages.run import write_report
from r1zero.runs.exclusive import exclusive
from r1zero.runs.files import write_text, writing
from r1zero.runs.run import Run
from r1zero.training.progress import RichView
from r1zero.training.train import train

LEVEL = 3
PRETRAIN_STEPS = 1300
SEED = "demo_seed.txt"  # in the base model's folder: the seed it was made with
_WORKED_ONLY = 0.8  # share of pretraining on worked answers alone: the sums must be learnt before they are diluted


def answer(problem: Problem, kind: str, rng: random.Random) -> str:
    """Return one answer to a two-digit sum or difference, of the kind `worked`, `guess` or `ramble`."""
    (a, b), op = problem.terms, problem.ops[0]
    if kind == "worked":
        return f" {worked_steps(a, op, b)} \\boxed{{{problem.answer}}}"
    if kind == "guess":
        return f" \\boxed{{{rng.randint(0, 198 if op == '+' else 89)}}}"
    further = (f"{rng.randint(10, 99)}{rng.choice('+-')}{rng.randint(10, 99)}=" for _ in range(rng.randint(1, 5)))
    return " " + " ".join(further)


def worked_steps(a: int, op: str, b: int) -> str:
    """Return column by column: 37+48 is "7+8=15 3+4+1=8", 37-18 is "17-8=9 3-1-1=1"."""
    (tens_a, ones_a), (tens_b, ones_b) = divmod(a, 10), divmod(b, 10)
    if op == "+":
        carry = (ones_a + ones_b) // 10
        return f"{ones_a}+{ones_b}={ones_a + ones_b} {tens_a}+{tens_b}+{carry}={tens_a + tens_b + carry}"
    borrow = int(ones_a < ones_b)
    top = ones_a + 10 * borrow
    return f"{top}-{ones_b}={top - ones_b} {tens_a}-{tens_b}-{borrow}={tens_a - tens_b - borrow}"


def corpus(seed: int, documents: int) -> Iterator[tuple[str, str]]:
    """Yield endless (question, answer) pairs; of the first `documents`, the first share is worked answers only."""
    questions = arithmetic(level=LEVEL, style="bare", seed=seed + 1)
    rng = random.Random(seed)
    for index in itertools.count():
        mixed = index >= _WORKED_ONLY * documents
        kind = rng.choices(("worked", "guess", "ramble"), (2, 3, 1))[0] if mixed else "worked"
        yield questions[index].text, answer(questions.problem(index), kind, rng)


def make_base_model(folder: Path, seed: int, console: Console, steps: int = PRETRAIN_STEPS) -> None:
    """Pretrain the tiny base model and save it as an ordinary model folder."""
    tokenizer = character_tokenizer()
    model = tiny_model(tokenizer, width=64, layers=2, heads=4, seed=seed)
    batch = 32
    with Progress(console=console, transient=True, disable=not console.is_interactive) as progress:
        task = progress.add_task("pretraining a tiny base model", total=steps)
        loss = pretrain(
            model,
            tokenizer,
            corpus(seed, steps * batch),
            steps=steps,
            batch=batch,
            learning_rate=4e-3,
            watch=lambda step, _: progress.update(task, completed=step),
        )
    aside = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    model.save_pretrained(aside)
    tokenizer.save_pretrained(aside)
    write_text(aside / SEED, f"{seed}\n")
    aside.rename(folder)
    said = f"base model: {model.num_parameters():,} parameters, loss {loss:.3f} nats a token, in {folder}"
    console.print(escape(said))


def check_seed(out: Path, seed: int, objectives: Sequence[str]) -> None:
    """Make sure that what is found in `out` was made with this seed. Raises UserError."""
    marker = out / "base" / SEED
    runs = [out / objective for objective in objectives if (out / objective / "run.json").is_file()]
    found = [marker.read_text(encoding="utf-8").strip()] if marker.is_file() else []
    found += [str(Run.open(path).recipe.train.seed) for path in runs]
    for other in found:
        if other != str(seed):
            raise UserError(
                f"--seed {seed} is not the seed {other} that the demo in {out} was begun with; give --seed {other} to "
                "continue it, or choose another --out."
            )


def recipe(base: Path, objective: str, seed: int, changes: Mapping[str, object]) -> Recipe:
    """Return the demo's recipe for one objective."""
    own = {"model.path": str(base), "objective.name": objective, "train.seed": seed}
    return packaged_recipe("demo", Recipe, own | dict(changes))


def run_demo(
    out: Path,
    objectives: Sequence[str],
    seed: int,
    console: Console,
    *,
    pretrain_steps: int = PRETRAIN_STEPS,
    changes: Mapping[str, object] | None = None,
) -> Path:
    """Pretrain, train with each objective, report; returns the page. Parts that are already done are kept.

    `changes` are dotted overrides of the demo's recipe.
    """
    set_threads(1)  # all that so small a model can use; and the same bits whatever else the machine does
    recipes = {objective: recipe(out / "base", objective, seed, changes or {}) for objective in objectives}
    for resolved in recipes.values():
        recipe_objective(resolved)  # a wrong name is better told now than after pretraining
    with exclusive(out):
        check_seed(out, seed, objectives)
        return _run_demo(out, recipes, seed, console, pretrain_steps)


def _run_demo(out: Path, recipes: Mapping[str, Recipe], seed: int, console: Console, pretrain_steps: int) -> Path:
    base = out / "base"
    if not base.exists():
        with writing(base):
            out.mkdir(parents=True, exist_ok=True)
            make_base_model(base, seed, console, pretrain_steps)
    runs: dict[str, Run] = {}
    for objective, resolved in recipes.items():
        with RichView(console, every=10) as view:
            runs[objective] = train(resolved, out / objective, resume=True, view=view)
    groups = [SeedGroup(objective, (load_run(run.path),)) for objective, run in runs.items()]
    draw_charts(charts.panels(groups, charts.DEMO), out / "curves", columns=4)
    console.print(f"learning curves: {escape(str(out / 'curves.png'))}", soft_wrap=True)
    page = write_report([run.path for run in runs.values()], out / "report.html").page
    console.print(f"report: {escape(str(page))}", soft_wrap=True)
    return page
