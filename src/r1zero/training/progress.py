"""What a run shows while it runs: one progress bar and one line a step, with the numbers that matter."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from r1zero.config import Recipe
from r1zero.errors import plural
from r1zero.evaluation import SetResult, average
from r1zero.training.setup import RunSetup
from r1zero.training.watch import View
from r1zero.types import Completion


class RichView(View):
    """A view for terminals; where output is not a terminal it prints the lines and no bar."""

    def __init__(self, console: Console, every: int = 1):
        self.console, self.every = console, every
        self.progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[now]}"),
            console=console,
            transient=True,
            disable=not console.is_interactive,
        )
        self.responses = 0

    def __enter__(self) -> RichView:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def begin(self, parts: RunSetup, recipe: Recipe) -> None:
        """Say what is about to run."""
        say = self.console.print
        facts = parts.run.facts
        say(f"[bold]{escape(str(parts.run.path))}[/]: {facts['parameters'] / 1e6:.3g} M parameters "
            f"on {facts['device']}, {plural(facts['threads'], 'thread')}, "
            f"{plural(facts['questions_count'], 'question')} of {escape(facts['questions'])}, "
            f"template {escape(parts.template.name)}", highlight=False)  # fmt: skip
        objective = parts.objective
        say(f"[bold]{escape(objective.name)}[/] {objective.hash}: {escape(objective.formula)}", highlight=False)
        if parts.step:
            say(f"continuing after step {parts.step} of {recipe.train.steps}")
        for note in parts.notes:
            self.console.print(f"[yellow]note[/] {escape(note)}", highlight=False)
        self.task = self.progress.add_task("train", total=recipe.train.steps, completed=parts.step, now="")

    def sampled(self, completion: Completion) -> None:
        """Count responses as they finish."""
        del completion
        self.responses += 1
        if not self.progress.disable:
            self.progress.update(self.task, now=plural(self.responses, "response"))

    def stepped(self, step: int, numbers: Mapping[str, float]) -> None:
        """Print one line with reward, lengths, truncation and speed."""
        self.responses = 0
        if not self.progress.disable:
            self.progress.update(self.task, completed=step, now="")
        if step % self.every == 0:
            self.console.print(step_line(step, numbers), highlight=False)

    def evaluated(self, step: int, results: list[SetResult]) -> None:
        """Print one line with every set's accuracy."""
        parts = [f"{escape(r.name)} {r.accuracy:.3f} [{r.accuracy_low:.3f}, {r.accuracy_high:.3f}]" for r in results]
        mean = f"  average {average(results):.3f}" if len(results) > 1 else ""
        self.responses = 0
        self.console.print(f"[cyan]evaluation[/] after step {step}: {'  '.join(parts)}{mean}", highlight=False)


def step_line(step: int, n: Mapping[str, float]) -> str:
    """Return the line of one step, from its metrics."""
    lengths = "/".join(
        f"{n[key]:.0f}" if key in n else "-" for key in ("rollout/length_correct", "rollout/length_incorrect")
    )
    unknown = int(n["rollout/ungraded"]), int(n["rollout/timeouts"])
    trouble = f"  ungraded {unknown[0]}, timed out {unknown[1]}" if any(unknown) else ""
    return (
        f"step {step:>4}  reward {n.get('rollout/reward', float('nan')):.3f}  length right/wrong {lengths}  "
        f"truncated {n['rollout/truncated']:.0%}  dead groups {n['rollout/dead_groups']:.0%}  "
        f"{n['speed/tokens_per_second']:,.0f} tok/s  {n['time/step']:.1f} s{trouble}"
    )
