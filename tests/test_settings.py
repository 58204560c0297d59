"""Settings that can be found: the table, the help, the schema, the page."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import Field

from r1zero.cli.settings import _lines, _row, matching, short_lines
from r1zero.config import BenchmarkSettings, Keeps, Recipe, Section
from r1zero.config.load import read_sections
from r1zero.config.overrides import flattened
from r1zero.config.pretrain import PretrainRecipe
from r1zero.config.reference import page
from r1zero.config.schema import FILES, schema_of, text_of
from r1zero.config.settings import Setting, bounds_of, by_section, settings_of, toml
from r1zero.config.shipped import folder, names
from tiny_runs import start

ROOT = Path(__file__).resolve().parents[1]
KINDS = (Recipe, PretrainRecipe)


def setting(key: str, kind: type[Section] = Recipe) -> Setting:
    (found,) = [each for each in settings_of(kind, sections=True) if each.key == key]
    return found


# ---- the walk


@pytest.mark.parametrize(
    "key, kind, default, bounds, resuming",
    [
        ("learner.learning_rate", "number", "1e-6", "above 0", "from there on"),
        ("learner.schedule", '"constant", "linear", "cosine"', '"constant"', "", "from there on"),
        ("learner.betas", "list of 2 numbers", "[0.9, 0.95]", "each at least 0, below 1", "fixed"),
        ("rollout.samples", "integer", "8", "at least 1", "fixed"),
        ("rollout.dynamic", "true or false", "false", "", "fixed"),
        ("train.steps", "integer", "required", "at least 0", "free"),
        ("train.seed", "integer", "0", "at least 0, below 4294967296", "fixed"),
        ("model.path", "text", "required", "", "same elsewhere"),
        ("objective.clip_low", "number", "unset", "at least 0, at most 1", "from there on"),
        ("cluster.learners", "integer", "1", "at least 1", "free"),
        ("lora.rank", "integer", "required", "at least 1", "fixed"),
        ("lora.targets", "list of texts", "[]", "", "fixed"),
        ("questions.options", "table", "{}", "", "fixed"),
        ("evaluation.benchmarks", "list of tables", "[]", "", "from there on"),
        ("evaluation.benchmarks[].limit", "integer", "unset", "at least 1", "from there on"),
        ("lora", "section", "unset", "", "fixed"),
    ],
)
def test_a_setting_is_told_as_it_is(key: str, kind: str, default: str, bounds: str, resuming: str) -> None:
    found = setting(key)
    assert (found.type, found.default, found.bounds, found.resuming) == (kind, default, bounds, resuming)


@pytest.mark.parametrize("kind", KINDS)
def test_the_walk_finds_every_setting_once_and_each_has_a_meaning(kind: type[Section]) -> None:
    keys = [each.key for each in settings_of(kind)]
    assert len(keys) == len(set(keys))
    for name in names():
        data = read_sections(Path(name))
        if ("corpus" in data) == (kind is PretrainRecipe):  # options are anybody's
            assert {key for key in flattened(data) if ".options" not in key} <= set(keys)
    silent = [each.key for each in settings_of(kind, sections=True) if not each.meaning.endswith((".", ")"))]
    assert not silent, f"write a text below {silent}"


def test_what_a_subclass_says_again_keeps_the_text_of_the_class_above() -> None:
    found = setting("learner.schedule", PretrainRecipe)
    assert found.default == '"cosine"'
    assert found.meaning == setting("learner.schedule").meaning != ""


class Leaf(Section):
    """A leaf."""

    size: int = Field(default=3, le=9)
    """How large."""


class Tree(Section):
    """A tree of every kind of section."""

    alone: Leaf = Leaf()
    either: Leaf | tuple[Leaf, ...] = Leaf()
    many: tuple[Leaf, ...] = ()
    perhaps: Leaf | None = None


def test_sections_alone_in_lists_and_either_way_are_walked() -> None:
    assert [each.key for each in settings_of(Tree)] == [
        "alone.size", "either.size", "either[]", "either[].size", "many", "many[].size", "perhaps.size",
    ]  # fmt: skip
    assert {each.key: [row.key for row in rows] for each, rows in by_section(Tree)}["many"] == ["many[].size"]
    assert setting("many", Tree).meaning == "A leaf."
    assert (setting("many[].size", Tree).bounds, setting("many[].size", Tree).meaning) == ("at most 9", "How large.")


@pytest.mark.parametrize(
    "value", [1e-6, 1e-10, 0.001, 10.0, 3, True, 'a "b" \\ \n\t\x01', [0.9, 0.95], {"a": 1, "b c": [{"d": "x"}]},
              {"é": 1}, "a\rb\x7f\x1f"],
)  # fmt: skip
def test_values_are_written_as_toml_reads_them(value: object) -> None:
    assert tomllib.loads(f"v = {toml(value)}")["v"] == value


def test_what_toml_has_not_is_left_out_and_of_sections_the_defaults() -> None:
    assert toml({"a": None, "b": 1}) == "{ b = 1 }"
    assert toml({"a": None}) == "{}"
    assert toml((BenchmarkSettings(name="amc"),)) == '[{ name = "amc" }]'


def test_bounds_are_told_as_they_are_written() -> None:
    assert bounds_of(Field(gt=0.5, le=2.0)) == "above 0.5, at most 2"
    assert bounds_of(Field(min_length=1, max_length=3)) == "at least 1, at most 3"


# ---- the page and the schema


def test_the_page_is_the_table() -> None:
    said = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert said == page(), "run: python -m r1zero.config.reference > docs/settings.md"


@pytest.mark.parametrize("file", FILES)
def test_the_shipped_schema_is_that_of_the_settings(file: str) -> None:
    said = (folder() / file).read_text(encoding="utf-8")
    assert said == text_of(FILES[file]), "run: python -m r1zero.config.schema src/r1zero/recipes"
    jsonschema.Draft7Validator.check_schema(json.loads(said))


def errors(data: dict[str, Any], kind: type[Section] = Recipe) -> list[str]:
    return [each.message for each in jsonschema.Draft7Validator(schema_of(kind)).iter_errors(data)]


@pytest.mark.parametrize("name", names())
def test_the_schema_accepts_every_shipped_recipe(name: str) -> None:
    data = read_sections(Path(name))
    assert errors(data, PretrainRecipe if "corpus" in data else Recipe) == []


SMALL: dict[str, Any] = {"model": {"path": "m"}, "questions": {"name": "arithmetic"}, "train": {"steps": 3}}


@pytest.mark.parametrize(
    "section, settings, says",
    [
        ("learner", {"learnign_rate": 1e-5}, "'learnign_rate' was unexpected"),
        ("lerner", {}, "'lerner' was unexpected"),
        ("learner", {"learning_rate": "fast"}, "'fast' is not of type 'number'"),
        ("learner", {"learning_rate": 0}, "0 is less than or equal to the minimum of 0"),
        ("learner", {"schedule": "cosin"}, "'cosin' is not one of ['constant', 'linear', 'cosine']"),
        ("learner", {"betas": [0.9]}, "[0.9] is too short"),
        ("learner", {"betas": [0.9, 2]}, "2 is greater than or equal to the maximum of 1"),
        ("train", {"steps": 2.5}, "2.5 is not of type 'integer'"),
        ("train", {}, "'steps' is a required property"),
        ("evaluation", {"benchmarks": [{"name": "amc", "limt": 3}]}, "'limt' was unexpected"),
        ("evaluation", {"benchmarks": ["amc"]}, "'amc' is not of type 'object'"),
        ("lora", {"alpha": 3.0}, "'rank' is a required property"),
        ("lora", {"rank": 0}, "0 is less than the minimum of 1"),
        ("template", {"answer_format": "boxes"}, "'boxes' is not one of"),
    ],
)
def test_the_schema_refuses(section: str, settings: dict[str, Any], says: str) -> None:
    assert errors(SMALL) == []
    (said,) = errors(SMALL | {section: settings})
    assert says in said


def test_the_schema_has_defaults_and_meanings_and_no_null() -> None:
    learner = schema_of(Recipe)["$defs"]["LearnerSettings"]["properties"]
    assert learner["learning_rate"]["default"] == 1e-6
    assert learner["learning_rate"]["description"] == "Step size of AdamW, at its highest."
    assert "null" not in json.dumps(schema_of(Recipe))


# ---- the command line


def printed(*words: str, columns: str = "200") -> str:
    return start(*words, environment={"COLUMNS": columns}).done()


def test_settings_are_found_by_words_in_names_and_meanings() -> None:
    said = printed("settings", "SCHEDULE")
    assert said.splitlines()[1].split("  ")[0] == "learner.schedule"
    assert len(said.splitlines()) == 2
    assert "rollout.samples" in printed("settings", "group size")
    assert [line.split()[0] for line in printed("settings", "learning-rate", "critic").splitlines()[1:]] == [
        "critic.learning_rate"
    ]
    assert "evaluation.benchmarks[].name" in printed("settings", "benchmarks")


def test_settings_as_json_and_those_of_pretraining() -> None:
    rows = json.loads(printed("settings", "sequence_length", "--pretrain", "--json"))
    assert [row["key"] for row in rows] == ["learner.sequence_length"]
    assert rows[0]["default"] == "2048"


def test_all_facts_of_a_setting_are_told_in_every_form() -> None:
    rate = setting("learner.learning_rate")
    assert list(_lines(rate, 100))[:2] == [
        "learner.learning_rate", "    number; above 0; default 1e-6; resuming: from there on",
    ]  # fmt: skip
    assert _row(rate).keys() == {"key", "type", "default", "bounds", "resuming", "meaning"}
    short = [" ".join(line.split()) for line in short_lines(False, 120)]
    assert "--learner.learning_rate 1e-6 number, above 0" in short
    assert "[lora] may be left out" in short
    assert "[learner]" in short
    found = matching(settings_of(Recipe), ["--rollout.samples"])  # as it is written on a command line
    assert [each.key for each in found] == ["rollout.samples"]
    assert any(line.startswith("--evaluation.benchmarks [] list of tables: name, question_column, ") for line in short)


def test_in_a_narrow_terminal_no_line_is_wider() -> None:
    lines = printed("settings", columns="80").splitlines()
    assert lines[0] == "model.path"
    assert max(map(len, lines)) <= 80


def test_a_word_that_no_setting_has_is_answered_with_the_nearest() -> None:
    start("settings", "lerning_rate").refused("did you mean learning_rate? `r1zero settings` lists all.")
    start("settings", "corpus.name").refused("add --pretrain: pretraining recipes have corpus.name. ")
    start("settings", "rollout.dynamic", "--pretrain").refused(
        "leave --pretrain out: training recipes have rollout.dyn"
    )


@pytest.mark.parametrize("command, kind", [("train", Recipe), ("pretrain", PretrainRecipe)])
def test_help_lists_every_setting_by_section_in_80_columns(command: str, kind: type[Section]) -> None:
    said = printed(command, "--help", columns="80")
    lines = said.splitlines()
    assert "--resume" in said
    for section, rows in by_section(kind):
        if not section.is_list:
            assert any(line.startswith(f"[{section.key}]") for line in lines)
            for each in rows:
                (line,) = [line for line in lines if line.startswith(f"  --{each.key} ")]
                assert each.default in line
    assert max(map(len, lines)) <= 80


def test_help_loads_neither_torch_nor_for_all_commands_the_settings() -> None:
    program = (
        "import sys; sys.argv = ['r1zero', *{words}]\n"
        "from r1zero.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('loaded:', *sorted({{'torch', 'pydantic', 'transformers', 'pyarrow'}} & set(sys.modules)))"
    )
    for words, loads in (
        [["--help"], ""],
        [["train", "--help"], "pydantic"],
        [["__complete", "train", "demo", "--l"], ""],
    ):
        done = subprocess.run(
            [sys.executable, "-c", program.format(words=words)], capture_output=True, text=True, timeout=600
        )
        assert done.stdout.splitlines()[-1].split() == ["loaded:", *loads.split()], words


def test_keeps_of_the_fields_are_those_that_resuming_goes_by() -> None:
    """`differences` leaves out what is free; the table must say the same of every leaf."""
    from r1zero.config.overrides import marked

    free = set(marked(Recipe, Keeps.RUN))
    for each in settings_of(Recipe):
        parents = {each.key.rsplit(".", n)[0] for n in range(each.key.count(".") + 1)} | {each.key}
        assert (each.resuming == "free") == bool(parents & free), each.key
