"""What the page of an analysis draws, as data, from the JSON that `r1zero analyze` wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from r1zero.analyze.self_reflection import BY_WORDS, DETECTIONS
from r1zero.analyze.tables import Part, judged, signed
from r1zero.published import QUESTIONS, TEMPERATURES
from r1zero.report.charts.model import PUBLISHED, Chart, IntervalChart, IntervalRow, Series, slug
from r1zero.report.draw.numbers import rate
from r1zero.types import Fate

_BAND = "Bands are 95 % intervals over questions."
_CATEGORY_STYLES = {Fate.UNFORMATTED: "s4"}  # the others are classes of the report, with colours of their own
_PUBLISHED = ("keywords", "judge", "cross")  # of the detections
_STEPS = (
    ("pass_at_1", "pass@1", "The chance that one response is right."),
    ("pass_at_n", "pass@n", "The chance that one of a question's n responses is right."),
    ("live_groups", "Live groups", "Groups of n with right and wrong answers: only those have an advantage."),
    ("answering", "Answering", "Responses that try to answer, of those that could be judged."),
    ("cross", "Reflecting: cross", "Responses in which keywords and judge both find self-reflection."),
    ("judge", "Reflecting: judge", "Responses that the judge finds to reflect."),
    ("keywords", "Reflecting: keywords", "Responses that hold a keyword, wherever it stands."),
    ("questions_reflecting", "Questions reflected on", "Questions with a response that keywords and judge both find."),
)


def answering(part: Part) -> IntervalChart:
    """Tell who answers, and who is right, by template; and the paper's two rates of the same model."""
    rows = []
    for template in part["templates"]:
        if template["rate"]:
            rows.append(interval(f"{template['template']}: answering", "s0", template["rate"]))
        rows.append(interval(f"{template['template']}: right", "s2", template["accuracy"]))
    if paper := part["paper"]:
        for name, value in (("no template", paper["without_template"]), ("its best one", paper["with_template"])):
            rows.append(IntervalRow(f"the paper, {name}: answering", PUBLISHED, value, None, None, rate(value)))
    about = "Of all responses; lines are 95 % intervals over questions."
    return IntervalChart("answering", "Answering and right, by template", tuple(rows), about=about)


def exploration(part: Part) -> list[Chart]:
    """Return pass@k, live groups and unsolved questions over temperature, and pass@k over k."""
    rows, paper = part["temperatures"], part["paper"]
    n, size = rows[0]["samples"], rows[0]["live"]["group_size"]
    solved = [_by_temperature(rows, f"pass@{k}", f"s{i}", lambda row, k=k: row["pass_at"][str(k)])
              for i, k in enumerate((1, n))]  # fmt: skip
    if paper:
        solved.append(_published("the paper's pass@8", paper["pass_at_8"]))
    live = [
        _by_temperature(rows, "live", "s0", lambda row: row["live"]["share"]),
        _by_temperature(rows, "never solved", "s1", lambda row: row["never_solved"]),
    ]
    curves = [
        _curve(f"temperature {row['temperature']:g}", f"s{i}", [(int(k), e) for k, e in row["pass_at"].items()])
        for i, row in enumerate((rows[0], *rows[1:][-1:]))
    ]
    return [
        _chart("pass", "Questions solved", solved, f"pass@k is the unbiased estimator of {n} samples. {_BAND}", "up"),
        _chart("live", f"Live groups of {size}", live,
               f"A live group holds right and wrong answers. Never solved: no right answer among {n}. {_BAND}"),
        _chart("pass-k", "pass@k", curves,
               f"How much more drawing again finds, at the lowest and the highest temperature. {_BAND}", "up",
               x_label="k"),
    ]  # fmt: skip


def reflection(part: Part) -> list[Chart]:
    """Return questions and responses that reflect, over temperature, by detection; each beside the paper's where it has
    it.
    """
    rows, paper = part["temperatures"], part["paper"]
    known = DETECTIONS if any(map(judged, rows)) else BY_WORDS
    questions = {name: _by_temperature(rows, name, f"s{i}", lambda row, name=name: row["share_of_questions"][name])
                 for i, name in enumerate(known)}  # fmt: skip
    responses = [
        Series(name, f"s{i}", *zip(*shares, strict=True))
        for i, name in enumerate(known)
        if (shares := _told_shares(rows, name))
    ]
    about = f"Questions with at least one response that reflects. {_BAND}"
    charts = [
        _chart("reflecting-questions", "Questions with a reflecting response", [*questions.values()], about),
        _chart(
            "reflecting-responses", "Responses that reflect", responses, "Cross: keywords and judge on one response."
        ),
    ]
    for name in (name for name in _PUBLISHED if paper and name in known):
        theirs = _published("the paper", [count / QUESTIONS for count in paper[name]])
        charts.append(_chart(f"paper-{name}", f"Questions reflected on: {name}", [questions[name], theirs], about))
    return charts


def helping(rows: Sequence[Part]) -> IntervalChart | None:
    """Return the differences of accuracy within questions; None where no question has both kinds of response."""
    known = [row for row in rows if row["difference"]]
    if not known:
        return None
    several = len({row["temperature"] for row in known}) > 1
    intervals = []
    for row in known:
        d = row["difference"]
        label = row["detection"] + (f", temperature {row['temperature']:g}" if several else "")
        told = f"{signed(d['difference'])} [{signed(d['low'])}, {signed(d['high'])}]"
        style = f"s{DETECTIONS.index(row['detection'])}"
        intervals.append(IntervalRow(label, style, d["difference"], d["low"], d["high"], told))
    low, high = min(0.0, *(i.low or 0.0 for i in intervals)), max(0.0, *(i.high or 0.0 for i in intervals))
    room = 0.06 * (high - low) or 0.1
    about = "Left of the line, reflecting responses are less often right than others to the same question."
    return IntervalChart("helping", "Accuracy, reflecting − others", tuple(intervals), low - room, high + room,
                     percent=False, reference=0.0, about=about)  # fmt: skip


def categories(row: Part) -> Chart | None:
    """Return what becomes of responses, by difficulty level (the paper's Fig. 12); None of questions without levels."""
    levels = sorted((int(level), counts) for level, counts in row["categories"].items() if level.isdecimal())
    if len(levels) < 2:
        return None
    x = tuple(float(level) for level, _ in levels)
    series = []
    for name in Fate:
        shares = tuple(counts[name] / max(1, sum(counts.values())) for _, counts in levels)
        if any(shares):
            series.append(Series(name, _CATEGORY_STYLES.get(name, name), x, shares))
    about = "Shares of all responses of a level. Every response is in one category; a truncated one is only truncated."
    return _chart("categories", "What came of responses", series, about, x_label="level")


def training(part: Part) -> list[Chart]:
    """Return every number over steps, a curve for each source of responses."""
    sources = part["sources"]
    steps = [step["step"] for source in sources for step in source["steps"]]
    charts = []
    for key, title, about in _STEPS:
        series = []
        for i, source in enumerate(sources):
            points = [(step["step"], step[key]) for step in source["steps"] if step[key]]
            n = source["steps"][0]["samples"]
            if points and not (key == "pass_at_n" and n == 1):
                label = f"{source['name']}, n = {n}" if key in ("pass_at_n", "live_groups") else source["name"]
                series.append(_curve(label, f"s{i}", points))
        if series:
            whole = title if len(series) > 1 or len(sources) == 1 else f"{title}: {series[0].label}"
            charts.append(_chart(f"step-{key}", whole, series, f"{about} {_BAND}", x_label="step"))
    truncated = _plain_steps(sources, lambda step: step["categories"][Fate.TRUNCATED])
    lengths = _plain_steps(sources, lambda step: step["characters"])
    charts += [
        _chart("step-truncated", "Truncated", truncated, "Responses that ran into the token budget.", x_label="step"),
        Chart("step-characters", "Length", "characters", lengths, "Mean length of all responses."),
    ]
    return [replace(chart, span=(min(steps), max(steps))) for chart in charts]


def _plain_steps(sources: Sequence[Part], read: Callable[[Part], float]) -> tuple[Series, ...]:
    """Return curves over steps of what has no interval."""
    return tuple(
        Series(s["name"], f"s{i}", tuple(float(step["step"]) for step in s["steps"]), tuple(map(read, s["steps"])))
        for i, s in enumerate(sources)
    )


def interval(label: str, style: str, estimate: Part) -> IntervalRow:
    """Return a share with its interval, told in per cent: 83.2 % [80.1 to 86.0]."""
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    return IntervalRow(label, style, value, low, high, f"{rate(value)} [{100 * low:.1f} to {100 * high:.1f}]")


def _chart(key: str, title: str, series: Sequence[Series], about: str, better: str = "", *,
           x_label: str = "temperature") -> Chart:  # fmt: skip
    return Chart(slug(key), title, "", tuple(series), about, better=better, x_label=x_label, percent=True, ceiling=0.05)


def _curve(label: str, style: str, points: Sequence[tuple[float, Part]]) -> Series:
    x, estimates = zip(*points, strict=True)
    y, low, high = (tuple(e[name] for e in estimates) for name in ("value", "low", "high"))
    return Series(label, style, tuple(map(float, x)), y, (), low, high)


def _by_temperature(rows: Sequence[Part], label: str, style: str, read: Callable[[Part], Part | None]) -> Series:
    found = ((row["temperature"], read(row)) for row in rows)
    return _curve(label, style, [(at, value) for at, value in found if value is not None])


def _published(label: str, values: Sequence[float]) -> Series:
    return Series(label, PUBLISHED, TEMPERATURES, tuple(values))


def _told_shares(rows: Sequence[Part], name: str) -> list[tuple[float, float]]:
    """Return (temperature, share of the responses that could be told)."""
    counts = [(row, row["counts"][name]) for row in rows]
    told = [(row, count, count.get("told", row["responses"])) for row, count in counts]
    return [(float(row["temperature"]), count["responses"] / of) for row, count, of in told if of]
