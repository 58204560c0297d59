"""The tables of the analyses, from their JSON: the pages of Markdown and the page of the report show the same ones."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r1zero.analyze.self_reflection import BY_WORDS, DETECTIONS
from r1zero.evaluation.tables import markdown_table
from r1zero.published import QUESTIONS, TEMPERATURES
from r1zero.types import Fate

Part = Mapping[str, Any]
"""A part of an analysis's JSON."""
Cell = str | tuple[str, ...]
"""A value; or a value and what belongs to it: the two ends of its interval, or a count of something else."""
_KS = (1, 2, 4, 8, 16, 32, 64)
_KEYWORDS = {"occurrences": "occurrences", "responses": "responses", "whole_occurrences": "as a whole word",
             "whole_responses": "responses with it"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Table:
    """Headings and rows."""

    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def __str__(self) -> str:
        rows = [[each if isinstance(each, str) else f"{each[0]} [{', '.join(each[1:])}]" for each in row]
                for row in self.rows]  # fmt: skip
        return "\n".join(markdown_table([*self.headings], rows))


def percent(value: float | None) -> str:
    """Say a share as per cent."""
    return "–" if value is None else f"{100 * value:.1f} %"


def share(estimate: Part | None) -> Cell:
    """Say a share with its 95 % interval, in per cent."""
    if estimate is None:
        return "–"
    return percent(estimate["value"]), f"{100 * estimate['low']:.1f}", f"{100 * estimate['high']:.1f}"


def signed(value: float) -> str:
    """Say a difference of accuracies."""
    return f"{value:+.3f}".replace("-", "−")


def _by_row(rows: Sequence[Part], columns: Mapping[str, Callable[[Part], Cell]]) -> Table:
    return Table([*columns], [[say(row) for say in columns.values()] for row in rows])


def _temperature(row: Part) -> str:
    return f"{row['temperature']:g}"


def _published(row: Part, values: Sequence[float]) -> float | None:
    """Return the paper's number at a row's temperature, if it has one."""
    return dict(zip(TEMPERATURES, values, strict=True)).get(round(row["temperature"], 3))


def answering(part: Part) -> Table:
    """Tell who answers, and who is right, by template."""

    def unjudged(row: Part) -> str:
        missing = row["unparsable"] + row["refused"]
        return f"{row['unparsable']} unreadable, {row['refused']} refused" if missing else "0"

    return _by_row(part["templates"], {
        "template": lambda row: row["template"] + (" (best)" if row["template"] == part["best_template"] else ""),
        "answering [95 %]": lambda row: share(row["rate"]),
        "right [95 %]": lambda row: share(row["accuracy"]),
        "truncated": lambda row: percent(row["truncated"]),
        "questions": lambda row: str(row["questions"]),
        "not judged": unjudged,
    })  # fmt: skip


def exploration(part: Part) -> Table:
    """Return every temperature with its intervals, and the paper's pass@8 where it has one."""
    rows, paper = part["temperatures"], part["paper"]
    columns: dict[str, Callable[[Part], Cell]] = {"temperature": _temperature}
    columns |= {f"pass@{k}": lambda row, k=k: share(row["pass_at"][str(k)]) for k in _KS if k <= rows[0]["samples"]}
    columns |= {
        "never solved": lambda row: share(row["never_solved"]),
        f"live groups of {rows[0]['live']['group_size']}": lambda row: share(row["live"]["share"]),
        "truncated": lambda row: percent(row["truncated"]),
        "tokens": lambda row: f"{row['tokens']:.0f}",
    }
    if paper:
        columns["the paper's pass@8"] = lambda row: percent(_published(row, paper["pass_at_8"]))
    return _by_row(rows, columns)


def reflection(part: Part) -> Table:
    """Count responses and questions that reflect by detection, and the judge's classes, by temperature."""
    rows, paper = part["temperatures"], part["paper"]

    def counted(row: Part, name: str) -> Cell:
        judged = row["responses"] > row["classes"]["unparsable"] + row["classes"]["refused"]
        if not judged and name not in BY_WORDS:
            return "–"  # nothing is known, which is not 0
        count = row["counts"][name]
        return str(count["responses"]), f"{count['questions']} of {row['questions']}"

    def published(row: Part) -> str:
        count = _published(row, paper["cross"])
        return "–" if count is None else f"{count} of {QUESTIONS}"

    columns: dict[str, Callable[[Part], Cell]] = {"temperature": _temperature}
    columns["responses"] = lambda row: str(row["responses"])
    columns |= {name: lambda row, name=name: counted(row, name) for name in DETECTIONS}
    columns |= {"the paper's cross": published} if paper else {}
    columns |= {name: lambda row, name=name: str(row["classes"][name]) for name in rows[0]["classes"]}
    return _by_row(rows, columns)


def keywords(part: Part) -> Table:
    """Return every keyword's counts over all temperatures, the frequent first."""
    total: dict[str, Counter[str]] = defaultdict(Counter)
    for row in part["temperatures"]:
        for count in row["keywords"]:
            total[count["keyword"]].update({name: count[name] for name in _KEYWORDS})
    ordered = sorted(total.items(), key=lambda item: -item[1]["occurrences"])
    return Table(["keyword", *_KEYWORDS.values()],
                 [[word, *(str(counts[name]) for name in _KEYWORDS)] for word, counts in ordered])  # fmt: skip


def helping(part: Part) -> Table:
    """Return the paired comparison within questions."""
    rows: list[list[Cell]] = []
    for row in part["helping"]:
        line = [_temperature(row), row["detection"], str(row["reflecting"]), str(row["others"])]
        if d := row["difference"]:
            compared = signed(d["difference"]), signed(d["low"]), signed(d["high"])
            median = signed(row["spread"]["median"])
            rows.append([*line, str(d["questions"]), compared, f"{d['p_value']:.3g}", median])
        else:
            rows.append([*line, "0", "–", "–", "–"])
    headings = ["temperature", "found by", "reflecting", "others", "questions with both",
                "accuracy, reflecting − others [95 %]", "p", "median"]  # fmt: skip
    return Table(headings, rows)


def categories(row: Part) -> Table:
    """Return the responses of each category by level, reflecting ones in brackets; and mean lengths below."""
    names, reflecting = [*row["lengths"]], row["reflecting_categories"]
    rows = [
        [level, *(f"{counts[name]} ({reflecting.get(level, {}).get(name, 0)})" for name in names)]
        for level, counts in row["categories"].items()
    ]
    for unit in ("characters", "tokens"):
        means = [row["lengths"][name][unit] for name in names]
        rows.append([f"mean {unit}", *("–" if mean is None else f"{mean:,.1f}" for mean in means)])
    return Table(["level", *names], rows)


def steps(source: Part) -> Table:
    """Return a run's numbers by step, of responses from one source."""
    n = source["steps"][0]["samples"]
    shares = {"answering": "answering", "pass@1": "pass_at_1", f"pass@{n}": "pass_at_n", "live groups": "live_groups",
              "keywords": "keywords", "whole words": "whole_words", "judge": "judge", "cross": "cross",
              "questions reflecting": "questions_reflecting"}  # fmt: skip
    columns: dict[str, Callable[[Part], Cell]] = {"step": lambda step: str(step["step"])}
    columns |= {heading: lambda step, key=key: share(step[key]) for heading, key in shares.items()}
    columns |= {
        "unjudged": lambda step: str(step["unjudged"]),
        "truncated": lambda step: percent(step["categories"][Fate.TRUNCATED]),
        "characters": lambda step: f"{step['characters']:.0f}",
    }
    return _by_row(source["steps"], columns)


def card(card: Part) -> Table:
    """Return the readiness card."""
    rows: list[list[Cell]] = [["best template", card["template"]]]
    rows += [[f"answering ({card['judge']})", share(card["answering"])]] if card["judge"] else []
    rows += [[f"pass@{k} at temperature {card['temperature']:g}", share(e)] for k, e in card["pass_at"].items()]
    if live := card["live"]:
        rows += [
            ["never solved", share(card["never_solved"])],
            [f"live groups of {live['group_size']} ({live['method']})", share(live["share"])],
            ["signal", f"{card['signal']['word']}: {card['signal']['sentence']}"],
            ["temperature of the highest pass@n", f"{card['best_temperature']:g}"],
        ]
    rows += [[f"reflecting responses, {name}", percent(value)] for name, value in card["reflecting_responses"].items()]
    rows += [[f"questions reflected on, {name}", share(e)] for name, e in card["reflecting_questions"].items()]
    return Table(["", ""], [*rows, ["suggested group size", str(card["group_size"])]])
