"""What `r1zero audit` prints and draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from r1zero.cli.console import bar, make_console, plain_table, print_json, say, titled
from r1zero.errors import plural
from r1zero.objectives.bias_meter import Bias, pushes
from r1zero.objectives.example_batch import example_batch
from r1zero.objectives.expected_gradient import Measure
from r1zero.objectives.length_dynamics import follow
from r1zero.objectives.measured import share, slope
from r1zero.objectives.table import TABLE, Objective
from r1zero.objectives.toy_mdp import Mdp
from r1zero.report.charts import audit as charts
from r1zero.report.draw.files import draw_charts

if TYPE_CHECKING:
    from torch import Tensor

    from r1zero.audit.invariance import Variation
    from r1zero.audit.replay import Replay

Readings = Sequence[tuple[int, Objective, Bias]]

_SHOWN = ("dr_grpo", "grpo", "grpo_no_length", "dapo", "max_rl", "openrlhf/reinforce_baseline")
"""Whose weights are drawn, where nothing else is asked for."""
_FOLLOWED = ("dr_grpo", "grpo", "dapo", "openrlhf/reinforce_baseline")
_DYNAMICS_GROUP = 4


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar on standard error, so that what is printed can be read by a program."""
    console = make_console(stderr=True)
    with bar(console) as moving:
        task = moving.add_task(label, total=total)
        yield lambda: moving.advance(task)


def as_json(rows: Iterable[Any]) -> None:
    """Print records as a JSON list of objects."""
    print_json([asdict(row) for row in rows])


def exact_table(measures: Sequence[Measure], rows: Sequence[Objective]) -> None:
    """Print bias by group size, and the largest group's other numbers; rows with equal numbers share a line."""
    sizes = sorted({measure.group_size for measure in measures})
    lines: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        measured = {measure.group_size: measure for measure in measures if measure.objective == row.name}
        last = measured[sizes[-1]]
        numbers = [share(measured[size].relative_bias) for size in sizes]
        numbers += [f"{last.cosine:.3f}", f"{last.scale:.3g}", slope(last.length_bias), slope(last.difficulty_bias)]
        lines.setdefault(tuple(numbers), []).append(row.name + (" (V = 0)" if row.critic else ""))
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in (*(f"bias\nG = {size}" for size in sizes), "cosine", "scale", "length", "diffi-\nculty"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("objectives", overflow="fold")
    for numbers, names in lines.items():
        table.add_row(*numbers, escape("\n".join(names)), end_section=len(lines) > 8)
    console = make_console()
    console.print(titled("Bias of the expected gradient against ∇J", table))
    say(
        console,
        "bias: ‖a·E[g] − ∇J‖ / ‖∇J‖ at the best multiple a, which is scale. length, difficulty: slopes of the log of a "
        "response's expected weight on log |o| and on log √(p(1−p)) of its question; 0 is unbiased. cosine to "
        f"difficulty are for G = {sizes[-1]}, with C = 1. A critic is audited at V = 0.",
        style="dim",
    )
    for row in rows if len(rows) <= 12 else ():
        if row.note:
            say(console, f"{row.name}: {row.note}", style="dim")


def exact_pictures(
    mdp: Mdp, rows: Sequence[Objective], measures: Sequence[Measure], out: Path, *, off_policy: bool
) -> None:
    """Draw weight against length, bias bars, and the length dynamics."""
    chosen = {row.name: row for row in rows}
    shown = [TABLE[name] for name in _SHOWN if name in chosen] or list(rows)[:6]
    title = "What a token is multiplied with, on a made-up batch of easy and hard questions"
    files = _draw_weights(example_batch(), shown, out / "weights", title)
    size = max(measure.group_size for measure in measures)
    alike: dict[str, list[Measure]] = {}
    for measured in measures:
        if measured.group_size == size:
            alike.setdefault(share(measured.relative_bias), []).append(measured)
    biases = {
        fill(", ".join(m.objective for m in group), 64, break_on_hyphens=False): group[0].relative_bias
        for group in alike.values()
    }
    title = f"Bias of the expected gradient, groups of {size}{', off-policy' if off_policy else ''}"
    files += draw_charts([charts.bias(biases, title)], out / "bias")
    followed = [TABLE[name] for name in _FOLLOWED if name in chosen] or list(rows)[:4]
    start, paths = mdp.policy(), {}
    with progress("following", len(followed) + 1) as advance:
        for objective in (None, *followed):
            path = follow(mdp, objective, _DYNAMICS_GROUP, start)
            paths[path.objective] = asdict(path)
            advance()
    title = f"Along the exact expected gradient, groups of {_DYNAMICS_GROUP}"
    files += draw_charts(charts.dynamics(paths), out / "dynamics", title)
    _told(files)


def meter_json(readings: Readings) -> None:
    """Print the meter's readings as a JSON list of objects."""
    rows = [
        {"step": step, "objective": row.name, "length_bias": bias.length, "difficulty_bias": bias.difficulty}
        for step, row, bias in readings
    ]
    print_json(rows)


def meter_table(readings: Readings, objectives: int) -> None:
    """Print a line a step for one objective; means over steps for several."""
    headings = ["objective", "length", "difficulty"]
    if objectives == 1:
        headings, means = ["step", *headings], ""
        rows = [[str(step), row.name, slope(bias.length), slope(bias.difficulty)] for step, row, bias in readings]
    else:
        means, rows = f", means over {plural(len({step for step, _, _ in readings}), 'step')}", []
        for name in dict.fromkeys(row.name for _, row, _ in readings):
            own = [bias for _, row, bias in readings if row.name == name]
            rows.append([name, *(slope(_mean([getattr(bias, kind) for bias in own])) for kind in headings[1:])])
    console = make_console()
    console.print(plain_table("Bias meter on the saved rollouts", headings, rows, left=headings.index("objective")))
    say(
        console,
        f"Slopes of log(w·|Â| / |r − mean|) on log |o| and log √(p(1−p)){means}: 0 is "
        "unbiased, −1 is GRPO; – where a batch cannot tell.",
        style="dim",
    )


def meter_pictures(readings: Readings, run: Path, out: Path) -> None:
    """Draw both slopes over the steps."""
    series: dict[str, dict[str, list[tuple[int, float]]]] = {"length bias": {}, "difficulty bias": {}}
    for step, row, bias in readings:
        for kind, value in (("length bias", bias.length), ("difficulty bias", bias.difficulty)):
            line = series[kind].setdefault(row.name, [])
            if value is not None:
                line.append((step, value))
    _told(draw_charts(charts.meter(series), out / "meter", f"Bias meter of {run.name}"))


def replay_table(result: Replay, left_out: Sequence[str]) -> None:
    """Print one row an objective."""
    headings = ("objective", "norm", "cosine with dr_grpo", "length", "difficulty")
    rows = [
        [row.objective, f"{row.norm:.4g}", "–" if row.cosine is None else f"{row.cosine:.4f}",
         slope(row.length_bias), slope(row.difficulty_bias)]
        for row in result.rows
    ]  # fmt: skip
    console = make_console()
    console.print(plain_table(f"Gradients on the rollouts of step {result.step.number}", headings, rows))
    off = "" if result.exact else "; they did not sample this step, so ratios to the sampler's log-probs are not 1"
    say(console, f"Weights: {result.source}{off}. The whole batch as one optimiser step.", style="dim")
    if left_out:
        say(console, f"Left out, for they need their critic: {', '.join(left_out)}.", style="dim")


def replay_pictures(result: Replay, objectives: Sequence[Objective], out: Path) -> None:
    """Draw what every response of the step would have weighed."""
    step = result.step
    title = f"What a token of each response is multiplied with, step {step.number}"
    batch = (step.rewards_PG, step.graded_PG, step.lengths_PG)
    right_PG = step.answers.rewards_PG > 0
    _told(_draw_weights(batch, objectives, out / f"weights-step-{step.number:06d}", title, right_PG))


def _draw_weights(
    batch: tuple[Tensor, Tensor, Tensor],
    rows: Sequence[Objective],
    name: Path,
    title: str,
    right_PG: Tensor | None = None,
) -> list[Path]:
    """Draw w·Â of rewards, whether they are known, and lengths; as right what is, or earned anything."""
    rewards_PG, _, lengths_PG = batch
    weights = {row.name: pushes(*batch, row).flatten().tolist() for row in rows}
    right = (rewards_PG > 0 if right_PG is None else right_PG).flatten().tolist()
    return draw_charts(charts.weights(weights, lengths_PG.flatten().tolist(), right), name, title)


def invariance(found: Iterable[tuple[Variation, bool]], as_json: bool) -> bool:
    """Say each variation as it is found; whether all were equal."""
    console, rows = make_console(), []
    for variation, same in found:
        rows.append(asdict(variation) | {"equal": same})
        if as_json:
            continue
        if variation.difference is None:
            say(console, f"  –        {variation.name} ({variation.reason})")
        else:
            mark = "[green]same[/]" if same else "[red]differs[/]"
            console.print(f"  {variation.difference:.1e}  {variation.name}: {mark}", highlight=False)
    equal = all(row["equal"] for row in rows)
    if as_json:
        print_json(rows)
    else:
        largest = max((row["difference"] for row in rows if row["difference"] is not None), default=0.0)
        verdict = "the gradient does not depend on them" if equal else "the gradient depends on how a step is computed"
        say(console, f"Largest relative difference {largest:.1e}: {verdict}.")
    return equal


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _told(files: Sequence[Path]) -> None:
    say(make_console(stderr=True), f"pictures: {', '.join(map(str, files))}", whole=True)
