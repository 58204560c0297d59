"""What runs are, and what came of them: facts, headline numbers and recipes, as rows of plain data for the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from r1zero.errors import plural
from r1zero.report.data.lengths import ClassSums, mean_length, mean_lengths, pooled, shares, windows
from r1zero.report.data.run_data import RunData
from r1zero.report.data.seed_groups import SeedGroup, differing, evaluated_sets, mean_and_deviation
from r1zero.report.draw.numbers import duration, number, rate, score
from r1zero.types import COARSE_FATES, Fate

UNKNOWN = "not recorded"


@dataclass(frozen=True, slots=True)
class TableCell:
    """One number of a group: at the end, and at the start where it makes sense; `spread` is between seeds."""

    end: str = "–"
    start: str = ""
    spread: str = ""


@dataclass(frozen=True, slots=True)
class HeadlineRow:
    """One headline number of every group, in their order."""

    title: str
    cells: tuple[TableCell, ...]


@dataclass(frozen=True, slots=True)
class RecipeSetting:
    """One setting of the recipe for every group; `differs` when they do not agree."""

    key: str
    values: tuple[str, ...]
    differs: bool


def facts(group: SeedGroup) -> list[tuple[str, str]]:
    """Tell how the runs of a group were made, as (name, value); what seeds share is said once."""
    runs = group.runs
    pretraining = any(run.command == "pretrain" for run in runs)
    tell = lambda name: _shared(run.facts.get(name) for run in runs)  # noqa: E731
    dropped = sum(sum(_counts(run.facts.get("questions_dropped"))) for run in runs)
    count = runs[0].facts.get("questions_count")
    questions = tell("questions") + (f", {plural(count, 'question')}" if isinstance(count, int) else "")
    parameters = runs[0].facts.get("parameters")
    size = f", {number(float(parameters))} parameters" if isinstance(parameters, int | float) else ""
    rows = [
        ("Model", _shared(run.recipe.get("model.path") for run in runs) + size),
        ("Corpus", _shared(run.recipe.get("corpus.name") for run in runs)),
        ("Questions", questions + (f", {plural(dropped, 'row')} left out" if dropped else "")),
        ("Template", f"{tell('template')} ({tell('template_hash')})"),
        ("Seeds" if len(runs) > 1 else "Seed", ", ".join(UNKNOWN if r.seed is None else str(r.seed) for r in runs)),
        ("Code", f"r1zero {tell('r1zero')}, commit {_shared(_commit(run) for run in runs)}"),
        ("Versions", _shared(_versions(run.facts) for run in runs)),
        ("Machine", f"{tell('device')}, {_shared(_processor(run) for run in runs)}"),
        ("Started", _shared(_moment(run.facts.get("started")) for run in runs)),
        ("Command", _shared(_command(run.facts) for run in runs)),
        ("Folder", ", ".join(str(run.path) for run in runs)),
    ]
    absent = {"Questions", "Template"} if pretraining else {"Corpus"}
    return [(name, value) for name, value in rows if name not in absent]


def formula(group: SeedGroup) -> tuple[list[str], str]:
    """Return the objective's formula, part by part, and its hash."""
    first = group.runs[0].facts
    text = first.get("objective_formula")
    parts = [part.strip() for part in text.split(";")] if isinstance(text, str) else []
    return parts, str(first.get("objective_hash") or UNKNOWN)


def headline(groups: Sequence[SeedGroup]) -> list[HeadlineRow]:
    """Return the numbers to look at first. Rows that no group has are left out."""
    rows = [
        _row(groups, "Loss, nats", "pretrain/loss", score),
        _row(groups, "Held-out loss, nats", "pretrain/held_out_loss", score),
        _row(groups, "Reward", "rollout/reward", score),
        _row(groups, "pass@1", "rollout/pass_at_1", rate),
        _row(groups, "pass@G", "rollout/pass_at_g", rate),
        *_accuracies(groups),
        *_lengths(groups),
        _row(groups, "Dead groups", "rollout/dead_groups", rate),
        _row(groups, "Entropy, nats", "learn/entropy", score),
        HeadlineRow("Length bias, mean", tuple(_whole(group, "bias/length") for group in groups)),
        HeadlineRow("Difficulty bias, mean", tuple(_whole(group, "bias/difficulty") for group in groups)),
        HeadlineRow("Tokens sampled", tuple(_sum(group, "rollout/tokens", number) for group in groups)),
        HeadlineRow("Tokens of the corpus", tuple(_sum(group, "pretrain/tokens", number) for group in groups)),
        HeadlineRow("Time", tuple(_sum(group, "time/step", duration) for group in groups)),
    ]
    return [row for row in rows if any(cell.end != "–" or cell.start not in ("", "–") for cell in row.cells)]


def recipes(groups: Sequence[SeedGroup]) -> list[tuple[str, list[RecipeSetting]]]:
    """Return every setting by section, one value a group."""
    firsts = [group.runs[0] for group in groups]
    keys = list(dict.fromkeys(key for run in firsts for key in run.recipe))
    differ = set(differing(firsts))
    sections: dict[str, list[RecipeSetting]] = {}
    for key in keys:
        section, _, name = key.rpartition(".")
        values = tuple(_seeds(group) if key == "train.seed" else _value(group.runs[0], key) for group in groups)
        sections.setdefault(section or "recipe", []).append(RecipeSetting(name, values, key in differ))
    return list(sections.items())


def _seeds(group: SeedGroup) -> str:
    return ", ".join("–" if run.seed is None else str(run.seed) for run in group.runs)


def _value(run: RunData, key: str) -> str:
    value = run.recipe.get(key)
    if isinstance(value, list | tuple):
        return "; ".join(map(_plain, value)) or "none"
    return _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items() if v is not None and v != {}) or "none"
    return str(value)


def _row(groups: Sequence[SeedGroup], title: str, key: str, tell: Callable[[float | None], str]) -> HeadlineRow:
    return HeadlineRow(title, tuple(_ends(group, key, tell) for group in groups))


def _ends(group: SeedGroup, key: str, tell: Callable[[float | None], str]) -> TableCell:
    """Return mean over the first and the last twentieth of the steps; of several seeds their mean and its deviation."""
    starts, ends = [], []
    for points in filter(None, (run.logged(key) for run in group.runs)):
        for means, span in zip((starts, ends), windows(list(points)), strict=True):
            means.append(mean_and_deviation([points[step] for step in span])[0])
    return _cell(starts, ends, tell)


def _cell(starts: Sequence[float], ends: Sequence[float], tell: Callable[[float | None], str]) -> TableCell:
    if not ends:
        return TableCell()
    mean, deviation = mean_and_deviation(ends)
    spread = f"± {tell(deviation)}" if len(ends) > 1 else ""
    return TableCell(tell(mean), tell(mean_and_deviation(starts)[0]) if starts else "", spread)


def _accuracies(groups: Sequence[SeedGroup]) -> list[HeadlineRow]:
    return [
        HeadlineRow(f"Accuracy, {name}", tuple(_accuracy(group, f"eval/{name}/accuracy") for group in groups))
        for name in evaluated_sets(groups)
    ]


def _accuracy(group: SeedGroup, key: str) -> TableCell:
    rows = [[row for row in run.evaluations.values() if key in row] for run in group.runs]
    rows = [each for each in rows if each]
    cell = _cell([each[0][key] for each in rows], [each[-1][key] for each in rows], rate)
    last = rows[0][-1] if len(rows) == 1 else {}
    if f"{key}_low" in last and f"{key}_high" in last:
        return replace(cell, spread=f"{rate(last[f'{key}_low'])} to {rate(last[f'{key}_high'])}")
    return cell


def _lengths(groups: Sequence[SeedGroup]) -> list[HeadlineRow]:
    """Return lengths and the truncated share, pooled from saved responses; from the log where none are saved."""
    if not all(group.lengths for group in groups):
        return [
            _row(groups, "Mean length", "rollout/length", number),
            *(_row(groups, f"Length, {name}", f"rollout/length_{name}", number) for name in COARSE_FATES[:3]),
            _row(groups, "Truncated", "rollout/truncated", rate),
        ]
    pools = []
    for group in groups:
        sums = group.lengths
        pools.append(tuple(pooled(sums[step] for step in span) for span in windows(list(sums))))

    def row(title: str, tell: Callable[[ClassSums], str]) -> HeadlineRow:
        return HeadlineRow(title, tuple(TableCell(tell(end), tell(start)) for start, end in pools))

    return [
        row("Mean length", lambda pool: number(mean_length(pool))),
        *(row(f"Length, {n}", lambda pool, n=n: number(mean_lengths(pool)[n])) for n in COARSE_FATES[:3]),
        row("Truncated", lambda pool: rate(shares(pool)[Fate.TRUNCATED])),
    ]


def _whole(group: SeedGroup, key: str) -> TableCell:
    runs = [list(run.logged(key).values()) for run in group.runs]
    means = [round(mean_and_deviation(values)[0], 3) + 0.0 for values in runs if values]  # + 0.0: there is no −0
    return _cell([], means, score)


def _sum(group: SeedGroup, key: str, tell: Callable[[float], str]) -> TableCell:
    totals = [sum(run.logged(key).values()) for run in group.runs]
    return TableCell(tell(sum(totals)) if any(totals) else "–")


def _shared(values: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(UNKNOWN if value in (None, "") else str(value) for value in values))


def _counts(value: object) -> list[int]:
    return [n for n in value.values() if isinstance(n, int)] if isinstance(value, Mapping) else []


def _versions(values: Mapping[str, Any]) -> str:
    versions = values.get("versions")
    named = {"Python": values.get("python"), **(versions if isinstance(versions, Mapping) else {})}
    return ", ".join(f"{name} {version}" for name, version in named.items() if version)


def _commit(run: RunData) -> str:
    commit = run.facts.get("git_commit")
    if not isinstance(commit, str):
        return UNKNOWN
    sha, plus, _ = commit.partition("+")
    return sha[:10] + (" with uncommitted changes" if plus else "")


def _processor(run: RunData) -> str:
    threads, capability = run.facts.get("threads"), run.facts.get("cpu_capability")
    counted = plural(threads, "thread") if isinstance(threads, int) else UNKNOWN
    return f"{counted}, {capability}" if isinstance(capability, str) else counted


def _moment(value: object) -> str:
    return value[:16].replace("T", " ") + " UTC" if isinstance(value, str) else UNKNOWN


def _command(values: Mapping[str, Any]) -> str:
    words = values.get("command")
    return " ".join(map(str, words)) if isinstance(words, list) else UNKNOWN
