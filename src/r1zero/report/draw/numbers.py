"""Numbers as readers like them. The page's script has the same rules."""

from __future__ import annotations

import math
from collections.abc import Sequence

MINUS = "\u2212"
SPACE = "\u00a0"  # one that no line breaks at


def number(value: float | None) -> str:
    """Return three or four digits that count: 0.0123, 0.988, 12.3, 123, 4,857, 1.2 M."""
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 1e6:
        text = f"{size / 1e9:.3g} G" if size >= 1e9 else f"{size / 1e6:.3g} M"
    elif size >= 1000:
        text = f"{size:,.0f}"
    elif size >= 100 or value == int(value):
        text = f"{size:.0f}"
    elif size >= 10:
        text = f"{size:.1f}"
    elif size >= 1:
        text = f"{size:.2f}".rstrip("0")
    elif size >= 1e-3:
        text = f"{size:.3g}"
    else:
        text = f"{size:.2g}"
    return (MINUS if value < 0 and text.strip("0.") else "") + text


def some(names: Sequence[str]) -> str:
    """Return the first three of some names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def signed(value: float) -> str:
    """Return a difference with its sign, to a tenth."""
    text = f"{abs(value):.1f}" if abs(value) < 100 else f"{abs(value):,.0f}"
    return text if not text.strip("0.") else ("+" if value > 0 else MINUS) + text


def percent(value: float | None) -> str:
    """Say a share as per cent, as short as it is exact to a tenth."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{100 * value:.0f}" if abs(100 * value - round(100 * value)) < 0.05 else f"{100 * value:.1f}"
    return f"{text.replace('-', MINUS)}{SPACE}%"


def rate(value: float | None) -> str:
    """Say a share as per cent with one decimal, for tables."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{100 * value:.1f}{SPACE}%".replace("-", MINUS)


def score(value: float | None) -> str:
    """Return a number below ten with three decimals, for tables."""
    if value is None or not math.isfinite(value) or abs(value) >= 10:
        return number(value)
    return f"{value:.3f}".replace("-", MINUS)


def size(count: int) -> str:
    """Return bytes as 52 kB or 1.3 MB."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(1, round(count / 1e3))} kB"


def duration(seconds: float) -> str:
    """Return seconds as 45 s, 12 min or 3.4 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
