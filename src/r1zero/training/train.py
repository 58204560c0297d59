"""THE loop: collect (sample → verify → advantage) → learn → log → evaluate → save."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from r1zero.config import Recipe
from r1zero.evaluation import average, evaluate_sets
from r1zero.metrics import Tally
from r1zero.rewards.open import RewardSource
from r1zero.runs import checkpoints
from r1zero.runs.exclusive import exclusive
from r1zero.runs.run import Run
from r1zero.training.progress import View
from r1zero.training.setup import RunSetup, set_up


def train(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    from_step: int | None = None,
    view: View | None = None,
    rewards: Sequence[RewardSource] = (),
) -> Run:
    """Run a recipe in the directory `out`, from the start, or with `resume` from its last checkpoint or that of
    `from_step`; returns the run. `rewards` are functions of this process, or rows, in place of the recipe's own.

    Killed at any moment and resumed, it ends with the same bits (on a CPU in fp32): all randomness is a pure function
    of the seed and of what it is for, and a step that was cut short is done again from the last checkpoint.

    Raises:
        UserError: anything the user has to mend, in one sentence.
    """
    view = view or View()
    with exclusive(out), set_up(recipe, out, resume=resume, from_step=from_step, rewards=rewards) as parts:
        view.begin(parts, recipe)
        if parts.step == 0:
            score = _evaluate(parts, 0, view)
        best = max((c.score for c in checkpoints.complete(out / "checkpoints") if c.score is not None), default=-1.0)
        saving = 0.0
        for step in range(parts.step + 1, recipe.train.steps + 1):
            begin, tally = time.perf_counter(), Tally()

            batch = parts.collector(step, tally, view.sampled)

            learning = time.perf_counter()
            parts.learner.learn(batch.trajectories(), step, tally)
            learned = time.perf_counter()

            if _due(step, recipe.log.rollouts_every):
                parts.run.save_rollouts(step, batch.rollouts, batch.columns())
            saved = time.perf_counter()

            last = step == recipe.train.steps
            score = _evaluate(parts, step, view) if last or _due(step, recipe.evaluation.every) else None

            now = time.perf_counter()
            tally.add("time/learn", learned - learning)
            tally.add("time/save", saving + saved - learned)
            tally.add("time/evaluate", now - saved)
            tally.add("time/step", now - begin)
            _log(parts, step, tally, view)

            # After the line of the step: what a checkpoint goes on from is logged whole, and a resumed run forgets what
            # was logged later. So the time that saving takes is told with the next step.
            better = recipe.checkpoint.keep_best and score is not None and score > best
            if last or _due(step, recipe.checkpoint.every) or better:
                state = {"learner": parts.learner.state(), "stream": parts.collector.state()}
                checkpoints.save(out / "checkpoints", step, parts.learner.save, state, score)
                checkpoints.prune(out / "checkpoints", recipe.checkpoint.keep_last, recipe.checkpoint.keep_best)
            best = max(best, score if score is not None else best)
            saving = time.perf_counter() - now
    return parts.run


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _evaluate(parts: RunSetup, step: int, view: View) -> float | None:
    """Evaluate on all benchmarks, log it, and return their average."""
    if not parts.benchmarks:
        return None
    folder = parts.run.path / "evaluations" / f"step-{step:06d}"
    results = evaluate_sets(
        parts.benchmarks, parts.sampler, parts.verifier, parts.protocol, folder=folder, progress=view.sampled
    )
    score = average(results)
    numbers = {key: value for result in results for key, value in result.numbers().items()}
    parts.run.log("evaluations", {"step": step} | numbers | {"eval/average": score})
    for sink in parts.sinks:
        sink.log(step, numbers | {"eval/average": score or 0.0})
    view.evaluated(step, results)
    return score


def _log(parts: RunSetup, step: int, tally: Tally, view: View) -> None:
    """Write the step's numbers everywhere they go."""
    known = tally.result()
    tally.add("speed/sample_tokens_per_second", known["rollout/tokens"] / known["time/sample"])
    tally.add("speed/tokens_per_second", known["rollout/tokens"] / known["time/step"])
    tally.add("memory/peak_mib", parts.learner.peak_memory() / 2**20)
    numbers = tally.result()
    parts.run.log("metrics", {"step": step} | numbers)
    for sink in parts.sinks:
        sink.log(step, numbers)
    view.stepped(step, numbers)
