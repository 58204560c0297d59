"""What a program gives, in every shape that people have it in: rows, rewards and watchers, and what is said of wrong
ones."""

import functools
import logging
import sys
import types
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM

import r1zero
from r1zero.api.inputs import put_model
from r1zero.api.objects import Objects
from r1zero.api.rewards import importable, rewards_of
from r1zero.api.rows import rows_of
from r1zero.api.said import in_python
from r1zero.api.sources import settings_of, sources_of
from r1zero.config import QuestionsSettings, RewardSettings, VerifierSettings, make_recipe
from r1zero.errors import UserError
from r1zero.policy.tiny import character_tokenizer, tiny_model
from r1zero.questions import QuestionSet, load_questions, questions_from
from r1zero.rewards.open import LocalReward, open_rewards
from r1zero.rollouts.question_sets import load_set
from r1zero.training.watch import watching
from r1zero.types import AnswerFormat, GradingTask, Outcome, Question, Verdict
from tiny_runs import random_model

ROW = {"question": "1+1=", "answer": 2, "kind": "sum"}
BARE = {"model": {"path": "m"}, "train": {"steps": 1}}
TASK = GradingTask("so 2", ("2",), AnswerFormat.LAST_NUMBER, "1+1=", "q/0", {"kind": "sum", "n": 3})


def read(questions: Any, folder: Path) -> QuestionSet:
    """What a run in `folder` is given and reads again."""
    (source,) = sources_of(questions)
    source.put(folder)
    return load_set(QuestionsSettings(name=source.place(folder)), None)


# ---- rows


class Frame:
    """What pandas is to us: a class DataFrame in a module pandas, with columns and rows."""

    def __init__(self, columns: list[str], *rows: list[Any]):
        self.columns, self.rows = columns, rows

    def to_dict(self, kind: str) -> list[dict[str, Any]]:
        assert kind == "records"
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def test_columns_are_taken_as_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = read([ROW], tmp_path / "rows")
    data = datasets.Dataset.from_list([ROW])
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=Frame))
    frame = Frame(["question", "answer", "kind"], ["1+1=", np.int64(2), "sum"])
    shapes = {"arrow": data.data.table, "stream": data.to_iterable_dataset(), "numpy": data.with_format("numpy")}
    for name, given in (shapes | {"frame": frame}).items():
        found = read(given, tmp_path / name)
        assert found.fingerprint == known.fingerprint
        assert dict(found[0].extra) == {"kind": "sum"}
    for twice in (Frame(["question", "kind", "kind"], []), pa.table([[1], [2]], names=["kind", "kind"])):
        with pytest.raises(UserError, match=r"questions= has more than one column 'kind': keep one"):
            rows_of(twice)


def test_a_file_with_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    """A row holds one of them, and nobody said which."""
    table = pa.table([["1+1="], [2], [3]], names=["question", "answer", "answer"])
    pq.write_table(table, tmp_path / "twice.parquet")
    with pa.OSFile(str(tmp_path / "twice.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(UserError, match=r"twice\.\w+ has more than one column 'answer': keep one"):
            load_questions(str(path))


def test_a_set_by_its_name_has_settings_of_its_own(tmp_path: Path) -> None:
    """Three to one of two sets, one of them filtered."""
    several = sources_of([({"name": "a.jsonl", "where": "level >= 3", "limit": 5}, 3), ([ROW], 1)])
    recipe = make_recipe(BARE, settings_of(several, tmp_path))
    assert [(each.name, each.weight, each.where, each.limit) for each in recipe.questions.sources or ()] == [
        ("a.jsonl", 3.0, "level >= 3", 5), (f"{tmp_path}/questions-2.jsonl", 1.0, None, None),
    ]  # fmt: skip
    alone = settings_of(sources_of({"name": "a.jsonl", "where": "level >= 3"}), tmp_path)
    assert make_recipe(BARE, alone).questions.where == "level >= 3"


@pytest.mark.parametrize("benchmarks", [[ROW], datasets.Dataset.from_list([ROW]), 5, ["sums", [ROW]], ("sums", 1, 2)])
def test_what_is_no_benchmark_is_told_what_would_be(benchmarks: Any) -> None:
    with pytest.raises(UserError, match=r"which is not a valid benchmark: give a name, .* such as \(\"mine\", rows\)"):
        r1zero.evaluate(str(random_model()), benchmarks, "no")


def test_narrow_numbers_of_any_source_are_their_shortest_decimals(tmp_path: Path) -> None:
    """0.1 in 32 bits is 0.10000000149011612 in 64: as a gold answer that is wrong for every reader."""
    features = datasets.Features({"question": datasets.Value("string"), "answer": datasets.Value("float32")})
    narrow = datasets.Dataset.from_dict({"question": ["a?"], "answer": [0.1]}, features=features)
    for name, given in {
        "scalar": [{"question": "a?", "answer": np.float32(0.1)}],
        "array": [{"question": "a?", "answer": np.array([0.1], dtype=np.float32)}],
        "tensor": [{"question": "a?", "answer": torch.tensor(0.1)}],
        "decimal": [{"question": "a?", "answer": Decimal("0.10")}],
        "dataset": narrow,
    }.items():
        assert read(given, tmp_path / name)[0].gold == ("0.1",)
    assert read([{"question": "a?", "answer": Fraction(1, 3)}], tmp_path / "fraction")[0].gold == ("1/3",)
    assert questions_from([{"question": "a?", "answer": np.array([0.1, 2], dtype=np.float32)}])[0].gold == ("0.1", "2")


def test_questions_come_back_as_they_were(tmp_path: Path) -> None:
    """Their turns too, and their golds whatever columns their rows have beside these."""
    turns = (("system", "Be brief."), ("user", "1+1?"))
    asked = Question("a/0", "1+1?", ("2", "two"), "3", {"answer": "a worked solution", "question": "no"}, turns)
    (found,) = read([asked], tmp_path)
    assert (found.text, found.gold, found.level, found.turns) == ("1+1?", ("2", "two"), "3", turns)


def test_what_no_file_holds_is_said_and_never_dropped_in_silence(tmp_path: Path) -> None:
    rows = [ROW | {"image": object()}, ROW | {"tags": {"b", "a"}}, ROW | {"image": b"png"}]
    given = rows_of(rows)
    assert given.rows[1]["tags"] == ["a", "b"]
    assert [note.partition(" holds ")[2] for note in given.notes] == [
        "object, which neither rewards nor saved responses are given (1 of 3 rows)",
        "bytes, which neither rewards nor saved responses are given (1 of 3 rows)",
    ]
    images = datasets.Dataset.from_dict({"question": ["a?"], "answer": [1], "image": [b"png"]})
    assert rows_of(images).notes == (
        "the column image holds bytes, which neither rewards nor saved responses are given",
    )
    nested: list[Any] = []
    nested.append(nested)
    for value, kind in ((object(), "object"), (nested, "too deep"), (10**5000, "a number of thousands of digits")):
        with pytest.raises(UserError, match=rf"questions=\[0\], column 'answer', holds {kind}"):
            rows_of([{"question": "a?", "answer": value}])


def test_whole_numbers_beyond_a_float_are_golds_like_others(tmp_path: Path) -> None:
    (tmp_path / "big.jsonl").write_text(f'{{"question": "a?", "answer": {10**400}, "level": {10**400}}}\n')
    (found,) = load_questions(str(tmp_path / "big.jsonl"))
    assert found.gold == (str(10**400),)
    assert found.level == str(10**400)


@pytest.mark.parametrize(
    ("questions", "sentence"),
    [
        ({"question": ["a?"]}, r"of columns make datasets\.Dataset\.from_dict"),
        (["1+1="], r"questions=\[0\] is a str, not a row: write .* several sets are pairs of a set and its weight"),
        ([("1+1=", "2")], r'such as \("math-12k", 3\); a row is \{"question"'),
        ([{"question": "a?", 3: 1, "3": 2}], r"questions=\[0\] has more than one column '3'"),
        (datasets.DatasetDict(train=datasets.Dataset.from_list([ROW])), r'such as questions\["train"\]'),
        (5, "is a int, which is not a valid set"),
    ],
)
def test_what_holds_no_rows_is_told_what_would(questions: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        sources_of(questions)


def test_sentences_and_notes_speak_python(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A run from a program shows its notes without a view, and complains of what the program gave, not of a file."""
    given: dict[str, Any] = {"model": str(random_model()), "train.steps": 0, "train.threads": 1}
    begun = {"questions": [*[ROW] * 3, ROW | {"answer": None}], "reward": lambda response: len(response)}
    with caplog.at_level(logging.WARNING, logger="r1zero"):
        r1zero.train(None, tmp_path / "run", **begun, **given)
    assert "questions: 1 row left out (no answer)" in caplog.messages
    assert any(
        "reward 'lambda' is a function of this program, and runs in a thread" in each for each in caplog.messages
    )
    with pytest.raises(UserError, match=r"^questions=, row 0, column 'answer' holds True"):
        r1zero.train(None, tmp_path / "other", questions=[ROW | {"answer": True}], **given)
    with pytest.raises(UserError, match=r"give resume=True to continue it, or another out="):
        r1zero.train(None, tmp_path / "run", questions=[ROW], **given)
    with pytest.raises(UserError, match=r"^from_step=7: "):
        r1zero.train(tmp_path / "run", from_step=7)
    said = functools.partial(in_python, data_dir="data_dir=", files={})
    assert said("add --resume, or another --out; `r1zero train RUN --resume` does") == (
        "add resume=True, or another out=; `r1zero train RUN --resume` does"
    )
    assert said("my/x--out.toml and --resume 7") == "my/x--out.toml and from_step=7"
    assert said("give it as --train.steps VALUE, or pass --data-dir") == (
        'give it as **{"train.steps": …}, or pass data_dir='
    )


# ---- models


def test_a_model_that_is_none_or_another_is_refused_before_anything(tmp_path: Path) -> None:
    for wrong in (5, torch.nn.Linear(2, 2)):
        with pytest.raises(UserError, match="which is not a valid model: give a folder"):
            Objects.of(wrong, None, None, None)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(random_model()), character_tokenizer()
    with pytest.raises(UserError, match="tokenizer= is a int, not a tokenizer"):
        Objects.of(model, 5, None, None).put(tmp_path / "run")
    put_model(model, tokenizer, tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text("{}")
    put_model(model, tokenizer, tmp_path / "run")
    with pytest.raises(UserError, match=r"model= is of hidden_size = 64, and .*, which this run began with, of 32"):
        put_model(tiny_model(tokenizer, width=64, layers=2), tokenizer, tmp_path / "run")
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "run.json").write_text("{}")
    with pytest.raises(UserError, match="this run was begun with a model by its name: leave model= out"):
        put_model(model, tokenizer, tmp_path / "path")


# ---- rewards


def graded(*rewards: Any) -> dict[str, Verdict]:
    limits = VerifierSettings(workers=1, timeout_s=60)
    _, parts = rewards_of(list(rewards))
    with open_rewards(parts, limits, 16) as opened:
        [verdict] = opened.verify([TASK])
    return {part.name: part.verdict for part in verdict.parts}


def test_a_function_is_the_same_reward_wherever_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of a sum, beside the verifier that judges the answer: moving it from a notebook into a file changes
    nothing."""
    (tmp_path / "two_points.py").write_text("def two(response):\n    return 2.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    two = __import__("two_points").two
    assert rewards_of(two) == rewards_of([two])
    assert [row["use"] for row in rewards_of(two)[0]["reward"]] == [f"{tmp_path}/two_points.py:two"]  # type: ignore[attr-defined]
    (mine,) = rewards_of(lambda response: 2.0)[1]
    assert isinstance(mine, LocalReward)


def test_a_name_that_means_another_function_by_now_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rebound.py").write_text(
        "def one(response):\n    return 1.0\nfirst = one\ndef one(response): return 2\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("rebound")
    assert importable(module.one) == f"{tmp_path}/rebound.py:one"
    assert importable(module.first) is None
    monkeypatch.setattr(module, "__spec__", None)
    assert importable(module.one) is None


def test_rows_hold_functions_with_names_and_weights() -> None:
    _, parts = rewards_of([{"use": len, "name": "size", "weight": 0.5}, {"use": max, "weight": 0}])
    assert [(part.called, part.weight) for part in parts] == [("size", 0.5), ("max", 0.0)]  # type: ignore[union-attr]
    (row,) = rewards_of("verify")[0]["reward"]  # type: ignore[misc]
    assert RewardSettings.model_validate(row).use == "verify"
    assert rewards_of("mine.py:f") == ({"verifier.reward": "mine.py:f", "reward": []}, ())


@pytest.mark.parametrize(
    ("reward", "sentence"),
    [
        ([], "reward= is an empty list; name a reward"),
        ("nonsense", 'use = "nonsense" is not a valid reward'),
        (GradingTask, r"reward= holds the class GradingTask; give an object of it"),
        ([{"use": len, "wieght": 2}], "did you mean 'weight'"),
        ([("verify", 1)], "or a row whose 'use' is one"),
    ],
)
def test_what_is_no_reward_is_told_what_would_be(reward: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        rewards_of(reward)


def test_a_function_that_ends_its_thread_costs_its_own_verdict() -> None:
    """And no deadline is waited for."""

    def leaves(response: str) -> float:
        raise SystemExit(3)

    found = graded(leaves)["leaves"]
    assert (found.outcome, found.rule) == (Outcome.UNGRADED, "grader failed: SystemExit")


@pytest.mark.parametrize(
    ("function", "first"),
    [
        (lambda a, b: (a, b) == ("so 2", ["2"]), True),
        (lambda completion, gold: (completion, gold) == ("so 2", ["2"]), True),
        (lambda response, answer: (response, answer) == ("so 2", ["2"]), True),
        (lambda text, ground_truth: (text, ground_truth) == ("so 2", ["2"]), True),
        (lambda response, levle: True, "levle"),
        (lambda kind, levle: True, "levle"),
        (lambda text, kind: True, "text"),
        (lambda text, response: True, "text"),
    ],
)
def test_golds_go_to_no_parameter_that_is_called_otherwise(function: Any, first: object) -> None:
    """(response, LEVLE) asks for a column that there is not; the golds in its place would be trained on in silence."""
    found = graded(function)["lambda"]
    if isinstance(first, str):
        assert f"it asks for {first!r}, neither a column" in found.rule
    else:
        assert found.right is first


# ---- watching


def test_what_would_never_be_awaited_is_no_watcher() -> None:
    async def watch(step: int, metrics: object) -> None: ...

    with pytest.raises(UserError, match=r"is not a valid watcher: give a function of .* that is not async"):
        watching(watch)
