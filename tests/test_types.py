"""What became of a response: one table, and its names in the page's script and style sheet."""

import json
import re
from importlib import resources

import pytest

from r1zero.evaluation.summary import RATES, rate_of
from r1zero.types import COARSE_FATES, Completion, Fate, Outcome, Stop, Verdict

TABLE = [  # outcome, its fate, among the coarse ones; the rate of an evaluation whole and cut off
    ("right", "correct", "correct", "right", "right"),
    ("wrong", "incorrect", "incorrect", "wrong", "truncated"),
    ("no_answer", "unformatted", "incorrect", "no_answer", "truncated"),
    ("ungraded", "ungraded", "ungraded", "ungraded", "truncated"),
    ("timeout", "ungraded", "ungraded", "timeout", "truncated"),
]


@pytest.mark.parametrize(("outcome", "fate", "coarse", "rate", "cut"), TABLE)
def test_the_fate_of_a_response(outcome: str, fate: str, coarse: str, rate: str, cut: str) -> None:
    assert Fate.of(outcome, False) is Fate.of(Outcome(outcome), False) is Fate(fate)
    assert Fate.of(outcome, False).coarse is Fate(coarse)
    assert Fate.of(outcome, True) is Fate.of(outcome, True).coarse is Fate.TRUNCATED
    verdict = Verdict(Outcome(outcome))
    assert rate_of(Completion((1,), (0.0,), "", Stop.EOS), verdict) == rate
    assert rate_of(Completion((1,), (0.0,), "", Stop.LENGTH), verdict) == cut


def test_an_outcome_of_another_version_is_ungraded() -> None:
    assert Fate.of("something new", False) is Fate.UNGRADED


def test_the_names_and_their_order_are_those_in_files() -> None:
    assert json.dumps(dict.fromkeys(Fate, 0)) == (
        '{"correct": 0, "incorrect": 0, "unformatted": 0, "truncated": 0, "ungraded": 0}'
    )
    assert json.dumps(COARSE_FATES) == '["correct", "incorrect", "truncated", "ungraded"]'
    assert json.dumps(RATES) == '["right", "wrong", "no_answer", "ungraded", "timeout", "truncated"]'


def test_the_page_has_a_sign_and_a_colour_for_each() -> None:
    assets = resources.files("r1zero.report") / "assets"
    script = (assets / "responses.js").read_text(encoding="utf-8")
    for table, names in (("SIGNS", COARSE_FATES), ("OUTCOMES", Outcome), ("STOPS", Stop)):
        [line] = re.findall(rf"const {table} = {{(.*)}};", script)
        assert re.findall(r"(\w+): \"", line) == list(names)
    style = (assets / "page.css").read_text(encoding="utf-8")
    assert [name for name in COARSE_FATES if f".{name} {{ --c: var(--{name}); }}" not in style] == []
