"""Pictures of the analyses, each as PNG and SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # figures go to files; no display is needed
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from r1zero.analyze import exploration, self_reflection
from r1zero.analyze.answering import Answering
from r1zero.analyze.over_training import Source
from r1zero.published import QUESTIONS, TEMPERATURES, BaseModelRow
from r1zero.statistics import Estimate

mpl.rcParams["svg.hashsalt"] = "r1zero"  # equal numbers, equal files


def answering(rows: Sequence[Answering], out: Path) -> Path:
    """Bars of the answering rate and of right answers by template."""
    figure, axis = plt.subplots(figsize=(max(3.6, 1.3 * len(rows)), 3.0), layout="constrained")
    series = (("answering", [r.rate for r in rows]), ("right", [r.accuracy for r in rows]))
    for i, (label, estimates) in enumerate(series):
        _bars(axis, [x + (i - 0.5) * 0.38 for x in range(len(rows))], estimates, label, f"C{i}")
    axis.set_xticks(range(len(rows)), [row.template for row in rows])
    axis.set_ylabel("per cent of responses")
    axis.set_ylim(0, 102)
    axis.legend(frameon=False, fontsize=8)
    return _save(figure, [axis], out)


def _bars(axis: Axes, at: Sequence[float], estimates: Sequence[Estimate | None], label: str, color: str) -> None:
    known = [(x, e) for x, e in zip(at, estimates, strict=True) if e is not None]
    axis.bar([x for x, _ in known], [100 * e.value for _, e in known], 0.36, label=label, color=color, alpha=0.85)
    spans = [[100 * (e.value - e.low) for _, e in known], [100 * (e.high - e.value) for _, e in known]]
    axis.errorbar([x for x, _ in known], [100 * e.value for _, e in known], spans, fmt="none", ecolor="0.25",
                  elinewidth=1, capsize=2)  # fmt: skip


def pass_at_k(rows: Sequence[exploration.ExplorationRow], paper: BaseModelRow | None, out: Path) -> Path:
    """pass@1, pass@n and the live share over temperature, with the paper's pass@8 where there is one."""
    figure, axis = plt.subplots(figsize=(4.4, 3.2), layout="constrained")
    n = rows[0].samples
    at = [row.temperature for row in rows]
    for i, k in enumerate(dict.fromkeys((1, n))):
        _line(axis, at, [row.pass_at[k] for row in rows], f"pass@{k}", f"C{i}")
    _line(axis, at, [row.live.share for row in rows], f"live groups of {rows[0].live.group_size}", "C2")
    if paper:
        axis.plot(TEMPERATURES, [100 * value for value in paper.pass_at_8], "k--", linewidth=1, label="paper's pass@8")
    axis.set_xlabel("temperature")
    axis.set_ylabel("per cent of questions")
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False, fontsize=8)
    return _save(figure, [axis], out)


def reflection(rows: Sequence[self_reflection.ReflectionRow], paper: BaseModelRow | None, out: Path) -> Path:
    """Questions with at least one reflecting response over temperature, by detection."""
    figure, axis = plt.subplots(figsize=(4.4, 3.2), layout="constrained")
    for i, name in enumerate(self_reflection.DETECTIONS):
        known = [(row.temperature, share) for row in rows if (share := row.share_of_questions[name])]
        _line(axis, [t for t, _ in known], [share for _, share in known], name, f"C{i}")
    if paper:
        values = [100 * count / QUESTIONS for count in paper.cross]
        axis.plot(TEMPERATURES, values, "k--", linewidth=1, label="paper's cross")
    axis.set_xlabel("temperature")
    axis.set_ylabel("per cent of questions")
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False, fontsize=8)
    return _save(figure, [axis], out)


def training(sources: Sequence[Source], out: Path) -> Path:
    """Answering, pass@k and reflection over the steps of a run, an axis for each source of responses."""
    figure, axes = plt.subplots(
        1, len(sources), figsize=(4.6 * len(sources) + 0.6, 3.2), layout="constrained", squeeze=False, sharey=True
    )
    for axis, source in zip(axes[0], sources, strict=True):
        _steps(axis, source)
    axes[0][0].set_ylabel("per cent")
    axes[0][0].set_ylim(bottom=0)
    return _save(figure, axes[0], out)


def _steps(axis: Axes, source: Source) -> None:
    series = {
        "answering": [s.answering for s in source.steps],
        "pass@1": [s.pass_at_1 for s in source.steps],
        f"pass@{source.steps[0].samples}": [s.pass_at_n for s in source.steps],
        "live groups": [s.live_groups for s in source.steps],
        "reflecting (judge)": [s.judge for s in source.steps],
        "reflecting (cross)": [s.cross for s in source.steps],
    }
    for label, values in series.items():
        known = [(s.step, 100 * v.value) for s, v in zip(source.steps, values, strict=True) if v is not None]
        if known:
            axis.plot([x for x, _ in known], [y for _, y in known], marker="o", markersize=2, linewidth=1, label=label)
    axis.set_title(source.name, fontsize=9)
    axis.set_xlabel("step")
    axis.legend(frameon=False, fontsize=7)


def _line(axis: Axes, at: Sequence[float], estimates: Sequence[Estimate], label: str, color: str) -> None:
    axis.plot(at, [100 * e.value for e in estimates], marker="o", markersize=3, label=label, color=color)
    low, high = [100 * e.low for e in estimates], [100 * e.high for e in estimates]
    axis.fill_between(at, low, high, color=color, alpha=0.15, linewidth=0)


def _save(figure: Figure, axes: Sequence[Axes], out: Path) -> Path:
    for axis in axes:
        axis.grid(alpha=0.2)
        axis.spines[["top", "right"]].set_visible(False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out.with_suffix(".png"), dpi=160)
    figure.savefig(out.with_suffix(".svg"), metadata={"Date": None})
    plt.close(figure)
    return out.with_suffix(".png")
