"""The audit on runs, models and recipes, and what its commands print."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from helpers import needs_peft
from r1zero.audit import invariance
from r1zero.audit.invariance import certify, difference
from r1zero.audit.replay import replay
from r1zero.audit.saved_step import read_meter, read_step, saved_steps
from r1zero.errors import UserError
from r1zero.objectives.from_recipe import recipe_objective
from r1zero.objectives.table import PEERS, PRESETS, TABLE
from r1zero.report.charts import audit as charts
from r1zero.report.draw.files import draw_charts
from r1zero.runs.run import Run
from tiny_runs import start, tiny_recipe, trained, write_recipe

STEPS = {"train.steps": 3, "checkpoint.every": 1, "checkpoint.keep_last": 3}
STEPS |= {"rollout.prompts": 8, "rollout.samples": 6}  # groups of several pass rates, responses of several lengths


@pytest.fixture(scope="module")
def run() -> Run:
    return trained(STEPS)


def rows_of(*words: str | Path) -> list[dict]:
    return json.loads(start(*words, "--json").done())


# -- saved runs


def test_a_saved_step_is_what_the_learner_saw(run: Run) -> None:
    assert saved_steps(run) == [1, 2, 3]
    step, rows = read_step(run, 2), run.responses(2)
    assert step.rewards_PG.shape == (8, 6)
    objective = recipe_objective(run.recipe)
    trajectories = step.trajectories(objective)
    assert [t.advantage for t in trajectories] == [row["advantage"] for row in rows]
    assert [t.length for t in trajectories] == [row["length"] for row in rows] == step.lengths_PG.flatten().tolist()
    assert [list(t.response_ids) for t in trajectories] == [row["response_ids"] for row in rows]


def test_the_meter_on_a_run_is_the_one_it_logged(run: Run) -> None:
    logged = {row["step"]: (row.get("bias/length"), row.get("bias/difficulty")) for row in run.read("metrics")}
    own = recipe_objective(run.recipe)
    read = {number: (bias.length, bias.difficulty) for number, _, bias in read_meter(run, [own])}
    assert read.keys() == logged.keys()
    for number in read:  # slopes, of which 1 is one and 1e-30 is none
        assert read[number] == pytest.approx(logged[number], abs=1e-9)
    readings = [bias.length for _, _, bias in read_meter(run, [PRESETS["grpo"]]) if bias.length is not None]
    assert readings == pytest.approx([-1.0] * len(readings), abs=1e-4)


def test_runs_without_rollouts_say_so(tmp_path: Path) -> None:
    bare = trained({"log.rollouts_every": 0, "train.steps": 1})
    with pytest.raises(UserError, match=r"no saved rollouts to audit; train with log\.rollouts_every"):
        saved_steps(bare)


# -- replay


def test_replaying_a_step_gives_the_gradient_that_was_taken(run: Run) -> None:
    result = replay(run, 3, [PRESETS["grpo"], replace(PRESETS["dr_grpo"], constant=run.recipe.constant)])
    grpo, dr_grpo = result.rows
    assert result.exact
    assert result.source == "step-000002"
    logged = run.read("metrics")[2]["learn/grad_norm"]
    assert dr_grpo.norm == pytest.approx(logged, rel=1e-5)
    assert dr_grpo.cosine == pytest.approx(1.0, abs=1e-9)
    assert grpo.cosine is not None
    assert grpo.cosine < 0.9999


def test_replaying_from_the_base_model(run: Run) -> None:
    result = replay(run, 1, [PRESETS["rloo"]])
    assert result.exact
    assert result.source == run.recipe.model.path
    assert result.rows[0].cosine == pytest.approx(1.0, abs=1e-6)  # 6/5 of dr_grpo's


def test_replaying_with_weights_that_are_not_those_of_the_step() -> None:
    pruned = trained({"train.steps": 3, "checkpoint.every": 3, "checkpoint.keep_best": False})
    result = replay(pruned, 3, [PRESETS["dr_grpo"]])
    assert not result.exact
    assert result.source == pruned.recipe.model.path
    assert result.rows[0].norm > 0


def test_replaying_a_step_that_was_not_saved(run: Run) -> None:
    with pytest.raises(UserError, match="no rollouts of step 9"):
        replay(run, 9, [PRESETS["dr_grpo"]])


def test_damaged_rollouts_are_one_sentence(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    damaged, path = Run.open(tmp_path / "run"), tmp_path / "run" / "rollouts" / "step-000001.parquet"
    table = pq.read_table(path).replace_schema_metadata(None)  # without our checksum, as another program would write it
    for rest in (table.slice(1, 3), table.slice(0, 9), table.slice(0, 0)):
        pq.write_table(rest, path)
        with pytest.raises(UserError, match=r"rollouts of step 1 .* damaged"):
            read_step(damaged, 1)
    pq.write_table(table.drop_columns(["logprobs"]), path)
    with pytest.raises(UserError, match=r"step-000001\.parquet holds no saved responses \(it lacks logprobs\)"):
        read_step(damaged, 1)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=r"step-000001\.parquet holds no saved responses \(.*\); restore it"):
        read_step(damaged, 1)


# -- invariance


def test_difference_by_hand() -> None:
    one, other = [torch.tensor([3.0, 0.0]), torch.tensor([4.0])], [torch.tensor([3.0, 0.0]), torch.tensor([1.0])]
    assert difference(one, other) == pytest.approx(3 / 10**0.5)
    assert difference([torch.zeros(2)], [torch.zeros(2)]) == 0


@pytest.mark.slow
def test_a_recipe_of_ours_is_invariant() -> None:
    found = {variation.name: (variation.difference, equal) for variation, equal in certify(tiny_recipe())}
    assert set(found) == {
        *("one response per micro-batch", "everything in one micro-batch", "responses in another order"),
        *("layout packed", "layout shared", "2 processes, gradients summed"),
    }
    for name, (off, equal) in found.items():
        assert equal, name
        assert off is not None
        assert off < 1e-5, name


def test_invariance_tells_of_rows_left_out_and_needs_no_answers_of_a_reward_of_ones_own(tmp_path: Path) -> None:
    rows = [{"question": "1+1="}, {"question": "2+2="}, {"question": ""}]
    (tmp_path / "bare.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (tmp_path / "mine.py").write_text("def one(response, gold):\n    return 1.0\n")
    changes = {"questions.options": {}, "questions.name": str(tmp_path / "bare.jsonl")}
    told: list[str] = []
    own = tiny_recipe(changes | {"verifier.reward": f"{tmp_path}/mine.py:one"})
    (_, equal) = next(iter(certify(own, tell=told.extend)))
    assert equal
    assert "bare: 1 row left out (no question)" in told
    with pytest.raises(UserError, match="has no answer column"):
        next(iter(certify(tiny_recipe(changes))))


@needs_peft
def test_the_gradient_of_a_lora_recipe_is_that_of_its_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, seen = tiny_recipe({"lora.rank": 2}), []
    whole = invariance.gradient

    def noted(*given: Any, **named: Any) -> list[torch.Tensor]:
        seen.append(whole(*given, **named))
        return seen[-1]

    monkeypatch.setattr(invariance, "gradient", noted)
    variation, equal = next(iter(certify(recipe)))
    assert (variation.name, equal) == ("one response per micro-batch", True)
    moved = [part.shape for part in seen[0] if part.any()]
    assert moved
    assert all(shape[1] == 2 for shape in moved)  # B alone has a gradient where it is zero, as it is at first


def test_a_peers_loss_that_depends_on_its_cut_is_found_out() -> None:
    recipe = tiny_recipe({"objective.name": "trl/bnpo", "model.attention": "eager"})
    found = {}
    for variation, equal in certify(recipe):
        found[variation.name] = (variation, equal)
        if variation.name.startswith("the micro-batches of its own formula"):
            break  # the processes are tried last
    assert not found["responses in another order"][1]
    (cut,) = (name for name in found if name.startswith("the micro-batches of its own formula"))
    assert not found[cut][1]
    assert found["one response per micro-batch"][1]  # how we compute it changes nothing
    packed, equal = found["layout packed"]
    assert (packed.difference, equal, packed.reason) == (None, True, 'not with model.attention = "eager"')


# -- commands


def test_the_list_of_objectives_as_json() -> None:
    rows = rows_of("objectives", "--constant", "3000")
    assert [row["objective"] for row in rows] == list(TABLE)
    by_name = {row["objective"]: row for row in rows}
    dr_grpo, grpo = by_name["dr_grpo"], by_name["grpo"]
    assert dr_grpo["hash"] == replace(PRESETS["dr_grpo"], constant=3000.0).hash
    assert dr_grpo["formula"].endswith("C = 3000")
    assert (dr_grpo["length_bias"], dr_grpo["difficulty_bias"]) == (pytest.approx(0), pytest.approx(0))
    assert dr_grpo["relative_bias"] < 1e-12
    assert (grpo["length_bias"], grpo["difficulty_bias"]) == (pytest.approx(-1), pytest.approx(-1))
    assert grpo["relative_bias"] > 0.3


def test_the_list_of_objectives_for_people() -> None:
    said = start("objectives", "dr_grpo", "trl/cispo").done()
    assert PRESETS["dr_grpo"].formula in said
    assert PEERS["trl/cispo"].note in said
    assert "length 0.00  difficulty 0.00  bias none" in said


def test_the_audit_as_json() -> None:
    rows = rows_of("audit", "dr_grpo", "grpo", "--group-sizes", "2", "4")
    assert [(row["objective"], row["group_size"]) for row in rows] == [
        ("dr_grpo", 2), ("grpo", 2), ("dr_grpo", 4), ("grpo", 4)
    ]  # fmt: skip
    assert set(rows[0]) == {
        *("objective", "group_size", "relative_bias", "cosine", "scale", "length_bias", "difficulty_bias")
    }
    assert rows[2]["relative_bias"] < 1e-12
    assert rows[2]["scale"] == pytest.approx(4 / 3, rel=1e-12)  # G/(G−1) · C with C = 1
    assert rows[3]["relative_bias"] > 0.3


def test_the_audit_off_policy(tmp_path: Path) -> None:
    rows = rows_of("audit", "dr_grpo", "--group-sizes", "2", "--off-policy")
    assert rows[0]["relative_bias"] > 1e-3


def test_the_audit_for_people_and_its_pictures(tmp_path: Path) -> None:
    said = start("audit", "dr_grpo", "grpo", "ppo", "--group-sizes", "2", "--out", tmp_path / "pictures").done()
    assert "ppo (V = 0)" in said
    assert "none" in said
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert names == {f"{name}.{kind}" for name in ("weights", "bias", "dynamics") for kind in ("png", "svg")}


def test_the_audit_of_a_run(run: Run, tmp_path: Path) -> None:
    rows = rows_of("audit", "grpo", "--run", run.path)
    assert [(row["step"], row["objective"]) for row in rows][:2] == [(1, "dr_grpo"), (1, "grpo")]
    assert "Bias meter" in start("audit", "--run", run.path, "--out", tmp_path).done()
    assert (tmp_path / "meter.svg").exists()


def test_the_replay_of_a_step(run: Run, tmp_path: Path) -> None:
    said = start("audit", "--run", run.path, "--step", "2", "--out", tmp_path).done()
    assert "Weights: step-000001." in said
    assert "they need their critic: ppo" in said
    assert (tmp_path / "weights-step-000002.png").exists()
    rows = rows_of("audit", "dr_grpo", "gspo", "--run", run.path, "--step", "2")
    assert [row["objective"] for row in rows] == ["dr_grpo", "gspo"]


@pytest.mark.slow
def test_the_certificate(tmp_path: Path) -> None:
    more = '[objective]\nname = "trl/bnpo"\n'
    command = start("audit", "--invariance", write_recipe(tmp_path / "b.toml", more=more))
    assert command.wait() == 1
    assert "Largest relative difference" in command.out
    assert "depends on how a step is computed" in command.out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("audit", "dr_grop"), "did you mean 'dr_grpo'?"),
        (("objectives", "zzz"), "`r1zero objectives` lists them all"),
        (("objectives", "--constant", "0"), "--constant 0 cannot divide"),
        (("objectives", "--constant", "nan"), "--constant nan cannot divide"),
        (("audit", "dr_grpo", "--group-sizes"), "names no size"),
        (("audit", "--group-sizes", "1"), "give sizes from 2 to 10"),
        (("audit", "--group-sizes", "11"), "give sizes from 2 to 10"),
        (("audit", "--step", "3"), "name its directory with --run"),
        (("audit", "--run", "nowhere"), "nowhere is not a run directory"),
        (("audit", "grpo", "--invariance", "r.toml"), "leave other objectives and --run out"),
        (("audit", "--invariance", "nowhere.toml"), "nowhere.toml"),
    ],
)
def test_mistakes_are_one_sentence(words: tuple[str, ...], says: str) -> None:
    start(*words).refused(says)


# -- pictures


def test_pictures_of_nothing_much(tmp_path: Path) -> None:
    # no response, one objective, all zero, a meter that never read anything
    files = draw_charts(charts.weights({"a": []}, [], []), tmp_path / "none", "title")
    files += draw_charts(charts.weights({"a": [0.0, 0.0]}, [3, 4], [True, False]), tmp_path / "zero", "title")
    files += draw_charts([charts.bias({"a": 0.0}, "title")], tmp_path / "bias")
    still = charts.dynamics({"∇J": {"length_wrong": [1.0], "length_right": [1.0], "reward": [0.5]}})
    files += draw_charts(still, tmp_path / "still", "title")
    files += draw_charts(charts.meter({"length bias": {"a": []}}), tmp_path / "meter", "title")
    assert all(file.stat().st_size > 1000 for file in files)
    assert {file.suffix for file in files} == {".png", ".svg"}
