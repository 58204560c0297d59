"""The tables of the analyses, from their JSON: the pages of Markdown and the page of the report show the same ones."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from r1zero.analyze.self_reflection import BY_WORDS, DETECTIONS
from r1zero.evaluation.tables import markdown_table
from r1zero.published import QUESTIONS, TEMPERATURES
from r1zero.types import Fate

Part = Mapping[str, Any]
"""A part of an analysis's JSON."""
Cell = str | tuple[str, ...]
"""A value; or a value and what belongs to it: the two ends of its interval, or a count of something else."""


class Table(NamedTuple):
    """Headings and rows; as text, in Markdown."""

    headings: list[str]
    rows: list[list[Cell]]

    def __str__(self) -> str:
        rows = [[c if isinstance(c, str) else f"{c[0]} [{', '.join(c[1:])}]" for c in row] for row in self.rows]
        return "\n".join(markdown_table(self.headings, rows))


def percent(value: float | None) -> str:
    """Say a share as per cent."""
    return "–" if value is None else f"{100 * value:.1f} %"


def signed(value: float) -> str:
    """Say a difference of accuracies."""
    return f"{value:+.3f}".replace("-", "−")


def _table(headings: list[str], rows: Iterable[Iterable[Any]]) -> Table:
    return Table(headings, [[_cell(value) for value in row] for row in rows])


def _cell(value: Any) -> Cell:
    if isinstance(value, Mapping):  # an estimate
        return percent(value["value"]), f"{100 * value['low']:.1f}", f"{100 * value['high']:.1f}"
    return value if isinstance(value, tuple) else "–" if value is None else str(value)


def _published(row: Part, values: Sequence[float]) -> float | None:
    """Return the paper's number at a row's temperature, if it has one."""
    return dict(zip(TEMPERATURES, values, strict=True)).get(round(row["temperature"], 3))


def answering(part: Part) -> Table:
    """Tell who answers, and who is right, by template."""
    return _table(["template", "answering [95 %]", "right [95 %]", "truncated", "questions", "not judged"], (
        [row["template"] + (" (best)" if row["template"] == part["best_template"] else ""), row["rate"],
         row["accuracy"], percent(row["truncated"]), row["questions"],
         f"{row['unparsable']} unreadable, {row['refused']} refused"]
        for row in part["templates"]
    ))  # fmt: skip


def exploration(part: Part) -> Table:
    """Return every temperature with its intervals, and the paper's pass@8 where it has one."""
    rows, paper = part["temperatures"], part["paper"]
    ks = [k for k in (1, 2, 4, 8, 16, 32, 64) if k <= rows[0]["samples"]]
    headings = ["temperature", *(f"pass@{k}" for k in ks), "never solved",
                f"live groups of {rows[0]['live']['group_size']}", "truncated", "tokens"]  # fmt: skip
    table = [
        [f"{row['temperature']:g}", *(row["pass_at"][str(k)] for k in ks), row["never_solved"], row["live"]["share"],
         percent(row["truncated"]), f"{row['tokens']:.0f}"]
        for row in rows
    ]  # fmt: skip
    if paper:
        headings.append("the paper's pass@8")
        table = [[*line, percent(_published(row, paper["pass_at_8"]))] for line, row in zip(table, rows, strict=True)]
    return _table(headings, table)


def judged(row: Part) -> bool:
    """Tell whether any response was judged: where none was, nothing is known, which is not 0."""
    return row["responses"] > row["classes"]["unparsable"] + row["classes"]["refused"]


def reflection(part: Part) -> Table:
    """Count responses and questions that reflect by detection, and the judge's classes, by temperature."""
    rows, paper = part["temperatures"], part["paper"]
    table = []
    for row in rows:
        known = DETECTIONS if judged(row) else BY_WORDS
        counts = {name: row["counts"][name] for name in known}
        cells = {name: (str(c["responses"]), f"{c['questions']} of {row['questions']}") for name, c in counts.items()}
        line = [f"{row['temperature']:g}", row["responses"], *map(cells.get, DETECTIONS)]
        if paper:
            count = _published(row, paper["cross"])
            line.append(None if count is None else f"{count} of {QUESTIONS}")
        table.append([*line, *row["classes"].values()])
    return _table(["temperature", "responses", *DETECTIONS, *(["the paper's cross"] if paper else []),
                   *rows[0]["classes"]], table)  # fmt: skip


def keywords(part: Part) -> Table:
    """Return every keyword's counts over all temperatures, the frequent first."""
    names = ("occurrences", "responses", "whole_occurrences", "whole_responses")
    total: dict[str, Counter[str]] = defaultdict(Counter)
    for row in part["temperatures"]:
        for count in row["keywords"]:
            total[count["keyword"]].update({name: count[name] for name in names})
    ordered = sorted(total.items(), key=lambda item: -item[1]["occurrences"])
    headings = ["keyword", "occurrences", "responses", "as a whole word", "responses with it"]
    return _table(headings, ([word, *map(counts.get, names)] for word, counts in ordered))


def helping(part: Part) -> Table:
    """Return the paired comparison within questions."""
    table = []
    for row in part["helping"]:
        compared: list[Any] = [0, None, None, None]
        if d := row["difference"]:
            compared = [d["questions"], (signed(d["difference"]), signed(d["low"]), signed(d["high"])),
                        f"{d['p_value']:.3g}", signed(row["spread"]["median"])]  # fmt: skip
        table.append([f"{row['temperature']:g}", row["detection"], row["reflecting"], row["others"], *compared])
    return _table(["temperature", "found by", "reflecting", "others", "questions with both",
                   "accuracy, reflecting − others [95 %]", "p", "median"], table)  # fmt: skip


def categories(row: Part) -> Table:
    """Return the responses of each category by level, reflecting ones in brackets; and mean lengths below."""
    names, reflecting = [*row["lengths"]], row["reflecting_categories"]
    table = [
        [level, *(f"{counts[name]} ({reflecting.get(level, {}).get(name, 0)})" for name in names)]
        for level, counts in row["categories"].items()
    ]
    for unit in ("characters", "tokens"):
        means = [row["lengths"][name][unit] for name in names]
        table.append([f"mean {unit}", *("–" if mean is None else f"{mean:,.1f}" for mean in means)])
    return _table(["level", *names], table)


def steps(source: Part) -> Table:
    """Return a run's numbers by step, of responses from one source."""
    # of one sample, pass@1 and pass@n are one column
    shares = {"answering": "answering", "pass@1": "pass_at_1", f"pass@{source['steps'][0]['samples']}": "pass_at_n",
              "live groups": "live_groups", "keywords": "keywords", "whole words": "whole_words", "judge": "judge",
              "cross": "cross", "questions reflecting": "questions_reflecting"}  # fmt: skip
    return _table(["step", *shares, "unjudged", "truncated", "characters"], (
        [step["step"], *map(step.get, shares.values()), step["unjudged"],
         percent(step["categories"][Fate.TRUNCATED]), f"{step['characters']:.0f}"]
        for step in source["steps"]
    ))  # fmt: skip


def card(card: Part) -> Table:
    """Return the readiness card."""
    rows = [["best template", card["template"]]]
    rows += [[f"answering ({card['judge']})", card["answering"]]] if card["judge"] else []
    rows += [[f"pass@{k} at temperature {card['temperature']:g}", share] for k, share in card["pass_at"].items()]
    if live := card["live"]:
        rows += [
            ["never solved", card["never_solved"]],
            [f"live groups of {live['group_size']} ({live['method']})", live["share"]],
            ["signal", f"{card['signal']['word']}: {card['signal']['sentence']}"],
            ["temperature of the highest pass@n", f"{card['best_temperature']:g}"],
        ]
    rows += [[f"reflecting responses, {name}", percent(value)] for name, value in card["reflecting_responses"].items()]
    rows += [[f"questions reflected on, {name}", share] for name, share in card["reflecting_questions"].items()]
    return _table(["", ""], [*rows, ["suggested group size", card["group_size"]]])
