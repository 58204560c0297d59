"""Charts as files, PNG and SVG: the page's panels, on white, for papers and slides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import matplotlib as mpl

mpl.use("Agg")  # figures go to files; no display is needed
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from r1zero.report.charts.model import COUNTED, PUBLISHED, Chart, IntervalChart, IntervalRow, Series
from r1zero.report.charts.run import LengthCharts
from r1zero.report.draw.numbers import number, signed
from r1zero.runs.files import replacing, writing
from r1zero.types import COARSE_FATES

mpl.rcParams["svg.hashsalt"] = "r1zero"  # equal numbers, equal files

COLORS = ("#0b5cad", "#b43a08", "#0f766e", "#7c3aed", "#a16207", "#be185d")
"""The page's, in its light theme."""
CLASS_COLORS = dict(zip(map(str, COARSE_FATES), ("#0f766e", "#b43a08", "#7c3aed", "#6b7280"), strict=True))
_SOFT = "#6b7280"
_HATCHES = dict(zip(COARSE_FATES, ("", "", "////", "...."), strict=True))
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
_MARKS = ("o", "s", "^", "D", "o", "x")
_FEW = 12  # points of a curve that are marked each; of more, only the last
_UNDATED = {".png": None, ".svg": {"Date": None}}
_LINE = 0.14  # inches that a line of small text takes


def draw_charts(
    panels: Sequence[Chart | IntervalChart], name: Path, title: str = "", *, columns: int = 3
) -> list[Path]:
    """Draw charts in rows, to NAME.png and NAME.svg; nothing where there is no chart."""
    if not panels:
        return []
    columns = min(columns, len(panels))
    heights = [max(map(_height, panels[i : i + columns])) for i in range(0, len(panels), columns)]
    figure, axes = plt.subplots(
        len(heights), columns, figsize=(3.5 * columns if columns > 1 else 5, sum(heights) + 0.3),
        layout="constrained", squeeze=False, height_ratios=heights,
    )  # fmt: skip
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, chart in zip(axes.flat, panels, strict=False):
        _head(axis, chart.title)
        if isinstance(chart, IntervalChart):
            _intervals(axis, chart)
        else:
            _curves(axis, chart)
    _legends(figure, [chart for chart in panels if isinstance(chart, Chart)], title)
    return _save(figure, name)


def draw_lengths(groups: Sequence[LengthCharts], name: Path) -> list[Path]:
    """Draw each group's responses by class and why its mean length changed, to NAME.png and NAME.svg."""
    figure, axes = plt.subplots(len(groups), 3, figsize=(11, 2.9 * len(groups)), layout="constrained", squeeze=False)
    for (share, length, change), each in zip(axes, groups, strict=True):
        present = [kind for kind in COARSE_FATES if any(each.shares[kind])]
        stack = share.stackplot(each.steps, [each.shares[kind] for kind in present], labels=present,
                                colors=[CLASS_COLORS[kind] for kind in present], alpha=0.75)  # fmt: skip
        for patch, kind in zip(stack, present, strict=True):
            patch.set_hatch(_HATCHES[kind])
        share.set_ylim(0, 1)
        share.yaxis.set_major_formatter(PercentFormatter(1.0))
        share.set_xlabel("step", fontsize=8)
        share.xaxis.set_major_locator(MaxNLocator(integer=True))
        share.legend(frameon=False, fontsize=7)
        _plain(share)
        _head(share, f"{each.label}: shares")
        _curves(length, each.by_class)
        _head(length, each.by_class.title)
        _waterfall(change, each)
        _head(change, "Why the mean length changed")
    return _save(figure, name)


def _height(chart: Chart | IntervalChart) -> float:
    """Return inches that a panel takes."""
    return 2.7 if isinstance(chart, Chart) else 0.9 + _LINE * sum(map(_lines, chart.rows))


def _lines(row: IntervalRow) -> float:
    """Tell how many lines of text an interval takes with its name."""
    return row.label.count("\n") + 2.4


def _head(axis: Axes, title: str) -> None:
    axis.set_title(title, fontsize=10 if len(title) < 32 else 8, loc="left", fontweight="bold")


def _legends(figure: Figure, charts: Sequence[Chart], title: str) -> None:
    """Tell what the curves are: once above all panels where those that look alike mean the same, else in each panel."""
    told = {(series.label, _look(series.style)) for chart in charts for series in chart.series}
    panels = [axis.get_legend_handles_labels() for axis in figure.axes]
    if told and len(told) == len({look for _, look in told}):
        curves = {label: handle for panel in panels for handle, label in zip(*panel, strict=True)}
        figure.legend(curves.values(), curves.keys(), loc="outside upper left", ncols=4, frameon=False, fontsize=9,
                      title=title, title_fontproperties={"size": 10}, alignment="left")  # fmt: skip
        return
    figure.suptitle(title, fontsize=10)
    for axis, (_, labels) in zip(figure.axes, panels, strict=True):
        if len(labels) > 1:
            axis.legend(frameon=False, fontsize=7)


def _curves(axis: Axes, chart: Chart) -> None:
    for level, meaning in chart.references:
        axis.axhline(level, color=_SOFT, linewidth=0.8, linestyle=(0, (2, 3)))
        axis.annotate(meaning, (1, level), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7)
    for series in chart.series:
        color, _, shape = _look(series.style)
        if chart.cloud:
            axis.scatter(series.x, series.y, 12, color=color, marker=shape, alpha=0.5, linewidths=0, label=series.label)
        else:
            _curve(axis, series, every=not chart.path and len(series.x) <= _FEW)
        if chart.path:
            axis.plot(series.x[:1], series.y[:1], color=color, marker="o", markersize=5, markerfacecolor="white")
    axis.set_xlabel(chart.x_label, fontsize=8)
    axis.set_ylabel(chart.unit, fontsize=8)
    _scales(axis, chart)
    _plain(axis)


def _curve(axis: Axes, series: Series, every: bool) -> None:
    """Draw a curve with its band, and marks at every point or at the last one."""
    color, dash, shape = _look(series.style)
    if series.low:
        axis.fill_between(series.x, series.low, series.high, color=color, alpha=0.18, linewidth=0)
    if series.raw and series.raw != series.y:
        axis.plot(series.x, series.raw, color=color, alpha=0.28, linewidth=0.7)
    width, order = (1.3, 3) if series.style == PUBLISHED else (1.8, 2)
    axis.plot(series.x, series.y, color=color, linestyle=dash, linewidth=width, zorder=order, marker=shape,
              markersize=4 if every else 5, markevery=None if every else [len(series.x) - 1],
              label=series.label)  # fmt: skip


def _scales(axis: Axes, chart: Chart) -> None:
    if chart.floor is not None:
        below = any(y < chart.floor for series in chart.series for y in series.y)  # a reward with penalties
        axis.set_ylim(bottom=min(chart.floor, axis.get_ylim()[0]) if chart.references or below else chart.floor)
    if chart.ceiling is not None:  # a share of nearly nothing should look like it
        axis.set_ylim(top=max(chart.ceiling, axis.get_ylim()[1]))
    if chart.percent:
        axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    if chart.log and any(series.x for series in chart.series):  # a scale of logarithms needs a number
        axis.set_xscale("log", base=chart.log)
        axis.xaxis.set_major_locator(LogLocator(chart.log, (1, 2, 5) if chart.log == 10 else (1,)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
    elif chart.x_label in COUNTED:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def _intervals(axis: Axes, chart: IntervalChart) -> None:
    """Draw values with their intervals, one below the other, each under its name and beside its number."""
    at = 0.0
    for row in chart.rows:
        at -= _lines(row)
        color, _, shape = _look(row.style)
        if row.low is not None and row.high is not None:
            axis.plot((row.low, row.high), (at, at), color=color, linewidth=2, alpha=0.6)
        axis.plot(row.value, at, color=color, marker=shape, markersize=6, clip_on=False)
        for text, side, aligned in ((row.label, 0, "left"), (row.told, 1, "right")):
            axis.annotate(text, (side, at), xycoords=("axes fraction", "data"), xytext=(0, 5),
                          textcoords="offset points", ha=aligned, va="bottom", fontsize=7.5)  # fmt: skip
    if chart.reference is not None:
        axis.axvline(chart.reference, color=_SOFT, linewidth=0.8, linestyle=(0, (2, 3)))
    axis.set_xlim(chart.low, chart.high)
    axis.set_ylim(at - 1, 0)
    axis.set_yticks([])
    axis.set_xlabel(fill(chart.about, 60), fontsize=8)
    if chart.percent:
        axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    _plain(axis)
    axis.spines["left"].set_visible(False)


def _waterfall(axis: Axes, lengths: LengthCharts) -> None:
    change = lengths.change
    _plain(axis)
    if change is None:
        axis.annotate("one step only", (0.5, 0.5), xycoords="axes fraction", ha="center", fontsize=8)
        return
    steps = [(name, change.within[name]) for name in COARSE_FATES if abs(change.within[name]) >= 0.005]
    bars, level = [("start", 0.0, change.start, number(change.start), "#9ca3af")], change.start
    for name, delta in [*steps, ("mixture", change.mixture)]:
        bars.append((name, level, delta, signed(delta), CLASS_COLORS.get(name, "#1f2937")))
        level += delta
    bars.append(("end", 0.0, change.end, number(change.end), "#9ca3af"))
    for i, (_, bottom, height, told, color) in enumerate(bars):
        axis.bar(i, height, bottom=bottom, color=color)
        axis.annotate(told, (i, max(bottom, bottom + height)), ha="center", va="bottom", fontsize=8)
    axis.set_xticks(range(len(bars)), [name for name, *_ in bars], fontsize=8)
    axis.set_ylabel("tokens", fontsize=8)
    axis.margins(y=0.15)


def _look(style: str) -> tuple[str, object, str]:
    """Return the colour, the dashes and the mark of a style."""
    if style == PUBLISHED:
        return "#111827", "--", "x"
    if style in COARSE_FATES:
        i = COARSE_FATES.index(style)
        return CLASS_COLORS[style], _DASHES[i], _MARKS[i]
    i = int(style[1:])
    shift = i + i // len(COLORS)  # the second time round, a colour has another dash and mark
    return COLORS[i % len(COLORS)], _DASHES[shift % len(_DASHES)], _MARKS[shift % len(_MARKS)]


def _plain(axis: Axes) -> None:
    axis.grid(alpha=0.2)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)


def _save(figure: Figure, name: Path) -> list[Path]:
    paths = [name.with_name(name.name + suffix) for suffix in (".png", ".svg")]
    try:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once, not for each file
        for path in paths:
            with writing(path):
                name.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path) as aside:
                    figure.savefig(aside, format=path.suffix[1:], dpi=160, metadata=_UNDATED[path.suffix])
    finally:
        plt.close(figure)
    return paths
