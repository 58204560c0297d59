"""Files that hold anything at all: one sentence that names the file, or a report without it; never a traceback."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from r1zero.errors import UserError, parsed, reading
from r1zero.policy.load import load_policy
from r1zero.runs.rollout_rows import RolloutFileError, read_rows
from tiny_runs import start, taught_model, write_recipe

OLD = Path(__file__).parent / "old_runs"
DEEP, BIG = "[" * 200_000, "1" * 5_000
Damage = Callable[[Path], object]


def text(told: str) -> Damage:
    return lambda path: path.write_text(told, encoding="utf-8")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def said(**changes: object) -> Damage:
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes))


def numbers(column: str) -> Damage:
    def change(path: Path) -> None:
        table = pq.read_table(path)
        at = table.column_names.index(column)
        pq.write_table(table.set_column(at, column, pa.array([1.5] * table.num_rows)), path)

    return change


def test_the_boundary_names_the_file_and_why(tmp_path: Path) -> None:
    for fault, why in (
        (lambda: parsed(DEEP), "it is nested too deeply"),
        (lambda: parsed(f'{{"a": {BIG}}}'), "Exceeds the limit"),
        (lambda: {}["versions"], "it lacks 'versions'"),
        (lambda: (tmp_path / "none").read_text(), "No such file or directory"),
        (lambda: tmp_path.read_text(), "Is a directory"),
        (lambda: (tmp_path / ("x" * 300)).read_text(), "File name too long"),
        (lambda: (tmp_path / "a\0b").read_text(), "embedded null byte"),
        (lambda: b"\xff".decode(), "'utf-8' codec can't decode"),
        (lambda: [] + {}, "can only concatenate"),
        (lambda: 10**400 / 3, "too large"),
    ):
        with pytest.raises(UserError) as caught, reading(tmp_path / "run.json", "restore it"):
            fault()
        assert str(caught.value).startswith(f"{tmp_path / 'run.json'} cannot be read (")
        assert why in str(caught.value)
        assert str(caught.value).endswith("): restore it.")
    with pytest.raises(UserError, match=r"^mine$"), reading(tmp_path, "restore it"):
        raise UserError("mine")


RESUME = ("train", "{run}", "--resume", "--train.steps", "6")
REPORT = ("report", "{run}", "--out", "{out}")
REGRADE = ("evaluate", "--regrade", "{evaluation}")
COMPARE = ("compare", "{evaluation}", "{evaluation}")
SEAL = "run/checkpoints/step-000004/complete.json"
CASES: tuple[tuple[tuple[str, ...], str, Damage], ...] = (
    (RESUME, "run/metrics.jsonl", folder),
    (RESUME, "run/recipe.json", text('{"a":' * 100_000)),
    (RESUME, "run/run.json", said(versions=[1])),
    (RESUME, "run/run.json", said(threads="many")),
    (RESUME, "run/run.json", text(f'{{"versions": {BIG}}}')),
    (RESUME, SEAL, said(score="good")),
    (RESUME, SEAL, said(score=[1])),
    (RESUME, SEAL, said(step=4.0)),
    (RESUME, SEAL, said(files={"x" * 300: {"size": 1, "blake2b": ""}})),
    (RESUME, SEAL, said(files={"a\0b": {"size": 1, "blake2b": ""}})),
    (RESUME, SEAL, text(DEEP)),
    (("audit", "--run", "{run}"), "run/recipe.json", text('{"a":' * 100_000)),
    (("train", "{run}/recipe.json"), "run/recipe.json", text('{"a":' * 100_000)),
    *(
        (command, "evaluation/evaluation.json", damage)
        for damage in (
            text(DEEP),
            text(f'{{"sets": {{}}, "a": {BIG}}}'),
            said(sets={"arithmetic": None}),
            said(sets={"arithmetic": "missing.parquet"}),
            said(sets={"arithmetic": "x" * 300}),
            said(sets={"arithmetic": "../run/run.json"}),
            said(sets=[1]),
            said(answer_format="strange"),
            said(answer_format=[1]),
        )
        for command in (REGRADE, COMPARE)
    ),
    (REGRADE, "evaluation/arithmetic.parquet", numbers("response")),
    (COMPARE, "evaluation/arithmetic.parquet", numbers("question_id")),
)


@pytest.mark.parametrize("number", range(len(CASES)))
def test_a_damaged_file_is_one_sentence_that_names_it(tmp_path: Path, number: int) -> None:
    words, file, damage = CASES[number]
    shutil.copytree(OLD, tmp_path, dirs_exist_ok=True)
    damage(tmp_path / file)
    places = {name: tmp_path / name for name in ("run", "evaluation", "out")}
    command = start(*(word.format(**places) for word in words))
    assert command.wait() == 2, command.out + command.err
    assert len(command.err.splitlines()) == 1, command.err
    assert command.err.startswith("r1zero: ")
    assert Path(file).parent.name in command.err  # the file, or for a seal its folder


@pytest.mark.parametrize(
    "damage", [folder, text(DEEP), text(f'{{"step": 1, "x": {BIG}}}\n')], ids=["folder", "deep", "big"]
)
@pytest.mark.parametrize("file", ["metrics.jsonl", "evaluations.jsonl"])
def test_a_report_leaves_out_what_it_cannot_read(tmp_path: Path, file: str, damage: Damage) -> None:
    shutil.copytree(OLD / "run", tmp_path / "run")
    damage(tmp_path / "run" / file)
    command = start("report", tmp_path / "run", "--out", tmp_path / "out")
    assert command.wait() == 0, command.err
    assert file in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("column", ["response", "stop", "outcome", "gold", "question_id"])
def test_a_column_of_numbers_is_no_response(tmp_path: Path, column: str) -> None:
    path = tmp_path / "set.parquet"
    shutil.copyfile(OLD / "evaluation" / "arithmetic.parquet", path)
    numbers(column)(path)
    with pytest.raises(RolloutFileError, match=f"its column {column} holds double"):
        read_rows(path)


# ---- names


@pytest.mark.parametrize(
    "words",
    [
        ("train", "{name}"),
        ("train", "{recipe}", "--out", "{name}"),
        ("train", "{recipe}", "--model.path", "{name}"),
        ("train", "{recipe}", "--questions.name", "{name}.jsonl"),
        ("train", "{recipe}", "--verifier.reward", "{name}.py:f"),
        ("train", "{recipe}", "--template.name", "{name}.jinja"),
        ("report", "{name}"),
        ("compare", "{name}", "{name}"),
        ("evaluate", "{name}"),
        ("verify", "--file", "{name}"),
        ("audit", "--run", "{name}"),
        ("pretrain", "{name}"),
    ],
    ids=lambda words: " ".join(words)[:30],
)
@pytest.mark.parametrize("name", ["x" * 300, os.fsdecode(b"n\xff\xfe")], ids=["long", "not text"])
def test_a_name_that_no_file_can_have_is_one_sentence(tmp_path: Path, words: tuple[str, ...], name: str) -> None:
    recipe = write_recipe(tmp_path / "recipe.toml")
    command = start(*(word.format(name=name, recipe=recipe) for word in words), cwd=tmp_path)
    assert command.wait() == 2
    assert len(command.err.splitlines()) == 1, command.err
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.toml"]


@pytest.mark.parametrize("setting", ["model.path", "questions.name", "template.name", "verifier.reward"])
def test_a_recipe_with_a_nul_names_the_setting(tmp_path: Path, setting: str) -> None:
    recipe = write_recipe(tmp_path / "recipe.toml")
    command = start("train", recipe, f'--{setting}="a\\u0000b"', "--out", tmp_path / "out")
    assert command.wait() == 2
    assert f"{setting} = 'a\\x00b' holds what no text" in command.err


# ---- models


def test_ids_of_an_end_that_are_words_are_one_sentence(tmp_path: Path) -> None:
    for file in ("config.json", "generation_config.json"):
        model = tmp_path / file.removesuffix(".json")
        shutil.copytree(taught_model(), model)
        said(eos_token_id=["</s>"])(model / file)
        with pytest.raises(UserError, match="eos_token_id"):
            load_policy(str(model), device="cpu")


def test_weights_that_are_no_safe_pickle_are_one_sentence_and_never_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "run as code"),)

    for number, content in enumerate((pickle.dumps(Evil(), protocol=2), b"\x80\x02no pickle", b"", b"\x80\x02K")):
        model = tmp_path / f"model-{number}"
        shutil.copytree(taught_model(), model)
        (model / "model.safetensors").unlink()
        (model / "pytorch_model.bin").write_bytes(content)
        with pytest.raises(UserError, match=r"model\.path = "):
            load_policy(str(model), device="cpu")
    torch.save({"weight": Evil()}, model / "pytorch_model.bin")
    with pytest.raises(
        UserError, match=r"holds more than weights, which is never run; give a folder whose weights are in"
    ):
        load_policy(str(model), device="cpu")
    assert not (tmp_path / "run as code").exists()
