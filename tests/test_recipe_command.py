"""`r1zero recipe`, recipes by name, and the Tab key."""

import tomllib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import StringIO
from pathlib import Path

import jsonschema
import pytest
from rich.console import Console

from r1zero.cli.recipe_check import _named, report
from r1zero.config import Recipe, load_recipe, make_recipe, read_recipe
from r1zero.config.check import line_of, lines_of, wrong_with
from r1zero.config.pretrain import PretrainRecipe
from r1zero.config.schema import schema_of
from r1zero.config.shipped import SHIPPED, find, is_name, missing, names, path_of, shipped_name
from r1zero.config.starting import starting_recipe
from r1zero.errors import UserError
from r1zero.objectives.from_recipe import recipe_objective
from r1zero.runs.files import write_new
from tiny_runs import start, tiny_recipe

BROKEN = """\
[model]
path = "base"

[questions]
name = "arithmetic"

[learner]
learnign_rate = 1e-5
betas = [0.9]

[[evaluation.benchmarks]]
name = "amc"
[[evaluation.benchmarks]]
name = "math500"
limt = 3

[train]
steps = "many"
"""


def test_every_shipped_recipe_says_what_it_needs() -> None:
    assert sorted(SHIPPED) == names()


@pytest.mark.parametrize(
    "word, alone",
    [("demo", True), ("qwen2.5-math-7b", True), ("./demo", False), ("demo.toml", False), ("demo.json", False),
     ("recipes/demo", False), ("demo/", False), ("..", False)],
)  # fmt: skip
def test_a_name_alone_has_neither_folder_nor_suffix(word: str, alone: bool) -> None:
    assert is_name(word) == alone
    assert (find(path_of(word)).suffix == ".toml" and shipped_name(path_of(word)) is not None) == alone


def test_a_name_is_the_packages_recipe_whatever_lies_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("demo").mkdir()
    assert load_recipe("demo").train.steps == 160
    assert read_recipe("miniature-pretrain", PretrainRecipe).train.steps == 2000
    with pytest.raises(UserError, match="cannot be read"):
        load_recipe("./demo")


@pytest.mark.parametrize(
    "path, says",
    [
        ("recipes/demo.toml", "There is no recipe at recipes/demo.toml; the recipe of that name that comes with r1zero "
         "is `demo` alone: `r1zero train demo`."),
        ("x/miniature-pretrain.toml", "`r1zero pretrain miniature-pretrain`."),
        ("qwen2.5-math-7", "did you mean qwen2.5-math-7b? (`r1zero recipe list`"),
        ("mine.toml", "give the path of a TOML file, or a name of `r1zero recipe list`."),
    ],
)  # fmt: skip
def test_a_recipe_that_is_not_there(path: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        load_recipe(path)
    assert says in str(caught.value)


def test_what_has_to_be_made_first_is_what_the_recipe_itself_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = {"model": {"path": "runs/a"}, "evaluation": {"benchmarks": [{"name": "models/b"}]}}
    assert missing(own, own) == ["runs/a", "models/b"]
    assert missing(own | {"model": {"path": "runs/mine"}}, own) == ["models/b"]
    Path("models/b").mkdir(parents=True)
    assert missing(own, own) == ["runs/a"]


def test_a_shipped_recipe_says_what_to_run_and_then_runs(tmp_path: Path) -> None:
    start("train", "demo", cwd=tmp_path).refused("`r1zero recipe prepare demo` makes what is missing")
    assert list(tmp_path.iterdir()) == []
    start("pretrain", "demo", cwd=tmp_path).refused("give it to `r1zero train`")
    said = start("recipe", "prepare", "demo", cwd=tmp_path).done()
    assert "runs/demo/base" in said
    assert "nothing" in start("recipe", "prepare", "demo", cwd=tmp_path).done()
    short = ("--train.steps", "1", "--rollout.prompts", "2", "--rollout.samples", "2", "--evaluation.benchmarks", "[]")
    assert "done: runs/demo-train" in start("train", "demo", *short, cwd=tmp_path).done()
    assert not (tmp_path / "runs" / "demo" / "run.json").exists()


def test_a_file_is_checked_whole_and_by_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text(BROKEN)
    lines = lines_of(BROKEN)
    assert {(each.key, line_of(lines, each.key)) for each in wrong_with(file)} == {
        ("learner.learnign_rate", 8), ("learner.betas", 9), ("evaluation.benchmarks.1.limt", 15), ("train.steps", 18),
    }  # fmt: skip
    command = start("recipe", "check", file)
    assert command.wait() == 1
    said = command.out
    assert "line 8: " in said
    assert "did you mean 'learner.learning_rate'?" in said
    assert "line 15: " in said
    assert "'evaluation.benchmarks.1.limit'" in said


def test_sources_and_rewards_that_a_recipe_names_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.jsonl").write_text('{"question": "1+1=", "answer": "2"}\n')
    (tmp_path / "mine.py").write_text("raise SystemExit('is not run')\n")
    rewards = [{"use": "verify"}, {"use": "mine.py:f"}, {"use": "yours.py:g"}]
    sources = [{"name": "here.jsonl"}, {"name": "there.jsonl"}]
    asked = {"questions": {"sources": sources}, "reward": rewards, "evaluation.benchmarks": []}
    told = list(_named(tiny_recipe(asked), tmp_path / "recipe.toml"))
    assert told[0] == "reward 'g', use = 'yours.py:g', names a file that does not exist; mend its path."
    assert told[1].startswith("questions.sources.1.name is 'there.jsonl', which is neither a known set nor a path")
    assert len(told) == 2
    sources[1]["name"] = "here.jsonl"
    rewards[2]["use"] = "mine.py:g"
    assert list(_named(tiny_recipe(asked), tmp_path / "recipe.toml")) == []
    short = tiny_recipe({"verifier.reward": "gone.py:f", "evaluation.benchmarks": []})
    assert ["gone.py:f" in each for each in _named(short, tmp_path / "recipe.toml")] == [True]


def test_all_contradictions_are_told(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text(
        '[model]\npath = "m"\n[questions]\nname = "arithmetic"\n[train]\nsteps = 1\n[learner]\nupdates = 3\n'
        '[objective]\ntruncation = "penalise"\n[sampling]\nmemory = 0.4\n'
    )
    said = [each.sentence for each in wrong_with(file)]
    assert len(said) == 3
    assert [
        word for each in said for word in ("learner.updates", "truncation_penalty", "sampling.memory") if word in each
    ]
    with pytest.raises(UserError, match="does not divide the 1024 responses") as caught:
        load_recipe(file)
    assert "truncation" not in str(caught.value)  # a run is told the first


def test_the_first_line_of_a_setting_counts_and_the_nearest_around_it() -> None:
    assert lines_of("a = 1\na = 2\n[b]\n[b]\nc = 1") == {"a": 1, "b": 3, "b.c": 5}
    assert lines_of("a = '''\nb = 1\n'''\nc = '''d'''\ne = 2") == {"a": 1, "c": 4, "e": 5}
    assert line_of({"a": 1}, "a.b.c") == 1
    assert line_of({"a": 1}, "b.c") is None


def test_what_is_no_text_is_told_by_the_check_too(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(
        '[model]\npath = "a\\u0000"\n[questions]\nname = "arithmetic"\n[train]\nsteps = 1\n'
    )
    (wrong,) = wrong_with(tmp_path / "r.toml")
    assert "model.path = 'a\\x00' holds what no text and no file's name can" in wrong.sentence
    with pytest.raises(UserError, match="holds what no text"):
        make_recipe({"model": {"path": "\ud800"}, "questions": {"name": "arithmetic"}, "train": {"steps": 1}})


def test_lines_in_long_texts_are_no_settings() -> None:
    assert lines_of('[a]\nb = """\nc = 1\n"""\nd = 2\n"e.f" . g = 3\n') == {"a": 1, "a.b": 2, "a.d": 5, "a.e.f.g": 6}


@pytest.mark.parametrize("kind", [Recipe, PretrainRecipe])
def test_the_starting_recipe_is_valid_by_the_recipe_and_by_the_schema(kind: type) -> None:
    text = starting_recipe(kind)
    data = tomllib.loads(text)
    kind.model_validate(data)
    assert text.startswith("#:schema file:///")
    jsonschema.Draft7Validator(schema_of(kind)).validate(data)


def test_init_never_writes_over_a_file_unasked(tmp_path: Path) -> None:
    start("recipe", "init", "mine.toml", "--from", "qwen2.5-math-7b", cwd=tmp_path).done()
    assert load_recipe(tmp_path / "mine.toml") == load_recipe("qwen2.5-math-7b")
    before = (tmp_path / "mine.toml").read_text()
    start("recipe", "init", "mine.toml", cwd=tmp_path).refused(
        "mine.toml is there already: give another name, or --force"
    )
    assert (tmp_path / "mine.toml").read_text() == before
    start("recipe", "init", "mine.toml", "--force", cwd=tmp_path).done()
    assert make_recipe(tomllib.loads((tmp_path / "mine.toml").read_text())).questions.name == "math-12k"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.toml"]


def test_of_several_who_write_a_new_file_at_once_one_does(tmp_path: Path) -> None:
    """Whoever comes second is refused, and writes through no link: nothing is looked at before it is written."""
    path, done = tmp_path / "recipe.toml", []

    def write(number: int) -> None:
        with suppress(FileExistsError):
            write_new(path, f"# {number}\n")
            done.append(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(32)))
    assert path.read_text() == f"# {done[0]}\n"
    assert len(done) == 1
    (tmp_path / "link.toml").symlink_to(tmp_path / "elsewhere")
    start("recipe", "init", "link.toml", cwd=tmp_path).refused("link.toml is there already: give another name")
    assert not (tmp_path / "elsewhere").exists()


def test_diff_tells_settings_with_defaults_resolved(tmp_path: Path) -> None:
    said = start("recipe", "diff", "qwen2.5-math-7b", "qwen2.5-1.5b-r1", environment={"COLUMNS": "200"}).done()
    assert [line.split()[0] for line in said.splitlines()[1:]] == [
        "model.path", "questions.name", "template.answer_format", "template.name", "train.steps",
    ]  # fmt: skip
    assert "unset" in said
    start("recipe", "diff", "demo", "miniature-pretrain").refused("of different kinds")


def test_list_and_show() -> None:
    said = start("recipe", "list", environment={"COLUMNS": "300"}).done()
    assert [line.split()[0] for line in said.splitlines()] == names()
    assert "Qwen/Qwen2.5-Math-7B on math-lvl3to5" in said
    assert start("recipe", "show", "demo").done() == find(Path("demo")).read_text()


# ---- what is checked, and what it amounts to


def report_of(path: Path) -> tuple[bool, str]:
    """Whether something is wrong with a recipe, and what `recipe check` prints of it."""
    out = StringIO()
    return report(Console(file=out, width=200), path), out.getvalue()


GOOD = """\
[model]
path = "owner/name"
[questions]
name = "arithmetic"
[template]
name = "chat"
[sampling]
max_new_tokens = 100
[rollout]
prompts = 4
samples = 8
[learner]
updates = 2
[train]
steps = 3
"""


def test_everything_that_a_recipe_names_is_checked_at_once(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text(
        '[model]\npath = "./gone"\n[questions]\nname = "arithmtic"\n[template]\nname = "r2"\n'
        '[objective]\nname = "drgrpo"\n[log]\nsinks = ["tensorbord"]\n[train]\nsteps = 1\n'
        '[evaluation]\nbenchmarks = [{ name = "amcc" }]\n'
    )
    wrong, said = report_of(file)
    assert wrong
    lines = said.splitlines()
    for each in ("tensorbord", "./gone", "drgrpo", "r2", "questions.name is 'arithmtic'"):
        assert sum(each in line for line in lines) == 1, each
    assert "a set of evaluation.benchmarks is 'amcc'" in lines[-1]
    assert len(lines) == 6
    folder = tmp_path / "sets"
    folder.mkdir()
    (folder / "q.jsonl").write_text('{"question": "a?", "answer": 1}\n')
    file.write_text(GOOD.replace('"arithmetic"', f'"q.jsonl"\ndata_dir = "{folder}"'))
    assert report_of(file)[0] is False


def test_what_a_recipe_amounts_to(tmp_path: Path) -> None:
    """3 steps of 4 × 8 responses, 16 to each of 2 updates; a pretraining one of 16 × 128 tokens."""
    file = tmp_path / "r.toml"
    file.write_text(GOOD)
    wrong, said = report_of(file)
    assert not wrong
    first, steps, updates, objective, evaluated = said.splitlines()
    assert first == f"{file}: nothing is wrong."
    assert steps == "  3 steps of 32 responses: 4 questions × 8, each of up to 100 tokens"
    assert updates == "  2 × 16 responses to an optimiser step; learning rate 1e-06, constant"
    assert objective.startswith(f"  dr_grpo {recipe_objective(load_recipe(file)).hash}: ")
    assert evaluated == "  evaluated on nothing"
    file.write_text(GOOD + '[evaluation]\nmax_new_tokens = 50\nbenchmarks = [{ name = "arithmetic", limit = 5 }]\n')
    assert "  evaluated on arithmetic, every 16 steps, of up to 50 tokens" in report_of(file)[1]
    text = '[model]\npath = "owner/name"\n[corpus]\nname = "owner/set"\ntext_column = "text"\n'
    file.write_text(f"{text}[learner]\nrows = 16\nsequence_length = 128\n[train]\nepochs = 1.5\n")
    assert "  1.5 epochs of 2,048 tokens (16 rows × 128); learning rate " in report_of(file)[1]


def test_what_has_to_be_made_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wrong, said = report_of(Path("demo"))
    assert wrong
    assert len(said.splitlines()) == 1
    assert "which are not here: `r1zero recipe prepare demo` makes what is missing" in said


def test_the_worst_of_several_files_is_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(BROKEN)
    (tmp_path / "good.toml").write_text(GOOD)
    command = start("recipe", "check", "good.toml", "bad.toml", "good.toml", cwd=tmp_path)
    assert command.wait() == 1
    assert command.out.count("nothing is wrong") == 2
    start("recipe", "check", cwd=tmp_path).refused("recipe check needs a recipe")


# ---- refusals, and recipes of pretraining


def test_init_makes_folders_and_both_kinds(tmp_path: Path) -> None:
    start("recipe", "init", "a/b/mine.toml", "--pretrain", cwd=tmp_path).done()
    assert read_recipe(tmp_path / "a" / "b" / "mine.toml", PretrainRecipe).train.steps == 1000
    start("recipe", "init", "copy.toml", "--from", "miniature-pretrain", cwd=tmp_path).done()
    assert "pretrain.schema.json" in (tmp_path / "copy.toml").read_text().splitlines()[0]
    (tmp_path / "link.toml").symlink_to("gone.toml")
    for words, says in (
        (["link.toml"], "link.toml is there already"),
        (["mine.json"], "mine.json is not a valid name for a recipe: write one that ends in .toml"),
        (["x.toml", "--from", "demo", "--pretrain"], "leave --pretrain out"),
    ):
        start("recipe", "init", *words, cwd=tmp_path).refused(says)
    assert not (tmp_path / "x.toml").exists()


def test_diff_of_equal_recipes_and_of_a_run(tmp_path: Path) -> None:
    assert "demo and demo say the same." in start("recipe", "diff", "demo", "demo").done()
    run = tmp_path / "demo"  # of that name, in a folder: a run, with its recipe
    run.mkdir()
    (run / "recipe.json").write_text(load_recipe("demo", {"train.steps": 7, "lora.rank": 2}).model_dump_json())
    said = start("recipe", "diff", "demo", "./demo", cwd=tmp_path, environment={"COLUMNS": "200"}).done()
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines()[1:]}
    assert rows["train.steps"] == ["160", "7"]
    assert rows["lora.rank"] == ["unset", "2"]


def test_schema_show_and_prepare_take_what_they_are_for(tmp_path: Path) -> None:
    for words, file in ((["--pretrain"], "pretrain.schema.json"), ([], "recipe.schema.json")):
        assert start("recipe", "schema", *words).done() == (find(Path("demo")).parent / file).read_text()
    (tmp_path / "x.toml").write_text("not = [toml")
    start("recipe", "show", "x.toml", cwd=tmp_path).refused("cannot be parsed")
    start("recipe", "prepare", "dem").refused("'dem' is not a recipe that comes with r1zero: did you mean demo?")
    start("recipe", "prepare", "smollm2-135m-gsm8k").refused(
        "There is nothing to prepare for smollm2-135m-gsm8k here: `py"
    )
    start("recipe", "prepare", "qwen2.5-1.5b-r1").refused("what it names is on the Hub")


def test_the_list_says_what_each_trains_and_needs() -> None:
    said = start("recipe", "list", environment={"COLUMNS": "300"}).done().splitlines()
    lines = {line.split()[0]: line for line in said}
    assert "160 steps of 16 × 8" in lines["demo"]
    assert lines["demo"].endswith("a CPU, minutes")
    assert ": 20000 steps" in lines["llama-3.2-3b-finemath-pretrain"]
    assert ": 2 epochs" in lines["llama-3.2-3b-numinaqa-pretrain"]


MIXED = """[model]
path = "m"

[[questions]]
name = "arithmetic"

[[questions]]
name = "nowhere.jsonl"
weight = 3

[train]
steps = 1
"""


def test_several_sets_are_checked_each_and_by_line(tmp_path: Path) -> None:
    file = tmp_path / "mixed.toml"
    file.write_text(MIXED.replace("weight = 3", "weight = -3"))
    lines = lines_of(file.read_text())
    assert [(each.key, line_of(lines, each.key)) for each in wrong_with(file)] == [("questions.sources.1.weight", 9)]
    file.write_text(MIXED)
    assert wrong_with(file) == []
    command = start("recipe", "check", file, cwd=tmp_path)
    assert command.wait() == 1
    assert "nowhere.jsonl" in command.out
    file.write_text(MIXED.replace("nowhere.jsonl", "asdiv"))
    held = start("recipe", "check", file, cwd=tmp_path)
    held.wait()
    assert "nowhere" not in held.out + held.err
