"""The page of an analysis: what stands in it, that no response can do anything to it, and what a reader sees of it."""

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from analysis_folder import MODEL, REFLECTING, analysed
from r1zero.analyze import tables
from r1zero.analyze.run import Judges, analyse_training
from r1zero.errors import UserError
from r1zero.report.charts import analysis as charts
from r1zero.report.draw.svg import interval_chart
from r1zero.report.pages.analysis import read_parts, render, write_page
from r1zero.report.pages.html import code, visible
from tiny_runs import trained

if TYPE_CHECKING:
    from browser import Browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return analysed(tmp_path_factory.mktemp("analysis"), questions=20)


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    return write_page(folder)


@pytest.fixture(scope="module")
def over_training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("training")
    analyse_training(trained(), Judges(), out, None)
    return write_page(out)


# ---- what stands in it


def test_every_analysis_has_its_section_and_its_numbers(folder: Path, page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    sections = re.findall(r'<section id="([\w-]+)"', text)
    assert sections == ["card", "answering", "exploration", "reflection", "helping", "passages"]
    assert f"<title>{MODEL} before training – r1zero analysis</title>" in text
    card = json.loads((folder / "card.json").read_text())
    assert f"<b>{100 * card['pass_at']['8']['value']:.1f}\u00a0%</b>" in text
    assert card["command"] in text
    assert "the paper, no template: answering" in text
    assert "rule-based judge" in text


def test_keywords_are_marked_and_everything_is_escaped(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert 'Let me <mark class="word">recheck</mark>: &lt;b&gt;1 + 1&lt;/b&gt; is 2' in text
    assert REFLECTING not in text
    assert "<img" not in text
    assert text.count(">U+202E</span>") >= 2  # in a passage, and in a response that does not answer
    assert "\u202e" not in text


def test_the_paper_is_drawn_beside_a_model_that_it_has(folder: Path) -> None:
    exploration = json.loads((folder / "exploration.json").read_text())
    solved = charts.exploration(exploration)[0]
    assert [series.label for series in solved.series] == ["pass@1", "pass@8", "the paper's pass@8"]
    assert solved.series[-1].y[0] == 0.514
    assert solved.series[0].low[0] < solved.series[0].y[0] < solved.series[0].high[0]
    reflection = json.loads((folder / "reflection.json").read_text())
    last = charts.reflection(reflection)[-1]
    assert (last.title, last.series[1].y[-1]) == ("Questions reflected on: cross", 55 / 500)
    without = exploration | {"paper": None}
    assert [series.label for series in charts.exploration(without)[0].series] == ["pass@1", "pass@8"]


def estimate(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def test_intervals_by_hand() -> None:
    part = {
        "templates": [
            {"template": "no", "rate": estimate(0.5, 0.25, 1.0), "accuracy": estimate(0, 0, 0.2)},
            {"template": "r1", "rate": None, "accuracy": estimate(1.0, 0.8, 1.0)},
        ],
        "paper": None,
    }  # fmt: skip
    chart = charts.answering(part)
    assert [row.label for row in chart.rows] == ["no: answering", "no: right", "r1: right"]
    assert chart.rows[0].told == "50.0\u00a0% [25.0 to 100.0]"
    drawn = interval_chart(chart)
    # 0 to 1 stand at 8 to 352: a quarter at 94, the whole at 352
    assert '<path class="whisker s0" d="M94 30L352 30"/>' in drawn
    assert 'aria-label="Answering and right, by template. no: answering: 50.0' in drawn


def test_nothing_to_compare_is_said(folder: Path) -> None:
    parts = read_parts(folder)
    reflection = json.loads(json.dumps(parts["reflection"]))
    for row in reflection["helping"]:
        row["difference"] = row["spread"] = None
    text = render(parts | {"reflection": reflection})
    assert "there is nothing to compare" in text
    assert charts.helping(reflection["helping"]) is None


def test_a_judge_that_was_never_readable_is_said(folder: Path) -> None:
    parts = read_parts(folder)
    answering = json.loads(json.dumps(parts["answering"]))
    for row in answering["templates"]:
        row["rate"] = None
        row["agreement"] = {
            "first": "LLM judge x",
            "second": "rules",
            "judged": 0,
            "share": None,
            "kappa": None,
            "table": {},
        }
    text = render(parts | {"answering": answering})
    assert "LLM judge x judged no response readably" in text
    assert "has most right answers: no response could be judged" in text


def test_over_training_every_source_is_a_curve(over_training: Path) -> None:
    text = over_training.read_text(encoding="utf-8")
    assert "over training</h1>" in text
    assert "<b>arithmetic</b> evaluation, the same questions at every step: 16 questions × 1 sample a step" in text
    drawn = charts.training(json.loads((over_training.parent / "training.json").read_text()))
    by_title = {chart.title: [series.label for series in chart.series] for chart in drawn}
    assert by_title["pass@1"] == ["rollouts", "arithmetic"]
    assert by_title["pass@n: rollouts, n = 4"] == ["rollouts, n = 4"]  # of one greedy answer it is pass@1
    assert {chart.span for chart in drawn} == {(0, 3)}


def test_only_what_is_of_one_model_and_whole_is_shown(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    answering = json.loads((copy / "answering.json").read_text())
    (copy / "answering.json").write_text(json.dumps(answering | {"model": "another"}))
    assert list(read_parts(copy)) == ["answering"]
    (copy / "answering.json").write_text('{"model": "another"}')
    with pytest.raises(UserError, match="of another version of r1zero"):
        write_page(copy)
    (copy / "answering.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        write_page(copy)
    with pytest.raises(UserError, match="holds no analysis"):
        write_page(tmp_path)


def test_hidden_characters_and_code_are_shown() -> None:
    assert visible("a<\u202eb") == 'a&lt;<span class="ctl" title="a character that does not show">U+202E</span>b'
    assert code("take `r1zero <x>`, or wait") == "take <code>r1zero &lt;x&gt;</code>, or wait"


# ---- in a browser


def test_a_browser_shows_it_and_runs_nothing_of_a_response(tab: "Browser") -> None:
    assert tab.js("window.hacked") is None
    marks = tab.js("[...document.querySelectorAll('#passages mark.word')].map((e) => e.textContent)")
    assert set(marks) == {"marked", "recheck"}
    assert tab.js("document.querySelectorAll('svg.chart').length") == 11
    assert tab.js("document.querySelectorAll('h1').length") == 1


def test_a_chart_tells_its_values_by_temperature(tab: "Browser") -> None:
    tab.js("document.querySelector('[data-chart=pass] .plot').focus()")
    tab.key("ArrowRight")
    told = tab.js("[...document.querySelectorAll('[data-chart=pass] .tip > *')].map((e) => e.textContent)")
    assert told[0] == "temperature 0.1"
    assert re.fullmatch(r"pass@1: \d+\.\d % \(\d+\.\d % to \d+\.\d %\)", told[1])
    assert told[3] == "the paper's pass@8: 51.4 %"


def test_it_follows_the_theme_fits_a_phone_and_prints(tab: "Browser", over_training: Path, page: Path) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = tab.js(background)
    tab.system_theme("dark")
    assert tab.js(background) != light
    tab.click("#theme")
    assert tab.js(background) == light
    for each in (over_training, page):
        tab.size(360, 740)
        tab.open(each)
        assert tab.js("document.documentElement.scrollWidth") == 360
        assert tab.pdf().startswith(b"%PDF")
        assert tab.complaints == []


def test_every_panel_has_a_name_and_every_region_too(tab: "Browser") -> None:
    nameless = tab.js("""[...document.querySelectorAll('svg.chart, [role=region], button')].filter((e) => !(
      e.textContent.trim() && e.tagName === 'BUTTON' || e.getAttribute('aria-label'))).length""")
    assert nameless == 0


def test_shares_are_told_in_per_cent() -> None:
    assert [tables.percent(value) for value in (0.125, 1.0, 0.0, None)] == ["12.5 %", "100.0 %", "0.0 %", "–"]
