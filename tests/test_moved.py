"""A run whose model, questions, template or reward have moved goes on to the same bits; with others it does not."""

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from helpers import needs_peft
from r1zero.config import Keeps, Recipe
from r1zero.config.overrides import marked
from r1zero.config.pretrain import PretrainRecipe
from r1zero.errors import UserError
from r1zero.policy.fingerprint import model_fingerprint
from r1zero.pretrain.run import pretrain_run
from r1zero.runs import moved
from r1zero.runs.run import Run
from r1zero.training.train import train
from r1zero.verify.fingerprint import reward_fingerprint
from tiny_runs import random_model, start, sums_of, taught_model, tiny_recipe, untimed

STEPS = 3
SETTINGS = {
    "model.path": "m", "questions.name": "sums.jsonl", "questions.options": {}, "template.name": "t.jinja",
    "template.answer_format": "last_number", "evaluation.benchmarks": [{"name": "sums.jsonl", "limit": 4}],
    "verifier.reward": "grader.py:reward", "sampling.max_new_tokens": 6, "rollout.samples": 2, "checkpoint.every": 1,
    "checkpoint.keep_last": 9,
}  # fmt: skip
LORA = {"lora.rank": 2, "learner.learning_rate": 1e-2}
KL = {"objective.kl": "k3", "objective.kl_coefficient": 0.1}


def lay_out(folder: Path) -> None:
    """What the settings above name."""
    folder.mkdir()
    shutil.copytree(taught_model(), folder / "m")
    rows = [{"question": f"{i}+1=", "answer": str(i + 1)} for i in range(8)]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "t.jinja").write_text("{{ question }}{# #}")
    (folder / "grader.py").write_text("def reward(response, gold):\n    return float(len(response) % 3 == 0)\n")
    program = "import json, sys\nprint(len(json.load(sys.stdin)['response']) % 3 == 0)\n"
    (folder / "told.py").write_text(program.replace("print(", "print(int(").replace("== 0)", "== 0))"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with everything in it."""
    lay_out(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def run_of(out: Path, changes: dict[str, object], *, steps: int = STEPS, resume: bool = False) -> Run:
    return train(tiny_recipe(SETTINGS | changes | {"train.steps": steps}), out, resume=resume)


def move(here: Path) -> dict[str, object]:
    """Move everything to other folders, under other names where those do not matter; where it is now."""
    new = here / "new"
    new.mkdir()
    for old, now in (("m", "model"), ("sums.jsonl", "adding.jsonl"), ("t.jinja", "mine.jinja")):
        (here / old).rename(new / now)
    for kept in ("grader.py", "told.py"):
        (here / kept).rename(new / kept)
    return {
        "model.path": str(new / "model"), "questions.name": "new/adding.jsonl", "template.name": "new/mine.jinja",
        "evaluation.benchmarks": [{"name": "new/adding.jsonl", "limit": 4}], "verifier.reward": "new/grader.py:reward",
    }  # fmt: skip


def test_every_marked_place_has_a_proof() -> None:
    assert {*marked(Recipe, Keeps.PLACE), *marked(PretrainRecipe, Keeps.PLACE)} == moved.PLACES.keys()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        KL,
        KL | {"objective.reference": "m"},
        pytest.param(LORA | KL, marks=needs_peft),
        {"verifier.reward": "cmd: python told.py"},
    ],
    ids=["full", "kl", "reference", "lora", "command"],
)
def test_a_run_whose_files_moved_ends_with_the_same_bits(here: Path, changes: dict[str, object]) -> None:
    whole = run_of(here / "whole", changes)
    cut = run_of(here / "cut", changes, steps=1)
    places = move(here)
    if "objective.reference" in changes:
        places["objective.reference"] = places["model.path"]
    if "verifier.reward" in changes:
        places["verifier.reward"] = "cmd: python new/told.py"
    run_of(cut.path, changes | places, steps=2, resume=True)
    [note] = [row["note"] for row in cut.read("notes")]
    assert note.startswith("the same lies elsewhere, by its fingerprint: ")
    for name in places:
        assert f"{name} = " in note
    assert not list(cut.path.glob("aside-*"))
    train(cut.read_recipe(Recipe, {"train.steps": STEPS}), cut.path, resume=True)  # it knows by itself now
    assert len(cut.read("notes")) == 1
    assert sums_of(cut.path / "checkpoints/step-000003") == sums_of(whole.path / "checkpoints/step-000003")
    assert untimed(cut.read("metrics")) == untimed(whole.read("metrics"))
    kept = {row["step"]: row for row in whole.read("evaluations")}
    assert all(row == kept[row["step"]] for row in cut.read("evaluations") if row["step"] in kept)
    last = json.loads((cut.path / "checkpoints/step-000001/complete.json").read_text())
    assert last["score"] is not None  # the benchmark is what it was


OTHERS = {
    "model.path": ("weights", KL),
    "objective.reference": ("weights", KL | {"objective.reference": "m"}),
    "questions.name": ("fingerprint", {}),
    "template.name": ("fingerprint", {}),
    "verifier.reward": ("fingerprint", {}),
}


@pytest.mark.parametrize("setting", OTHERS)
def test_another_thing_at_the_new_place_is_refused_by_name(here: Path, setting: str) -> None:
    differs, changes = OTHERS[setting]
    run = run_of(here / "run", changes, steps=1)
    places = move(here) | ({"objective.reference": "new/model"} if "objective.reference" in changes else {})
    shutil.copytree(random_model(), here / "random")
    (here / "wrong").mkdir()
    for name in ("adding.jsonl", "mine.jinja", "grader.py"):
        (here / "wrong" / name).write_text((here / "new" / name).read_text().replace("3", "4").replace("{{", "Now {{"))
    wrong = {
        "model.path": "random", "objective.reference": "random", "questions.name": "wrong/adding.jsonl",
        "template.name": "wrong/mine.jinja", "verifier.reward": "wrong/grader.py:reward",
    }  # fmt: skip
    before = (run.path / "recipe.json").read_bytes()
    with pytest.raises(UserError, match=f"^{setting} = .* does not hold what .*run was started with at .*{differs}"):
        run_of(run.path, changes | places | {setting: wrong[setting]}, resume=True)
    assert (run.path / "recipe.json").read_bytes() == before
    assert not (run.path / "notes.jsonl").exists()
    run_of(run.path, changes | places, steps=2, resume=True)


def test_what_is_gone_is_told_with_a_remedy_that_works(here: Path) -> None:
    run = run_of(here / "run", KL | {"objective.reference": "m"}, steps=1)
    places = move(here) | {"objective.reference": "new/model"}
    given: list[str] = []
    for _ in places:
        said = start("train", run.path, "--resume", "--train.steps=2", *given, cwd=here)
        assert said.wait() == 2
        setting = next(name for name in places if said.err.startswith(f"r1zero: {name} names "))
        assert f"put it back, or write --{setting} " in said.err
        assert f"looked for from {here}" in said.err
        if setting == "evaluation.benchmarks":
            assert "'[{ name = \"NEW\", limit = 4 }]'" in said.err
            given += ["--evaluation.benchmarks", '[{ name = "new/adding.jsonl", limit = 4 }]']
        else:
            given += [f"--{setting}", str(places[setting])]
        if setting == "objective.reference":
            break
    rest = {name: value for name, value in places.items() if f"--{name}" not in given and name != "model.path"}
    assert set(rest) <= {"questions.name", "template.name", "evaluation.benchmarks", "verifier.reward"}
    for name, value in rest.items():
        given += [f"--{name}", value if isinstance(value, str) else '[{ name = "new/adding.jsonl", limit = 4 }]']
    start("train", run.path, "--resume", "--train.steps=2", *given, cwd=here).done()  # model.path is read no more


@needs_peft
def test_a_run_goes_on_from_another_working_directory(here: Path, tmp_path: Path) -> None:
    whole = run_of(here / "whole", LORA, steps=2)
    cut = run_of(here / "cut", LORA, steps=1)
    (tmp_path / "there").mkdir()
    start("train", "../here/cut", "--resume", "--train.steps=2", cwd=tmp_path / "there").done()
    assert sums_of(cut.path / "checkpoints/step-000002") == sums_of(whole.path / "checkpoints/step-000002")
    lay_out(tmp_path / "other")  # the same names, and one of other contents
    (tmp_path / "other" / "sums.jsonl").write_text('{"question": "1+1=", "answer": "2"}\n' * 8)
    again = run_of(here / "again", LORA, steps=1)
    start("train", again.path, "--resume", "--train.steps=2", cwd=tmp_path / "other").refused("questions fingerprint")


@needs_peft
def test_a_model_that_was_changed_in_its_place_is_noticed(here: Path) -> None:
    run = run_of(here / "run", LORA, steps=1)
    config = json.loads((here / "m/generation_config.json").read_text())
    (here / "m/generation_config.json").write_text(json.dumps(config | {"top_k": 5}))
    with pytest.raises(
        UserError, match=r"^model\.path = \"m\" does not hold what .*run was started .*differs \(config\)"
    ):
        run_of(run.path, LORA, steps=2, resume=True)


@needs_peft
def test_a_run_without_a_fingerprint_says_so_and_a_link_is_the_remedy(here: Path) -> None:
    run = run_of(here / "run", LORA, steps=1)
    facts = json.loads((run.path / "run.json").read_text())
    for name in ("model_fingerprint", "places", "benchmarks"):
        del facts[name]
    (run.path / "run.json").write_text(json.dumps(facts))
    (here / "m").rename(here / "n")
    with pytest.raises(UserError, match=r"nothing proves that the model is the same: put it back .* or a link to it"):
        run_of(run.path, LORA | {"model.path": "n"}, steps=2, resume=True)
    (here / "m").symlink_to("n")
    run_of(run.path, LORA, steps=2, resume=True)


@needs_peft
def test_adapters_whose_model_moved_are_evaluated_once_the_run_or_a_link_tells_where_it_is(here: Path) -> None:
    run = run_of(here / "run", LORA, steps=2)
    (here / "m").rename(here / "n")
    first = [run.path / "checkpoints/step-000001", "-b", "arithmetic", "--limit", "2", "--template", "no"]
    start("evaluate", *first, cwd=here).refused(f"belong to the model at {here / 'm'}, which is not there: put it back")
    (here / "m").symlink_to("n")
    start("evaluate", *first, cwd=here).done()
    (here / "m").unlink()
    run_of(run.path, LORA | {"model.path": str(here / "n")}, steps=3, resume=True)
    start("evaluate", *first, cwd=here).done()
    start("audit", "--run", run.path, "--step", "2", cwd=here).done()
    (here / "n").rename(here / "o")
    shutil.copytree(random_model(), here / "n")  # another model where the run says that its own is
    start("evaluate", *first, cwd=here).refused("belong to the model at")


def test_a_step_is_replayed_from_another_working_directory(here: Path, tmp_path: Path) -> None:
    run = run_of(here / "run", KL, steps=1)
    (tmp_path / "there").mkdir()
    words = ["audit", "--run", run.path, "--step", "1"]
    found = start(*words, cwd=tmp_path / "there").done()
    assert found.replace(f"{here}/", "") == start(*words, cwd=here).done()  # the weights' place is told


@needs_peft
def test_adapters_whose_model_is_gone_are_one_sentence_in_an_audit(here: Path) -> None:
    run = run_of(here / "run", LORA, steps=2)
    (here / "m").rename(here / "n")
    start("audit", "--run", run.path, "--step", "2", cwd=here).refused("belong to the model at")


def test_other_benchmarks_are_still_another_course(here: Path) -> None:
    run = run_of(here / "run", {}, steps=1)
    (here / "more.jsonl").write_text('{"question": "2+2=", "answer": "4"}\n' * 4)
    run_of(run.path, {"evaluation.benchmarks": [{"name": "more.jsonl", "limit": 4}]}, steps=2, resume=True)
    [note] = [row["note"] for row in run.read("notes")]
    assert note.startswith("from here on with evaluation.benchmarks")
    assert any("eval/more/accuracy" in row for row in run.read("evaluations"))
    run_of(run.path, {"evaluation.benchmarks": [{"name": "more.jsonl", "limit": 4}]}, steps=3, resume=True)
    assert "eval/more/accuracy" in run.read("evaluations")[-1]


def test_questions_may_still_be_found_in_a_data_folder(here: Path) -> None:
    run = run_of(here / "run", {}, steps=1)
    (here / "data").mkdir()
    (here / "sums.jsonl").rename(here / "data/sums.jsonl")
    run_of(run.path, {"questions.data_dir": "data"}, steps=2, resume=True)


def test_a_module_that_is_not_found_from_here_is_told_with_a_remedy(here: Path, tmp_path: Path) -> None:
    run = run_of(here / "run", {"verifier.reward": "grader:reward"}, steps=1)
    (tmp_path / "there").mkdir()
    again = ["train", run.path, "--resume", "--train.steps", "2"]
    start(*again, cwd=tmp_path / "there").refused("write --verifier.reward with the path of its file")
    start(*again, f"--verifier.reward={here / 'grader.py'}:reward", cwd=tmp_path / "there").done()


def test_whose_code_is_about_to_run_is_said_of_the_file_that_does(here: Path, tmp_path: Path) -> None:
    run = run_of(here / "run", {}, steps=1)
    facts = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps(facts | {"maker": "somebody"}))
    (tmp_path / "there").mkdir()
    said = start("train", run.path, "--resume", "--train.steps=2", cwd=tmp_path / "there").done()
    assert f"reward in {here / 'grader.py'}" in said.replace("\n", " ")


# ---- fingerprints


def test_a_models_fingerprint_is_of_what_is_loaded(tmp_path: Path) -> None:
    shutil.copytree(taught_model(), tmp_path / "one")
    mark = model_fingerprint(str(tmp_path / "one"))
    assert mark == model_fingerprint(str(taught_model()))
    assert mark
    assert None not in mark.values()
    (tmp_path / "one/README.md").write_text("mine")
    (tmp_path / "one/training_state.pt").write_text("")
    assert model_fingerprint(str(tmp_path / "one")) == mark
    for part, name in (("config", "config.json"), ("tokenizer", "tokenizer.json"), ("weights", "model.safetensors")):
        shutil.rmtree(tmp_path / "two", ignore_errors=True)
        shutil.copytree(taught_model(), tmp_path / "two")
        with (tmp_path / "two" / name).open("ab") as file:
            file.write(b" ")
        other = model_fingerprint(str(tmp_path / "two"))
        assert other
        assert [each for each in mark if mark[each] != other[each]] == [part]
    assert model_fingerprint(str(tmp_path)) == {"config": None, "tokenizer": None, "weights": None}
    assert model_fingerprint(str(tmp_path / "nowhere")) is None
    (tmp_path / "two/model.safetensors").rename(tmp_path / "weights.safetensors")
    index = {"weight_map": {"a": "../weights.safetensors"}}
    (tmp_path / "two/model.safetensors.index.json").write_text(json.dumps(index))
    assert model_fingerprint(str(tmp_path / "two")) is None


def test_a_model_of_the_hub_has_the_fingerprint_of_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository, commit = tmp_path / "models--owner--tiny", "0" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(commit)
    (repository / "blobs").mkdir()
    (repository / "snapshots" / commit).mkdir(parents=True)
    for number, path in enumerate(sorted(taught_model().iterdir())):
        shutil.copy(path, repository / "blobs" / str(number))
        (repository / "snapshots" / commit / path.name).symlink_to(f"../../blobs/{number}")
    assert model_fingerprint("owner/tiny") == model_fingerprint(str(taught_model()))
    assert model_fingerprint("owner/tiny", commit) == model_fingerprint(str(taught_model()))
    assert model_fingerprint("owner/tiny", "1" * 40) is None
    assert model_fingerprint("owner/other") is None


@needs_peft
def test_adapters_have_the_fingerprint_of_both_and_not_of_the_place(here: Path) -> None:
    run = run_of(here / "run", LORA, steps=1)
    folder = run.path / "checkpoints/step-000001"
    mark = model_fingerprint(str(folder))
    assert mark
    assert None not in mark.values()
    shutil.copytree(folder, here / "copy")
    (here / "m").rename(here / "n")
    assert model_fingerprint(str(folder)) is None
    settings = json.loads((here / "copy/adapter_config.json").read_text())
    (here / "copy/adapter_config.json").write_text(json.dumps(settings | {"base_model_name_or_path": str(here / "n")}))
    assert model_fingerprint(str(here / "copy")) == mark
    shutil.rmtree(here / "n")
    shutil.copytree(random_model(), here / "n")
    other = model_fingerprint(str(here / "copy"))
    assert other
    assert other["weights"] != mark["weights"]


def test_a_command_is_the_same_wherever_its_files_lie(here: Path) -> None:
    mark = reward_fingerprint("cmd: python told.py --strict")
    (here / "b").mkdir()
    shutil.copy(here / "told.py", here / "b/told.py")
    moved_there = "cmd: python b/told.py --strict"
    assert reward_fingerprint(moved_there) != mark
    assert reward_fingerprint(moved_there, called="cmd: python told.py --strict") == mark
    assert reward_fingerprint("cmd: python b/told.py --lax", called="cmd: python told.py --strict") != mark
    assert reward_fingerprint("cmd: python b/told.py", called="cmd: python told.py --strict") != mark
    assert reward_fingerprint(f"{moved_there} --more", called="cmd: python told.py --strict") != mark
    (here / "b/told.py").write_text("print(1)")
    assert reward_fingerprint(moved_there, called="cmd: python told.py --strict") != mark


# ---- pretraining


@pytest.mark.parametrize("from_scratch", [False, True])
def test_a_pretraining_run_whose_corpus_and_model_moved_goes_on(here: Path, from_scratch: bool) -> None:
    (here / "texts.jsonl").write_text("".join(json.dumps({"text": f"{i} + 1 = {i + 1}"}) + "\n" for i in range(8)))

    def recipe(steps: int, path: str = "m", corpus: str = "texts.jsonl") -> PretrainRecipe:
        settings = {
            "model": {"path": path, "device": "cpu", "from_scratch": from_scratch},
            "corpus": {"name": corpus, "text_column": "text"},
            "learner": {"sequence_length": 16, "rows": 2, "schedule": "constant"},
            "train": {"steps": steps, "threads": 1}, "checkpoint": {"every": 1},
        }  # fmt: skip
        return PretrainRecipe.model_validate(settings)

    whole = pretrain_run(recipe(3), here / "whole")
    cut = pretrain_run(recipe(1), here / "cut")
    (here / "m").rename(here / "n")
    (here / "texts.jsonl").rename(here / "lines.jsonl")
    with pytest.raises(UserError, match=r"^corpus\.name names texts\.jsonl, .* write --corpus\.name NEW"):
        pretrain_run(recipe(2), cut.path, resume=True)
    pretrain_run(recipe(2, corpus="lines.jsonl"), cut.path, resume=True)
    pretrain_run(recipe(3, "n", "lines.jsonl"), cut.path, resume=True)
    assert sums_of(cut.path / "checkpoints/step-000003") == sums_of(whole.path / "checkpoints/step-000003")
    assert len([row for row in cut.read("notes") if "the same lies elsewhere" in row["note"]]) == 2
    shutil.copytree(random_model(), here / "o")
    if not from_scratch:
        with pytest.raises(UserError, match=r"^model\.path = \"o\" does not hold .* differs \(weights\)"):
            pretrain_run(recipe(4, "o", "lines.jsonl"), cut.path, resume=True)
    (here / "lines.jsonl").write_text((here / "lines.jsonl").read_text().replace("1", "2"))
    with pytest.raises(UserError, match=r"^corpus\.name = \"lines\.jsonl\" does not hold what .* was started with"):
        pretrain_run(recipe(4, "n", "lines.jsonl"), cut.path, resume=True)
