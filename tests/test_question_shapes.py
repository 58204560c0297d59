"""Question files in the shapes that other trainers leave them in: the right prompt, the right gold, nothing else."""

import importlib.util
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest

from r1zero.config import BenchmarkSettings, checked
from r1zero.errors import UserError
from r1zero.questions import QuestionSet, load_questions, questions_from, reasoning_gym
from r1zero.questions.where import parse_where
from r1zero.rollouts.prompts import PreparedSet, make_prompt, unshown_turns
from r1zero.rollouts.question_sets import load_set
from r1zero.templates import get_template
from r1zero.templates.table import chat
from r1zero.types import Completion, Outcome, Question, Rollout, Stop, Verdict

USER = {"role": "user", "content": "What is 3 + 5?"}
SYSTEM = {"role": "system", "content": "Be brief."}
VERL = {
    "data_source": "openai/gsm8k",
    "prompt": [USER],
    "ability": "math",
    "reward_model": {"style": "rule", "ground_truth": "8"},
    "extra_info": {"split": "train", "index": 0, "answer": "3 + 5 = 8\n#### 8", "question": "What is 3 + 5?"},
}
SHAPES: Mapping[str, dict[str, Any]] = {
    "verl": VERL,
    "SkyRL": {
        "data_source": "gsm8k",
        "prompt": [USER],
        "env_class": "gsm8k",
        "reward_spec": {"method": "rule", "ground_truth": "8"},
        "extra_info": {"split": "train", "index": 0},
    },
    "DAPO-17k": {**VERL, "data_source": "math_dapo", "extra_info": {"index": "9a9b6eb4"}},
    "TRL conversational": {"prompt": [USER], "ground_truth": "8"},
    "TRL": {"prompt": "What is 3 + 5?", "target": 8},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is 3 + 5?"}]}], "answer": 8.0},
}


class Chatty:
    """A tokenizer whose chat template is plain to read."""

    chat_template = "{{ messages }}"

    def apply_chat_template(self, conversation: list[dict[str, str]], **options: Any) -> str:
        return "".join(f"<{turn['role']}>{turn['content']}" for turn in conversation) + "<assistant>"


def jsonl(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def saved(folder: Path, kind: str, rows: list[dict[str, Any]]) -> str:
    """Rows as a file of a kind."""
    path = folder / f"set.{kind}"
    if kind == "jsonl":
        return jsonl(path, *rows)
    if kind == "json":
        path.write_text(json.dumps({"version": 1, "data": rows}))
        return str(path)
    table = pa.Table.from_pylist(rows)
    if kind == "parquet":
        pyarrow.parquet.write_table(table, path)
        return str(path)
    with pyarrow.ipc.new_stream(path, table.schema) as stream:
        stream.write_table(table)
    return str(path)


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "arrow"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_file_of_a_trainer_needs_nothing_but_its_name(tmp_path: Path, shape: str, kind: str) -> None:
    rows = [SHAPES[shape]] * 2
    found = load_questions(saved(tmp_path, kind, rows))
    assert [(q.id, q.text, q.gold, q.turns) for q in found] == [
        (f"set/{i}", "What is 3 + 5?", ("8",), ()) for i in range(2)
    ]
    assert (found.dropped, found.notes) == ({}, ())
    given = questions_from(rows, name="set")
    assert (given.fingerprint, given.dropped) == (found.fingerprint, {})
    assert [q.extra for q in given] == [q.extra for q in found]
    assert make_prompt(found[0], get_template("r1"), lambda t: tuple(map(ord, t)), "").text == get_template(
        "r1"
    ).render("What is 3 + 5?")


def test_further_columns_are_kept_and_fingerprints_do_not_know_them(tmp_path: Path) -> None:
    found = load_questions(jsonl(tmp_path / "v.jsonl", VERL))
    assert found[0].extra == {key: VERL[key] for key in ("data_source", "ability", "reward_model", "extra_info")}
    bare = load_questions(jsonl(tmp_path / "v.jsonl", {"prompt": "What is 3 + 5?", "answer": "8"}))
    assert bare.fingerprint == found.fingerprint
    assert bare[0].extra == {}


def test_bytes_are_left_out_and_said_once(tmp_path: Path) -> None:
    rows = [{"question": "a?", "answer": 1, "image": {"bytes": b"x", "path": "p"}, "n": i} for i in range(2)]
    for found in (questions_from(rows), load_questions(saved(tmp_path, "parquet", rows))):
        assert [q.extra for q in found] == [{"n": 0}, {"n": 1}]
        assert len(found.notes) == 1
        assert "the column image holds bytes" in found.notes[0]


@pytest.mark.parametrize("named", ["reward.truth", "a.b.c", "d.e"])
def test_dotted_columns(tmp_path: Path, named: str) -> None:
    row = {"text": {"q": "a?"}, "reward": {"truth": 5}, "a.b": {"c": 5}, "d.e": 5, "d": {"e": 6}, "answer": "no"}
    path = jsonl(tmp_path / "q.jsonl", row, {"text": {"q": "b?"}})
    found = load_questions(path, question_column="text.q", answer_column=named)
    assert [(q.text, q.gold) for q in found] == [("a?", ("5",))]
    assert found.dropped == {"no answer": 1}
    with pytest.raises(UserError, match=r"no column 'reward\.x': .*: text, text\.q, reward, reward\.truth, a\.b"):
        load_questions(path, question_column="text.q", answer_column="reward.x")


# ---- conversations


def conversation(*turns: dict[str, Any]) -> Question:
    return questions_from([{"messages": list(turns), "answer": "8"}])[0]


def test_a_systems_turn_is_shown_by_chat_and_said_elsewhere() -> None:
    question = conversation(SYSTEM, USER)
    assert (question.text, question.has_history) == ("What is 3 + 5?", False)
    assert chat(Chatty()).ask(question) == "<system>Be brief.<user>What is 3 + 5?<assistant>"
    assert (
        chat(Chatty(), instruction="Think.").ask(question) == "<system>Be brief.<user>What is 3 + 5?\nThink.<assistant>"
    )
    plain, asked = get_template("no"), QuestionSet("set", (question,), {}, "")
    assert plain.ask(question) == "What is 3 + 5?"
    assert unshown_turns(asked, chat(Chatty())) == []
    assert PreparedSet(asked, plain, lambda text: tuple(map(ord, text))).notes(8) == (
        "set: 1 question with a system's turn, which template.name = 'no' leaves out (template.name = \"chat\" "
        "shows it)",
    )


def test_several_turns_are_kept_by_chat_and_refused_elsewhere() -> None:
    first, answer = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
    question = conversation(first, answer, USER)
    assert question.text == "What is 3 + 5?"
    assert chat(Chatty()).ask(question) == "<user>Hi<assistant>Hello<user>What is 3 + 5?<assistant>"
    with pytest.raises(
        UserError, match=r'Question questions/0: .*conversation of 3 turns.*set template\.name = "chat"'
    ):
        make_prompt(question, get_template("r1"), lambda text: (1,), "")
    assert question.asked != conversation(USER).asked
    one, other = (questions_from([{"messages": [*turns, USER], "answer": "8"}]) for turns in ([SYSTEM], []))
    assert one.fingerprint != other.fingerprint


def test_an_assistants_turn_at_the_end_answers_and_is_taken_off() -> None:
    rows = [
        {"messages": [USER, {"role": "assistant", "content": "8"}], "answer": "8"},
        {"messages": [USER], "answer": 8},
    ]
    found = questions_from(rows)
    assert [q.turns for q in found] == [(), ()]
    assert found.notes == (
        "questions: an assistant's turn at the end was taken off the question, which it answers (1 row)",
    )
    nobody = questions_from([*rows, {"messages": [SYSTEM], "answer": "8"}, {"messages": [], "answer": "8"}])
    assert nobody.dropped == {"no question": 2}


def test_parts_of_a_turn_are_one_text_and_all_answers_at_the_end_are_taken_off() -> None:
    parts = [{"type": "text", "text": "What is "}, "3 + 5?"]
    answers = [{"role": "assistant", "content": each} for each in ("7", "8")]
    question = conversation({"role": "user", "content": parts}, *answers)
    assert (question.text, question.turns) == ("What is 3 + 5?", ())


@pytest.mark.parametrize(
    ("turn", "why"),
    [
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": "x"}]},
            "holds a part of the kind 'image_url'",
        ),
        ({"role": "user", "content": [{"type": "thinking", "text": "x"}]}, "holds a part of the kind 'thinking'"),
        ({"role": "user", "content": None}, "has no content"),
        ({"role": "robot", "content": "x"}, "has the role 'robot', and"),
        ({"role": "assistant", "content": "x", "tool_calls": [1]}, "holds tool_calls"),
        ({"role": "assistant", "content": "x", "function_call": {"name": "f"}}, "holds function_call"),
        ({"content": "x"}, "has no role"),
        ("x", "is a str"),
    ],
)
def test_what_is_no_text_cannot_be_asked(turn: object, why: str) -> None:
    with pytest.raises(
        UserError, match=rf"row 0, column 'messages' holds a list, .*turn 1 {why}.*questions\.question_column"
    ):
        questions_from([{"messages": [USER, turn], "answer": "8"}])


# ---- kinds of files


def test_csv_and_tsv(tmp_path: Path) -> None:
    cells = [["question", "answer", "level"], ["one, two?", "142.0", "3"], ["12.0", "6.022e+23", "x"], ["c", "007", ""]]
    (tmp_path / "a.tsv").write_text("".join("\t".join(row) + "\n" for row in cells))
    (tmp_path / "a.csv").write_text("".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in cells), "utf-8-sig")
    for name in ("a.tsv", "a.csv"):
        found = load_questions(str(tmp_path / name))
        golds = [("one, two?", "142"), ("12.0", "602200000000000000000000"), ("c", "007")]
        assert [(q.text, *q.gold) for q in found] == golds
        assert [q.extra["level"] for q in found] == [3, "x", ""]
        some = load_questions(str(tmp_path / name), where="level >= 3")
        assert ([q.id for q in some], sum(some.dropped.values())) == (["a/0"], 2)


def test_a_csv_file_in_all_its_forms(tmp_path: Path) -> None:
    """Line ends inside a cell stay as they are, long cells are whole, rows may be short, blank lines are no rows."""
    long = "x" * 200_000
    rows = f'question,answer,level,most,who\r\n"a\r\nb",nan,3.0,10,\r\n\r\n"{long}",7,9,10\r\nc,inf,10,9\r\n'
    (tmp_path / "q.csv").write_bytes(rows.encode())
    found = load_questions(str(tmp_path / "q.csv"))
    assert [(q.id, q.text, *q.gold, q.level) for q in found] == [
        ("q/0", "a\r\nb", "nan", "3"), ("q/1", long, "7", "9"), ("q/2", "c", "inf", "10"),
    ]  # fmt: skip
    assert [q.extra for q in found] == [
        {"level": 3.0, "most": 10, "who": ""}, {"level": 9, "most": 10}, {"level": 10, "most": 9},
    ]  # fmt: skip
    assert [q.id for q in load_questions(str(tmp_path / "q.csv"), where="level < most")] == ["q/0", "q/1"]


def test_a_json_file_of_one_row(tmp_path: Path) -> None:
    """Which is a line of JSON Lines, whatever else stands in it; the turns in it are no rows."""
    rows = ({"question": "What is 3 + 5?", "answer": 8}, {"messages": [SYSTEM, USER], "answer": 8}, VERL,
            {"text": "no", "question": "What is 3 + 5?", "answer": ["8", 8], "info": {"by": "me"}})  # fmt: skip
    for number, row in enumerate(rows):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(row))
        assert [(q.text, q.gold) for q in load_questions(str(path))] == [("What is 3 + 5?", ("8",))]
    (tmp_path / "list.json").write_text(json.dumps({"rows": [{"messages": [USER], "answer": 8}] * 2, "turns": [USER]}))
    assert len(load_questions(str(tmp_path / "list.json"))) == 2
    (tmp_path / "columns.json").write_text(json.dumps({"question": ["a?", "b?"], "answer": [1, 2]}))
    with pytest.raises(UserError, match="holds an object without a list of objects"):
        load_questions(str(tmp_path / "columns.json"))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "question,answer\na,1,2\n", r"a\.csv, line 2, has 3 cells, and the first line names 2 columns"),
        ("a.csv", "question,question\na,1\n", "names the column 'question' more than once"),
        ("a.csv", 'question,answer\n"a,1\n', r"a\.csv, line \d, is not CSV"),
        ("a.json", '{"a": [{"x": 1}], "b": [{"x": 1}]}', "holds the lists a, b"),
        ("a.json", "[1]", "row 0, is a int, not an object"),
        ("a.json", "[{]", r"is not JSON \(.* in line 1, column 3\)"),
        ("a.json", "3", "holds a int, not a list of objects"),
        ("a.arrow", "nothing", "is not a readable Arrow file"),
    ],
)
def test_faulty_files_say_where(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=says):
        load_questions(str(tmp_path / name))


def test_json_lines_called_json(tmp_path: Path) -> None:
    rows = [{"question": "a?", "answer": 1}, {"question": "b?", "answer": [2, 0.1]}]
    (tmp_path / "a.json").write_text("\n".join(map(json.dumps, rows)))
    assert [q.gold for q in load_questions(str(tmp_path / "a.json"))] == [("1",), ("2", "0.1")]


def test_a_solution_is_taken_when_it_is_named(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "s.jsonl", {"problem": "a?", "solution": "First 3, so \\boxed{\\frac{1}{2}} it is."})
    with pytest.raises(UserError, match=r"set questions\.answer_column .* solution \(of solution, the last box"):
        load_questions(path)
    settings = checked(BenchmarkSettings, {"name": path, "answer_column": "solution"})
    assert load_set(settings, None)[0].gold == ("\\frac{1}{2}",)


@pytest.mark.parametrize(
    "column", ["expected_answer", "final_answer", "gt_answer", "ground_truth_answer", "target", "label"]
)
def test_answers_by_other_names(column: str) -> None:
    (question,) = questions_from([{"input": "a?", column: ["1", 2.5, 1e21]}])
    assert question.gold == ("1", "2.5", "1000000000000000000000")


@pytest.mark.parametrize("rows", ["abc", {"question": "a?", "answer": 1}, [1], 3])
def test_what_is_no_list_of_rows(rows: Any) -> None:
    with pytest.raises(UserError, match=r"not a (list of rows|row): give rows such as"):
        questions_from(rows)


def test_a_data_set_gives_what_its_rows_give() -> None:
    import datasets

    rows = [{"question": f"{i}?", "answer": i, "level": i} for i in range(5)]
    table = datasets.Dataset.from_list(rows)
    one, two = (questions_from(each, where="level > 1", limit=2) for each in (table, rows))
    assert (one.fingerprint, one.dropped, len(one)) == (two.fingerprint, {"not where level > 1": 2}, 2)


# ---- which rows, which columns


def test_of_several_columns_the_first_is_taken_and_row_by_row_only_where_that_gives_nothing() -> None:
    rows = [
        {"question": "a?", "answer": 1},
        {"question": "b?", "answer": None, "target": 2},
        {"question": "", "problem": "c?", "answer": 3},
    ]
    found = questions_from(rows)
    assert [q.text for q in found] == ["a?"]
    assert found.dropped == {"no answer": 1, "no question": 1}
    assert [(q.text, q.gold) for q in questions_from([{"question": "", "problem": "c?", "answer": 3}])] == [
        ("c?", ("3",))
    ]
    assert questions_from(rows[1:2])[0].gold == ("2",)
    with pytest.raises(UserError, match=r"none of the 2 rows of the rows given has both a question in 'question'"):
        questions_from([{"question": "a?", "answer": 1, "level": 1}, {"question": "b?", "level": 3}], where="level > 2")


@pytest.mark.parametrize(
    ("row", "level"),
    [
        ({"level": True}, None), ({"level": 3.0}, "3"), ({"level": " hard "}, "hard"), ({"level": "  "}, None),
        ({"difficulty": 0.5}, "0.5"), ({"difficulty": 1, "level": 2}, "2"), ({"level": math.nan}, None),
    ],
)  # fmt: skip
def test_levels(row: dict[str, Any], level: str | None) -> None:
    assert questions_from([{"question": "a?", "answer": 1, **row}])[0].level == level


def test_columns_inside_columns_are_named_of_whatever_row_has_them() -> None:
    rows = [{"text": {}}, {"text": {"q": "a?"}}]
    with pytest.raises(UserError, match=r"to one of its columns: text, text\.q$"):
        questions_from(rows)


def test_half_a_character_in_a_turn_is_refused() -> None:
    with pytest.raises(UserError, match=r"question questions/0 .*holds half a character"):
        conversation({"role": "system", "content": "\ud800"}, USER)


def test_a_column_of_bytes_cannot_be_filtered_by(tmp_path: Path) -> None:
    path = saved(tmp_path, "parquet", [{"question": "a?", "answer": 1, "image": b"x"}])
    with pytest.raises(UserError, match=r"reads the column 'image', which"):
        load_questions(path, where='image == "x"')


def test_an_arrow_file_with_a_footer_is_read_too(tmp_path: Path) -> None:
    table = pa.table(
        {"question": ["a?"], "answer": ["1"], "info": pa.array([{"x": 0.1}], pa.struct({"x": pa.float32()}))}
    )
    with pyarrow.ipc.new_file(tmp_path / "q.arrow", table.schema) as file:
        file.write_table(table)
    (question,) = load_questions(str(tmp_path / "q.arrow"))
    assert (question.text, question.extra) == ("a?", {"info": {"x": 0.1}})


def test_a_page_that_is_not_what_was_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "q.parquet"
    table = pa.table({"question": ["What is 3 + 5?"], "answer": ["8"]})
    options: Any = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    pyarrow.parquet.write_table(table, path, **options, write_page_checksum=True)
    path.write_bytes(path.read_bytes().replace(b"What is 3 + 5?", b"What is 3 + 4?", 1))
    with pytest.raises(UserError, match="is not a readable Parquet file"):
        load_questions(str(path))


def test_where_a_candidate_is_empty_the_next_one_stands_in() -> None:
    assert questions_from([{"question": "", "problem": "c?", "answer": "", "target": 2}])[0].gold == ("2",)


# ---- filters

ROW = {"level": 4, "s": "amc", "d": {"x": "7"}, "tags": ["a"], "v": True, "my col": 2, "n": None, "a.b": 1}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("level >= 3", True), ('level >= 5 or s == "amc"', True), ('not level < 3 and s in ["amc", "x"]', True),
        ("d.x > 6", True), ('"a" in tags', True), ('"z" not in tags', True), ("v", True), ("not v", False),
        ("`my col` == 2", True), ("n == 3", None), ("n == 3 or v", True), ("n == 3 and not v", False),
        ("not n == 3", None), ("s > 3", None), ("1 <= level <= 4", True), ("1 < level < 4", False),
        ("level in (4, 5)", True), ("a.b == 1", True), ("level == -4", False), ('"mc" in s', True),
        ("(level > 3 or v) and level != 4", False), ("v == 1", None), ("level == '4'", True),
    ],
)  # fmt: skip
def test_filters(text: str, holds: bool | None) -> None:
    assert parse_where(text)(ROW) is holds


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("level = 3", 7, "write =="), ("level >", 8, "it ends"), ("(level", 7, "closing parenthesis"),
        ("level 3", 7, "an operator, or the end"), ('s == "abc', 6, "does not end"), ("v && v", 3, "write and"),
        ("", 1, "it ends"), ('__import__("os")', 11, "an operator"), ("3", 2, "a comparison"),
        ("(" * 60 + "v" + ")" * 60, 51, "deeper than 50"), ("level >= 3x", 10, "nothing here begins so"),
    ],
)  # fmt: skip
def test_faulty_filters_name_the_place(text: str, place: int, says: str) -> None:
    with pytest.raises(UserError, match=r"questions\.where = ") as caught:
        parse_where(text)
    assert f"(at character {place}: " in str(caught.value)
    assert says in str(caught.value)


def test_filtered_rows_are_counted_and_keep_their_ids() -> None:
    rows = [{"question": f"{i}?", "answer": i, "level": level} for i, level in enumerate([1, 3, None, "hard", 5])]
    found = questions_from(rows, where="level >= 3")
    assert [q.id for q in found] == ["questions/1", "questions/4"]
    untold = "where level >= 3 cannot be told: a column is missing, empty or of another kind"
    assert found.dropped == {"not where level >= 3": 1, untold: 2}
    with pytest.raises(UserError, match=r"reads the column 'lvl', which .* name one of question, answer, level"):
        questions_from(rows, where="lvl >= 3")
    with pytest.raises(UserError, match=r"takes none of the 5 rows of .*, and of 2 it cannot be told"):
        questions_from(rows, where="level > 9")


ODD = {"nan": math.nan, "v": True, "s": "amc", "tags": ["a"], "q": 'a "b"', "arabic": "\u0663", "long": "1" * 400,
       "n": 4, "big": 2**53 + 1}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("s in [1, 2]", None), ("n in []", False), ("n in [4,]", True), ("nan == 1", None), ("nan < 1", None),
        ("v > false", None), ("v == true", True), ("tags == ['a']", True), ("tags == ['b']", False),
        ("tags < ['b']", None), ('q == "a \\"b\\""', True), ("arabic == 3", None), ("long > 1", None),
        (f"big == {2**53 + 1}", True), (f"big == {2**53}", False), ("3 in s", None), ("n <= 4", True), ("n >= 4", True),
        (" or ".join(["n == 5"] * 60), False), ("not (n == 5) and not (n == 6)", True), ("n == 4.0 and n == 4e0", True),
    ],
)  # fmt: skip
def test_filters_at_their_edges(text: str, holds: bool | None) -> None:
    """Kinds that do not go together cannot be told; whole numbers are compared whole."""
    assert parse_where(text)(ODD) is holds


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("n not 3", 7, "in is expected behind not"), ("n in [[1]]", 7, "lists hold no lists"),
        ("n in [1 2]", 9, "a comma or ] is expected"), ("n" * 10_001, 10_001, "longer than 10,000 characters"),
    ],
)  # fmt: skip
def test_more_faulty_filters(text: str, place: int, says: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_where(text)
    assert f"(at character {place}: " in str(caught.value)
    assert says in str(caught.value)


# ---- what is saved of them


def test_further_columns_reach_saved_responses_once_a_group(tmp_path: Path) -> None:
    from r1zero.runs import rollout_rows

    extra = {"who": "<b>", "solution": "x" * 5000, "odd": "\ud800"}
    question = Question("set/3", "a?", ("1",), extra=extra)
    completions = tuple(Completion((1,), (-0.5,), "1", Stop.EOS) for _ in range(2))
    rollout = Rollout(question, "a?", (5,), completions, (Verdict(Outcome.RIGHT),) * 2)
    table = rollout_rows.rollout_table([rollout], {})
    assert table["source"].to_pylist() == ["set", "set"]
    first, second = table["extra"].to_pylist()
    assert second is None
    assert json.loads(first) == {"who": "<b>", "solution": "(left out: 5,002 characters)", "odd": "\ud800"}
    pyarrow.parquet.write_table(table, tmp_path / "new.parquet")
    pyarrow.parquet.write_table(table.drop_columns(["extra", "source"]), tmp_path / "old.parquet")
    new, old = (rollout_rows.read_rollouts(tmp_path / f"{name}.parquet")[0] for name in ("new", "old"))
    assert new.question.extra == json.loads(first)
    assert rollout_rows.rollout_table([new], {}) == table
    assert old.question.extra == {}


# ---- reasoning-gym


def test_without_the_package_the_remedy_is_said() -> None:
    if importlib.util.find_spec("reasoning_gym") is None:
        with pytest.raises(UserError, match=r'is not installed: install it with pip install "r1zero\[reasoning-gym\]"'):
            load_questions("reasoning-gym:chain_sum")


def test_questions_of_reasoning_gym() -> None:
    pytest.importorskip("reasoning_gym")
    name, options = "reasoning-gym:chain_sum", {"size": 6, "min_terms": 2, "max_terms": 3}
    found = load_questions(name, options=options)
    assert len(found) == 6
    assert found.fingerprint == load_questions(name, options=options).fingerprint
    assert found.fingerprint != load_questions(name, options={**options, "seed": 1}).fingerprint
    score = reasoning_gym.scorer(name, options)
    assert [score(q.gold[0], q.extra) for q in found] == [1.0] * 6
    assert score("no", found[0].extra) == 0.0
    assert found[0].extra["metadata"]
    assert len(load_questions(name, options=options, limit=2)) == 2
    with pytest.raises(UserError, match=r"questions\.options\.sise is unknown: use one of min_terms"):
        load_questions(name, options={"sise": 1})
    with pytest.raises(UserError, match=r"has no set 'chain_sun': did you mean reasoning-gym:chain_sum"):
        load_questions("reasoning-gym:chain_sun")
    with pytest.raises(UserError, match=r"questions\.options of .* cannot be used"):
        load_questions(name, options={"min_terms": 9, "max_terms": 2})
