"""The figures as a page for the repository."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parts import PARTS


def write_page(rows: Sequence[dict[str, Any]], out: Path, day: datetime.date) -> Path:
    """Write DATE-gpu-CARD.md: for each part a table of every kind of figure it has, and how it ended."""
    card = next((row["device"] for row in rows if row.get("gpu")), "unknown")
    begin = next((row for row in rows if row["part"] == "begin"), {})
    lines = [f"# {card}: what it gives with r1zero", "", f"{day}, at commit {begin.get('commit') or '(unknown)'}."]
    lines += [f"`python benchmarks/gpu.py {begin.get('command', '')}`".replace(" `", "`"), ""]
    lines += ["What each figure means stands in benchmarks/README.md.", ""]
    for part in PARTS:
        own = [{k: v for k, v in row.items() if k != "part"} for row in rows if row["part"] == part.name]
        if own:
            lines += [f"## {part.name}: {part.about}", "", *tables(own)]
    name = f"{day}-gpu-{re.sub(r'[^A-Za-z0-9]+', '-', card).strip('-').lower()}"
    again = len([*out.glob(f"{name}.md"), *out.glob(f"{name}-[0-9]*.md")])  # what was found before stays
    path = out / (f"{name}-{again + 1}.md" if again else f"{name}.md")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def tables(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Rows with the same keys share a table; what a part ended with is a sentence."""
    kinds: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    lines: list[str] = []
    for row in rows:
        if "done" not in row:
            kinds.setdefault(tuple(row), []).append(row)
    for keys, found in kinds.items():
        if len(found) == 1 and any(isinstance(value, dict) for value in found[0].values()):
            lines += [f"- {key}: {shown(value)}" for key, value in found[0].items()] + [""]
            continue
        lines += [f"| {' | '.join(keys)} |", "|" + "---|" * len(keys)]
        lines += [f"| {' | '.join(shown(row[key]) for key in keys)} |" for row in found] + [""]
    for row in rows:
        if "done" in row:
            lines += [f"{'Done' if row['done'] else 'Not done: ' + row.get('why', '')}, {row['seconds']} s.", ""]
    return lines


def shown(value: object) -> str:
    """A number in as many digits as say something."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {shown(each)}" for key, each in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    return "–" if value is None else str(value).replace("|", "\\|")
