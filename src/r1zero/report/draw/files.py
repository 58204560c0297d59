"""Figures of runs as files, PNG and SVG: the page's panels, on white, for papers and slides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # figures go to files; no display is needed
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from r1zero.errors import UserError
from r1zero.report.charts import run as charts
from r1zero.report.charts.model import Chart, Series
from r1zero.report.charts.run import LengthCharts
from r1zero.report.data.lengths import CLASSES
from r1zero.report.data.run_data import load_run
from r1zero.report.data.seed_groups import SeedGroup, grouped
from r1zero.report.draw.numbers import number, signed
from r1zero.runs.run import Run

COLORS = ("#0b5cad", "#b43a08", "#0f766e", "#7c3aed", "#a16207", "#be185d")
"""The page's, in its light theme."""
CLASS_COLORS = {"correct": "#0f766e", "incorrect": "#b43a08", "truncated": "#7c3aed", "ungraded": "#6b7280"}
_HATCHES = {"correct": "", "incorrect": "", "truncated": "////", "ungraded": "...."}
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
_MARKS = ("o", "s", "^", "D", "o", "x")
_FOUR = (
    ("rollout/reward", "Training reward"),
    ("rollout/length_correct", "Length of right answers"),
    ("rollout/length_incorrect", "Length of wrong answers"),
    ("rollout/truncated", "Truncated responses"),
)


def training_curves(runs: Mapping[str, Run], out: Path) -> Path:
    """Reward, lengths of right and wrong answers and truncation over steps, one line a run, to a PNG or SVG file.

    Raises:
        UserError: a run has no logged step.
    """
    groups = []
    for label, run in runs.items():
        data = load_run(run.path)
        if not data.metrics:
            raise UserError(f"{run.path} has no logged step yet, so there is nothing to draw.")
        groups.append(SeedGroup(label, (data,)))
    panels = {chart.key: chart for chart in (*charts.learning(groups), *charts.lengths(groups))}
    figure, axes = plt.subplots(1, len(_FOUR), figsize=(3.4 * len(_FOUR), 3.0), layout="constrained")
    for axis, (key, title) in zip(axes, _FOUR, strict=True):
        chart = panels.get(charts.slug(key))
        axis.set_title(title, fontsize=10)
        if chart is not None:
            _curves(axis, chart)
    axes[0].legend(frameon=False, fontsize=9)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=160)
    plt.close(figure)
    return out


def draw(groups: Sequence[SeedGroup], folder: Path) -> list[Path]:
    """Every figure of a report that something was logged for, as NAME.png and NAME.svg in `folder`."""
    rows = {
        "learning": charts.learning(groups),
        "lengths": charts.lengths(groups),
        "bias": charts.bias(groups),
        "health": charts.health(groups),
    }
    written = []
    for name, panels in rows.items():
        if panels:
            written += _save(_row(panels), folder / name)
    by_class = [each for i, group in enumerate(groups) if (each := charts.by_class(group, i)) is not None]
    if by_class:
        written += _save(_lengths(by_class), folder / "length-change")
    return written


def draw_charts(panels: Sequence[Chart], name: Path) -> list[Path]:
    """Charts in rows of three, to NAME.png and NAME.svg."""
    return _save(_row(panels), name)


def _row(panels: Sequence[Chart]) -> Figure:
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.5 * columns, 2.7 * rows + 0.3), layout="constrained", squeeze=False
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, chart in zip(axes.flat, panels, strict=False):
        axis.set_title(chart.title, fontsize=10 if len(chart.title) < 32 else 8, loc="left", fontweight="bold")
        _curves(axis, chart)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False, fontsize=9)
    return figure


def _curves(axis: Axes, chart: Chart) -> None:
    for level, meaning in chart.references:
        axis.axhline(level, color="#6b7280", linewidth=0.8, linestyle=(0, (2, 3)))
        axis.annotate(meaning, (1, level), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7)
    for series in chart.series:
        color, dash, shape = _look(series)
        if series.low:
            axis.fill_between(series.x, series.low, series.high, color=color, alpha=0.18, linewidth=0)
        if series.raw and series.raw != series.y:
            axis.plot(series.x, series.raw, color=color, alpha=0.28, linewidth=0.7)
        axis.plot(series.x, series.y, color=color, linestyle=dash, linewidth=1.8, label=series.label,
                  marker=shape, markersize=5, markevery=[len(series.x) - 1])  # fmt: skip
        if chart.path:
            axis.plot(series.x[:1], series.y[:1], color=color, marker="o", markersize=5, markerfacecolor="white")
    axis.set_xlabel(chart.x_label, fontsize=8)
    axis.set_ylabel(chart.unit, fontsize=8)
    if chart.floor is not None:
        axis.set_ylim(bottom=min(chart.floor, axis.get_ylim()[0]) if chart.references else chart.floor)
    if chart.ceiling is not None:  # a share of nearly nothing should look like it
        axis.set_ylim(top=max(chart.ceiling, axis.get_ylim()[1]))
    if chart.percent:
        axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    _plain(axis)


def _lengths(groups: Sequence[LengthCharts]) -> Figure:
    figure, axes = plt.subplots(
        len(groups), 3, figsize=(11, 2.9 * len(groups)), layout="constrained", squeeze=False
    )  # fmt: skip
    for (share, length, change), each in zip(axes, groups, strict=True):
        present = [name for name in CLASSES if any(each.shares[name])]
        stack = share.stackplot(each.steps, [each.shares[name] for name in present], labels=present,
                                colors=[CLASS_COLORS[name] for name in present], alpha=0.75)  # fmt: skip
        for patch, name in zip(stack, present, strict=True):
            patch.set_hatch(_HATCHES[name])
        share.set_ylim(0, 1)
        share.yaxis.set_major_formatter(PercentFormatter(1.0))
        share.set_title(f"{each.label}: shares", fontsize=10, loc="left", fontweight="bold")
        share.legend(frameon=False, fontsize=7)
        length.set_title("Length by class", fontsize=10, loc="left", fontweight="bold")
        _curves(length, each.by_class)
        change.set_title("Why the mean length changed", fontsize=10, loc="left", fontweight="bold")
        _waterfall(change, each)
        for axis in (share, length):
            axis.set_xlabel("step", fontsize=8)
        _plain(share)
    return figure


def _waterfall(axis: Axes, lengths: LengthCharts) -> None:
    change = lengths.change
    _plain(axis)
    if change is None:
        axis.annotate("one step only", (0.5, 0.5), xycoords="axes fraction", ha="center", fontsize=8)
        return
    steps = [(name, change.within[name]) for name in CLASSES if abs(change.within[name]) >= 0.005]
    level = change.start
    axis.bar(0, level, color="#9ca3af")
    axis.annotate(number(level), (0, level), ha="center", va="bottom", fontsize=8)
    names = ["start"]
    for i, (name, delta) in enumerate([*steps, ("mixture", change.mixture)], start=1):
        axis.bar(i, delta, bottom=level, color=CLASS_COLORS.get(name, "#1f2937"))
        axis.annotate(signed(delta), (i, max(level, level + delta)), ha="center", va="bottom", fontsize=8)
        level += delta
        names.append(name)
    axis.bar(len(names), change.end, color="#9ca3af")
    axis.annotate(number(change.end), (len(names), change.end), ha="center", va="bottom", fontsize=8)
    axis.set_xticks(range(len(names) + 1), [*names, "end"], fontsize=8)
    axis.set_ylabel("tokens", fontsize=8)
    axis.margins(y=0.15)


def _look(series: Series) -> tuple[str, object, str]:
    if series.style in CLASSES:
        i = CLASSES.index(series.style)
        return CLASS_COLORS[series.style], _DASHES[i], _MARKS[i]
    i = int(series.style[1:])
    shift = i + i // len(COLORS)  # the second time round, a colour has another dash and mark
    return COLORS[i % len(COLORS)], _DASHES[shift % len(_DASHES)], _MARKS[shift % len(_MARKS)]


def _plain(axis: Axes) -> None:
    axis.grid(alpha=0.2)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)


def _save(figure: Figure, name: Path) -> list[Path]:
    name.parent.mkdir(parents=True, exist_ok=True)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, not for each file
    paths = [name.with_suffix(suffix) for suffix in (".png", ".svg")]
    for path in paths:
        figure.savefig(path, dpi=160)
    plt.close(figure)
    return paths


__all__ = ["draw", "draw_charts", "grouped", "training_curves"]
