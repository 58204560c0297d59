from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1zero.errors import UserError
from r1zero.questions.arithmetic import LEVELS, SPLITS, STYLES, Problem, arithmetic, phrase, problem
from r1zero.types import Question

seeds = st.integers(0, 2**63)
indices = st.integers(0, 999_999)
levels = st.lists(st.sampled_from(LEVELS), min_size=1, max_size=5)


# --- problems -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "text", "answer", "steps"),
    [
        (Problem(1, (3, 8), ("+",)), "3+8", 11, ((3, "+", 8, 11),)),
        (Problem(3, (52, 7), ("-",)), "52-7", 45, ((52, "-", 7, 45),)),
        (Problem(4, (7, 48), ("*",)), "7*48", 336, ((7, "*", 48, 336),)),
        (Problem(4, (12, 30, 58), ("+", "+")), "12+30+58", 100, ((12, "+", 30, 42), (42, "+", 58, 100))),
        (Problem(5, (12, 5, 4), ("-", "*"), 0), "(12-5)*4", 28, ((12, "-", 5, 7), (7, "*", 4, 28))),
        (Problem(5, (4, 12, 5), ("*", "+"), 1), "4*(12+5)", 68, ((12, "+", 5, 17), (4, "*", 17, 68))),
        (Problem(5, (40, 12, 5), ("-", "-"), 1), "40-(12-5)", 33, ((12, "-", 5, 7), (40, "-", 7, 33))),
    ],
)
def test_literal_problems(made: Problem, text: str, answer: int, steps: tuple):
    assert made.text() == text
    assert made.answer == answer
    assert made.steps == steps


def test_canonical_forms():
    def canonical(terms: tuple[int, ...], ops: tuple[str, ...], group: int | None = None) -> str:
        return Problem(5, terms, ops, group).canonical

    assert canonical((3, 8), ("+",)) == canonical((8, 3), ("+",))
    assert canonical((7, 48), ("*",)) == canonical((48, 7), ("*",))
    assert canonical((8, 3), ("-",)) == "8-3"
    assert canonical((8, 3), ("-",)) != canonical((3, 8), ("-",))
    assert len({canonical(terms, ("+", "+")) for terms in [(1, 2, 3), (3, 1, 2), (2, 3, 1)]}) == 1
    same = [canonical((12, 5, 4), ("+", "*"), 0), canonical((5, 12, 4), ("+", "*"), 0)]
    assert {*same, canonical((4, 12, 5), ("*", "+"), 1), canonical((4, 5, 12), ("*", "+"), 1)} == {same[0]}
    assert canonical((40, 12, 5), ("-", "+"), 1) == canonical((40, 5, 12), ("-", "+"), 1)
    assert canonical((40, 12, 5), ("-", "-"), 1) != canonical((40, 5, 12), ("-", "-"), 1)
    # the level is no part of the content
    assert Problem(1, (3, 8), ("+",)).split == Problem(2, (8, 3), ("+",)).split


def test_expressions_that_need_precedence_do_not_exist():
    with pytest.raises(ValueError, match="precedence"):
        Problem(5, (1, 2, 3), ("+", "*"))
    with pytest.raises(ValueError, match="make no expression"):
        Problem(1, (1, 2, 3), ("+",))


@given(seed=seeds, index=indices, levels=levels, split=st.sampled_from(SPLITS))
def test_answers_are_right_whole_and_not_negative(seed: int, index: int, levels: list[int], split: str):
    made = problem(seed, index, levels, split)
    assert re.fullmatch(r"[\d+*()-]+", made.text())
    assert made.answer == eval(made.text())
    assert made.answer == eval(made.canonical)
    assert all(step[3] >= 0 for step in made.steps)
    assert made.level in levels


@given(seed=seeds, index=indices)
def test_levels_keep_their_bounds(seed: int, index: int):
    one, two, three, four, five = (problem(seed, index, (level,), "all") for level in LEVELS)
    assert one.ops == ("+",)
    assert all(1 <= term <= 9 for term in one.terms)
    assert two.ops in (("+",), ("-",))
    assert 1 <= min(two.terms) <= 9 < 10 <= max(two.terms) <= 99
    assert three.ops in (("+",), ("-",))
    assert all(10 <= term <= 99 for term in three.terms)
    if four.ops == ("*",):
        assert 2 <= min(four.terms) <= 9 < 10 <= max(four.terms) <= 99
    else:
        assert four.ops == ("+", "+")
        assert all(10 <= term <= 99 for term in four.terms)
    assert five.group in (0, 1)
    assert len(five.terms) == 3
    assert all(2 <= term <= 99 for term in five.terms)
    assert five.answer <= 40 * 9


# --- splits -------------------------------------------------------------------------------------------------------


@given(seed_a=seeds, seed_b=seeds, start=indices, levels=levels)
def test_no_training_stream_holds_a_test_expression(seed_a: int, seed_b: int, start: int, levels: list[int]):
    train = {problem(seed_a, start + i, levels, "train").canonical for i in range(20)}
    test = {problem(seed_b, start + i, levels, "test").canonical for i in range(20)}
    assert not train & test


def test_the_whole_of_level_one_by_hand():
    """All 45 unordered sums of 1..9, so both splits exist at the smallest level and drawing always ends."""
    sums = {Problem(1, (a, b), ("+",)) for a in range(1, 10) for b in range(a, 10)}
    assert {each.canonical for each in sums if each.split == "test"} == {"1+3", "1+4", "3+9"}


@pytest.mark.parametrize("level", LEVELS)
def test_both_splits_are_filled_and_all_is_their_union(level: int):
    both = [problem(0, i, (level,), "all") for i in range(3000)]
    share = sum(made.split == "test" for made in both) / len(both)
    assert 0.05 < share < 0.15
    assert all(problem(0, i, (level,), "test").split == "test" for i in range(100))
    assert all(problem(0, i, (level,), "train").split == "train" for i in range(100))


# --- questions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "symbols", "bare"),
    [
        (Problem(3, (37, 48), ("+",)), "What is 37 + 48?", "37+48="),
        (Problem(4, (7, 48), ("*",)), "What is 7 * 48?", "7*48="),
        (Problem(5, (12, 5, 4), ("-", "*"), 0), "What is (12 - 5) * 4?", "(12-5)*4="),
        (Problem(5, (4, 12, 5), ("*", "+"), 1), "What is 4 * (12 + 5)?", "4*(12+5)="),
    ],
)
def test_literal_wordings(made: Problem, symbols: str, bare: str):
    assert phrase(made, "symbols") == symbols
    assert phrase(made, "bare") == bare


def test_words_offer_plain_wordings_and_stories():
    made = Problem(3, (37, 48), ("+",))
    wordings = {phrase(made, "words", str(key)) for key in range(2000)}
    assert "What is 37 plus 48?" in wordings
    assert "Tom has 37 apples and buys 48 more. How many apples does Tom have?" in wordings
    assert len(wordings) > 50


@given(seed=seeds, index=indices, levels=levels)
def test_wordings_name_every_number_and_leave_no_placeholder(seed: int, index: int, levels: list[int]):
    made = problem(seed, index, levels)
    text = phrase(made, "words", f"{seed} {index}")
    assert sorted(re.findall(r"\d+", text)) == sorted(map(str, made.terms))
    assert text.endswith("?")
    assert "{" not in text


@given(seed=seeds, index=indices, levels=levels, style=st.sampled_from(STYLES), split=st.sampled_from(SPLITS))
def test_a_question_is_a_pure_function_of_seed_and_index(seed, index, levels, style, split):
    first = arithmetic(levels, style, split, seed=seed)
    again = arithmetic(levels, style, split, count=index + 1, seed=seed)
    assert first[index] == again[index] == again[-1]
    assert first[index].gold == (str(first.problem(index).answer),)
    assert first[index].level == str(first.problem(index).level)
    # the style words the problem and does not choose it
    assert first.problem(index) == arithmetic(levels, "bare", split, seed=seed).problem(index)


def test_these_questions_never_change():
    """Literal questions: another version of Python, another machine or a careless edit would show here."""
    made = arithmetic([1, 2, 3, 4, 5], "words", seed=0)
    assert made[5] == Question(
        "arithmetic/5", "Tom has 55 buttons and buys 47 more. How many buttons does Tom have?", ("102",), "3"
    )
    assert [q.text for q in arithmetic([1, 2, 3, 4, 5], "bare")[8:11]] == ["8+75=", "(8+16)*7=", "7+8="]
    assert arithmetic().fingerprint == "6fe6dbc8764e56ff"


def test_a_set_is_a_lazy_sequence():
    made = arithmetic(count=10)
    assert len(arithmetic()) == 1_000_000
    assert len(made) == 10
    assert made[2:5] == (made[2], made[3], made[4])
    assert made[-1] == made[9]
    assert len(list(made)) == 10
    assert len({question.id for question in made}) == 10
    for index in (10, -11):
        with pytest.raises(IndexError):
            made[index]
    names = {split: arithmetic(split=split).name for split in SPLITS}
    assert names == {"train": "arithmetic", "test": "arithmetic-test", "all": "arithmetic-all"}
    assert arithmetic(split="test")[3].id == "arithmetic-test/3"


def test_seeds_and_parameters_make_other_sets():
    texts = {tuple(q.text for q in arithmetic(3, seed=seed)[:20]) for seed in range(20)}
    assert len(texts) == 20
    sets = [arithmetic(), arithmetic(2), arithmetic(style="bare"), arithmetic(split="all"), arithmetic(count=5)]
    assert len({each.fingerprint for each in [*sets, arithmetic(seed=1)]}) == 6
    assert arithmetic([3]).fingerprint == arithmetic(3).fingerprint


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"level": 6}, r"questions\.options\.level is 6: set it to a level from 1 to 5"),
        ({"level": []}, r"questions\.options\.level is \[\]"),
        ({"level": [1, "2"]}, r"questions\.options\.level is \[1, '2'\]"),
        ({"level": True}, r"questions\.options\.level is True"),
        ({"style": "verse"}, r"questions\.options\.style is 'verse': set it to one of symbols, words, bare"),
        ({"split": "dev"}, r"questions\.split is 'dev': for arithmetic set it to one of train, test, all"),
        ({"count": 0}, r"questions\.options\.count is 0: set it to a whole number from 1 up"),
        ({"count": 1.5}, r"questions\.options\.count is 1\.5"),
        ({"seed": "x"}, r"questions\.options\.seed is 'x': set it to a whole number"),
        ({"seed": -1}, r"questions\.options\.seed is -1: set it to a whole number from 0 up"),
    ],
)
def test_bad_options_are_users_errors(options: dict, sentence: str):
    with pytest.raises(UserError, match=sentence):
        arithmetic(**options)
