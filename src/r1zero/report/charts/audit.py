"""What `r1zero audit` draws, as data: weight against length, biases, and where each objective leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from r1zero.report.charts.model import PUBLISHED, Chart, IntervalChart, IntervalRow, Series, slug

_UNBIASED = 1e-9


def weights(pushes: Mapping[str, Sequence[float]], lengths: Sequence[int], right: Sequence[bool]) -> list[Chart]:
    """For each objective, what every response's tokens are multiplied with (w·Â) against the response's length.

    In units of the mean size, so that objectives compare: an unbiased one shows levels that do not tilt.
    """
    charts = []
    for name, values in pushes.items():
        size = sum(map(abs, values)) / max(1, len(values)) or 1.0
        series = []
        for kind, label, style in ((True, "right", "correct"), (False, "wrong", "incorrect")):
            points = [(n, v / size) for n, v, r in zip(lengths, values, right, strict=True) if r is kind and v]
            series.append(_points(label, style, points))
        charts.append(Chart(slug(name), name, "weight of a token", tuple(series), x_label="length of its response",
                            floor=None, references=((0.0, ""),), cloud=True, log=10))  # fmt: skip
    return charts


def bias(biases: Mapping[str, float], title: str) -> IntervalChart:
    """Return relative bias of each objective, largest first; what is exact is said in words."""
    rows = [
        IntervalRow(name, "s2" if value < _UNBIASED else "s1", value, None, None,
                    "unbiased" if value < _UNBIASED else f"{100 * value:.2g} %")
        for name, value in sorted(biases.items(), key=lambda item: -item[1])
    ]  # fmt: skip
    high = 1.05 * rows[0].value if rows[0].value >= _UNBIASED else 1.0
    about = "‖a·E[gradient] − ∇J‖ / ‖∇J‖ at the best multiple a"
    return IntervalChart("bias", title, tuple(rows), high=high, about=about)


def dynamics(paths: Mapping[str, Mapping[str, Sequence[float]]]) -> list[Chart]:
    """Return length of wrong and of right answers, and J, along each objective's expected gradient.

    `paths[name]` holds `length_wrong`, `length_right` and `reward`; the name ∇J is drawn as the yardstick.
    """
    others = [name for name in paths if name != "∇J"]
    styles = {name: f"s{i}" for i, name in enumerate(others)}
    panels = (("length_wrong", "E[length | wrong]"), ("length_right", "E[length | right]"), ("reward", "J"))
    return [
        Chart(slug(key), title, "", tuple(_points(name, styles.get(name, PUBLISHED), list(enumerate(path[key])))
                                          for name, path in paths.items()), x_label="steps of equal length", floor=None)
        for key, title in panels
    ]  # fmt: skip


def meter(series: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]]) -> list[Chart]:
    """Return length bias and difficulty bias by step; `series[kind][objective]` are (step, slope) pairs."""
    return [
        Chart(slug(kind), kind, "", tuple(_points(name, f"s{i}", points) for i, (name, points) in
                                          enumerate(lines.items())), floor=None, references=((0.0, "unbiased"),))
        for kind, lines in series.items()
    ]  # fmt: skip


def _points(label: str, style: str, points: Sequence[tuple[int, float]]) -> Series:
    return Series(label, style, tuple(float(x) for x, _ in points), tuple(y for _, y in points))
