"""What `r1zero evaluate` and `r1zero compare` draw, as data: accuracies with intervals, and pass@k curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

from r1zero.evaluation import SetResult
from r1zero.report.charts.analysis import interval
from r1zero.report.charts.model import Chart, IntervalChart, Series, slug


def accuracies(cells: Mapping[str, Sequence[SetResult]]) -> list[IntervalChart]:
    """Return accuracy with its 95 % interval: of one cell set by set, of several a panel a set."""
    if len(cells) == 1:
        ((label, results),) = cells.items()
        return [_right(label, [(result.name, "s0", result) for result in results])]
    names = [(fill(label, 28, break_on_hyphens=False), f"s{i}") for i, label in enumerate(cells)]
    return [
        _right(of_a_set[0].name, [(*name, result) for name, result in zip(names, of_a_set, strict=True)])
        for of_a_set in zip(*cells.values(), strict=True)
    ]


def _right(title: str, rows: Sequence[tuple[str, str, SetResult]]) -> IntervalChart:
    intervals = tuple(
        interval(label, style, {"value": r.accuracy, "low": r.accuracy_low, "high": r.accuracy_high})
        for label, style, r in rows
    )
    return IntervalChart(
        slug(title), title, intervals, about="Right responses; lines are 95 % intervals over questions."
    )


def pass_at_k(curves: Mapping[str, Mapping[int, float]], title: str) -> Chart:
    """Return pass@k over k, one curve a model."""
    series = [
        Series(label, f"s{i}", tuple(map(float, curve)), tuple(curve.values()))
        for i, (label, curve) in enumerate(curves.items())
    ]
    return Chart(slug(title), f"pass@k: {title}", "", tuple(series), x_label="k", percent=True, ceiling=0.05, log=2)
