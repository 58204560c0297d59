"""Where a run from Python or by the command lies, which recipe it has, and what of an objective is a setting."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import r1zero
from r1zero import Objective
from r1zero.api.objects import Objects
from r1zero.api.train import _run_directory, resolved
from r1zero.config import Recipe, make_recipe
from r1zero.config.pretrain import PretrainRecipe
from r1zero.errors import UserError
from r1zero.objectives.table import TABLE
from r1zero.runs.chosen import chosen, default_out, is_folder, named
from r1zero.training.given import Given
from tiny_runs import taught_model, tiny_recipe, trained

ROW = {"question": "1+1=", "answer": 2}


# ---- objectives


def test_an_objective_is_a_name_or_its_constants() -> None:
    """Of a row of the table its name; of another, whatever it is called, all that a recipe has settings for."""

    def settings(objective: str | Objective) -> dict[str, object]:
        return Objects.of(None, None, None, objective).settings(Path("out"))

    assert settings("grpo") == settings(TABLE["grpo"]) == {"objective.name": "grpo"}
    assert settings(Objective("grpo", clip_high=0.28)) == {"objective.name": "own:grpo", "objective.clip_high": 0.28}
    assert settings(Objective("mine", ratio="sequence", note="mine")) == {"objective.name": "own:mine"}
    constants: dict[str, Any] = {
        "clip_low": 0.1, "clip_high": 0.3, "dual_clip": 3.0, "constant": 64.0, "kl": "k3", "kl_coefficient": 0.01,
        "entropy": 0.02, "importance_cap": 2.0, "gamma": 0.9, "lam": 0.8, "chunks": 3,
    }  # fmt: skip
    assert settings(Objective("mine", **constants)) == {"objective.name": "own:mine"} | {
        f"objective.{name}": value for name, value in constants.items()
    }


def test_an_objective_that_no_recipe_names_is_the_programs_own() -> None:
    for given, own in (
        ("grpo", False),
        (TABLE["grpo"], False),
        (replace(TABLE["grpo"], clip_high=0.28), True),
        (Objective("mine"), True),
    ):
        objects = Objects.of(None, None, None, given)
        assert objects.own == (given if own else None)
        assert objects.told() == ({"objective": given.formula} if isinstance(given, Objective) and own else {})


def test_a_model_by_its_name_is_named_and_one_that_is_given_lies_in_the_run() -> None:
    model = AutoModelForCausalLM.from_pretrained(taught_model())
    for given, path in (("org/name", "org/name"), (Path("a/b"), "a/b"), (model, "out/model")):
        assert Objects.of(given, None, None, None).settings(Path("out")) == {"model.path": path}
    told = Objects.of(model, None, [ROW], None).told()
    assert told == {
        "model": "LlamaForCausalLM, kept as it was in model/", "questions": "1 row, kept in questions.jsonl"
    }  # fmt: skip


def test_run_json_says_nothing_of_objects_where_there_were_none() -> None:
    assert Given().facts == {}
    assert Given(told={"model": "M"}).facts == {"objects": {"model": "M"}}


def test_under_lora_a_model_object_stays_as_it_was(tmp_path: Path) -> None:
    """Its weights were not trained: adapters were, which are in the checkpoints."""
    place = taught_model()
    model, tokenizer = AutoModelForCausalLM.from_pretrained(place), AutoTokenizer.from_pretrained(place)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    settings = {"lora.rank": 2, "train.steps": 1, "learner.learning_rate": 1e-2, "evaluation.every": 9}
    run = r1zero.train(tiny_recipe(), tmp_path / "run", model=model, tokenizer=tokenizer, **settings)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert (run.path / "checkpoints" / "step-000001" / "adapter_config.json").exists()


# ---- where and which


def test_a_run_without_a_place_takes_the_first_free_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _run_directory(None, None, False) == Path("runs/run-1")
    for n in (*range(1, 11), 12):
        (tmp_path / "runs" / f"run-{n}").mkdir(parents=True)
    assert _run_directory({}, None, False) == Path("runs/run-11")
    assert _run_directory({}, "elsewhere", False) == Path("elsewhere")


def test_a_folder_by_a_recipes_name_is_meant_where_a_run_of_it_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    (tmp_path / "mine").mkdir()
    assert not is_folder(Path("demo"), resume=True)
    (tmp_path / "demo" / "run.json").write_text("{}")
    assert [is_folder(Path("demo"), resume=resume) for resume in (True, False)] == [True, False]
    assert [is_folder(Path("mine"), resume=resume) for resume in (True, False)] == [True, True]
    assert not is_folder(Path("arithmetic"), resume=True)
    assert _run_directory("demo", None, True) == Path("demo")
    assert _run_directory("mine", None, False) == Path("runs/mine")
    assert _run_directory("mine", None, True) == Path("mine")


def test_a_run_that_an_older_version_put_beside_its_inputs_stays_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_out(Path("demo")) == Path("runs/demo-train")
    assert default_out(Path("arithmetic")) == Path("runs/arithmetic")
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    assert default_out(Path("demo")) == Path("runs/demo-train")
    (tmp_path / "runs" / "demo" / "run.json").write_text("{}")
    assert default_out(Path("demo")) == Path("runs/demo")


def test_a_recipe_of_the_other_kind_or_without_its_inputs_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for kind, name, sentence in (
        (Recipe, "miniature-pretrain", "miniature-pretrain is a recipe of pretraining, with a section [corpus]: give "
         "it to `r1zero pretrain`."),
        (PretrainRecipe, "demo", "demo is a recipe of training, with a section [questions]: give it to `r1zero "
         "train`."),
        (Recipe, "arithmetic", "The recipe arithmetic names models/arithmetic-base, which is not here: `r1zero recipe "
         "prepare arithmetic` makes what is missing."),
        (Recipe, "demo", "The recipe demo names runs/demo/base, runs/demo/world/wide.questions.jsonl and "
         "runs/demo/world/test.questions.jsonl, which are not here: `r1zero recipe prepare demo` makes what is "
         "missing."),
    ):  # fmt: skip
        with pytest.raises(UserError) as caught:
            named(kind, Path(name), {})
        assert str(caught.value) == sentence
    assert named(Recipe, Path("arithmetic"), {"model.path": "elsewhere"}).model.path == "elsewhere"


def test_a_run_is_resumed_with_its_own_recipe_and_what_is_changed(tmp_path: Path) -> None:
    run, changes = trained().path, {"train.steps": 9}
    assert [place for _, place in (chosen(Recipe, run, {}, out, resume=True) for out in (None, tmp_path))] == [
        run, tmp_path
    ]  # fmt: skip
    recipe, _ = chosen(Recipe, run, changes, None, resume=True)
    assert recipe == tiny_recipe(changes)
    with pytest.raises(UserError, match="is a directory, not a recipe; to continue the run there, add --resume"):
        chosen(Recipe, run, {}, None, resume=False)
    for given in (None, run, str(run)):
        assert resolved(given, changes, run, resume=True) == tiny_recipe(changes)
    for given in (tiny_recipe(), tiny_recipe().model_dump(mode="json")):  # says all anew, as a recipe's file does
        assert resolved(given, {"train.steps": 5}, run, resume=True) == tiny_recipe({"train.steps": 5})
    with pytest.raises(UserError, match=r"is a directory, not a recipe; .* give resume=True"):
        resolved(run, {}, tmp_path / "new", resume=False)
    assert resolved(None, {"model.path": "m", "questions.name": "q", "train.steps": 1}, tmp_path, False) == make_recipe(
        {"model": {"path": "m"}, "questions": {"name": "q"}, "train": {"steps": 1}}
    )


def test_a_step_to_go_on_from_is_taken_or_refused(tmp_path: Path) -> None:
    run = r1zero.train(tiny_recipe({"train.steps": 2, "evaluation.every": 9}), tmp_path / "run")
    known = run.rollouts(2)["response_ids"]
    with pytest.raises(UserError, match=r"[ =]7\b"):
        r1zero.train(run.path, from_step=7)
    again = r1zero.train(run.path, from_step=0, **{"train.steps": 1})
    assert again.read("metrics")[-1]["step"] == 1
    assert r1zero.train(run.path, from_step=1, **{"train.steps": 2}).rollouts(2)["response_ids"] == known


# ---- measuring


def test_sizes_of_groups_are_measured_in_order_once_and_within_bounds() -> None:
    found = r1zero.measure_bias("dr_grpo", "grpo", group_sizes=(3, 2, 3))
    assert [(each.group_size, each.objective) for each in found] == [
        (2, "dr_grpo"), (2, "grpo"), (3, "dr_grpo"), (3, "grpo")
    ]  # fmt: skip
    for size in (1, 11, 2.5):
        with pytest.raises(UserError, match=rf"group_sizes holds {size}, .* write numbers from 2 to 10"):
            r1zero.measure_bias("dr_grpo", group_sizes=[2, size])  # type: ignore[list-item]
    with pytest.raises(UserError, match="No objective is called 'gpro'"):
        r1zero.measure_bias("gpro")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"questions": [ROW]}, "questions= of check_invariance is a name or a path: save the rows as a file"),
        ({"questions": "nowhere.jsonl"}, r"nowhere\.jsonl"),
        ({"objective": "gpro"}, "gpro"),
        ({"train.stepps": 1}, "stepps"),
    ],
)
def test_what_cannot_be_split_is_one_sentence(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        r1zero.check_invariance(tiny_recipe(), **given)
