"""The report in a real browser: what a reader clicks, writes and presses, and that the page is quiet and alone."""

from pathlib import Path

import pytest

pytest.importorskip("websockets", reason="no websockets: the report is not tried in a browser")

from browser import Browser
from r1zero.report.data.run_data import find_runs, load_run
from r1zero.report.data.seed_groups import grouped
from r1zero.report.pages.run import render
from r1zero.types import Outcome
from report_runs import EVERY_KIND, HOSTILE, group, make_run, response

LIST = "document.querySelectorAll('#list button')"
TEXT = "document.getElementById('text').textContent"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    metrics = [{"rollout/reward": 0.1 * i, "rollout/length": 20.0 + i, "bias/length": -1.0} for i in range(1, 6)]
    more = [group(n, response(f"plain {n}", length=n), response("b", Outcome.RIGHT, 2 * n)) for n in range(3, 43)]
    make_run(folder / "a", metrics=metrics, rollouts={1: EVERY_KIND, 5: more}, evaluations={0: 0.2, 5: 0.4},
             evaluated={5: [group(90, response("greedy \\boxed{41}", extracted="41"))]})  # fmt: skip
    make_run(folder / "b", metrics=metrics, rollouts={1: EVERY_KIND}, recipe={"objective.name": "grpo"})
    text = render(grouped([load_run(path) for path in find_runs([folder])]))
    (folder / "report.html").write_text(text, encoding="utf-8")
    return folder / "report.html"


def choose(tab: Browser, control: str, value: str) -> None:
    place = f"document.getElementById('{control}')"
    tab.js(f"{place}.value = '{value}', {place}.dispatchEvent(new Event('input')), 0")


def shown(tab: Browser) -> int:
    return tab.js(f"{LIST}.length")


def test_classes_filter_and_a_click_opens_a_response(tab: Browser) -> None:
    assert tab.js("document.getElementById('found').textContent") == "96 of 96 responses"
    tab.click("#f-class button[value='truncated']")
    assert shown(tab) == 2
    assert tab.js(TEXT) == "and on and on"
    tab.click("#f-class button[value='ungraded']")
    assert shown(tab) == 4
    tab.click("#list li:nth-child(2) button")
    assert tab.js(TEXT) == "no box"
    assert tab.js("document.querySelector('#open h3').textContent") == "? ungraded dr_grpo, step 1, sample 4 of 4"
    assert "4 responses to this question, 2 with a right answer" in tab.js(
        "document.querySelector('.group').textContent"
    )
    tab.click("#open .group li:nth-child(3) button")
    assert tab.js(TEXT) == "שלום \\boxed{42}"
    assert tab.js("document.querySelector('#text mark.answer').textContent") == "42"


def test_runs_steps_and_reflection_filter_too(tab: Browser) -> None:
    tab.click("#f-reflect")
    assert shown(tab) == 4
    choose(tab, "f-run", "1")
    assert shown(tab) == 2
    assert tab.js(TEXT) == "it is \\boxed{41}. Let me Double-Check: \\boxed{40}"
    assert tab.js("document.querySelector('#text mark.word').textContent") == "Double-Check"
    assert tab.js("document.querySelector('#text mark.answer').textContent") == "40"
    choose(tab, "f-step", "5")
    assert tab.js("document.getElementById('open').textContent") == "No response fits these filters."


def test_responses_of_evaluations_are_apart(tab: Browser) -> None:
    choose(tab, "f-set", "1")
    assert shown(tab) == 1
    assert tab.js("document.getElementById('found').textContent") == "1 of 1 response"
    assert tab.js("document.querySelector('#open h3').textContent") == (
        "✗ incorrect dr_grpo, sums-test after step 5, sample 1 of 1"
    )
    assert "1 response to this question" in tab.js("document.querySelector('.group').textContent")
    choose(tab, "f-set", "")
    assert tab.js("document.getElementById('found').textContent") == "97 of 97 responses"


def test_search_and_order(tab: Browser) -> None:
    tab.key("/")
    assert tab.js("document.activeElement.id") == "f-text"
    tab.type("PLAIN 4")
    tab.until(f"{LIST}.length === 4")  # plain 4, 40, 41 and 42
    assert tab.js("document.querySelector('#text mark.hit').textContent") == "plain 4"
    choose(tab, "f-sort", "length-down")
    assert tab.js(f"[...{LIST}].map((b) => b.querySelector('.excerpt').textContent)") == [
        "plain 42", "plain 41", "plain 40", "plain 4",
    ]  # fmt: skip


def test_long_lists_come_in_pieces(tab: Browser) -> None:
    assert shown(tab) == 60
    tab.click("#more")
    assert shown(tab) == 96
    assert tab.js("document.getElementById('more').hidden")


def test_keys_walk_through_the_list(tab: Browser) -> None:
    tab.click("#list li:nth-child(1) button")
    tab.key("ArrowDown")
    assert tab.js("document.activeElement.dataset.index") == "1"
    assert tab.js("document.querySelector('#list [aria-current]').dataset.index") == "1"
    tab.key("ArrowUp")
    assert tab.js(TEXT) == "so \\boxed{42}"


def test_hostile_responses_do_nothing_and_show_everything(tab: Browser) -> None:
    tab.key("/")
    tab.type("window.hacked")
    tab.until(f"{LIST}.length === 2")
    assert tab.js("window.hacked") is None
    assert tab.js("document.querySelectorAll('img, #text script').length") == 0
    names = tab.js("[...document.querySelectorAll('#text .ctl')].map((e) => e.textContent)")
    assert names == ["U+202E", "U+202C", "U+0007", "U+001B", "U+2028"]
    text = tab.js("(() => { const e = document.getElementById('text').cloneNode(true);"
                  " e.querySelectorAll('.ctl').forEach((c) => c.remove()); return e.textContent; })()")  # fmt: skip
    assert text == "".join(c for c in HOSTILE if c not in "\u202e\u202c\x07\x1b\u2028")
    assert tab.js("document.querySelector('#text mark.answer').textContent") == "42"  # behind an emoji of two units


def test_the_theme_follows_the_system_until_it_is_switched(tab: Browser, page: Path) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = tab.js(background)
    tab.system_theme("dark")
    dark = tab.js(background)
    assert light != dark
    tab.click("#theme")
    assert (tab.js(background), tab.js("document.getElementById('theme-name').textContent")) == (light, "light")
    tab.system_theme("light")
    tab.click("#theme")
    assert (tab.js(background), tab.js("document.getElementById('theme-name').textContent")) == (dark, "dark")
    tab.open(page)
    assert tab.js(background) == dark  # remembered
    tab.click("#theme")
    assert tab.js(background) == light


def test_a_chart_tells_its_values(tab: Browser) -> None:
    tab.js("document.querySelector('[data-chart=rollout-reward] .plot').focus()")
    tab.key("ArrowRight")
    tab.key("ArrowRight")
    tip = "document.querySelector('[data-chart=rollout-reward] .tip')"
    assert tab.js(f"[...{tip}.children].map((e) => e.textContent)") == ["step 2", "dr_grpo: 20.0 %", "grpo: 20.0 %"]
    tab.key("Escape")
    assert tab.js(tip) is None


def test_contrast_is_enough_in_both_themes(tab: Browser) -> None:
    """4.5 to 1 (WCAG AA) for all colours of text, on the page and on panels."""
    program = """(() => {
      const probe = document.createElement('i'); document.body.append(probe);
      const light = (name) => {
        probe.style.color = `var(${name})`;
        const [r, g, b] = getComputedStyle(probe).color.match(/[\\d.]+/g).map(Number)
          .map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const ratio = (a, b) => {
        const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
        return (x + 0.05) / (y + 0.05); };
      const worst = Math.min(...['--ink', '--soft', '--link', '--correct', '--incorrect', '--truncated', '--ungraded']
        .flatMap((name) => ['--bg', '--panel', '--sunk'].map((under) => ratio(name, under))));
      probe.remove();
      return worst; })()"""
    for theme in ("light", "dark"):
        tab.system_theme(theme)
        assert tab.js(program) >= 4.5


def test_a_phone_shows_the_page_without_sideways_scrolling(tab: Browser) -> None:
    tab.size(360, 740)
    assert tab.js("document.documentElement.scrollWidth") == 360
    tab.click("#list li:nth-child(2) button")
    assert "Double-Check" in tab.js(TEXT)
    assert tab.js("document.documentElement.scrollWidth") == 360


def test_it_prints_with_its_settings(tab: Browser) -> None:
    assert tab.pdf().startswith(b"%PDF")
    assert not tab.js("document.querySelector('details.recipe').open")  # opened for the printer only


def test_every_control_has_a_name(tab: Browser) -> None:
    nameless = tab.js("""[...document.querySelectorAll('button, select, input, [role=region]')].filter((e) => !(
      e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).map((e) => e.outerHTML)""")
    assert nameless == []
    assert tab.js("document.documentElement.lang") == "en"
    assert tab.js("document.querySelectorAll('h1').length") == 1
