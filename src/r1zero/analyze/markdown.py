"""Analyses as pages of Markdown: numbers with intervals, who judged, and what a reader must know beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from r1zero.analyze import exploration, self_reflection
from r1zero.analyze.answering import Answering
from r1zero.analyze.judges.llm import Agreement, Bill
from r1zero.analyze.keywords import KeywordCount, Piece
from r1zero.analyze.over_training import Source, StepNumbers
from r1zero.analyze.readiness_card import Card
from r1zero.analyze.reflection_effect import Helping
from r1zero.errors import plural
from r1zero.evaluation.tables import markdown_table
from r1zero.published import QUESTIONS, TEMPERATURES, BaseModelRow
from r1zero.statistics import Estimate
from r1zero.types import Fate


def percent(value: float | None) -> str:
    """Say a share as per cent."""
    return "–" if value is None else f"{100 * value:.1f} %"


def interval(estimate: Estimate | None) -> str:
    """Say a share with its 95 % interval."""
    return (
        "–" if estimate is None else f"{percent(estimate.value)} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
    )


def answering_page(rows: Sequence[Answering], chosen: Answering, bill: Bill | None, paper: BaseModelRow | None) -> str:
    """Does it answer? By template."""
    headings = ["template", "answering [95 %]", "right [95 %]", "truncated", "questions", "not judged"]
    table = [
        [
            row.template + (" (best)" if row is chosen else ""),
            interval(row.rate),
            interval(row.accuracy),
            percent(row.truncated),
            str(row.questions),
            f"{row.unparsable} unreadable, {row.refused} refused" if row.unparsable + row.refused else "0",
        ]
        for row in rows
    ]
    lines = ["# Does it answer?", "", f"Judged by: **{rows[0].judge}**.", "", *markdown_table(headings, table), ""]
    if chosen.rate is None:
        lines += ["No response could be judged: the best template is the one with most right answers.", ""]
    if paper:
        lines += [
            f"The paper, {paper.model}: {percent(paper.without_template)} without a template, "
            f"{percent(paper.with_template)} with its best one (judge gpt-4o-mini, {QUESTIONS} questions).",
            "",
        ]
    lines += [line for row in rows for line in agreement_lines(row.agreement, f"template {row.template}")]
    lines += bill_lines(bill)
    for row in rows:
        for example in row.continuing:
            lines += [f"**{row.template}**, not answering ({example.reason[:200]}):", "", _quote(example.response), ""]
    return "\n".join(lines)


def exploration_page(rows: Sequence[exploration.ExplorationRow], template: str, paper: BaseModelRow | None) -> str:
    """Does sampling reach right answers? By temperature."""
    n = rows[0].samples
    shown = [k for k in (1, 2, 4, 8, 16, 32, 64) if k <= n]
    live = rows[0].live
    headings = ["temperature", *(f"pass@{k}" for k in shown), "never solved", f"live groups of {live.group_size}"]
    headings += ["truncated", "tokens"] + (["paper's pass@8"] if paper else [])
    table = []
    for row in rows:
        line = [f"{row.temperature:g}", *(interval(row.pass_at[k]) for k in shown), interval(row.never_solved)]
        line += [interval(row.live.share), percent(row.truncated), f"{row.tokens:.0f}"]
        table.append(line + ([_paper_at(paper.pass_at_8, row.temperature)] if paper else []))
    last = rows[-1]
    verdict = exploration.signal(last.live, last.never_solved.value)
    return "\n".join(
        [
            "# Does sampling reach right answers?",
            "",
            f"Template {template}, {plural(last.questions, 'question')} × {plural(n, 'sample')}; 95 % intervals over "
            f"questions. A group is live when it holds right and wrong answers; its expected share "
            f"over {live.group_size} samples is {live.method}.",
            "",
            *markdown_table(headings, table),
            "",
            f"**Signal for reinforcement learning at temperature {last.temperature:g}: {verdict.word}** — "
            f"{verdict.sentence}.",
            "",
        ]
    )


def reflection_page(
    rows: Sequence[self_reflection.ReflectionRow],
    helping: Sequence[Helping],
    template: str,
    bill: Bill | None,
    paper: BaseModelRow | None,
) -> str:
    """Does it reflect on what it says? By temperature; and does that help?"""
    lines = ["# Does it reflect?", "", f"Template {template}. Judged by: **{rows[0].judge}**. Cross: the keywords and "
             "the judge on the same response.", ""]  # fmt: skip
    headings = ["temperature", "responses", *(f"{name}, responses" for name in self_reflection.DETECTIONS)]
    headings += [f"{name}, questions" for name in self_reflection.DETECTIONS] + (["paper's cross"] if paper else [])
    table = []
    for row in rows:
        line = [f"{row.temperature:g}", str(row.responses)]
        known = self_reflection.DETECTIONS if row.judged else self_reflection.BY_WORDS
        counts = {name: row.counts[name] for name in known}
        line += [str(counts[name].responses) if name in counts else "–" for name in self_reflection.DETECTIONS]
        line += [
            f"{counts[name].questions} of {row.questions}" if name in counts else "–"
            for name in self_reflection.DETECTIONS
        ]
        table.append(line + ([f"{_paper_at(paper.cross, row.temperature)} of {QUESTIONS}"] if paper else []))
    lines += [*markdown_table(headings, table), ""]
    names = list(rows[0].classes)
    lines += ["## The judge's classes", "", "0 no attempt, 1 no reflection, 2 reflection, 3 only code.", ""]
    classes = [[f"{row.temperature:g}", *(str(row.classes[name]) for name in names)] for row in rows]
    lines += [*markdown_table(["temperature", *names], classes), ""]
    lines += [line for row in rows for line in agreement_lines(row.agreement, f"temperature {row.temperature:g}")]
    lines += bill_lines(bill)
    lines += ["## Keywords", "", *keyword_lines([row.keywords for row in rows]), "", "## Does it help?", ""]
    lines += helping_lines(helping)
    lines += ["## Passages", ""] + ([] if any(row.passages for row in rows) else ["None was found.", ""])
    for row in rows:
        for passage in row.passages:
            where = f"{passage.question_id} #{passage.sample}, temperature {row.temperature:g}, by {passage.found_by}"
            lines += [f"{where}, {'right' if passage.right else 'not right'}:", "", f"> {marked(passage.excerpt)}", ""]
    return "\n".join(lines)


def marked(pieces: Sequence[Piece]) -> str:
    """Return an excerpt on one line, its keywords between **asterisks** (Markdown's bold)."""
    return "".join(f"**{_flat(p.text)}**" if p.keyword else _flat(p.text) for p in pieces).strip()


def _flat(text: str) -> str:
    """Return one line, with Markdown's own signs made harmless."""
    return re.sub(r"([*_`|<>\[\]])", r"\\\1", re.sub(r"\s+", " ", text))


def keyword_lines(tables: Sequence[Sequence[KeywordCount]]) -> list[str]:
    """Add up all temperatures' keyword counts, as a table."""
    total: dict[str, list[int]] = {}
    for table in tables:
        for row in table:
            counts = total.setdefault(row.keyword, [0, 0, 0, 0])
            for i, count in enumerate((row.occurrences, row.responses, row.whole_occurrences, row.whole_responses)):
                counts[i] += count
    ordered = sorted(total.items(), key=lambda item: -item[1][0])
    headings = ["keyword", "occurrences", "responses", "as a whole word", "responses with it"]
    return markdown_table(headings, [[word, *map(str, counts)] for word, counts in ordered])


def helping_lines(rows: Sequence[Helping]) -> list[str]:
    """Return the paired comparison within questions, and the categories by level of the last temperature."""
    headings = ["temperature", "found by", "reflecting", "others", "questions with both",
                "accuracy, reflecting − others", "95 % interval", "p", "median"]  # fmt: skip
    table = []
    for row in rows:
        line = [f"{row.temperature:g}", row.detection, str(row.reflecting), str(row.others)]
        if row.difference and row.spread:
            d = row.difference
            line += [str(d.questions), f"{d.difference:+.3f}", f"{d.low:+.3f} – {d.high:+.3f}", f"{d.p_value:.3g}"]
            line += [f"{row.spread.median:+.3f}"]
        else:
            line += ["0", "–", "–", "–", "–"]
        table.append(line)
    lines = ["Reflecting and other responses to the same question; questions that have both count once each.", ""]
    lines += [*markdown_table(headings, table), ""]
    if rows:
        last = rows[-1]
        names = list(last.lengths)
        lines += [
            f"What came of responses by level, temperature {last.temperature:g} (reflecting ones in brackets):",
            "",
        ]
        by_level = [
            [level, *(f"{counts[n]} ({last.reflecting_categories.get(level, {}).get(n, 0)})" for n in names)]
            for level, counts in last.categories.items()
        ]
        lines += [*markdown_table(["level", *names], by_level), ""]
        mean = [
            [n, *("–" if x is None else f"{x:.1f}" for x in (v.characters, v.tokens))] for n, v in last.lengths.items()
        ]
        lines += [*markdown_table(["mean length", "characters", "tokens"], mean), ""]
    return lines


def training_page(sources: Sequence[Source], run: str, judge: str) -> str:
    """Return the same over a run's steps, by where the responses come from."""
    lines = ["# Over training", "", f"{run}, from what it has saved. Judged by: **{judge}**.", ""]
    for source in sources:
        first = source.steps[0]
        asked = f"{plural(first.questions, 'question')} × {plural(first.samples, 'sample')}"
        lines += [f"## {source.name}: {source.kind}", "", f"{asked} a step, temperature "
                  f"{source.temperature:g}.", ""]  # fmt: skip
        headings = ["step", "answering", "pass@1", f"pass@{first.samples}", "live groups", "keywords", "whole words"]
        headings += ["judge", "cross", "questions reflecting", "unjudged", "truncated", "characters"]
        if first.samples == 1:
            headings.remove("pass@1")  # stands there twice
        lines += [*markdown_table(headings, [_step_line(step) for step in source.steps]), ""]
        last = source.steps[-1]
        lines += agreement_lines(last.agreement, f"{source.name}, step {last.step}")
    return "\n".join(lines)


def _step_line(s: StepNumbers) -> list[str]:
    one = () if s.samples == 1 else (s.pass_at_1,)
    shares = (s.answering, *one, s.pass_at_n, s.live_groups, s.keywords, s.whole_words, s.judge, s.cross,
              s.questions_reflecting)  # fmt: skip
    values = [interval(share) for share in shares]
    return [str(s.step), *values, str(s.unjudged), percent(s.categories[Fate.TRUNCATED]), f"{s.characters:.0f}"]


def card_page(card: Card) -> str:
    """Return the readiness card."""
    rows = [["best template", card.template]]
    rows += [[f"answering ({card.judge})", interval(card.answering)]] if card.judge else []
    rows += [[f"pass@{k} at temperature {card.temperature:g}", interval(e)] for k, e in card.pass_at.items()]
    if card.live and card.signal:
        rows += [["never solved", interval(card.never_solved)]]
        rows += [[f"live groups of {card.live.group_size} ({card.live.method})", interval(card.live.share)]]
        rows += [["signal", f"{card.signal.word}: {card.signal.sentence}"]]
        rows += [["temperature of the highest pass@n", f"{card.best_temperature:g}"]]
    rows += [[f"reflecting responses, {name}", percent(share)] for name, share in card.reflecting_responses.items()]
    rows += [[f"questions reflected on, {name}", interval(e)] for name, e in card.reflecting_questions.items()]
    rows += [["suggested group size", str(card.group_size)]]
    asked = f"{plural(card.questions, 'question')} × {plural(card.samples, 'sample')}"
    heading = [f"# Readiness of {card.model}", "", f"{asked}.", ""]
    none = card.signal is not None and card.signal.word == "none"
    begin = "Nothing to learn from yet; once there is, start from:" if none else "Start from:"
    agreed = [line for name, found in card.agreements.items() for line in agreement_lines(found, name)]
    return "\n".join([*heading, *markdown_table(["", ""], rows), "", *agreed, begin, "", f"    {card.command}", ""])


def agreement_lines(found: Agreement | None, where: str) -> list[str]:
    """Return a sentence on how two judges agree."""
    if found is None:
        return []
    if found.share is None:
        return [f"{found.first} judged no response readably, so that its agreement with {found.second} is unknown "
                f"({where}).", ""]  # fmt: skip
    kappa = "undefined (one class only)" if found.kappa is None else f"{found.kappa:.2f}"
    judged = plural(found.judged, "response")
    return [f"{found.first} and {found.second} agree on {percent(found.share)} of {judged}, Cohen's kappa {kappa} "
            f"({where}).", ""]  # fmt: skip


def bill_lines(bill: Bill | None) -> list[str]:
    """Return a sentence on what the judge took."""
    if bill is None:
        return []
    cost = "" if bill.cost is None else f", cost {bill.cost:.4f}"
    return [f"The judge was asked {plural(bill.asked, 'time')} ({plural(bill.stored, 'answer')} from disk, "
            f"{bill.retried:,} retried, {bill.refused:,} refused, {bill.unparsable:,} unreadable); all its "
            f"answers took {bill.prompt_tokens:,} + {bill.answer_tokens:,} tokens{cost}.", ""]  # fmt: skip


def _paper_at(values: Sequence[float], temperature: float) -> str:
    near: Mapping[float, float] = dict(zip(TEMPERATURES, values, strict=True))
    value = near.get(round(temperature, 3))
    return "–" if value is None else f"{value:g}"


def _quote(text: str) -> str:
    """Return a fence that no response breaks out of."""
    clipped = text[:400].replace("````", "'''")
    return f"````text\n{clipped}\n````"
