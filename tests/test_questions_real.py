"""The real question sets, where a checkout has them beside it (`../shared/data`, or $R1ZERO_DATA)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from r1zero.questions import BENCHMARKS, CATALOGUE, DATA_VARIABLE, load_questions, stratified

DATA = Path(os.environ.get(DATA_VARIABLE) or Path(__file__).resolve().parents[2] / "shared" / "data")

pytestmark = pytest.mark.skipif(
    not (DATA / "math_12k.jsonl").is_file(), reason=f"no real question sets in {DATA} (set {DATA_VARIABLE})"
)


@pytest.mark.parametrize(
    ("name", "rows", "dropped"),
    [
        ("aime24", 30, 0),
        ("amc", 83, 0),
        ("math500", 500, 0),
        ("minerva", 272, 0),
        ("olympiad", 675, 0),
        ("math-12k", 12_000, 2),  # two rows have an empty answer
        ("math-lvl3to5", 8_523, 2),
        ("gsm8k", 7_473, 0),
        ("gsm8k-test", 1_319, 0),
        ("asdiv", 1_788, 0),
        ("orz-57k", 1_785, 0),  # the head of the set only
    ],
)
def test_row_counts_and_types(name: str, rows: int, dropped: int):
    found = load_questions(name, data_dir=DATA)
    assert len(found) + sum(found.dropped.values()) == rows
    assert found.dropped == ({"no answer": dropped} if dropped else {})
    assert len({question.id for question in found}) == len(found)
    assert all(type(gold) is str and gold == gold.strip() != "" for question in found for gold in question.gold)
    assert all(question.gold and question.text for question in found)
    assert bool(found.notes) == (name == "orz-57k")
    assert rows == CATALOGUE[name].rows or name == "orz-57k"


def test_500_questions_are_100_a_level():
    chosen, whole = (load_questions(name, data_dir=DATA) for name in ("math-train-500", "math-12k"))
    levels = [question.level for question in chosen]
    assert {level: levels.count(level) for level in set(levels)} == dict.fromkeys("12345", 100)
    assert chosen.questions == stratified(whole, 500).questions
    assert chosen.fingerprint != whole.fingerprint
    assert chosen.dropped == whole.dropped


def test_golds_are_as_the_sets_mean_them():
    assert load_questions("amc", data_dir=DATA)[0].gold == ("142",)
    assert not any("." in question.gold[0] for question in load_questions("amc", data_dir=DATA))
    minerva = load_questions("minerva", data_dir=DATA)
    assert minerva[0].gold == ("9.6",)
    # 75 rows hold several strings, of which 35 differ in a trailing line break only
    assert sum(len(question.gold) > 1 for question in minerva) == 40
    assert any(question.gold[0].startswith("0") for question in load_questions("aime24", data_dir=DATA))
    assert all(len(question.gold) == 1 for question in load_questions("olympiad", data_dir=DATA))
    assert load_questions("gsm8k", data_dir=DATA)[0].gold == ("72",)


def test_math500_has_the_papers_levels():
    levels = [question.level for question in load_questions("math500", data_dir=DATA)]
    assert [levels.count(str(level)) for level in range(1, 6)] == [43, 90, 105, 128, 134]


def test_no_benchmark_question_is_in_the_training_sets():
    benchmarks = {q.text for name in BENCHMARKS for q in load_questions(name, data_dir=DATA)}
    train = {q.text for q in load_questions("math-12k", data_dir=DATA)}
    assert not benchmarks & train
    # the two copies of MATH differ in white space
    levels_3_to_5 = {"".join(q.text.split()) for q in load_questions("math-lvl3to5", data_dir=DATA)}
    assert levels_3_to_5 <= {"".join(text.split()) for text in train}
    gsm8k = {q.text for q in load_questions("gsm8k", data_dir=DATA)}
    assert not gsm8k & {q.text for q in load_questions("gsm8k-test", data_dir=DATA)}
