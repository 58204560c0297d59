"""Pictures of the audit: weight against length, bias bars, and where each objective leads. Each as PNG and SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # figures go to files; no display is needed
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

RIGHT, WRONG = "C0", "C3"


def weight_pictures(
    pushes: Mapping[str, Sequence[float]], lengths: Sequence[int], right: Sequence[bool], out: Path, title: str
) -> list[Path]:
    """For each objective, what every response's tokens are multiplied with (w·Â) against the response's length.

    In units of the mean size, so that objectives compare: an unbiased one shows levels that do not tilt.
    """
    columns = min(3, len(pushes))
    rows = -(-len(pushes) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.3 * columns, 2.5 * rows), layout="constrained", sharex=True, squeeze=False
    )
    for axis in axes.flat[len(pushes) :]:
        axis.set_visible(False)
    for axis, (name, values) in zip(axes.flat, pushes.items(), strict=False):
        size = sum(map(abs, values)) / max(1, len(values)) or 1.0
        for kind, color, label in ((True, RIGHT, "right"), (False, WRONG, "wrong")):
            points = [(n, v / size) for n, v, r in zip(lengths, values, right, strict=True) if r is kind and v]
            x, y = zip(*points, strict=True) if points else ((), ())
            axis.scatter(x, y, s=7, color=color, alpha=0.5, linewidths=0, label=label)
        axis.axhline(0, color="black", linewidth=0.6)
        if any(any(values) for values in pushes.values()):  # a scale of logarithms needs a number
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter(ScalarFormatter())
            axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_title(name, fontsize=9)
        axis.tick_params(axis="x", labelsize=8)
        _plain(axis)
    for axis in axes[:, 0]:
        axis.set_ylabel("weight of a token")
    for axis in axes.flat[max(0, len(pushes) - columns) : len(pushes)]:
        axis.tick_params(labelbottom=True)
        axis.set_xlabel("length of its response")
    axes.flat[0].legend(frameon=False, fontsize=8, markerscale=2)
    figure.suptitle(title, fontsize=10)
    return _save(figure, out)


def bias_bars(biases: Mapping[str, float], out: Path, title: str) -> list[Path]:
    """Relative bias of each objective, largest first; what is exact is said in words, for a bar of 0 shows nothing."""
    ordered = sorted(biases.items(), key=lambda item: item[1])
    room = [max(1.4, name.count("\n") + 1.6) for name, _ in ordered]  # in lines of a label
    middles = [sum(room[:i]) + height / 2 for i, height in enumerate(room)]
    figure, axis = plt.subplots(figsize=(9.0, 1.2 + 0.14 * sum(room)), layout="constrained")
    values = [value for _, value in ordered]
    exact = [value < 1e-9 for value in values]
    axis.barh(middles, values, color=["C2" if none else "C3" for none in exact], height=1.0)
    axis.set_yticks(middles, [name for name, _ in ordered], fontsize=7.5)
    for y, value, none in zip(middles, values, exact, strict=True):
        axis.annotate(
            "unbiased" if none else f"{100 * value:.2g} %",
            (value, y),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            color="C2" if none else "black",
        )
    axis.set_xlabel("‖a·E[gradient] − ∇J‖ / ‖∇J‖ at the best multiple a")
    axis.set_title(title, fontsize=10)
    axis.set_ylim(0, sum(room))
    axis.margins(x=0.12)
    _plain(axis)
    return _save(figure, out)


def dynamics_picture(paths: Mapping[str, Mapping[str, Sequence[float]]], out: Path, title: str) -> list[Path]:
    """Length of wrong and of right answers, and J, along each objective's expected gradient.

    `paths[name]` holds `length_wrong`, `length_right` and `reward`; the name ∇J is drawn as the yardstick.
    """
    panels = (("length_wrong", "E[length | wrong]"), ("length_right", "E[length | right]"), ("reward", "J"))
    figure, axes = plt.subplots(1, 3, figsize=(10.2, 3.1), layout="constrained")
    for color, (name, path) in enumerate(paths.items()):
        style = {"color": "black", "linestyle": ":", "zorder": 3} if name == "∇J" else {"color": f"C{color - 1}"}
        for axis, (key, _) in zip(axes, panels, strict=True):
            axis.plot(path[key], label=name, linewidth=1.8, **style)
    for axis, (_, label) in zip(axes, panels, strict=True):
        axis.set_title(label, fontsize=10)
        axis.set_xlabel("steps of equal length")
        _plain(axis)
    axes[0].legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return _save(figure, out)


def meter_picture(series: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]], out: Path, title: str) -> list[Path]:
    """Length bias and difficulty bias by step; `series[kind][objective]` are (step, slope) pairs."""
    figure, axes = plt.subplots(1, len(series), figsize=(4.2 * len(series), 3.0), layout="constrained", squeeze=False)
    for axis, (kind, lines) in zip(axes.flat, series.items(), strict=True):
        for color, (name, points) in enumerate(lines.items()):
            x, y = zip(*points, strict=True) if points else ((), ())
            style = ("-", "--", ":", "-.")[color % 4]  # equal lines lie on one another
            axis.plot(x, y, color=f"C{color % 10}", linestyle=style, label=name, linewidth=1.8)
        axis.axhline(0, color="black", linewidth=0.6)
        axis.set_title(kind, fontsize=10)
        axis.set_xlabel("step")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        _plain(axis)
    axes.flat[0].legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return _save(figure, out)


def _plain(axis: Axes) -> None:
    axis.grid(alpha=0.2)
    axis.spines[["top", "right"]].set_visible(False)


def _save(figure: Figure, out: Path) -> list[Path]:
    """Write `out` with both suffixes."""
    out.parent.mkdir(parents=True, exist_ok=True)
    files = [out.with_suffix(suffix) for suffix in (".png", ".svg")]
    for file in files:
        figure.savefig(file, dpi=160)
    plt.close(figure)
    return files
