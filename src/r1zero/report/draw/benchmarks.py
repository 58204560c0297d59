"""Pictures of evaluations: accuracies with intervals, pass@k curves, accuracy against the token budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # figures go to files; no display is needed
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from r1zero.evaluation import SetResult


def accuracies(cells: Mapping[str, Sequence[SetResult]], out: Path) -> Path:
    """Accuracy of every cell on every set with its 95 % interval, to a PNG or SVG file."""
    names = [result.name for result in next(iter(cells.values()))]
    figure, axis = plt.subplots(figsize=(max(5.0, 1.2 * len(names) * len(cells) ** 0.5), 3.4), layout="constrained")
    width = 0.8 / len(cells)
    for i, (label, results) in enumerate(cells.items()):
        at = [x + (i - (len(cells) - 1) / 2) * width for x in range(len(names))]
        values = [100 * result.accuracy for result in results]
        below = [100 * (result.accuracy - result.accuracy_low) for result in results]
        above = [100 * (result.accuracy_high - result.accuracy) for result in results]
        axis.bar(at, values, width * 0.92, label=label, color=f"C{i}", alpha=0.85)
        axis.errorbar(at, values, [below, above], fmt="none", ecolor="0.25", elinewidth=1, capsize=2)
    axis.set_xticks(range(len(names)), names)
    axis.set_ylabel("per cent right")
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False, fontsize=8)
    return _save(figure, axis, out)


def pass_at_k(curves: Mapping[str, Mapping[int, float]], title: str, out: Path) -> Path:
    """pass@k over k, one line a model, to a PNG or SVG file."""
    figure, axis = plt.subplots(figsize=(4.4, 3.2), layout="constrained")
    for label, curve in curves.items():
        axis.plot(list(curve), [100 * value for value in curve.values()], marker="o", markersize=3, label=label)
    axis.set_xscale("log", base=2)
    axis.set_xticks(sorted({k for curve in curves.values() for k in curve}))
    axis.xaxis.set_major_formatter("{x:.0f}")
    axis.minorticks_off()
    axis.set_xlabel("k")
    axis.set_ylabel("pass@k, per cent")
    axis.set_title(title, fontsize=10)
    axis.legend(frameon=False, fontsize=8)
    return _save(figure, axis, out)


def _save(figure: Figure, axis: Axes, out: Path) -> Path:
    axis.grid(alpha=0.2)
    axis.spines[["top", "right"]].set_visible(False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=160)
    plt.close(figure)
    return out
