"""Rewards as a list: formulas by hand, how functions are called, the sum and what is ungraded in it, and real runs."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from processes import wait_for
from r1zero.config import RewardSettings, VerifierSettings, load_recipe
from r1zero.config.rewards import JudgeOptions
from r1zero.endpoint import Store
from r1zero.errors import UserError
from r1zero.metrics import Tally
from r1zero.rewards.builtin import answer_format_met, repetition, soft_overlong
from r1zero.rewards.composite import GradedPart, Rewards
from r1zero.rewards.grader import AnswersOnly, FormulaGrader
from r1zero.rewards.gym import entry_of
from r1zero.rewards.judge import JudgeGrader, bills
from r1zero.rewards.local import MOST_HANGING, LocalGrader, identity
from r1zero.rewards.open import LocalReward, make_rewards, open_rewards, parts_of, reward_facts
from r1zero.rollouts.rewards import Truncation, answers_of, observe, observe_parts, rewards_of
from r1zero.runs.maker import foreign_reward
from r1zero.runs.rollout_rows import read_rows, rollout_table, rollouts_of, rows_of
from r1zero.runs.run import Run
from r1zero.training.given import Given
from r1zero.training.train import train
from r1zero.types import (
    AnswerFormat,
    Completion,
    GradingTask,
    Outcome,
    Question,
    RewardPart,
    Rollout,
    Stop,
    Verdict,
)
from r1zero.verify.workers.calling import FIELDS, caller, fields_of, selected
from r1zero.verify.workers.custom_reward import columns_of, judged
from r1zero.verify.working import check_graded, try_reward
from served import serve
from tiny_runs import recipe_text, tiny_recipe

BOXED, TAGS = AnswerFormat.BOXED, AnswerFormat.ANSWER_TAGS
PLENTY = VerifierSettings(workers=1, timeout_s=60)
ROW: dict[str, object] = {"difficulty": 3, "domain": "algebra"}
TASK = GradingTask(
    r"so \boxed{4}", ("4", "four"), BOXED, "2 + 2?", "sums/0", ROW, "Q: 2 + 2?", (5, 6, 7, 5, 6, 7), Stop.EOS
)


# ---- formulas


def test_the_soft_overlong_punishment_is_daposs() -> None:
    """L_max = 20, L_cache = 8: nothing up to 12, then (12 − |y|) / 8, −1 at 20 and beyond."""
    found = [soft_overlong(length, 20, 8) for length in (0, 11, 12, 13, 16, 20, 21, 99)]
    assert found == [0.0, 0.0, 0.0, -0.125, -0.5, -1.0, -1.0, -1.0]


def test_repeated_n_grams_cost_their_share() -> None:
    """1 2 3 1 2 3 has four 3-grams, three of them different: a quarter is repeated."""
    assert repetition((1, 2, 3, 1, 2, 3), 3, 1.0) == -0.25
    assert repetition((5, 5, 5, 5, 5), 2, 2.0) == -2.0 * 0.75
    assert repetition((1, 2, 3, 4), 2, 1.0) == 0.0
    assert [repetition(ids, 3, 1.0) for ids in ((), (1,), (1, 1), (1, 1, 1))] == [0.0] * 4


@pytest.mark.parametrize(
    ("response", "answer_format", "think", "prompt", "met"),
    [
        (r"so \boxed{4}", BOXED, False, "", 1.0),
        ("so 4", BOXED, False, "", 0.0),
        (r"so \boxed{4", BOXED, False, "", 0.0),
        ("why </think> <answer>4</answer>", TAGS, False, "", 1.0),
        ("why <answer>4</answer>", TAGS, False, "", 0.0),
        (r"<think> why </think> \boxed{4}", BOXED, True, "", 1.0),
        (r"why </think> \boxed{4}", BOXED, True, "", 0.0),
        (r"why </think> \boxed{4}", BOXED, True, "Assistant: <think>", 1.0),
        (r"<think> a </think> b </think> \boxed{4}", BOXED, True, "", 0.0),
        (r"<think> a <think> b </think> \boxed{4}", BOXED, True, "", 0.0),
        (r"\boxed{4} <think> a </think> \boxed{4}", BOXED, True, "", 0.0),
        ("<think> 4 </think>", AnswerFormat.LAST_NUMBER, True, "", 0.0),
    ],
)
def test_a_format_is_met_or_not(
    response: str, answer_format: AnswerFormat, think: bool, prompt: str, met: float
) -> None:
    assert answer_format_met(response, answer_format, think=think, prompt=prompt) == met


# ---- how functions are called


def called(
    function: Any, options: dict[str, Any] | None = None, task: GradingTask = TASK, *, short: bool = False
) -> Any:
    """What a function returns, given only what it asks for."""
    calling = caller(function, None if short else options or {}, "mine")
    return calling.call(json.loads(json.dumps(selected(fields_of(task), calling.asks))))


def test_a_function_is_called_by_what_its_parameters_name() -> None:
    everything = called(lambda response, gold, question, extra, prompt, length, stop, id, token_ids: locals())
    assert everything == {
        "response": r"so \boxed{4}", "gold": ["4", "four"], "question": "2 + 2?", "extra": ROW,
        "prompt": "Q: 2 + 2?", "length": 6, "stop": "eos", "id": "sums/0", "token_ids": [5, 6, 7, 5, 6, 7],
    }  # fmt: skip
    assert called(lambda difficulty, *, domain: (difficulty, domain)) == (3, "algebra")
    assert called(lambda length, missing=7: (length, missing)) == (6, 7)
    assert called(lambda response, difficulty: difficulty) == 3
    assert called(lambda data_source="none", solution_str="", ground_truth="": (solution_str, ground_truth)) == (
        r"so \boxed{4}", "4",
    )  # fmt: skip
    found = called(lambda response, **rest: rest)
    assert found["difficulty"] == 3
    assert set(found) == {*FIELDS, *ROW} - {"response"}


def test_two_parameters_of_other_names_are_the_response_and_its_golds() -> None:
    assert called(lambda text, answers: (text, answers)) == (r"so \boxed{4}", ["4", "four"])
    assert called(lambda response, answer: answer) == ["4", "four"]
    assert called(lambda *both: both[1]) == ["4", "four"]
    # the short form calls a function of two as ever, whatever columns a row has
    assert called(lambda response, difficulty: difficulty, short=True) == ["4", "four"]
    assert called(lambda response, length: length, short=True) == 6
    with pytest.raises(TypeError, match=r"'hardness', neither a column of the row \(difficulty, domain\) nor a field"):
        called(lambda response, gold, hardness: 0)


def test_only_what_a_function_asks_for_is_sent_to_it() -> None:
    asks = caller(lambda response, difficulty: 0, {}).asks
    assert selected(fields_of(TASK), asks) == {
        "response": TASK.response, "gold": ["4", "four"], "first_gold": "4", "columns": ["difficulty", "domain"],
        "extra": {"difficulty": 3},
    }  # fmt: skip
    assert "token_ids" in selected(fields_of(TASK), caller(lambda completion_ids: [0], {}).asks)


def test_options_go_to_a_function_or_make_one() -> None:
    def scaled(response: str, scale: float = 1.0) -> float:
        return scale * len(response)

    def factory(scale: float) -> Any:
        return lambda length: scale * length

    assert called(scaled, {"scale": 2.0}) == 2 * len(TASK.response)
    assert called(factory, {"scale": 0.5}) == 3.0
    with pytest.raises(TypeError, match="mine has no parameter 'slope' for its option; it has response, scale"):
        called(scaled, {"slope": 2.0})
    with pytest.raises(TypeError, match="mine with these options gave a int, not a function"):
        called(lambda scale: 3, {"scale": 1})


def test_trls_signature_gets_lists_of_one() -> None:
    assert called(lambda prompts, completions, **more: [[prompts, completions, sorted(more)]]) == [
        ["Q: 2 + 2?"], [r"so \boxed{4}"], ["completion_ids", "difficulty", "domain", "solution"],
    ]  # fmt: skip
    assert called(lambda completions, solution, difficulty: [[solution, difficulty]]) == [["4"], [3]]

    def messages(completions: Any, **_: Any) -> list[str]:
        return [completions[0][0]["content"]]

    assert called(messages) == TASK.response
    assert called(lambda completions, prompts, **_: [[prompts[0], completions[0]]],
                  task=replace(TASK, turns=(("system", "Be brief."), ("user", "2 + 2?")))) == [
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}],
        [{"role": "assistant", "content": TASK.response}],
    ]  # fmt: skip
    with pytest.raises(KeyError, match="absent"):  # its own fault, not that of a text
        called(lambda completions, **more: [more["absent"]])
    with pytest.raises(TypeError, match="return a list with a reward for each completion"):
        called(lambda completions, **_: 1.0)


def test_trls_own_functions_give_their_values() -> None:
    trl = pytest.importorskip("trl.rewards")
    right = replace(TASK, response=r"<think>a</think> it is \boxed{\frac{1}{2}}", gold=(r"\frac{1}{2}",))
    for function, task, value in [
        (trl.accuracy_reward, right, 1.0),
        (trl.accuracy_reward, replace(right, gold=("3",)), 0.0),
        (trl.accuracy_reward, replace(right, extra={"solution": "3"}), 0.0),  # a column of that name is the solution
        (trl.think_format_reward, right, 1.0),
        (trl.think_format_reward, TASK, 0.0),
    ]:
        assert called(function, task=task) == value
    options = {"max_completion_len": 8, "soft_punish_cache": 4}
    assert called(trl.get_soft_overlong_punishment, options) == -0.5 == soft_overlong(6, 8, 4)
    assert called(trl.get_repetition_penalty_reward, {"ngram_size": 3}) == -0.25 == repetition(TASK.token_ids, 3, 1.0)


def test_a_mapping_is_a_score_and_further_numbers() -> None:
    found = {"score": 0.5, "acc": True, "format ok": 1, "pred": "4", "bad": float("nan")}
    assert judged(found) == ("wrong", 0.5)
    assert columns_of(found) == {"acc": 1.0, "format_ok": 1.0}
    assert judged({"score": None}) == ("ungraded", None)
    with pytest.raises(TypeError, match="a dict without a score"):
        judged({"acc": 1.0})
    with pytest.raises(ValueError, match="it returned 33 numbers"):
        columns_of({str(i): i for i in range(33)})


# ---- the recipe


def test_a_recipe_without_a_list_says_nothing_of_it() -> None:
    assert "reward" not in tiny_recipe().model_dump(mode="json")
    assert tiny_recipe().reward == ()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ('[[reward]]\nuse = "formt"', "is not a valid reward: did you mean format? write verify, format"),
        ('[[reward]]\nuse = "verify"\n[[reward]]\nuse = "verify"\nname = "again"', "stands in the list more than once"),
        ('[[reward]]\nuse = "a.py:f"\n[[reward]]\nuse = "b.py:f"', 'two rewards are called "f": give one of them'),
        ('[[reward]]\nuse = "verify"\nweight = 0', "every reward of the list has weight = 0"),
        ('[[reward]]\nuse = "verify"\nweight = inf', "reward.0.weight = inf cannot be used"),
        ('[[reward]]\nuse = "verify"\nwieght = 1', "unknown setting 'reward.0.wieght'; did you mean 'reward.0.weight'"),
        ('[[reward]]\nuse = "verify"\nname = "a/b"', "reward.0.name = 'a/b' cannot be used"),
        ('[[reward]]\nweight = 1', "lacks the setting 'reward.0.use'"),
        ('[[reward]]\nuse = "format"\noptions = { thnk = true }', "has no option 'thnk': it has think"),
        ('[[reward]]\nuse = "verify"\noptions = { a = 1 }', "has no option 'a': it has none"),
        ('[[reward]]\nuse = "overlong"', "lacks its option 'buffer': write options = { buffer = … }"),
        ('[[reward]]\nuse = "overlong"\noptions = { buffer = 9, max = 8 }', "buffer = 9 is more than max = 8"),
        ('[[reward]]\nuse = "overlong"\noptions = { buffer = 17 }', "more than sampling.max_new_tokens = 16"),
        ('[[reward]]\nuse = "repetition"\noptions = { n = 0 }', "option n Input should be greater than or equal to 1"),
        ('[[reward]]\nuse = "format"\ncorrectness = true', "does not judge the answer: leave correctness out"),
        ('[[reward]]\nuse = "cmd: cat"\noptions = { a = 1 }', "is a command, which takes its options as words"),
        ('[[reward]]\nuse = "judge"\noptions = { server = "http://x/v1", model = "m", prompt = "good?" }',
         "prompt does not hold {response}"),
        ('[[reward]]\nuse = "judge"\noptions = { server = "http://x/v1", model = "m", scale = [1, 1] }',
         "has no room: write the worst score, then the best"),
        ('[[reward]]\nuse = "verify"\n[[reward]]\nuse = "a.py:f"\ncorrectness = true', "both judge the answer"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(tmp_path: Path, more: str, sentence: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(recipe_text(Path("model")) + "\n" + more)
    with pytest.raises(UserError) as told:
        load_recipe(path)
    assert sentence in str(told.value)
    assert str(told.value).count(". ") == 0  # one sentence


def test_the_short_form_and_a_list_do_not_go_together(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(recipe_text(Path("model")) + '[[reward]]\nuse = "format"\n')
    with pytest.raises(
        UserError, match=r'verifier\.reward = "m:f" is the short form of one reward, and \[\[reward\]\]'
    ):
        load_recipe(path, {"verifier.reward": "m:f"})


def test_what_judges_answers_is_said_by_the_list() -> None:
    def golds(*rows: dict[str, Any]) -> tuple[str | None, str | None]:
        return tiny_recipe({"reward": list(rows)}).own_golds

    assert golds() == (None, None)
    assert golds({"use": "format"}) == ("format", None)
    assert golds({"use": "format"}, {"use": "verify"}) == (None, None)
    assert golds({"use": "m:f", "correctness": True}, {"use": "format"}) == ("m:f", "m:f")
    assert golds({"use": "reasoning_gym"}) == ("reasoning_gym", "reasoning_gym")
    assert tiny_recipe({"verifier.reward": "m:f"}).own_golds == ("m:f", "m:f")


# ---- the sum


def fixed(name: str, score: float | None, weight: float = 1.0, *, answers: bool = False) -> RewardPart:
    outcome = Outcome.UNGRADED if score is None else Outcome.RIGHT if score >= 1 else Outcome.WRONG
    return RewardPart(name, Verdict(outcome, rule=f"{name}'s rule", score=score), weight, answers)


def whole(*parts: RewardPart) -> Verdict:
    [answer] = [part.verdict for part in parts if part.answers]
    return replace(answer, parts=parts)


def response(length: int = 4, stop: Stop = Stop.EOS) -> Completion:
    return Completion(tuple(range(length)), (-1.0,) * length, "x", stop)


RIGHT, WRONG = fixed("verify", 1.0, answers=True), fixed("verify", 0.0, answers=True)


def test_a_reward_is_the_weighted_sum_of_its_parts() -> None:
    verdict = whole(RIGHT, fixed("format", 1.0, 0.25), fixed("overlong", -0.5, 0.5))
    assert verdict.reward == 1.0 + 0.25 - 0.25
    assert verdict.right
    assert verdict.rewarded
    assert verdict.answer_reward == 1.0


def test_a_part_that_weighs_something_and_is_ungraded_leaves_the_whole_so() -> None:
    verdict = whole(RIGHT, fixed("judge", None, 0.5))
    assert (verdict.right, verdict.graded, verdict.rewarded, verdict.earned) == (True, True, False, Outcome.UNGRADED)
    late = RewardPart("judge", Verdict(Outcome.TIMEOUT), 0.5)
    assert whole(RIGHT, late).earned is Outcome.TIMEOUT
    watched = whole(RIGHT, fixed("judge", None, 0.0))
    assert (watched.rewarded, watched.reward) == (True, 1.0)
    # nobody knows whether the answer is right, and nothing hangs on it
    unknown = whole(fixed("verify", None, 0.0, answers=True), fixed("length", 0.75))
    assert (unknown.graded, unknown.rewarded, unknown.reward, unknown.earned) == (False, True, 0.75, Outcome.WRONG)


@pytest.mark.parametrize(
    ("policy", "rewards", "counts"),
    [
        ("reward_zero", [1.5, -0.5], [True, True]),
        ("keep", [1.5, 1.5], [True, True]),
        ("penalise", [1.5, -0.5 - 2 * 0.25], [True, True]),
        ("mask_out", [1.5, -0.5], [True, False]),
    ],
)
def test_a_truncation_policy_concerns_the_answer_alone(policy: str, rewards: list[float], counts: list[bool]) -> None:
    """2 · right − 0.5 for length: cut off, the answer earns what the policy says, and length costs what it does."""
    verdict = whole(fixed("verify", 1.0, 2.0, answers=True), fixed("overlong", -1.0, 0.5))
    group = Rollout(Question("q", "", ("1",)), "p", (1,), (response(), response(stop=Stop.LENGTH)), (verdict,) * 2)
    truncation = Truncation(policy, 0.25)
    found, graded = rewards_of([group], truncation)
    assert (found.tolist(), graded.tolist()) == ([rewards], [counts])
    answers = answers_of([group], truncation)
    assert answers.rewards_PG.tolist() == [[1.0, {"keep": 1.0, "penalise": -0.25}.get(policy, 0.0)]]
    assert answers.known_PG.tolist() == [counts]


def test_metrics_tell_answers_from_rewards() -> None:
    """Groups of two: all right, all wrong but of different forms (live all the same), all wrong with one ungraded."""
    groups = [
        [whole(RIGHT, fixed("form", 1.0, 0.5)), whole(RIGHT, fixed("form", 1.0, 0.5))],
        [whole(WRONG, fixed("form", 1.0, 0.5)), whole(WRONG, fixed("form", 0.0, 0.5))],
        [whole(WRONG, fixed("form", None, 0.5)), whole(WRONG, fixed("form", 1.0, 0.5))],
    ]
    rollouts = [
        Rollout(Question(f"q{i}", "", ("1",)), "p", (1,), (response(), response()), tuple(group))
        for i, group in enumerate(groups)
    ]
    truncation, tally = Truncation(), Tally()
    rewards_PG, graded_PG = rewards_of(rollouts, truncation)
    dead_P = torch.tensor([True, False, True])
    observe(tally, rollouts, rewards_PG, graded_PG, dead_P, answers_of(rollouts, truncation))
    observe_parts(tally, rollouts)
    found = tally.result()
    assert graded_PG.tolist() == [[True, True], [True, True], [False, True]]
    assert found["rollout/reward"] == (1.5 + 1.5 + 0.5 + 0.0 + 0.5) / 5
    assert found["rollout/pass_at_1"] == 2 / 6
    assert found["rollout/pass_at_g"] == 1 / 3
    assert found["rollout/all_right_groups"] == 1 / 3
    assert found["rollout/all_wrong_groups"] == 2 / 3  # of answers, though every reward but one is above 0
    assert found["rollout/dead_groups"] == 2 / 3
    assert (found["rollout/ungraded"], found["rollout/timeouts"]) == (1, 0)
    assert found["reward/form"] == 4 / 5
    assert (found["reward/form/ungraded"], found["reward/form/timeouts"]) == (1, 0)
    assert found["reward/verify"] == 2 / 6
    with pytest.raises(KeyError):
        tally.add("reward/form/other", 1.0)


def test_parts_are_saved_and_read_again(tmp_path: Path) -> None:
    judged_well = replace(fixed("judge", 0.5, 0.25), verdict=Verdict(Outcome.WRONG, score=0.5, columns={"tokens": 9.0}))
    verdicts = (whole(RIGHT, judged_well), whole(WRONG, fixed("judge", None)))
    group = Rollout(Question("q", "?", ("1",)), "p", (1,), (response(), response()), verdicts)
    assert rollouts_of(json.loads(json.dumps(rows_of([group]))))[0].verdicts == verdicts  # journals, drawn batches
    table = rollout_table([group], {})
    assert table.column("reward/judge").to_pylist() == [0.5, None]
    assert table.column("rule/judge").to_pylist() == ["", "judge's rule"]
    assert table.column("reward/judge.tokens").to_pylist() == [9.0, None]
    assert table.column("reward/verify").to_pylist() == [1.0, 0.0]
    pq.write_table(table, tmp_path / "rows.parquet")
    assert len(read_rows(tmp_path / "rows.parquet")) == 2
    plain = replace(group, verdicts=(Verdict(Outcome.RIGHT),) * 2)
    assert not any("reward" in name or "rule/" in name for name in rollout_table([plain], {}).column_names)
    assert "parts" not in rows_of([plain])[0]


def test_a_part_that_fails_on_every_response_ends_the_run() -> None:
    verdicts = [whole(RIGHT, fixed("judge", None)), whole(WRONG, fixed("judge", None))]
    said = r"of step 1 could be graded by the reward 'judge' \(most often: judge's rule\); mend it\."
    with pytest.raises(UserError, match=said):  # fmt: skip
        check_graded(verdicts, "step 1", "mend it")
    check_graded([whole(RIGHT, fixed("judge", None, 0.0))], "step 1", "")  # watched only
    check_graded([*verdicts, whole(WRONG, fixed("judge", 0.5))], "step 1", "")
    split = [whole(RIGHT, fixed("a", None), fixed("b", 1.0)), whole(RIGHT, fixed("a", 1.0), fixed("b", None))]
    with pytest.raises(UserError, match=r"could be graded \(most often: [ab]'s rule\)"):
        check_graded(split, "step 1", "mend it")


# ---- graders at work


def slow(response: str) -> float:
    time.sleep(0.05)
    return 0.25


def test_a_verdict_is_there_when_all_its_parts_are() -> None:
    parts = [
        GradedPart("verify", FormulaGrader("one", lambda task: float(task.response == "1")), 1.0, answers=True),
        GradedPart("slow", LocalGrader("slow", slow, 60.0), 2.0),
    ]
    rewards = Rewards(parts)
    for key in ("1", "2", "1 again"):
        rewards.submit(key, replace(TASK, response=key[:1]))
    found = dict(rewards.drain())
    assert {key: verdict.reward for key, verdict in found.items()} == {"1": 1.5, "2": 0.5, "1 again": 1.5}
    assert [part.name for part in found["2"].parts] == ["verify", "slow"]
    view = AnswersOnly(rewards)  # evaluation's
    view.submit("k", replace(TASK, response="1"))
    [(key, verdict)] = view.drain()
    assert (key, verdict.right, verdict.parts) == ("k", True, ())
    assert [each.reward for each in rewards.verify([TASK, replace(TASK, response="1")])] == [0.5, 1.5]
    rewards.close()


def test_the_verifier_judges_without_a_weight_where_nothing_else_does() -> None:
    with open_rewards([RewardSettings(use="format", weight=0.5)], PLENTY, 100) as rewards:
        known, nobody = rewards.verify([TASK, replace(TASK, gold=())])
    assert [(part.name, part.weight, part.answers) for part in known.parts] == [
        ("format", 0.5, False), ("verify", 0.0, True),
    ]  # fmt: skip
    assert (known.right, known.reward) == (True, 0.5)
    assert (nobody.graded, nobody.rewarded, nobody.reward) == (False, True, 0.5)


REWARDS = """
import time

def marked(response, difficulty, scale=1.0): return {"score": scale * difficulty, "seen": len(response)}
async def later(length, **columns): return -length / columns["difficulty"]
def hangs(response):
    if "hang" in response: time.sleep(600)
    return 1.0
def fails(response): raise ValueError("not today")
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(REWARDS)
    return path


def test_functions_of_files_run_in_killable_processes_with_their_options(file: Path) -> None:
    rows = [
        RewardSettings(use=f"{file}:marked", options={"scale": 2.0}),
        RewardSettings(use=f"{file}:later", name="late"),
        RewardSettings(use="cmd: jq .length", name="words") if shutil.which("jq") else RewardSettings(use="repetition"),
        RewardSettings(use="overlong", options={"buffer": 4}),
    ]
    with open_rewards(rows, PLENTY, 8) as rewards:
        [verdict] = rewards.verify([TASK])
    told = {part.name: part.verdict for part in verdict.parts}
    assert (told["marked"].score, told["marked"].columns) == (6.0, {"seen": len(TASK.response)})
    assert told["late"].score == -2.0
    assert told["overlong"].score == -0.5  # of 8, the budget of a response


@pytest.mark.slow
def test_a_part_that_hangs_costs_its_own_verdict(file: Path) -> None:
    rows = [RewardSettings(use="verify"), RewardSettings(use=f"{file}:hangs"), RewardSettings(use=f"{file}:fails")]
    with open_rewards(rows, VerifierSettings(workers=1, timeout_s=3.0), 8) as rewards:
        rewards.submit("hangs", replace(TASK, response=r"hang \boxed{4}"))
        rewards.submit("fine", TASK)
        found = dict(rewards.drain())
        question = Question("sums/0", "2 + 2?", ("4",))
        try_reward(rewards, None, "Q", question, ["hangs"])
        with pytest.raises(UserError, match=r"reward 'fails' is not a valid reward function here: .*'grader failed"):
            try_reward(rewards, None, "Q", question, ["verify", "fails"])
    assert found["hangs"].right
    assert [part.verdict.outcome for part in found["hangs"].parts] == [Outcome.RIGHT, Outcome.TIMEOUT, Outcome.UNGRADED]
    assert found["hangs"].earned is Outcome.TIMEOUT
    assert found["fine"].parts[1].verdict.score == 1.0


def test_a_local_function_that_hangs_is_left_behind() -> None:
    held = threading.Event()

    def sometimes(response: str) -> float:
        return 0.5 if response != "hang" or held.wait(600) else 0.0

    def threads() -> list[threading.Thread]:
        return [each for each in threading.enumerate() if each.name == "reward held"]

    grader = LocalGrader("held", sometimes, timeout_s=1.0)
    for key in ("a", "hang", "b"):
        grader.submit(key, replace(TASK, response=key))
    found = dict(grader.drain())
    assert (found["a"].score, found["b"].score) == (0.5, 0.5)
    assert (found["hang"].outcome, found["hang"].rule) == (Outcome.TIMEOUT, "left behind after 1 s")
    assert grader.hanging == 1
    assert len(threads()) == 2
    held.set()
    wait_for(lambda: threads() if len(threads()) == 1 else None, "what was left behind to end", 60)
    grader.submit("c", TASK)
    assert [key for key, _ in grader.drain()] == ["c"]  # it says nothing any more
    grader.close()


def test_a_local_function_that_hangs_time_and_again_ends_the_run() -> None:
    held = threading.Event()
    grader = LocalGrader("mine", lambda response: held.wait(600), timeout_s=0.01)
    for key in range(MOST_HANGING):
        grader.submit(key, TASK)
    with pytest.raises(UserError, match=f"reward 'mine' hung {MOST_HANGING} times, each for over verifier.timeout_s"):
        list(grader.drain())
    held.set()


def test_callables_are_parts_with_an_identity() -> None:
    def other(response: str) -> float:
        return 0.0

    assert [each.called for each in parts_of([slow, LocalReward(other, "x", 2.0)])] == ["slow", "x"]
    assert identity(slow) != identity(other)
    assert identity(slow).startswith("test_reward_list.slow ")
    facts = reward_facts([LocalReward(slow, correctness=True), LocalReward(other, weight=0.5)])
    assert facts["rewards"] == [
        {"name": "slow", "weight": 1.0, "answers": True}, {"name": "other", "weight": 0.5, "answers": False},
    ]  # fmt: skip
    assert facts["rewards_fingerprint"] == {"slow": identity(slow), "other": identity(other)}
    assert reward_facts([]) == {}
    with pytest.raises(UserError, match="Two rewards are called 'slow'"):
        parts_of([slow, slow])
    with pytest.raises(UserError, match="no parameter 'x' for its option"):
        make_rewards([LocalReward(slow, options={"x": 1})], PLENTY, 8)


# ---- a judge


def judge(url: str, folder: Path | None = None, **more: Any) -> JudgeGrader:
    options = {"server": url, "model": "m", "scale": (1.0, 5.0), "patience_s": 0.0, "workers": 2, **more}
    return JudgeGrader("style", JudgeOptions.model_validate(options), folder and folder / "judge-style.sqlite")


@pytest.mark.parametrize(
    ("says", "score", "rule"),
    [
        ("Good.\nSCORE: 4", 0.75, "judge m"),
        ("**SCORE:** 5", 1.0, "judge m"),
        ("SCORE: 2\nNo:\nSCORE: 1.0", 0.0, "judge m"),
        ("SCORE: 6", None, "the judge gave 6, off its scale"),
        ("SCORE: 4/5", None, "the judge gave no score"),
        ("four", None, "the judge gave no score"),
    ],
)
def test_a_judge_says_how_good_a_response_is(tmp_path: Path, says: str, score: float | None, rule: str) -> None:
    server = serve(tmp_path, says=says)
    try:
        grader = judge(server.url)
        grader.submit("k", replace(TASK, response="mine is {gold}"))
        [(_, verdict)] = grader.drain()
        grader.close()
    finally:
        server.kill()
    assert (verdict.score, verdict.rule, verdict.graded) == (score, rule, score is not None)
    assert verdict.columns == {"prompt_tokens": 100.0, "answer_tokens": 10.0}
    asked = server.answered[0]["body"]["messages"][0]["content"]
    assert "Response:\nmine is {gold}\n" in asked  # what a response holds is no place for a gold
    assert "An answer that counts as right:\n4 or four\n" in asked
    assert asked.endswith("SCORE: n\nwhere n is a number from 1 (worst) to 5 (best).")


def test_a_judge_is_asked_once_and_its_failures_are_ungraded(tmp_path: Path) -> None:
    server = serve(tmp_path, says="SCORE: 3")
    (tmp_path / "run.json").write_text("{}")
    try:
        first = judge(server.url, tmp_path)
        assert [each.score for each in first.verify([TASK, TASK])] == [0.5, 0.5]
        [refused] = first.verify([replace(TASK, response="REFUSE")])
        first.close()
        assert [each.score for each in judge(server.url, tmp_path).verify([TASK])] == [0.5]  # from disk
        assert len([each for each in server.answered if each["status"] == 200]) == 1
    finally:
        server.kill()
    assert (refused.outcome, refused.rule[:22]) == (Outcome.UNGRADED, "the judge refused: 400")
    away = judge(server.url)
    [gone] = away.verify([TASK])
    assert gone.outcome is Outcome.UNGRADED
    assert "the judge cannot be asked: the server of the reward 'style'" in gone.rule
    assert "does not answer" in gone.rule


def test_a_judge_whose_store_is_damaged_is_ungraded_and_waited_for_no_longer(tmp_path: Path) -> None:
    """What goes wrong in one of its threads is told by its verdict: else nobody hears of it, and all wait."""
    (tmp_path / "run.json").write_text("{}")
    grader = judge("http://127.0.0.1:9/v1", tmp_path)
    grader.submit("first", TASK)
    [_] = grader.drain()  # the server is away; the store is there
    with closing(sqlite3.connect(tmp_path / "judge-style.sqlite")) as base, base:
        base.execute("DROP TABLE answers")
    grader.submit("second", TASK)
    [(_, verdict)] = grader.drain()
    grader.close()
    assert (verdict.outcome, verdict.rule) == (
        Outcome.UNGRADED, "the judge failed: OperationalError: no such table: answers",
    )  # fmt: skip


def test_the_bill_of_a_judge_is_what_its_kept_answers_took(tmp_path: Path) -> None:
    """Each answer once, however often the run was resumed: they are what was paid for."""
    assert bills(tmp_path) == []
    store = Store(tmp_path / "judge-style.sqlite")
    for key, (prompt, words) in {"a": (1000, 10), "b": (234, 5)}.items():
        usage = {"prompt_tokens": prompt, "completion_tokens": words}
        store.put(key, {"choices": [{"message": {"content": "SCORE: 3"}}], "usage": usage})
    (said,) = bills(tmp_path)
    assert said.startswith("The judge style gave 2 answers, which took 1,234 + 15 tokens (")
    (tmp_path / "judge-style.sqlite").write_text("no database, but long enough to be taken for one, perhaps")
    (said,) = bills(tmp_path)
    assert "cannot be told" in said


# ---- reasoning-gym


def test_the_entry_of_a_question_is_its_rows() -> None:
    entry = {"question": "1 + 1?", "answer": "2", "metadata": {"source_dataset": "chain_sum"}}
    assert entry_of(replace(TASK, extra={"entry": entry})) == entry
    assert entry_of(replace(TASK, extra={"entry": json.dumps(entry)})) == entry
    assert entry_of(replace(TASK, extra={"metadata": json.dumps(entry["metadata"])})) == {
        "question": "2 + 2?", "answer": "4", "metadata": {"source_dataset": "chain_sum"},
    }  # fmt: skip
    assert entry_of(TASK) is None
    assert entry_of(replace(TASK, extra={"metadata": "{"})) is None


def test_reasoning_gym_scores_its_own_and_the_verifier_the_rest() -> None:
    gym = pytest.importorskip("reasoning_gym")
    entry = gym.create_dataset("chain_sum", size=1, seed=1)[0]
    own = replace(TASK, response=rf"so \boxed{{{entry['answer']}}}", extra={"entry": entry}, gold=("?",))
    with open_rewards([RewardSettings(use="reasoning_gym")], PLENTY, 8) as rewards:
        right, wrong, none, other = rewards.verify(
            [own, replace(own, response=r"\boxed{-1}"), replace(own, response="no"), TASK]
        )
    assert [each.outcome for each in (right, wrong, none, other)] == [
        Outcome.RIGHT, Outcome.WRONG, Outcome.NO_ANSWER, Outcome.RIGHT,
    ]  # fmt: skip
    assert right.extracted == entry["answer"]


def test_without_reasoning_gym_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("r1zero.rewards.gym.PACKAGE", "reasoning_gym_is_not_here")
    rewards = make_rewards([RewardSettings(use="reasoning_gym")], PLENTY, 8)
    with pytest.raises(UserError, match="needs the package reasoning-gym, which is not installed here: pip install"):
        rewards.check()
    rewards.close()


# ---- whole runs


def settings(file: Path, **more: object) -> dict[str, object]:
    rows = [
        {"use": "verify"},
        {"use": "format", "weight": 0.25},
        {"use": "overlong", "options": {"buffer": 8}, "weight": 0.5},
        {"use": f"{file}:size", "weight": 0.125},
    ]
    return {"reward": rows, "train.steps": 1, "evaluation.benchmarks": [], **more}


SIZE = "def size(response, question, length):\n    return {'score': length / 16, 'asked': len(question)}\n"


@pytest.mark.slow
def test_a_run_learns_from_a_list_of_rewards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path("mine.py")
    file.write_text(SIZE)
    run = train(tiny_recipe(settings(file)), tmp_path / "run")
    rows, [logged] = run.responses(1), run.read("metrics")
    assert {"reward/verify", "reward/format", "reward/overlong", "reward/size", "reward/size.asked"} <= logged.keys()
    for row in rows:
        cut = row["stop"] == "length"
        shaped = 0.25 * row["reward/format"] + 0.5 * row["reward/overlong"] + 0.125 * row["reward/size"]
        assert row["reward"] == pytest.approx(shaped + (0 if cut else row["reward/verify"]), abs=1e-6)
        assert row["reward/overlong"] == soft_overlong(row["length"], 16, 8)
        assert row["rule/size"] == "reward mine.py:size"
        assert row["reward/size.asked"] == len(row["question"])
    assert logged["rollout/pass_at_1"] == sum(row["outcome"] == "right" for row in rows) / 16
    assert run.facts["rewards"][0] == {"name": "verify", "weight": 1.0, "answers": True}
    assert set(run.facts["rewards_fingerprint"]) == {"size"}

    (tmp_path / "new").mkdir()
    moved = Path(shutil.move(file, tmp_path / "new" / "mine.py"))
    with pytest.raises(
        UserError, match=r"reward names .*mine\.py, which .*run was started with and which is not there"
    ):
        train(tiny_recipe(settings(file)), tmp_path / "run", resume=True)
    more = settings(moved, **{"train.steps": 2})
    moved.write_text(SIZE.replace("16", "17"))
    with pytest.raises(UserError, match=r"reward = .* does not hold what .* was started with"):
        train(tiny_recipe(more), tmp_path / "run", resume=True)
    moved.write_text(SIZE)
    train(tiny_recipe(more), tmp_path / "run", resume=True)
    assert any("the same lies elsewhere" in row["note"] for row in run.read("notes"))
    heavier = json.loads(json.dumps(more).replace("0.125", "0.5"))
    with pytest.raises(UserError, match="was started with other settings of reward"):
        train(tiny_recipe(heavier), tmp_path / "run", resume=True)
    moved.write_text(SIZE + "# other\n")
    with pytest.raises(UserError, match="was started with another rewards fingerprint"):
        train(tiny_recipe(more), tmp_path / "run", resume=True)


@pytest.mark.slow
def test_a_run_learns_by_reasoning_gyms_own_scores(tmp_path: Path) -> None:
    """Every reward is what the package itself gives the extracted answer; a part of one earns a part."""
    gym = pytest.importorskip("reasoning_gym")
    options = {"size": 16, "min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
    sums = {"name": "reasoning-gym:chain_sum", "options": options, "max_prompt_tokens": 512}
    asked = {"questions": sums, "reward": [{"use": "reasoning_gym"}], "train.steps": 2, "sampling.max_new_tokens": 32}
    asked |= {"evaluation.benchmarks": [sums | {"limit": 3}], "objective.truncation": "keep"}
    del asked["evaluation.benchmarks"][0]["max_prompt_tokens"]
    run = train(tiny_recipe(asked), tmp_path / "run")
    entries = {entry["question"]: entry for entry in gym.create_dataset("chain_sum", seed=0, **options)}
    score = gym.get_score_answer_fn("chain_sum")
    rows = [*run.responses(1), *run.responses(2)]
    assert len(rows) == 32
    for row in rows:
        own = 0.0 if row["extracted"] is None else score(row["extracted"], entries[row["question"]])
        assert row["reward"] == row["reward/reasoning_gym"] == pytest.approx(own, abs=1e-6)
    assert any(row["extracted"] is not None for row in rows)
    assert run.facts["rewards"] == [{"name": "reasoning_gym", "weight": 1.0, "answers": True}]


@pytest.mark.slow
def test_a_run_learns_from_functions_of_this_process(tmp_path: Path) -> None:
    def shorter(length: int) -> float:
        return -length / 16

    small = tiny_recipe({"train.steps": 1, "evaluation.benchmarks": []})
    run = train(small, tmp_path / "run", given=Given(rewards=(shorter,)))
    rows = run.responses(1)
    assert [row["reward"] for row in rows] == [-row["length"] / 16 for row in rows]
    assert run.facts["rewards"][1] == {"name": "verify", "weight": 0.0, "answers": True}
    with pytest.raises(UserError, match="rewards fingerprint"):
        train(small, tmp_path / "run", resume=True)
    with pytest.raises(UserError, match=r"as Python objects and by verifier\.reward"):
        train(tiny_recipe({"verifier.reward": "m:f"}), tmp_path / "other", given=Given(rewards=(shorter,)))


def test_every_part_of_a_foreign_runs_list_is_told(tmp_path: Path) -> None:
    rows = [
        {"use": "verify"},
        {"use": "m:f"},
        {"use": "cmd: rm -r x"},
        {"use": "judge", "options": {"server": "http://far.example/v1", "model": "m"}},
    ]
    facts = {"versions": {}, "device": "cpu", "threads": 1, "parameters": 1, "maker": "somebody"}
    run = Run.create(tmp_path / "run", tiny_recipe({"reward": rows}), facts)
    told = foreign_reward(run, run.recipe).splitlines()
    assert len(told) == 3
    assert "f of the module m runs now" in told[0]
    assert "the command 'rm -r x' runs now" in told[1]
    assert "the judge at http://far.example/v1 is sent every response now, and your R1ZERO_JUDGE_KEY" in told[2]
    plain = Run.create(tmp_path / "plain", tiny_recipe({"reward": rows[:1]}), facts)
    assert foreign_reward(plain, plain.recipe) == ""
