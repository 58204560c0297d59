"""The face for programs: a model object, own questions, a watcher that stops; the run is the command's run."""

import importlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

import r1zero
from r1zero import Control, Objective, Question, Run, View
from r1zero.api.rewards import importable
from r1zero.api.train import _run_directory
from r1zero.errors import UserError
from r1zero.objectives.table import TABLE
from regime import SEED, THREADS
from tiny_runs import random_model, taught_model, tiny_recipe, trained

SUMS = [{"question": f"{a}+{b}=", "answer": a + b, "kind": "sum"} for a in range(4) for b in range(4)]
SMALL: dict[str, Any] = {
    "template": {"name": "no", "answer_format": "last_number"},
    "sampling": {"max_new_tokens": 16},
    "rollout": {"prompts": 4, "samples": 4},
    "learner": {"learning_rate": 5e-4, "autocast": "off"},
    "verifier": {"workers": 1, "timeout_s": 60},
    "checkpoint": {"every": 2},
    "train": {"steps": 2, "seed": SEED, "threads": THREADS},
    "model": {"device": "cpu"},
}


def loaded(folder: Path | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    place = folder or taught_model()
    return AutoModelForCausalLM.from_pretrained(place), AutoTokenizer.from_pretrained(place)


def weights(model: PreTrainedModel) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# ---- the same engine


def test_a_recipe_by_the_face_is_the_run_of_the_loop(tmp_path: Path) -> None:
    recipe = tiny_recipe()
    by_mapping = r1zero.train(recipe.model_dump(mode="json"), tmp_path / "mapping")
    by_object = r1zero.train(recipe, tmp_path / "object")
    for run in (by_mapping, by_object):
        assert run.responses(3) == [{**row, "grade_seconds": known["grade_seconds"]} for row, known in
                                    zip(trained().responses(3), run.responses(3), strict=True)]  # fmt: skip
        assert run.metrics()["learn/gain"] == trained().metrics()["learn/gain"]


def test_settings_are_given_by_dotted_names_and_by_section(tmp_path: Path) -> None:
    run = r1zero.train(tiny_recipe(), tmp_path / "run", train={"steps": 1}, **{"rollout.samples": 2})
    assert run.recipe.train.steps == 1
    assert run.recipe.train.seed == SEED  # a section leaves its other settings alone
    assert run.rollouts().num_rows == 4 * 2


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"steps": 5}, r'steps= is not a parameter of train.*write \*\*{"train.steps": …}'),
        ({"nonsense": 5}, r'nonsense= is not a parameter.*such as \*\*{"train.steps": 20}'),
        ({"train.stepps": 5}, "stepps"),
        ({"questions": 7}, "questions= is a int, which is not a valid set of questions"),
        ({"questions": []}, "questions= holds no questions"),
        ({"questions": ["2+2="]}, r"questions=\[0\] is a str, not a row"),
        ({"watch": 7}, "watch = 7 is not a valid watcher"),
        ({"watch": lambda: None}, "is not a valid function to watch with"),
        ({"tokenizer": object()}, "tokenizer= belongs to a model object"),
        ({"objective": "own:mine"}, "is of functions of a program's own: give them again"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        r1zero.train(tiny_recipe(), tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists() or not [p for p in (tmp_path / "run").iterdir() if p.name[0] != "."]


def test_a_run_needs_a_place_to_be_resumed() -> None:
    with pytest.raises(UserError, match="resume= needs the run directory"):
        r1zero.train(tiny_recipe(), resume=True)


def test_runs_without_a_name_take_the_next_that_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "run-1").mkdir(parents=True)
    assert r1zero.train(tiny_recipe({"train.steps": 0})).path == Path("runs/run-2")


def test_a_recipe_by_name_goes_where_the_command_puts_it() -> None:
    """A version number is no suffix, and what a shipped recipe's inputs lie in is no run's directory."""
    assert _run_directory("qwen2.5-1.5b-r1", None, False) == Path("runs/qwen2.5-1.5b-r1")
    assert _run_directory("demo", None, False) == Path("runs/demo-train")
    assert _run_directory("mine/demo.toml", None, False) == Path("runs/demo")


# ---- objects


def test_a_model_object_is_trained_as_its_folder_is(tmp_path: Path) -> None:
    model, tokenizer = loaded()
    before = weights(model)
    run = r1zero.train(SMALL, tmp_path / "object", model=model, tokenizer=tokenizer, questions=SUMS)
    path = r1zero.train(SMALL, tmp_path / "path", model=taught_model(), questions=SUMS)
    assert run.rollouts()["response_ids"] == path.rollouts()["response_ids"]
    assert not same(weights(model), before)
    last, _ = loaded(run.path / "checkpoints" / "step-000002")
    assert same(weights(model), weights(last))
    kept, _ = loaded(run.path / "model")
    assert same(weights(kept), before)  # as it was
    assert run.facts["objects"]["model"] == "LlamaForCausalLM, kept as it was in model/"


def test_a_run_of_objects_resumes_with_and_without_them(tmp_path: Path) -> None:
    """As a program and as the command would: all but functions lies in the run's directory."""
    whole = r1zero.train(SMALL, tmp_path / "whole", model=taught_model(), questions=SUMS, **{"train.steps": 4})
    model, tokenizer = loaded()
    for name, again in (("with", {"questions": SUMS, "model": model, "tokenizer": tokenizer}), ("without", {})):
        first, _ = loaded()
        out = tmp_path / name
        r1zero.train(SMALL, out, model=first, tokenizer=tokenizer, questions=SUMS, **{"train.steps": 2})
        run = r1zero.train(out, resume=True, **{"train.steps": 4}, **again)
        assert run.rollouts(4)["response_ids"] == whole.rollouts(4)["response_ids"]
    last, _ = loaded(tmp_path / "with" / "checkpoints" / "step-000004")
    assert same(weights(model), weights(last))
    with pytest.raises(UserError, match="questions= are not those that stand in"):
        r1zero.train(tmp_path / "with", resume=True, questions=SUMS[:-1], **{"train.steps": 4})


def test_questions_of_every_shape_are_the_same_questions(tmp_path: Path) -> None:
    shapes: dict[str, Any] = {
        "rows": SUMS,
        "objects": [Question(str(i), row["question"], (str(row["answer"]),)) for i, row in enumerate(SUMS)],
        "dataset": datasets.Dataset.from_list(SUMS),
        "generator": (row for row in SUMS),
    }
    runs = {
        name: r1zero.train(SMALL, tmp_path / name, model=random_model(), questions=questions, **{"train.steps": 1})
        for name, questions in shapes.items()
    }
    for run in runs.values():
        assert run.rollouts()["gold"] == runs["rows"].rollouts()["gold"]
        assert run.rollouts()["response_ids"] == runs["rows"].rollouts()["response_ids"]


def test_what_was_put_there_goes_again_where_no_run_comes_of_it_and_nothing_else(tmp_path: Path) -> None:
    model, tokenizer = loaded()
    out = tmp_path / "run"
    with pytest.raises(UserError, match="level"):
        r1zero.train(
            SMALL, out, model=model, tokenizer=tokenizer, questions="arithmetic", **{"questions.options": {"level": 99}}
        )
    assert not out.exists()
    (out / "model").mkdir(parents=True)
    (out / "model" / "mine").write_text("mine")
    with pytest.raises(UserError, match="model is there, and no run that it belongs to"):
        r1zero.train(SMALL, out, model=model, tokenizer=tokenizer, questions=SUMS)
    assert (out / "model" / "mine").read_text() == "mine"
    assert not (out / "questions.jsonl").exists()
    before = weights(model)
    r1zero.train(SMALL, tmp_path / "whole", model=model, tokenizer=tokenizer, questions=SUMS)
    with pytest.raises(UserError, match="already holds a run; give resume=True"):
        r1zero.train(SMALL, tmp_path / "whole", model=loaded()[0], tokenizer=tokenizer, questions=SUMS)
    assert same(weights(loaded(tmp_path / "whole" / "model")[0]), before)


def test_several_sets_are_mixed_by_weight(tmp_path: Path) -> None:
    """Three to one, by the schedule of `[[questions]]`."""
    others = [{"question": f"{a}-{b}=", "answer": a - b} for a in range(4) for b in range(4)]
    both = [(SUMS, 3), (datasets.Dataset.from_list(others), 1)]
    run = r1zero.train(SMALL, tmp_path / "run", model=random_model(), questions=both, **{"train.steps": 2})
    asked = [row["question"] for row in run.rollouts().to_pylist()[::4]]
    assert sum("-" in each for each in asked) == 2
    assert [each["name"] for each in run.facts["sources"]] == ["questions-1", "questions-2"]
    assert run.facts["objects"]["questions"] == "16 rows, kept in questions-1.jsonl; 16 rows, kept in questions-2.jsonl"
    assert run.metrics()["source/questions-2/share"].to_pylist() == [0.25, 0.25]
    for wrong in ([(SUMS, 3), (others, "1")], [(SUMS, 3, 1)]):
        with pytest.raises(UserError, match=r"is not a valid source: write a pair of a set and its weight"):
            r1zero.train(SMALL, tmp_path / "other", model=random_model(), questions=wrong)


# ---- watching


def test_a_function_is_told_every_step(tmp_path: Path) -> None:
    seen: list[tuple[int, float]] = []
    run = r1zero.train(tiny_recipe(), tmp_path / "run", watch=lambda step, m: seen.append((step, m["rollout/reward"])))
    assert seen == [(row["step"], row["rollout/reward"]) for row in run.read("metrics")]


def test_a_watcher_logs_evaluates_saves_and_stops_and_the_run_goes_on(tmp_path: Path) -> None:
    def steer(step: int, control: Control, run: Run) -> None:
        control.log(halves=step / 2)
        if step == 1:
            control.save()
            assert run.path == tmp_path / "run"
        if step == 3:
            control.evaluate()
        if step == 5:
            control.stop()

    settings = {"train.steps": 9, "checkpoint.every": 100, "checkpoint.keep_last": 9, "evaluation.every": 100}
    run = r1zero.train(tiny_recipe(), tmp_path / "run", watch=steer, **settings)
    assert [row["watch/halves"] for row in run.read("metrics")] == [0.5, 1.0, 1.5, 2.0, 2.5]
    assert run.evaluations()["step"].to_pylist() == [0, 3, 5]
    saved = sorted(path.name for path in (run.path / "checkpoints").glob("step-*"))
    assert {"step-000001", "step-000005"} <= set(saved)
    on = r1zero.train(run.path, resume=True, **{"train.steps": 6})
    whole = r1zero.train(tiny_recipe(), tmp_path / "whole", **(settings | {"train.steps": 6}))
    assert on.rollouts(6)["response_ids"] == whole.rollouts(6)["response_ids"]
    assert on.metrics()["watch/halves"].to_pylist() == [0.5, 1.0, 1.5, 2.0, 2.5, None]


def test_several_watch_and_views_are_told_all(tmp_path: Path) -> None:
    class Counting(View):
        responses = steps = evaluations = 0

        def sampled(self, completion: object) -> None:
            self.responses += 1

        def stepped(self, step: int, numbers: Mapping[str, float]) -> None:
            self.steps += 1

        def evaluated(self, step: int, results: object) -> None:
            self.evaluations += 1

    view, steps = Counting(), []
    r1zero.train(tiny_recipe(), tmp_path / "run", watch=[view, lambda step, metrics: steps.append(step)])
    assert (view.steps, view.evaluations, steps) == (3, 3, [1, 2, 3])
    assert view.responses == 3 * 16 + 3 * 16  # what is asked in evaluations, too


def test_what_is_logged_must_be_a_number() -> None:
    control = Control()
    control.log(a=True, b=torch.tensor(2.5))
    assert control.metrics == {"watch/a": 1.0, "watch/b": 2.5}
    for value in (math.nan, math.inf, "high", None):
        with pytest.raises(UserError, match=r"watch: bad = .* is not a number to log"):
            control.log(bad=value)  # type: ignore[arg-type]


# ---- own rewards


def test_functions_as_rewards_are_called_by_name_and_summed(tmp_path: Path) -> None:
    """0.5 for every kind of sum, and what the verifier says; the verifier's verdict stays what metrics go by."""
    parts = ["verify", {"use": "format", "weight": 0.0, "name": "boxed"}, lambda kind: 0.5 if kind == "sum" else 0.0]
    settings = {"train.steps": 1}
    run = r1zero.train(SMALL, tmp_path / "run", model=taught_model(), questions=SUMS, reward=parts, **settings)
    rows = run.rollouts().to_pylist()
    right = [float(row["outcome"] == "right" and row["stop"] != "length") for row in rows]
    assert [row["reward"] for row in rows] == [each + 0.5 for each in right]
    assert run.metrics()["reward/lambda"].to_pylist() == [0.5]
    assert run.metrics()["rollout/pass_at_1"].to_pylist() == [
        sum(row["outcome"] == "right" for row in rows) / len(rows)
    ]
    assert run.facts["objects"]["reward"] == "lambda"


def test_a_function_of_the_program_is_needed_again_and_must_be_the_same(tmp_path: Path) -> None:
    def train(out: Path | str, steps: int, **given: Any) -> Run:
        return r1zero.train(out, resume=True, **given, **{"train.steps": steps})

    shorter = lambda length: -length / 16  # noqa: E731  what a notebook has
    begun = {"model": taught_model(), "questions": SUMS, "reward": shorter}
    whole = r1zero.train(SMALL, tmp_path / "whole", **begun, **{"train.steps": 3})
    run = r1zero.train(SMALL, tmp_path / "run", **begun, **{"train.steps": 2})
    with pytest.raises(UserError, match=r"functions of a program's own \(lambda\): give them again, from Python"):
        train(run.path, 3)
    with pytest.raises(UserError, match="another rewards fingerprint"):
        train(run.path, 3, reward=lambda length: -length / 8)
    on = train(run.path, 3, reward=lambda length: -length / 16)
    assert on.rollouts(3)["response_ids"] == whole.rollouts(3)["response_ids"]
    rows = on.rollouts(3).to_pylist()
    assert [row["reward"] for row in rows] == [-row["length"] / 16 for row in rows]


def test_a_function_that_can_be_imported_is_named_in_the_recipe_and_killable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the run resumes without it, as the command would."""
    (tmp_path / "half_a_point.py").write_text("def half(response, gold):\n    return 0.5\n")
    monkeypatch.syspath_prepend(tmp_path)
    half = importlib.import_module("half_a_point").half
    given = {"model": taught_model(), "questions": SUMS}
    run = r1zero.train(SMALL, tmp_path / "one", **given, reward=half, **{"train.steps": 1})
    assert [each.use for each in run.recipe.reward] == [f"{tmp_path}/half_a_point.py:half"]
    assert set(run.rollouts()["reward"].to_pylist()) == {0.5}  # of truncated ones, too, as of a program's own function
    assert "objects" in run.facts
    assert "reward" not in run.facts["objects"]
    listed = r1zero.train(SMALL, tmp_path / "two", **given, reward=["verify", half], **{"train.steps": 1})
    assert [each.use for each in listed.recipe.reward] == ["verify", f"{tmp_path}/half_a_point.py:half"]
    named = SMALL | {"reward": [{"use": "format"}], "verifier": {"timeout_s": 60}}
    instead = r1zero.train(named, tmp_path / "four", **given, reward=lambda length: 1.0, **{"train.steps": 1})
    assert instead.recipe.reward == ()
    assert "reward/format" not in instead.metrics().column_names
    for wrong, sentence in (
        (7, "holds 7, which is not a valid reward"),
        ([half, half], "Two rewards are called 'half'"),
    ):
        with pytest.raises(UserError, match=sentence):
            r1zero.train(SMALL, tmp_path / "three", **given, reward=wrong)


def test_questions_of_a_reward_of_ones_own_need_no_answers(tmp_path: Path) -> None:
    """And are said to have none; without such a reward they are refused."""
    bare = [{"question": row["question"]} for row in SUMS]
    notes: list[str] = []

    class Noting(View):
        def begin(self, parts: Any, recipe: object) -> None:
            notes.extend(parts.notes)

    given = {"model": taught_model(), "questions": bare, "train.steps": 1}
    run = r1zero.train(SMALL, tmp_path / "run", reward=lambda response: len(response) / 16, watch=Noting(), **given)
    rows = run.rollouts().to_pylist()
    assert [row["reward"] for row in rows] == [len(row["response"]) / 16 for row in rows]
    assert {row["outcome"] for row in rows} == {"ungraded"}
    assert "rollout/pass_at_1" not in run.metrics().column_names
    assert any("it has no column of answers" in note for note in notes)
    with pytest.raises(UserError, match="has no answer column"):
        r1zero.train(SMALL, tmp_path / "other", **given)


@pytest.mark.parametrize("function", [lambda: 0, print, type("R", (), {"__call__": lambda self: 0})()])
def test_what_no_worker_can_import_stays_in_this_process(function: Any) -> None:
    assert importable(function) is None


# ---- own objectives


def centred(rewards_PG: Tensor, graded_PG: Tensor) -> Tensor:
    count = graded_PG.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.where(graded_PG, rewards_PG - rewards_PG.sum(dim=1, keepdim=True) / count, 0.0)


def clipped(ratios: Tensor, advantages: Tensor, low: float, high: float) -> Tensor:
    return torch.minimum(ratios * advantages, ratios.clamp(low, high) * advantages)


def constant(lengths: Tensor, constant: float) -> Tensor:
    return torch.ones_like(lengths) / (len(lengths) * constant)


OWN = Objective("mine", advantage=centred, surrogate=clipped, weights=constant)


def test_an_objective_of_functions_trains_as_the_row_that_it_spells_out(tmp_path: Path) -> None:
    run = r1zero.train(tiny_recipe(), tmp_path / "own", objective=OWN)
    assert run.rollouts()["advantage"] == trained().rollouts()["advantage"]
    assert run.rollouts()["response_ids"] == trained().rollouts()["response_ids"]
    assert run.metrics()["learn/grad_norm"] == trained().metrics()["learn/grad_norm"]
    assert run.recipe.objective.name == "own:mine"
    assert run.facts["objective_hash"] != trained().facts["objective_hash"]  # whose code it is, nobody has read
    assert "centred[" in run.facts["objective_formula"]


def test_a_run_of_functions_is_gone_on_with_by_the_same_ones_alone(tmp_path: Path) -> None:
    run = r1zero.train(tiny_recipe({"train.steps": 2}), tmp_path / "run", objective=OWN)
    with pytest.raises(UserError, match=r"give them again, from Python, with r1zero.train\(…, objective=…\)"):
        r1zero.train(run.path, resume=True, **{"train.steps": 3})
    other = Objective("mine", advantage=centred, surrogate=clipped, weights=lambda lengths: 1 / lengths)
    with pytest.raises(UserError, match="another objective hash"):
        r1zero.train(run.path, resume=True, objective=other, **{"train.steps": 3})
    on = r1zero.train(run.path, resume=True, objective=OWN, **{"train.steps": 3})
    assert on.rollouts(3)["response_ids"] == trained().rollouts(3)["response_ids"]


def test_constants_of_an_objective_are_settings_of_the_run(tmp_path: Path) -> None:
    """And what is given by name beside it has the last word."""
    own = Objective("mine", advantage=centred, clip_high=0.3, entropy=0.01)
    run = r1zero.train(tiny_recipe({"train.steps": 0}), tmp_path / "a", objective=own)
    assert (run.recipe.objective.clip_high, run.recipe.objective.entropy) == (0.3, 0.01)
    assert "1 + 0.3" in run.facts["objective_formula"]
    run = r1zero.train(tiny_recipe({"train.steps": 0}), tmp_path / "b", objective=own, **{"objective.clip_high": 0.25})
    assert "1 + 0.25" in run.facts["objective_formula"]
    run = r1zero.train(tiny_recipe({"train.steps": 0}), tmp_path / "c", objective=TABLE["grpo"])
    assert (run.recipe.objective.name, "objects" in run.facts) == ("grpo", False)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"advantage": lambda r, lengths: r}, "it asks for 'r', and may name rewards, graded, lengths"),
        ({"advantage": lambda rewards: rewards.mean()}, r"it returned a tensor of shape \[\], and must return"),
        ({"weights": lambda lengths: 1.0}, "it returned a float, and must return a tensor of shape"),
        ({"surrogate": lambda ratios, advantages: None}, "it returned a NoneType"),
    ],
)
def test_functions_that_do_not_fit_are_one_sentence(tmp_path: Path, parts: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        r1zero.train(tiny_recipe(), tmp_path / "run", objective=Objective("mine", **parts))


def test_an_objective_of_functions_is_audited_like_a_row() -> None:
    """The same mathematics has the same bias, whoever wrote it; GRPO's weights have theirs under an own advantage."""
    own = Objective("mine", advantage=centred, weights=lambda lengths: 1 / (len(lengths) * lengths))
    found = r1zero.measure_bias("dr_grpo", OWN, "grpo_no_std", own, group_sizes=[4])
    for row, mine in (found[:2], found[2:]):
        assert mine.relative_bias == pytest.approx(row.relative_bias, abs=1e-12)
        assert mine.length_bias == pytest.approx(row.length_bias, abs=1e-12)
    assert found[2].length_bias == pytest.approx(-1.0, abs=1e-6)
    branching = Objective(advantage=lambda rewards: rewards if float(rewards.sum()) > 1 else -rewards)
    for wrong, sentence in (([1], "holds 1, which cannot be listed"), ([4], "without `if`")):
        with pytest.raises(UserError, match=sentence):
            r1zero.measure_bias(branching, group_sizes=wrong)


def test_an_objective_of_functions_is_split_tested_like_a_row() -> None:
    """Weights of the whole step are the same however it is cut; those that count their calls are caught."""
    found = r1zero.check_invariance(tiny_recipe(), objective=OWN)
    assert len(found) == 6
    assert all(equal for _, equal in found)
    assert found[-1][0].reason == "its functions are of this process alone"
    calls = iter(range(1, 100))
    odd = Objective("odd", weights=lambda lengths: torch.ones_like(lengths) * next(calls))
    assert not all(equal for _, equal in r1zero.check_invariance(tiny_recipe(), objective=odd))


# ---- asking


def test_a_model_object_is_evaluated_as_its_folder_is_and_given_back_as_it_was(tmp_path: Path) -> None:
    model, tokenizer = loaded()
    model.train()
    before = weights(model)
    pair = ("sums", SUMS)
    (by_object,) = r1zero.evaluate(model, pair, "no", tokenizer=tokenizer, max_new_tokens=16, out=tmp_path / "object")
    (by_path,) = r1zero.evaluate(taught_model(), [pair], "no", max_new_tokens=16)
    assert by_object.accuracy == by_path.accuracy
    assert by_object.tokens == by_path.tokens
    assert model.training
    assert same(weights(model), before)
    (again,) = r1zero.evaluate(model, pair, "no", tokenizer=tokenizer, max_new_tokens=16, out=tmp_path / "object")
    assert again.accuracy == by_object.accuracy
    with torch.no_grad():
        next(model.parameters()).add_(0.5)
    with pytest.raises(UserError, match="holds another evaluation"):
        r1zero.evaluate(model, pair, "no", tokenizer=tokenizer, max_new_tokens=16, out=tmp_path / "object")


def test_what_is_said_of_sets_may_stand_beside_them() -> None:
    rows = [{"question": f"{a}+1=", "answer": str(a + 1), "level": a} for a in range(1, 6)]
    sets = [("all", rows), ("few", rows)]
    found = r1zero.evaluate(taught_model(), sets, "no", max_new_tokens=4, where="level >= 3", limit=2)
    assert [each.questions for each in found] == [2, 2]
    assert "all: 2 rows left out (not where level >= 3)" in found[0].notes
    own = {"name": "arithmetic", "limit": 3, "where": None}
    assert [
        each.questions for each in r1zero.evaluate(taught_model(), own, "no", max_new_tokens=4, where="x", limit=2)
    ] == [3]
    with pytest.raises(
        UserError, match=r"reads the column 'x', which .* does not have: name one of question, answer, level"
    ):
        r1zero.evaluate(taught_model(), sets, "no", max_new_tokens=4, where="x > 1")


def test_a_model_that_came_from_a_folder_has_its_tokenizer() -> None:
    model, _ = loaded()
    (result,) = r1zero.evaluate(model, ("sums", SUMS), "no", max_new_tokens=4)
    assert result.questions == len(SUMS)
    model.config.name_or_path = ""
    with pytest.raises(UserError, match="The LlamaForCausalLM has no tokenizer that can be found: give it with"):
        r1zero.evaluate(model, ("sums", SUMS), "no", max_new_tokens=4)


def test_sampling_alone_is_a_function_of_the_seed() -> None:
    model, tokenizer = loaded()
    drawn = r1zero.sample(model, ["1+2=", "3+3="], 3, tokenizer=tokenizer, max_new_tokens=8, seed=SEED)
    assert [len(each) for each in drawn] == [3, 3]
    again = r1zero.sample(taught_model(), ["1+2=", "3+3="], 3, max_new_tokens=8, seed=SEED)
    assert [[c.token_ids for c in each] for each in again] == [[c.token_ids for c in each] for each in drawn]
    (greedy,) = r1zero.sample(model, "1+2=", 2, tokenizer=tokenizer, max_new_tokens=8, temperature=0)
    assert greedy[0].token_ids == greedy[1].token_ids
    for wrong, sentence in (({"samples": 0}, "samples = 0"), ({"max_new_tokens": 0}, "max_new_tokens = 0")):
        with pytest.raises(UserError, match=sentence):
            r1zero.sample(model, "1+2=", tokenizer=tokenizer, **wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="top_q"):
        r1zero.sample(model, "1+2=", tokenizer=tokenizer, top_q=1)
