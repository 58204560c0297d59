"""Charts as SVG that stands in the page: coloured by its style sheet, so that it follows light, dark and print.

Everything is drawn in a plane of WIDTH × HEIGHT units, about as many pixels on a phone. Nothing is told by colour
alone: curves differ in dashes and marks, areas in hatching, bars in their labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from r1zero.report.charts.model import COUNTED, PUBLISHED, Chart, IntervalChart, Series
from r1zero.report.charts.run import LengthCharts
from r1zero.report.draw.numbers import number, percent, signed
from r1zero.types import COARSE_FATES

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 20, 32
MARKS = ("circle", "square", "triangle", "diamond", "ring", "cross")


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear scale from data to the drawing, with its ticks."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        """Tell where a value stands."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)


def line_chart(chart: Chart) -> Markup:
    """Return curves with bands, raw values faint behind them, levels of reference, and a mark at each end."""
    x, y = axes(chart)
    parts = [_frame(x, y, chart.x_label, chart.unit, percents=chart.percent)]
    for level, meaning in chart.references:
        at = y(level)
        parts.append(Markup('<line class="ref" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(x.start, x.end, at, at))
        parts.append(Markup('<text class="reftext" x="{}" y="{}">{}</text>').format(x.end, at - 3, meaning))
    for series in chart.series:
        if series.low:
            there = [(x(a), y(b)) for a, b in zip(series.x, series.high, strict=True)]
            back = [(x(a), y(b)) for a, b in zip(series.x, series.low, strict=True)]
            parts.append(_path([*there, *back[::-1]], f"band {series.style}", close=True))
    for series in chart.series:
        if series.raw and series.raw != series.y:
            behind = [(x(a), y(b)) for a, b in zip(series.x, series.raw, strict=True)]
            parts.append(_path(behind, f"raw {series.style}"))
    for series in chart.series:
        points = [(x(a), y(b)) for a, b in zip(series.x, series.y, strict=True)]
        parts.append(_path(points, f"curve {series.style}"))
        if chart.path:
            parts.append(mark("ring", *points[0], f"{series.style} start"))
        elif len(points) <= 12:
            parts += [mark(shape_of(series.style), *point, f"{series.style} small") for point in points[:-1]]
        parts.append(mark(shape_of(series.style), *points[-1], series.style))
    parts.append(Markup('<g class="hover" aria-hidden="true"></g>'))
    return _svg(chart.key, chart.title, described(chart), parts)


def interval_chart(chart: IntervalChart) -> Markup:
    """Return values with their intervals, one below the other, each under its name and beside its number."""
    x = _axis(chart.low, chart.high, 8, WIDTH - 8)
    base = 36.0 * len(chart.rows) + 10
    parts = []
    for value in x.ticks:
        at = x(value)
        parts.append(Markup('<line class="grid" x1="{}" x2="{}" y1="0" y2="{}"/>').format(at, at, base))
        parts.append(_text(at, base + 14, percent(value) if chart.percent else number(value), "tick", "middle"))
    if chart.reference is not None:
        at = x(chart.reference)
        parts.append(Markup('<line class="ref" x1="{}" x2="{}" y1="0" y2="{}"/>').format(at, at, base))
    for i, row in enumerate(chart.rows):
        at = 36.0 * i + 30
        parts += [_text(2, at - 11, row.label, "name", "start"), _text(WIDTH - 2, at - 11, row.told, "value", "end")]
        if row.low is not None and row.high is not None:
            parts.append(_path([(x(row.low), at), (x(row.high), at)], f"whisker {row.style}"))
        parts.append(mark(shape_of(row.style), x(row.value), at, row.style))
    said = "; ".join(f"{row.label}: {row.told}" for row in chart.rows)
    return _svg(chart.key, chart.title, said, parts, height=round(base) + 20)


def area_chart(lengths: LengthCharts) -> Markup:
    """Return the classes' shares over steps, stacked."""
    x = _axis(*_extent(lengths.steps), LEFT, WIDTH - RIGHT, whole=True)
    y = _axis(0.0, 1.0, HEIGHT - BOTTOM, TOP)
    bounds = [0.0] * len(lengths.steps)
    parts: list[Markup] = []
    labels: list[Markup] = []
    said = []
    for name in COARSE_FATES:
        values = lengths.shares[name]
        if not any(values):
            continue
        top = [below + value for below, value in zip(bounds, values, strict=True)]
        there = [(x(a), y(b)) for a, b in zip(lengths.steps, top, strict=True)]
        back = [(x(a), y(b)) for a, b in zip(lengths.steps, bounds, strict=True)]
        if len(there) == 1:  # one bin: a column
            there, back = [(x.start, there[0][1]), (x.end, there[0][1])], [(x.start, back[0][1]), (x.end, back[0][1])]
        parts.append(_path([*there, *back[::-1]], f"area {name}", close=True))
        parts.append(_path(there, f"edge {name}"))
        widest = max(range(len(values)), key=lambda i: values[i])
        if values[widest] > 0.12:
            at = min(max(x(lengths.steps[widest]), x.start + 30), x.end - 30)
            middle = y(bounds[widest] + values[widest] / 2) + 3.5
            labels.append(_text(at, middle, name, "arealabel", "middle"))
        bounds = top
        said.append(f"{name} {percent(values[0])} to {percent(values[-1])}")
    frame = _frame(x, y, "step", "", percents=True)
    title = f"Shares of classes, {lengths.label}"
    return _svg(f"{lengths.key}-shares", title, "; ".join(said), [*parts, frame, *labels])


def waterfall(lengths: LengthCharts) -> Markup:
    """From the mean length at the start to that at the end: what each class and what the mixture contributes."""
    change = lengths.change
    if change is None:
        return Markup("")
    steps = [(name, change.within[name], name) for name in COARSE_FATES if abs(change.within[name]) >= 0.005]
    bars: list[tuple[str, float, float, str]] = [("start", 0.0, change.start, "total")]
    level = change.start
    for name, delta, style in (*steps, ("mixture", change.mixture, "mixture")):
        bars.append((name, level, level + delta, style))
        level += delta
    bars.append(("end", 0.0, change.end, "total"))
    y = _axis(min(0.0, *(min(a, b) for _, a, b, _ in bars)), max(max(a, b) for _, a, b, _ in bars) * 1.12,
              HEIGHT - BOTTOM, TOP)  # fmt: skip
    x = Axis(0, 1, LEFT, WIDTH - RIGHT, ())
    parts = [_frame(x, y, "", "tokens")]
    room = (x.end - x.start) / len(bars)
    for i, (name, a, b, style) in enumerate(bars):
        left, wide = x.start + room * (i + 0.14), room * 0.72
        top, bottom = sorted((y(a), y(b)))
        parts.append(
            Markup('<rect class="bar {}" x="{}" y="{}" width="{}" height="{}" rx="1.5"/>').format(
                style, round(left, 1), top, round(wide, 1), max(1.0, round(bottom - top, 2))
            )
        )
        text = number(b) if style == "total" else signed(b - a)
        parts.append(_text(left + wide / 2, top - 4, text, "value", "middle"))
        parts.append(_text(left + wide / 2, HEIGHT - BOTTOM + 14, name, "tick", "middle"))
        if i + 1 < len(bars):
            parts.append(
                Markup('<line class="link" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                    round(left + wide, 1), round(left + room * 1.0, 1), y(b), y(b)
                )
            )
    said = f"From {number(change.start)} to {number(change.end)} tokens: " + ", ".join(
        [f"{name} {signed(delta)}" for name, delta, _ in steps] + [f"mixture {signed(change.mixture)}"]
    )
    return _svg(f"{lengths.key}-change", f"Change of the mean length, {lengths.label}", said, parts)


def legend_mark(style: str) -> Markup:
    """Return a short piece of a curve with its mark, for a legend."""
    return Markup('<svg class="key" viewBox="0 0 34 12" width="34" height="12" aria-hidden="true">{}{}</svg>').format(
        _path([(1, 6), (33, 6)], f"curve {style}"), mark(shape_of(style), 17, 6, style)
    )


def legend_area(name: str) -> Markup:
    """Return a patch of a class's area, for a legend."""
    return Markup(
        '<svg class="key" viewBox="0 0 18 12" width="18" height="12" aria-hidden="true">'
        '<rect class="area {}" x="0.5" y="0.5" width="17" height="11" rx="2"/></svg>'
    ).format(name)


def shape_of(style: str) -> str:
    """Return the mark of a style."""
    if style == PUBLISHED:
        return "cross"
    if style in COARSE_FATES:
        return MARKS[COARSE_FATES.index(style)]
    i = int(style[1:])
    return MARKS[(i + i // len(MARKS)) % len(MARKS)]  # the second time round, a colour has another mark


def mark(shape: str, x: float, y: float, style: str) -> Markup:
    """Return a mark of about seven units across."""
    shapes = {
        "circle": f'<circle cx="{x}" cy="{y}" r="3.4"',
        "ring": f'<circle cx="{x}" cy="{y}" r="3.4"',
        "square": f'<rect x="{x - 3.1:.2f}" y="{y - 3.1:.2f}" width="6.2" height="6.2"',
        "triangle": f'<path d="M{x:.2f} {y - 4:.2f}l4 7h-8z"',
        "diamond": f'<path d="M{x:.2f} {y - 4.4:.2f}l4.2 4.4l-4.2 4.4l-4.2-4.4z"',
        "cross": f'<path d="M{x - 3:.2f} {y - 3:.2f}l6 6m0-6l-6 6"',
    }
    return Markup('{} class="mark {} {}"/>').format(Markup(shapes[shape]), shape, style)


def described(chart: Chart) -> str:
    """Return a chart in words: each curve's beginning and end."""
    tell, at = percent if chart.percent else number, chart.x_label
    if chart.path:
        ends = [
            f"{s.label}: from {number(s.x[0])} tokens and reward {number(s.y[0])} to {number(s.x[-1])} tokens and "
            f"reward {number(s.y[-1])}"
            for s in chart.series
        ]
    else:
        ends = [
            f"{s.label}: {tell(s.y[0])} at {at} {number(s.x[0])}, {tell(s.y[-1])} at {at} {number(s.x[-1])}"
            for s in chart.series
        ]
    return "; ".join(ends)


def axes(chart: Chart) -> tuple[Axis, Axis]:
    """Return the scales that show all of a chart's curves, and its references."""
    xs = [value for series in chart.series for value in series.x] + list(chart.span or ())
    ys = [value for series in chart.series for value in (*series.y, *series.raw)]
    own_low, own_high = _extent(ys)
    ys += [bound for series in chart.series for bound in _visible(series, ys)]
    low, high = _extent(ys + [level for level, _ in chart.references])
    if chart.percent:  # bands end at 0 and 100 %; differences and ratios may lie beyond
        low, high = max(low, min(0.0, own_low)), min(high, max(1.0, own_high))
    if chart.floor is not None:
        low = min(low, chart.floor)
    if chart.ceiling is not None:
        high = max(high, chart.ceiling)
    if low < 0 and chart.references:
        low, high = low - 0.08 * (high - low), high + 0.1 * (high - low)
    if low == high:
        low, high = low - abs(low or 1) * 0.5, high + abs(high or 1) * 0.5
    x_low, x_high = _extent(xs)
    if chart.path:
        x_low, x_high = min(0.0, x_low), _rounded(min(0.0, x_low), x_high)
    return (
        _axis(x_low, x_high, LEFT, WIDTH - RIGHT, whole=chart.x_label in COUNTED),
        _axis(low, _rounded(low, high), HEIGHT - BOTTOM, TOP),
    )


def ticks(low: float, high: float, whole: bool = False) -> tuple[float, ...]:
    """Return about five round numbers from `low` to `high`."""
    span = high - low
    raw = span / 4.5
    size = 10 ** math.floor(math.log10(raw))
    size = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= raw * 0.999)
    if whole:
        size = max(1.0, math.ceil(size))
    first = math.ceil(low / size - 1e-9)
    return tuple(round(i * size, 12) for i in range(first, math.floor(high / size + 1e-9) + 1))


def chart_data(chart: Chart) -> dict[str, object]:
    """Return what the page's script needs to tell a chart's values where the reader points."""
    x, y = axes(chart)
    return {
        "x": [x.low, x.high, x.start, x.end],
        "y": [y.low, y.high, y.start, y.end],
        "label": chart.x_label,
        "percent": chart.percent,
        "path": chart.path,
        "series": [
            {
                "label": series.label,
                "style": series.style,
                "x": _brief(series.x),
                "y": _brief(series.y),
                "low": _brief(series.low),
                "high": _brief(series.high),
                "steps": list(series.steps),
            }
            for series in chart.series
        ],
    }


def _brief(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _rounded(low: float, high: float) -> float:
    """Return the upper end of an axis, raised to its next tick where that is near."""
    marks = ticks(low, high)
    if len(marks) < 2:
        return high
    step = marks[1] - marks[0]
    return marks[-1] + step if marks[-1] + 0.3 * step < high else max(high, marks[-1])


def _visible(series: Series, ys: Sequence[float]) -> list[float]:
    """Return a band's bounds, as far as they do not stretch the axis to more than twice the curves' own reach."""
    low, high = _extent(ys)
    room = (high - low) or abs(high) or 1.0
    return [min(max(bound, low - room / 2), high + room / 2) for bound in (*series.low, *series.high)]


def _extent(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _axis(low: float, high: float, start: float, end: float, *, whole: bool = False) -> Axis:
    if high <= low:
        low, high = low - 0.5, low + 0.5
    return Axis(low, high, start, end, ticks(low, high, whole))


def _frame(x: Axis, y: Axis, x_label: str, unit: str, *, percents: bool = False) -> Markup:
    parts = []
    for value in y.ticks:
        at = y(value)
        parts.append(Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(x.start, x.end, at, at))
        parts.append(_text(x.start - 6, at + 3.6, percent(value) if percents else number(value), "tick", "end"))
    for value in x.ticks:
        parts.append(_text(x(value), y.start + 14, number(value), "tick", "middle"))
    parts.append(
        Markup('<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(x.start, x.end, y.start, y.start)
    )
    parts.append(_text(x.end, y.start + 28, x_label, "label", "end"))
    if unit:
        parts.append(_text(2, 9, unit, "label", "start"))
    return Markup("").join(parts)


def _text(x: float, y: float, text: str, style: str, anchor: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        style, round(x, 1), round(y, 1), anchor, text
    )


def _path(points: Sequence[tuple[float, float]], style: str, *, close: bool = False) -> Markup:
    line = "L".join(f"{x:g} {y:g}" for x, y in points)
    return Markup('<path class="{}" d="M{}{}"/>').format(style, line, "z" if close else "")


def _svg(key: str, title: str, said: str, parts: Sequence[Markup], height: int = HEIGHT) -> Markup:
    return Markup('<svg class="chart" id="chart-{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        key, WIDTH, height, f"{title}. {said}", Markup("").join(parts)
    )
