"""Draw which room of the package imports which, as docs/architecture.svg.

    .venv/bin/python scripts/draw_architecture.py

A room stands below everything it imports. Arrows that follow from others are left out. A test compares the file with
what this draws.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from html import escape
from itertools import combinations, pairwise
from math import fsum
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "architecture.svg"
GISTS = {
    "__main__": "python -m r1zero",
    "analyze": "what base models can",
    "api": "a program's face",
    "audit": "bias on your own runs",
    "cli": "a module a command",
    "cluster": "the same parts on Ray",
    "config": "recipes, checked",
    "doctor": "what is installed",
    "endpoint": "HTTP, asked once",
    "errors": "a user's mistake",
    "evaluation": "accuracy, intervals",
    "hub": "is the Hub there?",
    "learner": "gradient, optimiser",
    "metrics": "every number's row",
    "objectives": "the maths of losses",
    "paper": "its claims, tested",
    "plan": "memory and time",
    "policy": "model, log-probs",
    "pretrain": "base models, made",
    "published": "the paper's numbers",
    "questions": "sets by name or file",
    "rehearsal": "stand-ins, two steps",
    "report": "charts and pages",
    "rewards": "formulas, judges, the sum",
    "rollouts": "groups, rewards",
    "runs": "the run directory",
    "sampling": "embedded, vLLM",
    "sources": "a function's mark",
    "statistics": "estimators, tests",
    "templates": "how it is asked",
    "trackers": "W&B, TensorBoard",
    "training": "THE loop",
    "types": "the records",
    "verify": "right or wrong",
}
WAY = (
    ("question", "questions"),
    ("prompt", "templates"),
    ("completion", "sampling"),
    ("verdict", "verify"),
    ("rollout", "rollouts"),
    ("batch", "rollouts"),
    ("loss", "objectives"),
    ("step", "learner"),
    ("metrics", "metrics"),
    ("report", "report"),
)
"""What the data become, and in which room."""

WIDTH, TOP, ROW, HEIGHT, BOX, LANE, GAP = 1000, 132, 84, 44, 138, 14, 16
STYLE = """
text { font-family: "DejaVu Sans", Verdana, sans-serif; fill: #1d2733; text-anchor: middle }
.name { font-size: 14px; font-weight: bold } .gist { font-size: 11px; fill: #4a5868 }
.note { font-size: 12px; fill: #4a5868; text-anchor: start }
.title { font-size: 17px; font-weight: bold; text-anchor: start }
.room { fill: #f1f4f7; stroke: #8696a7 } .leaf { stroke-dasharray: 4 3 }
.way { fill: #fff0d6; stroke: #c77700; stroke-width: 1.8 } .badge { fill: #c77700 }
.number { font-size: 11px; font-weight: bold; fill: #fff } .word { font-size: 13px; font-weight: bold; fill: #8a5200 }
.edge { fill: none; stroke: #7d8fa3; stroke-width: 1.3; marker-end: url(#tip) }
.then { stroke: #c77700; marker-end: url(#then) }
"""

Node = str | tuple[str, str, int]  # a room, or where an arrow (from, to) passes a row


def draw(imports: Mapping[str, set[str]]) -> str:
    """The picture of rooms and what each imports, as SVG text."""
    direct = reduced(imports)
    level = levels(direct)
    paths: dict[tuple[str, str], list[Node]] = {
        (a, b): [a, *((a, b, row) for row in range(level[a] - 1, level[b], -1)), b] for a in direct for b in direct[a]
    }
    links = [pair for path in paths.values() for pair in pairwise(path)]
    rows = ordered(level, paths, links)
    at = placed(rows, links)
    parts = [curve(path, at, level, paths) for path in paths.values()]
    parts += [box(room, at[room], level[room], not imports[room]) for room in sorted(imports)]
    height = TOP + ROW * len(rows) - (ROW - HEIGHT) + 24
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" aria-label="The rooms of r1zero and what each imports">'
    )
    tips = f"<defs>{tip('tip', '#7d8fa3')}{tip('then', '#c77700')}</defs>"
    paper = f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", tips, paper, *legend(), *parts, "</svg>"]) + "\n"


def reduced(imports: Mapping[str, set[str]]) -> dict[str, list[str]]:
    """What each room imports, without what it would reach through another room it imports."""

    @cache
    def reached(room: str) -> frozenset[str]:
        return frozenset(imports[room]).union(*(reached(other) for other in imports[room]))

    return {
        room: sorted(b for b in imports[room] if not any(b in reached(other) for other in imports[room]))
        for room in sorted(imports)
    }


def levels(direct: Mapping[str, list[str]]) -> dict[str, int]:
    """The row of each room: below all it imports; near its users where that makes fewer arrows longer than shorter."""

    @cache
    def depth(room: str) -> int:
        return 1 + max((depth(other) for other in direct[room]), default=-1)

    level = {room: depth(room) for room in direct}
    for room in sorted(direct, key=lambda room: (-level[room], room)):
        users = [user for user in direct if room in direct[user]]
        if len(users) >= len(direct[room]) and users:
            level[room] = min(level[user] for user in users) - 1
    return level


def ordered(
    level: Mapping[str, int], paths: Mapping[tuple[str, str], list[Node]], links: list[tuple[Node, Node]]
) -> list[list[Node]]:
    """Rows of rooms and passing arrows in an order with few crossings: each by the mean place of its neighbours."""
    rows: list[list[Node]] = [[] for _ in range(max(level.values()) + 1)]
    for room in sorted(level):
        rows[level[room]].append(room)
    for path in paths.values():
        for node in path[1:-1]:
            rows[node[2]].append(node)  # type: ignore[arg-type]
    near = neighbours(links)
    best, least = rows, crossings(rows, links)
    for sweep in range(60):
        for row in rows if sweep % 2 else rows[::-1]:
            place = {node: index / max(len(each) - 1, 1) for each in rows for index, node in enumerate(each)}
            row.sort(key=lambda node: fsum(place[n] for n in near[node]) / max(len(near[node]), 1))
        if (found := crossings(rows, links)) < least:
            best, least = [list(row) for row in rows], found
    return best


def neighbours(links: list[tuple[Node, Node]]) -> dict[Node, list[Node]]:
    """What each node is linked with."""
    near: dict[Node, list[Node]] = {}
    for a, b in links:
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    return near


def crossings(rows: list[list[Node]], links: list[tuple[Node, Node]]) -> int:
    """How many pairs of arrows cross between rows."""
    place = {node: (r, i) for r, row in enumerate(rows) for i, node in enumerate(row)}
    by_row: dict[int, list[tuple[int, int]]] = {}
    for a, b in links:
        by_row.setdefault(place[a][0], []).append((place[a][1], place[b][1]))
    return sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for found in by_row.values() for a, b in combinations(found, 2))


def placed(rows: list[list[Node]], links: list[tuple[Node, Node]]) -> dict[Node, float]:
    """The middle of each node: drawn to its neighbours, kept apart in its row and within the picture."""
    near, at = neighbours(links), {}
    for row in rows:
        at |= {node: WIDTH * (i + 0.5) / len(row) for i, node in enumerate(row)}
    for sweep in range(200):
        for row in rows if sweep % 2 else rows[::-1]:
            wish = [wished(node, near[node], at) for node in row]
            right = spread(row, wish)
            left = [WIDTH - x for x in spread(row[::-1], [WIDTH - x for x in wish[::-1]])][::-1]
            at |= {node: round((a + b) / 2, 3) for node, a, b in zip(row, left, right, strict=True)}
    return {node: round(x) for node, x in at.items()}


def wished(node: Node, near: list[Node], at: Mapping[Node, float]) -> float:
    """Where a node would stand: amid its neighbours, where an arrow rather goes straight on."""
    weights = [1 if isinstance(node, str) or isinstance(other, str) else 6 for other in near]
    return fsum(w * at[other] for w, other in zip(weights, near, strict=True)) / sum(weights)


def spread(row: list[Node], wish: list[float]) -> list[float]:
    """Push nodes to the right until none touches another, and back where the last left the picture."""
    half = [(BOX if isinstance(node, str) else LANE) / 2 for node in row]
    found: list[float] = []
    for i, x in enumerate(wish):
        found.append(max(x, found[-1] + half[i - 1] + half[i] + GAP if i else half[i] + 8))
    limit = WIDTH - 8.0
    for i in range(len(row) - 1, -1, -1):
        found[i] = min(found[i], limit - half[i])
        limit = found[i] - half[i] - GAP
    return found


def curve(
    path: list[Node], at: Mapping[Node, float], level: Mapping[str, int], paths: Mapping[tuple[str, str], list[Node]]
) -> str:
    """An arrow from a room up to one that it imports, past the rows between them."""
    a, b = path[0], path[-1]
    outgoing = sorted((p for p in paths.values() if p[0] == a), key=lambda p: at[p[1]])
    incoming = sorted((p for p in paths.values() if p[-1] == b), key=lambda p: at[p[-2]])
    x, y = at[a] + port(outgoing.index(path), len(outgoing)), TOP + ROW * level[str(a)]
    drawn = f"M{x:g} {y}"
    for node in path[1:]:
        last = node == b
        row = level[str(b)] if last else node[2]  # type: ignore[index]
        to = at[node] + (port(incoming.index(path), len(incoming)) if last else 0)
        bottom = TOP + ROW * int(row) + HEIGHT + (1 if last else 0)
        middle = (y + bottom) / 2
        drawn += f" C{x:g} {middle:g} {to:g} {middle:g} {to:g} {bottom}"
        x, y = to, bottom
        if not last:
            y = TOP + ROW * int(row)
            drawn += f" V{y}"
    return f'<path class="edge" d="{drawn}"/>'


def port(index: int, count: int) -> int:
    """Where along a box's side one of several arrows meets it, from its middle."""
    return round((index - (count - 1) / 2) * min(18, (BOX - 24) / max(count - 1, 1)))


def box(room: str, x: float, row: int, leaf: bool) -> str:
    """A room: its name, what it holds, and what the data are when they come by."""
    y, numbers = TOP + ROW * row, [i for i, (_, where) in enumerate(WAY, start=1) if where == room]
    kind = ("way" if numbers else "room") + (" leaf" if leaf else "")
    parts = [
        f'<rect class="{kind}" x="{x - BOX / 2:g}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="6"/>',
        f'<text class="name" x="{x:g}" y="{y + 19}">{escape(room)}</text>',
        f'<text class="gist" x="{x:g}" y="{y + 35}">{escape(GISTS[room])}</text>',
        *(badge(number, x - BOX / 2 + 2 + 20 * i, y + 2) for i, number in enumerate(numbers)),
    ]
    return "".join(parts)


def badge(number: int, x: float, y: float) -> str:
    """A station of the data's way."""
    circle = f'<circle class="badge" cx="{x:g}" cy="{y:g}" r="9.5"/>'
    return circle + f'<text class="number" x="{x:g}" y="{y + 4:g}">{number}</text>'


def tip(name: str, colour: str) -> str:
    """The head of an arrow."""
    return (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 8 4 0 8z" fill="{colour}"/></marker>'
    )


def legend() -> list[str]:
    """The data's way in words, and what boxes and arrows mean."""
    parts = ['<text class="title" x="16" y="28">The rooms of r1zero, and the way of the data</text>']
    step = (WIDTH - 24) / len(WAY)
    for i, (word, _) in enumerate(WAY):
        x = 12 + step * (i + 0.5)
        parts.append(badge(i + 1, x, 50) + f'<text class="word" x="{x:g}" y="76">{word}</text>')
        if i:
            parts.append(f'<path class="edge then" d="M{x - step + 14:g} 50H{x - 14:g}"/>')
    notes = (
        "An arrow points from a room to one that it imports, upward; those that follow from others are left out.",
        "Dashed: imports no other room. Numbered: what the data become there.",
    )
    return parts + [f'<text class="note" x="16" y="{98 + 17 * i}">{note}</text>' for i, note in enumerate(notes)]


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))
    from test_architecture import rooms

    OUT.write_text(draw(rooms()), encoding="utf-8")
    print(OUT)
