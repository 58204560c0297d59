"""Question sets from files, folders and names; `test_questions_hub.py` and `test_questions_real.py` go on."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1zero.errors import SettingName, UserError
from r1zero.questions import BENCHMARKS, CATALOGUE, DATA_VARIABLE, load_questions, questions_from, renamed
from r1zero.questions.rows import Columns, format_number, gold_answers
from r1zero.questions.stratify import equal_levels
from r1zero.types import Question


@pytest.fixture(autouse=True)
def _no_data_variable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(DATA_VARIABLE, raising=False)


def jsonl(path: Path, rows: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# --- gold answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "golds"),
    [
        ("12", ("12",)),
        ("  \\frac{1}{2}\n", ("\\frac{1}{2}",)),
        ("025", ("025",)),
        ("142.0", ("142.0",)),
        (142.0, ("142",)),
        (0.5, ("0.5",)),
        (-3, ("-3",)),
        (1e20, ("100000000000000000000",)),
        (1e-7, ("0.0000001",)),
        (6.022e23, ("602200000000000000000000",)),
        (Decimal("12.50"), ("12.5",)),
        (Decimal("1E+3"), ("1000",)),
        (["9.6\n"], ("9.6",)),
        (["a", 2, "a ", None, ""], ("a", "2")),
        (None, ()),
        ("", ()),
        (" \n", ()),
        ([], ()),
        (float("nan"), ()),
    ],
)
def test_gold_answers(cell: object, golds: tuple[str, ...]):
    assert gold_answers(cell) == golds


@pytest.mark.parametrize("cell", [True, {"value": 3}, [False], [["1"]], float("inf")])
def test_cells_that_are_no_answers(cell: object):
    with pytest.raises(UserError, match="a gold answer is a string, a number or a list of these"):
        gold_answers(cell)


def test_marker_and_floats():
    marked = Columns(marker="####")
    assert gold_answers("He pays 3 + 4 = <<3+4=7>>7.\n#### 1,007 ", columns=marked) == ("1,007",)
    assert gold_answers("7", columns=marked) == ("7",)
    assert gold_answers("no idea ####", columns=marked) == ()
    floats = Columns(answers_are_floats=True)
    assert gold_answers(["142.0", "-2.0", "2.50", "x.0"], columns=floats) == ("142", "-2", "2.50", "x.0")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_formatted_numbers_are_exact_and_plain(value: float):
    text = format_number(value)
    assert float(text) == value
    assert "e" not in text.lower()


# --- files --------------------------------------------------------------------------------------------------------

MIXED = [
    {"problem": "one?", "answer": "1", "level": 3, "extra": {"deep": [1]}},
    {"problem": "two?", "answer": 2.0, "level": "Level 4"},
    {"problem": " three?\n", "answer": ["3", "three"]},
]


def test_jsonl_with_mixed_answer_types(tmp_path: Path):
    path = jsonl(tmp_path / "mine.jsonl", MIXED)
    path.write_text(path.read_text() + "\n   \n")
    found = load_questions(str(path))
    assert found.name == "mine"
    assert list(found) == [
        Question("mine/0", "one?", ("1",), "3"),
        Question("mine/1", "two?", ("2",), "Level 4"),
        Question("mine/2", " three?\n", ("3", "three"), None),
    ]
    assert (len(found), found[2].id, found.dropped, found.notes) == (3, "mine/2", {}, ())
    assert found.source == str(path)


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64(), pa.list_(pa.float32())])
def test_numbers_of_a_column_are_the_shortest_that_read_back(tmp_path: Path, kind: pa.DataType):
    listed = pa.types.is_list(kind)
    answers = pa.array([[0.1], [2.5, 2.5], [7.0]] if listed else [0.1, 2.5, 7.0], kind)
    pyarrow.parquet.write_table(pa.table({"question": ["a", "b", "c"], "answer": answers}), tmp_path / "set.parquet")
    datasets.Dataset(pa.table({"question": ["a", "b", "c"], "answer": answers})).save_to_disk(tmp_path / "saved")
    for name in ("set.parquet", "saved"):
        assert [q.gold for q in load_questions(str(tmp_path / name))] == [("0.1",), ("2.5",), ("7",)]


def test_parquet(tmp_path: Path):
    table = pa.table({"prompt": ["a?", "b?"], "target": [[1.5], [2.0, 3.0]], "solution": ["long", "longer"]})
    pyarrow.parquet.write_table(table, tmp_path / "set.parquet")
    assert list(load_questions(str(tmp_path / "set.parquet"))) == [
        Question("set/0", "a?", ("1.5",)),
        Question("set/1", "b?", ("2", "3")),
    ]


def test_saved_dataset_and_dictionary(tmp_path: Path):
    from datasets import Dataset, DatasetDict

    train = Dataset.from_list([{"question": "1+1?", "answer": "2", "difficulty": 2.0}] * 3)
    test = Dataset.from_list([{"question": "2+2?", "answer": "4", "difficulty": 4.625}])
    train.save_to_disk(str(tmp_path / "one"))
    DatasetDict(train=train, test=test).save_to_disk(str(tmp_path / "both"))
    DatasetDict(train=train).save_to_disk(str(tmp_path / "single"))

    assert list(load_questions(str(tmp_path / "one")))[2] == Question("one/2", "1+1?", ("2",), "2")
    assert len(load_questions(str(tmp_path / "single"))) == 3
    found = load_questions("both", data_dir=tmp_path, split="test")
    assert list(found) == [Question("both:test/0", "2+2?", ("4",), "4.625")]
    with pytest.raises(UserError, match=r"both holds the splits train, test: name one with questions\.split"):
        load_questions(str(tmp_path / "both"))
    with pytest.raises(UserError, match=r"questions\.split is 'dev', but .*both holds only train, test"):
        load_questions(str(tmp_path / "both"), split="dev")
    with pytest.raises(UserError, match=r"questions\.split is 'test', but .*one holds only one set without splits"):
        load_questions(str(tmp_path / "one"), split="test")


def test_the_papers_own_folder_layout(tmp_path: Path):
    from datasets import Dataset, DatasetDict

    amc = Dataset.from_dict({"problem": ["p?"] * 83, "answer": [142.0] * 83})
    minerva = Dataset.from_dict({"problem": ["m?"] * 272, "answer": [["1\n", "one"]] * 272})
    DatasetDict(amc=amc, minerva=minerva).save_to_disk(str(tmp_path / "evaluation_suite"))
    asdiv = Dataset.from_dict({"problem": ["d?"] * 1788, "answer": ["65"] * 1788})
    DatasetDict(train=asdiv).save_to_disk(str(tmp_path / "train" / "asdiv_2k"))

    found = load_questions("amc", data_dir=tmp_path)
    assert (len(found), found[82], found.notes) == (83, Question("amc/82", "p?", ("142",)), ())
    assert load_questions("minerva", data_dir=tmp_path)[0].gold == ("1", "one")
    assert len(load_questions("asdiv", data_dir=tmp_path)) == 1788
    assert len(load_questions("evaluation_suite", data_dir=tmp_path, split="amc")) == 83


def test_gsm8k_in_the_form_of_the_hub(tmp_path: Path):
    rows = [
        {"question": "How many?", "answer": "3*4=<<3*4=12>>12 a day.\nIn 100 days 1,200.\n#### 1,200"},
        {"question": "And?", "answer": "None left.\n#### 0"},
    ]
    jsonl(tmp_path / "gsm8k_train.jsonl", rows)
    found = load_questions("gsm8k", data_dir=tmp_path)
    assert [question.gold for question in found] == [("1,200",), ("0",)]
    assert found.notes == (f"{tmp_path}/gsm8k_train.jsonl holds 2 rows, but gsm8k is known to have 7,473",)
    # a file of unknown origin keeps its answers whole
    assert load_questions(str(tmp_path / "gsm8k_train.jsonl"))[1].gold == ("None left.\n#### 0",)


# --- columns ------------------------------------------------------------------------------------------------------


def test_stated_columns_override_the_search(tmp_path: Path):
    path = jsonl(tmp_path / "q.jsonl", [{"question": "no", "text": "yes?", "answer": "no", "final": "yes"}])
    found = load_questions(str(path), question_column="text", answer_column="final")
    assert found[0] == Question("q/0", "yes?", ("yes",))
    assert load_questions(str(path))[0] == Question("q/0", "no", ("no",))


def test_missing_columns_name_those_that_exist(tmp_path: Path):
    path = jsonl(tmp_path / "q.jsonl", [{"text": "a?", "solution": "1"}, {"text": "b?", "final": "2"}])
    with pytest.raises(
        UserError,
        match=r"q\.jsonl has no question column \(looked for question, problem, prompt, input, messages, query\): "
        r"set questions\.question_column to one of its columns: text, solution, final",
    ):
        load_questions(str(path))
    with pytest.raises(UserError, match=r"has no answer column .*set questions\.answer_column to one of its columns"):
        load_questions(str(path), question_column="text")
    with pytest.raises(UserError, match=r"has no column 'gold': set questions\.answer_column to one of its columns"):
        load_questions(str(path), question_column="text", answer_column="gold")
    # a worked solution is taken only when asked for
    found = load_questions(str(path), question_column="text", answer_column="solution")
    assert (found[0].gold, found.dropped) == (("1",), {"no answer": 1})


def test_rows_without_answer_or_question_are_counted_and_ids_keep(tmp_path: Path):
    rows = [
        {"question": "a?", "answer": None},
        {"question": "b?", "answer": "1"},
        {"question": "c?"},
        {"question": " ", "answer": "1"},
        {"answer": "1"},
        {"question": "d?", "answer": [" ", None]},
    ]
    found = load_questions(str(jsonl(tmp_path / "q.jsonl", rows)))
    assert list(found) == [Question("q/1", "b?", ("1",))]
    assert found.dropped == {"no answer": 3, "no question": 2}


def test_no_usable_row_at_all(tmp_path: Path):
    path = jsonl(tmp_path / "q.jsonl", [{"question": "a?", "answer": ""}, {"question": "b?", "answer": None}])
    with pytest.raises(UserError, match=r"none of the 2 rows of .*q\.jsonl has both .*questions\.answer_column"):
        load_questions(str(path))
    with pytest.raises(UserError, match=r"empty\.jsonl holds no rows"):
        load_questions(str(jsonl(tmp_path / "empty.jsonl", [])))


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"question": "a?", "answer": True}, r"q\.jsonl, row 1, column 'answer' holds True, but a gold answer"),
        ({"question": [{"role": "user"}], "answer": "1"}, r"row 1, column 'question' holds a list, but a question"),
    ],
)
def test_unreadable_cells_are_located(tmp_path: Path, row: dict, sentence: str):
    path = jsonl(tmp_path / "q.jsonl", [{"question": "x?", "answer": "1"}, row])
    with pytest.raises(UserError, match=sentence):
        load_questions(str(path))


# --- damaged and unknown ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (
            "a.jsonl",
            b'{"question": "x", "answer": "1"}\n\n{"question": \n',
            r"a\.jsonl, line 3, is not JSON \(.* column",
        ),
        ("a.jsonl", b"[1, 2]\n", r"a\.jsonl, line 1, is a list, not an object: write one object a line"),
        ("a.jsonl", b'{"question": "\xe9", "answer": "1"}\n', r"a\.jsonl is not UTF-8"),
        ("a.parquet", b"not parquet", r"a\.parquet is not a readable Parquet file"),
        ("a.txt", b"question,answer\n", r"a\.txt is of no kind that is read \(\.jsonl, \.parquet, .*\): convert it"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, content: bytes, sentence: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=sentence) as caught:
        load_questions(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_damaged_and_foreign_folders(tmp_path: Path):
    with pytest.raises(UserError, match=r"is a folder that datasets\.save_to_disk did not write"):
        load_questions(str(tmp_path))
    for mark in ("dataset_info.json", "state.json"):
        (tmp_path / mark).write_text("{")
    with pytest.raises(UserError, match="is not a readable saved data set"):
        load_questions(str(tmp_path))


def test_a_file_has_no_splits(tmp_path: Path):
    path = jsonl(tmp_path / "q.jsonl", MIXED)
    with pytest.raises(UserError, match=r"questions\.split is 'test', but the file .*q\.jsonl has no splits: remove"):
        load_questions(str(path), split="test")


def test_unknown_names(tmp_path: Path):
    with pytest.raises(UserError, match=r"'gsm8', which is neither .*searched: .*did you mean gsm8k .*orz-57k"):
        load_questions("gsm8", data_dir=tmp_path)
    with pytest.raises(UserError, match=r"'nowhere/q\.jsonl', which is neither a known set nor a path"):
        load_questions("nowhere/q.jsonl")


def test_data_folders_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UserError, match=r"--data-dir is .*gone, which is not a folder"):
        load_questions("amc", data_dir=tmp_path / "gone")
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(UserError, match=r"R1ZERO_DATA is .*gone, which is not a folder"):
        load_questions("amc")


def test_options_and_limits_are_checked(tmp_path: Path):
    path = str(jsonl(tmp_path / "q.jsonl", MIXED))
    with pytest.raises(UserError, match=r"questions\.options\.level is unknown: remove it"):
        load_questions(path, options={"level": 1})
    with pytest.raises(UserError, match=r"questions\.options\.levels is unknown: use one of level, style, count, seed"):
        load_questions("arithmetic", options={"levels": 1})
    with pytest.raises(UserError, match=r"questions\.options\.revision is 1: set it to a string"):
        load_questions("owner/name", options={"revision": 1})
    with pytest.raises(UserError, match=r"questions\.limit is 0"):
        load_questions(path, limit=0)
    with pytest.raises(UserError, match="do not apply to arithmetic"):
        load_questions("arithmetic", answer_column="answer")


@pytest.mark.parametrize("row", [{"question": "a\ud800"}, {"answer": ["1", "\udfff"]}, {"level": "\ud83d"}])
def test_half_a_character_is_named_by_its_question(tmp_path: Path, row: dict):
    rows = [{"question": "a\U0001f600", "answer": "1"}, {"question": "b", "answer": "2"} | row]
    path = jsonl(tmp_path / "q.jsonl", rows)
    with pytest.raises(UserError, match=r"question q/1 \(.*q\.jsonl, row 1\) holds half a character .*: mend the row"):
        load_questions(str(path))


def test_sets_that_are_named_elsewhere_are_named_so(tmp_path: Path):
    path = jsonl(tmp_path / "questions.name" / "questions.jsonl", [{"text": "a?", "answer": "1"}])
    for arguments in ({"split": "dev"}, {"options": {"level": 1}}, {}, {"limit": 0}):
        with pytest.raises(UserError) as caught:
            load_questions(str(path), **arguments)
        said = str(renamed(caught.value, lambda key: f"<{key}>"))
        assert said.replace(str(path), "").count("questions.") == 0
        assert str(path) in said or "limit" in arguments or "options" in arguments
    column, level = SettingName("questions.question_column"), SettingName("questions.options.level")
    assert str(renamed(UserError("set ", column, " and"), str.upper)) == "set QUESTION_COLUMN and"
    assert str(renamed(UserError(level, " is"), str.upper)) == "OPTIONS.LEVEL is"
    for path in ("my-questions.name", "questions.names", "a/questions.name"):
        assert str(renamed(UserError(path), str.upper)) == path


# --- names: order, environment -------------------------------------------------------------------------------


def test_data_dir_comes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for folder in ("first", "second"):
        jsonl(tmp_path / folder / "aime24.jsonl", [{"problem": folder, "answer": "1"}])
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "second"))
    assert load_questions("aime24")[0].text == "second"
    assert load_questions("aime24", data_dir=tmp_path / "first")[0].text == "first"
    assert load_questions("aime24.jsonl")[0] == Question("aime24/0", "second", ("1",))


def test_a_stray_folder_never_shadows_a_catalogue_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    jsonl(tmp_path / "data" / "amc.jsonl", [{"problem": "right", "answer": "1"}])
    (tmp_path / "amc").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_questions("amc", data_dir=tmp_path / "data")[0].text == "right"
    with pytest.raises(UserError, match="save_to_disk did not write"):
        load_questions("./amc")


def test_a_set_without_a_hub_id_says_where_to_put_it(tmp_path: Path):
    with pytest.raises(UserError, match=r"'gsm8k-paper' has no known place on the Hub: pass --data-dir or set R1ZERO_"):
        load_questions("gsm8k-paper", data_dir=tmp_path)


# --- sets ---------------------------------------------------------------------------------------------------------


def test_limit_and_fingerprint(tmp_path: Path):
    path = jsonl(tmp_path / "q.jsonl", MIXED)
    whole, cut = load_questions(str(path)), load_questions(str(path), limit=2)
    assert list(cut) == list(whole)[:2]
    assert whole.fingerprint == load_questions(str(path)).fingerprint != cut.fingerprint
    for change in ({"problem": "One?"}, {"answer": "1.0"}):
        other = jsonl(tmp_path / "other" / "q.jsonl", [MIXED[0] | change, *MIXED[1:]])
        assert load_questions(str(other)).fingerprint != whole.fingerprint
    assert load_questions(str(path), limit=99).fingerprint == whole.fingerprint


def test_arithmetic_through_the_same_door():
    found = load_questions("arithmetic", split="test", limit=3, options={"level": [1, 2], "style": "bare", "seed": 4})
    assert (found.name, len(found), found.dropped) == ("arithmetic-test", 3, {})
    assert [question.id for question in found] == [f"arithmetic-test/{i}" for i in range(3)]
    assert all(question.level in ("1", "2") for question in found)
    assert len(load_questions("arithmetic")) == 1_000_000
    assert load_questions("arithmetic").fingerprint != load_questions("arithmetic", limit=5).fingerprint


def test_the_catalogue_is_consistent():
    assert BENCHMARKS == ("aime24", "amc", "math500", "minerva", "olympiad")
    assert set(BENCHMARKS) < set(CATALOGUE)
    stems = [stem for entry in CATALOGUE.values() for stem in entry.files]
    assert len(stems) == len(set(stems))
    folders = {f"evaluation_suite/{name}" for name in ("aime", "amc", "math", "minerva", "olympiad_bench")}
    folders |= {f"train/{name}" for name in ("asdiv_2k", "gsm_8k", "math_12k", "math_lvl3to5_8k", "orz_57k")}
    assert folders <= set(stems)


@pytest.mark.parametrize("line", ['{"question": "q", "answer": ' + "9" * 5000 + "}", "[" * 100_000])
def test_a_line_that_python_refuses_is_one_sentence(tmp_path: Path, line: str):
    path = tmp_path / "odd.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(UserError, match="line 1, cannot be read"):
        load_questions(str(path))


# --- what else tells one set from another -------------------------------------------------------------------------


def test_a_fingerprint_knows_ids():
    rows = [{"question": "a?", "answer": 1}]
    assert questions_from(rows, name="a").fingerprint != questions_from(rows, name="b").fingerprint


def test_a_part_of_a_set_is_filtered_limited_and_called_as_it_is_asked(tmp_path: Path):
    """And notes of the set's own size go with it: 20 rows are not 12,000."""
    rows = [{"problem": f"{i}?", "answer": i, "level": i % 5} for i in range(20)]
    jsonl(tmp_path / "math_12k.jsonl", rows)
    part = load_questions("math-train-500", data_dir=tmp_path, limit=5, where="level > 1", called="mine")
    assert (part.name, len(part), part.dropped) == ("mine", 5, {"not where level > 1": 8})
    assert {each.level for each in part} == {"2", "3", "4"}
    assert all(each.id.startswith("math-12k/") for each in part)
    assert load_questions("math-train-500", data_dir=tmp_path).name == "math-train-500"
    assert any("but math-12k is known to have 12,000" in note for note in part.notes)


@pytest.mark.parametrize(("rows", "notes"), [(28, 1), (29, 0), (31, 0), (32, 1)])
def test_a_size_that_is_off_by_more_than_a_twentieth_is_said(tmp_path: Path, rows: int, notes: int):
    """30 ± 1.5 questions of AIME 2024."""
    jsonl(tmp_path / "aime24.jsonl", [{"problem": "a?", "answer": "1"}] * rows)
    found = load_questions("aime24", data_dir=tmp_path).notes
    assert len(found) == notes
    assert all(f"holds {rows} rows, but aime24 is known to have 30" in note for note in found)


def test_a_stated_split_has_no_known_size(tmp_path: Path):
    table = datasets.Dataset.from_list([{"problem": "a?", "answer": "1"}] * 3)
    datasets.DatasetDict(aime=table, dev=table).save_to_disk(tmp_path / "aime24")
    assert load_questions("aime24", data_dir=tmp_path, split="dev").notes == ()
    (note,) = load_questions("aime24", data_dir=tmp_path).notes
    assert "(split aime) holds 3 rows" in note


def test_a_path_from_here_comes_before_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for folder in ("here", "data"):
        jsonl(tmp_path / folder / "q.jsonl", [{"problem": folder, "answer": "1"}])
    monkeypatch.chdir(tmp_path / "here")
    assert load_questions("q.jsonl", data_dir=tmp_path / "data")[0].text == "here"


def test_of_a_catalogue_set_the_first_stem_and_kind_of_file_counts(tmp_path: Path):
    """orz-57k: orz_57k, then train/orz_57k, then orz_57k_head; of each `.jsonl`, then `.parquet`."""
    table = pa.table({"problem": ["parquet"], "answer": ["1"]})
    (tmp_path / "train").mkdir()
    pyarrow.parquet.write_table(table, tmp_path / "train" / "orz_57k.parquet")
    jsonl(tmp_path / "orz_57k_head.jsonl", [{"problem": "head", "answer": "1"}])
    assert load_questions("orz-57k", data_dir=tmp_path)[0].text == "parquet"
    jsonl(tmp_path / "train" / "orz_57k.jsonl", [{"problem": "jsonl", "answer": "1"}])
    assert load_questions("orz-57k", data_dir=tmp_path)[0].text == "jsonl"


def test_what_does_not_apply_is_refused(tmp_path: Path):
    rows = [{"question": "a?", "answer": 1}]
    with pytest.raises(UserError, match=r"questions\.split is 'dev', but a list of rows has no splits"):
        questions_from(rows, split="dev")
    with pytest.raises(UserError, match=r"questions\.where does not apply to arithmetic"):
        load_questions("arithmetic", where="level > 2")
    with pytest.raises(UserError, match=r"questions\.options\.config is 'other', and the name says 'main'"):
        load_questions("owner/name:main", options={"config": "other"})
    assert len(load_questions("arithmetic", limit=9, options={"count": 5})) == 5


# --- cells of other programs --------------------------------------------------------------------------------------


def test_cells_of_numpy_are_plain_ones():
    row = {
        "question": "a?",
        "answer": np.float32(0.1),
        "n": np.arange(2),
        "deep": {"x": [np.float16(0.1), np.bool_(1)]},
    }
    (question,) = questions_from([row])
    assert question.gold == ("0.1",)
    assert question.extra == {"n": [0, 1], "deep": {"x": [0.1, True]}}
    assert json.dumps(question.extra)


def test_further_columns_are_as_json_has_them():
    row = {
        "question": "a?",
        "answer": 1,
        "when": datetime(2026, 1, 2, 3, 4, 5),
        "none": float("nan"),
        "d": Decimal("2.5"),
    }
    assert questions_from([row])[0].extra == {"when": "2026-01-02T03:04:05", "none": None, "d": 2.5}


def test_levels_are_taken_in_turn_the_first_first_and_what_has_none_last():
    rows = [{"question": f"{i}?", "answer": i, "level": level} for i, level in enumerate(["2", "1", None] * 3)]
    found = questions_from(rows)
    for count, levels in ((3, {"1": 2, "2": 1}), (6, {"1": 3, "2": 3}), (8, {"1": 3, "2": 3, None: 2})):
        chosen = equal_levels(found, count)
        assert Counter(question.level for question in chosen) == levels
        assert [q.id for q in chosen] == sorted(q.id for q in chosen)
