"""Rewards that never work are no runs, code that grades is fingerprinted, and what a set holds is said everywhere."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from r1zero.analyze.responses import ModelResponses, QuestionResponses
from r1zero.api.ask import evaluate
from r1zero.config import BenchmarkSettings, EvaluationSettings, TemplateSettings, checked
from r1zero.errors import UserError
from r1zero.evaluation.cell import Conditions
from r1zero.evaluation.matrix import evaluate_matrix
from r1zero.evaluation.models import local
from r1zero.evaluation.summary import summarise
from r1zero.rollouts.question_sets import each_once, load_set
from r1zero.runs.files import told_apart
from r1zero.runs.run import Run
from r1zero.statistics import by_question, clustered, majority, paired, standard_error
from r1zero.training.train import train
from r1zero.types import AnswerFormat, Completion, Outcome, Question, Rollout, Stop, Verdict
from r1zero.verify import Verifier, votes
from r1zero.verify.fingerprint import reward_fingerprint, verifier_fingerprint
from r1zero.verify.golds import final_gold, unusable
from r1zero.verify.grade import grade_exact
from r1zero.verify.votes import same_answers
from tiny_runs import taught_model, tiny_recipe

REWARDS = """
import math
import os

def two_for_one(completions, **more): return [0.0, 0.0]
def of_another_row(response, gold, difficulty): return 0.0
def a_dict(response, gold): return {"points": 1.0}
def a_factory(response, gold): return lambda response, gold: 1.0
def a_word(response, gold): return "0.5"
async def later(response, gold): return "0.5"
def no_number(response, gold): return math.nan
def ends(response, gold): os._exit(3)
def nothing(response, gold): return None
def fails_later(response, gold):
    if "try the grader" not in response: raise KeyError("late")
    return 0.0
def works(response, gold): return float(gold[0] in response)
"""
SAID = {
    "two_for_one": "by TRL's signature it returned [0.0, 0.0]: return a list with a reward for each completion",
    "of_another_row": "it asks for 'difficulty', neither a column of the row (it has none) nor a field (response,",
    "a_dict": "it returned a dict without a score",
    "a_factory": "it returned a function: a factory is called first with the options that its reward has",
    "a_word": "it returned a str: return true or false, a number, or None",
    "later": "it returned a str: return true or false, a number, or None",
    "no_number": "the reward is not finite",
    "ends": "worker died",
}


@pytest.fixture
def rewards(tmp_path: Path) -> Path:
    path = tmp_path / "rewards.py"
    path.write_text(REWARDS)
    return path


def run(rewards: Path, name: str, out: Path, steps: int = 1, *, resume: bool = False) -> Run:
    settings = {"verifier.reward": f"{rewards}:{name}", "train.steps": steps, "evaluation.benchmarks": []}
    return train(tiny_recipe(settings), out, resume=resume)


@pytest.mark.parametrize("name", SAID)
def test_a_reward_that_cannot_work_is_no_run(rewards: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"rewards\.py:.* is not a valid reward function here") as told:
        run(rewards, name, tmp_path / "run")
    assert SAID[name] in str(told.value)
    assert not (tmp_path / "run").exists()  # the next try is not in its own way
    with pytest.raises(UserError, match="is not a valid reward function here"):
        evaluated(rewards, name, tmp_path / "out")


def evaluated(rewards: Path, name: str, out: Path) -> None:
    sets = [{"name": "arithmetic", "options": {"level": 1, "count": 4}}]
    settings = checked(EvaluationSettings, {"benchmarks": sets, "max_new_tokens": 8})
    shape = checked(TemplateSettings, {"name": "no", "answer_format": "last_number"})
    conditions = Conditions(out=out, reward=f"{rewards}:{name}")
    evaluate_matrix([str(taught_model())], partial(local, rows=8, device="cpu"), [shape], settings, conditions)


@pytest.mark.parametrize(("name", "why"), [("nothing", "gave no result"), ("fails_later", "KeyError: 'late'")])
def test_a_step_of_which_nothing_could_be_graded_ends_the_run(
    rewards: Path, tmp_path: Path, name: str, why: str
) -> None:
    with pytest.raises(UserError, match="None of the 16 responses of step 1 could be graded") as told:
        run(rewards, name, tmp_path / "run")
    assert why in str(told.value)
    with pytest.raises(UserError, match=r"None of the 4 responses of arithmetic.* could be graded"):
        evaluated(rewards, name, tmp_path / "out")


def test_an_edited_reward_is_noticed(rewards: Path, tmp_path: Path) -> None:
    run(rewards, "works", tmp_path / "run")
    run(rewards, "works", tmp_path / "run", 2, resume=True)
    evaluated(rewards, "works", tmp_path / "out")
    evaluated(rewards, "works", tmp_path / "out")
    rewards.write_text(REWARDS + "# other\n")
    with pytest.raises(UserError, match=r"was started with another reward fingerprint \(.*, now .*\)"):
        run(rewards, "works", tmp_path / "run", 3, resume=True)
    with pytest.raises(UserError, match=r"holds another evaluation \(of other reward_fingerprint\)"):
        evaluated(rewards, "works", tmp_path / "out")


def test_another_verifier_is_said_on_resume_and_another_evaluation(
    tmp_path: Path,
) -> None:
    recipe = tiny_recipe({"train.steps": 1})
    found = train(recipe, tmp_path / "run")
    assert found.facts["verifier_fingerprint"] == verifier_fingerprint()
    path = tmp_path / "run" / "run.json"
    path.write_text(path.read_text().replace(verifier_fingerprint(), "0" * 16))
    train(tiny_recipe({"train.steps": 2}), tmp_path / "run", resume=True)
    [note] = [line["note"] for line in Run.open(tmp_path / "run").read("notes") if "verifier" in line["note"]]
    assert note == "started with another verifier: from here on some responses may be graded otherwise"


def test_what_a_rewards_fingerprint_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("from helper import f\ndef reward(response, gold): return f(response)\n")
    (tmp_path / "helper.py").write_text("def f(x): return 1.0\n")
    (tmp_path / "other.py").write_text("")
    marks = [reward_fingerprint(spec) for spec in ("mine.py:reward", "mine:reward", "cmd: python mine.py")]
    assert None not in marks
    (tmp_path / "other.py").write_text("x = 1\n")  # which it does not import
    assert [reward_fingerprint(spec) for spec in ("mine.py:reward", "mine:reward", "cmd: python mine.py")] == marks
    (tmp_path / "helper.py").write_text("def f(x): return 0.0\n")
    assert reward_fingerprint("mine.py:reward") != marks[0]
    assert reward_fingerprint("mine:reward") != marks[1]
    (tmp_path / "mine.py").write_text("def reward(response, gold): return 0.5\n")
    assert reward_fingerprint("cmd: python mine.py") != marks[2]
    assert reward_fingerprint(None) is None


# -- what a set holds


def loaded(tmp_path: Path, rows: list[dict[str, object]], reward: str | None = None):
    path = tmp_path / "set.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_set(checked(BenchmarkSettings, {"name": str(path)}), None, reward)


def test_golds_that_are_whole_solutions(tmp_path: Path) -> None:
    answers = ["12*3=<<12*3=36>>36\n#### 1,236", "so $\\boxed{15}$.", "Final answer: 14", "['12']", "7"]
    rows: list[dict[str, object]] = [{"question": f"{k}?", "answer": answer} for k, answer in enumerate(answers)]
    found = loaded(tmp_path, rows)
    assert [question.gold for question in found] == [("1,236",), ("15",), ("14",), ("12",), ("7",)]
    [note] = found.notes
    assert note.startswith("set: 4 golds held more than an answer, of which the marked final answer was taken: of")
    assert [question.gold[0] for question in loaded(tmp_path, rows, "mine:reward")] == answers


def test_golds_that_cannot_be_graded_are_left_out_and_listed(tmp_path: Path) -> None:
    good: list[dict[str, object]] = [{"question": f"{k}?", "answer": k} for k in range(3)]
    bad: list[dict[str, object]] = [
        {"question": "a?", "answer": "\\frac{1"},
        {"question": "b?", "answer": "['1', '2']"},
        {"question": "c?", "answer": None},
        {"question": "", "answer": 3},
    ]
    found = loaded(tmp_path, good + bad)
    assert [question.text for question in found] == ["0?", "1?", "2?"]
    assert found.dropped == {"no answer": 1, "no question": 1, "unreadable gold": 2}
    assert "set: 2 rows left out (unreadable gold)" in found.notes
    assert any("set/3 (unbalanced braces); set/4 (a printed list of 2 answers" in note for note in found.notes)
    with pytest.raises(UserError, match=r"2 of set's 3 gold answers cannot be graded: set/1 \(unbalanced braces\)"):
        loaded(tmp_path, [good[0], *bad])


def test_a_set_says_what_it_holds_in_every_result(tmp_path: Path) -> None:
    path = tmp_path / "sums.jsonl"
    rows = [{"question": "1+2=", "answer": 3}] * 3 + [{"question": "2+2=", "answer": 4}, {"question": "", "answer": 1}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    [result] = evaluate(str(taught_model()), [str(path)], "no", out=tmp_path / "out", max_new_tokens=8)
    assert (result.questions, result.different) == (4, 2)
    notes = (
        "sums: 1 row left out (no question)",
        "sums: its 4 rows ask 2 questions; rows of one question are one piece of evidence in intervals and p-values",
    )
    assert result.notes == notes
    [cell] = json.loads((tmp_path / "out" / "results.json").read_text())
    assert tuple(cell["results"][0]["notes"]) == notes
    for note in notes:
        assert f"- {note}." in (tmp_path / "out" / "results.md").read_text()


def test_who_chooses_questions_asks_each_once(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"question": text, "answer": 1} for text in "abaca"]
    found = each_once(loaded(tmp_path, rows))
    assert [question.id for question in found] == ["set/0", "set/1", "set/3"]
    assert found.notes[-1] == "set: 2 rows left out (asking what another row asks)"
    assert each_once(found) is found


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("#### 5", "5"),
        ("a\n#### 5\nb", "a\n#### 5\nb"),  # not at the end
        ("The answer is 5.", "5"),
        ("we answer 5", "we answer 5"),
        ("[1, 2]", "[1, 2]"),
        ("['a', 'b']", "['a', 'b']"),
        ("{5}", "{5}"),
        ("\\boxed{", "\\boxed{"),
        ("Add 1 and 2. #### 3", "3"),
        ("12\n####", "12"),
        ("12 + 3 = 15\n####", "12 + 3 = 15\n####"),
        ("### Answer\n14", "14"),
        ("### 14", "14"),
        ("#### Answer\n14", "14"),
        ("#### 36\n\nGreat!", "36"),
        ("#### 36\n\nor 37", "#### 36\n\nor 37"),
        ("#### 36 <eos>", "36"),
        ("#### 36<|im_end|>\n</s>", "36"),
        ("Final Answer: The final answer is $3$. I hope it is correct.", "3"),
        ("step 1 \\boxed{5}\n#### 6", "6"),
        ("#### 6\nso \\boxed{5}", "5"),
        ("\\boxed{5}\nThe answer is 6.", "6"),
        ("{'12'}", "12"),
        ("('12',)", "12"),
        ("['12' '13']", "['12' '13']"),
        ("{'a': '12'}", "{'a': '12'}"),
        ("We get 12.\n\n**12**", "12"),
        ("The answer: 14. Check: 7+7=14.", "14"),
        ("The answer is 14. No wait, it is 15.", "The answer is 14. No wait, it is 15."),
        ("The answer is St. Louis.", "St. Louis"),
        ("The answer is 3.5", "3.5"),
        ("<answer>12</answer> Great!", "12"),
        ("答案是 12", "12"),
        ("Ответ: 12", "12"),
        ("Solution: 12", "12"),
        ("\n" * 40_000 + "x", "\n" * 40_000 + "x"),  # in linear time: a minute otherwise
        ("#### " * 8_000, "#### " * 8_000),
    ],
    ids=lambda text: text[:40],
)
def test_a_final_answer_is_taken_where_it_is_marked(gold: str, answer: str) -> None:
    assert final_gold(gold) == answer


WORKING = [
    "25 + 25 + 25 = 75, so 75 pears.",
    "We take 1 and add 2. This gives 3.",
    "We add 7 and 8 and get 15",
    "There are 12*3=36 jars in the box.",
    "12*3=36 jars",
    "Twenty minus six leaves 14 apples",
    "Let n be 3. Then n^2 = 9.",
    "7+8=15 and 15-3=12",
    "3 x 25 = 75 pears in all",
    "共有12个苹果，所以是12",
    "The answer is 14. No wait, it is 15.",
    "12 + 3 = 15\n####",
    "#### 36\n\nor 37",
    "['12' '13']",
    "{'a': '12'}",
]
ANSWERS = """
12 square feet; 3 hours and 5 minutes; May 5, 2020; [0, 1); (3, 4); Mary Jane Smith; red, green and blue; -5.; 1 234
x = 5, so y = 3; 12 cm; A: 12; (B) 12; n = 2^k for some positive integer k; no solution; 7:30 PM; Friday, 5 March 2020
36 apples; 12 个苹果; the value is 12; None of the above; 7+8=15; (-\\infty, 3]; 12 apples and 3 pears; St. Louis 1904
"""


@pytest.mark.parametrize("gold", WORKING)
def test_a_short_solution_without_a_mark_cannot_be_graded(gold: str) -> None:
    assert final_gold(gold) == gold
    assert unusable(gold) is not None


@pytest.mark.parametrize("gold", [text.strip() for text in ANSWERS.replace("\n", ";").split(";") if text.strip()])
def test_an_answer_of_several_words_is_no_solution(gold: str) -> None:
    assert final_gold(gold) == gold
    assert unusable(gold) is None


def test_a_set_of_short_solutions_is_refused_and_sentences_are_told(tmp_path: Path) -> None:
    def rows(golds: list[str]) -> list[dict[str, object]]:
        return [{"question": f"{k}?", "answer": gold} for k, gold in enumerate(golds)]

    with pytest.raises(UserError, match=r"4 of set's 4 gold answers cannot be graded: set/0 \(a text that marks no"):
        loaded(tmp_path, rows(WORKING[:4]))
    with pytest.raises(UserError, match=r"3 of set's 4 gold answers cannot be graded: set/0 .*; set/1 \(a sentence"):
        loaded(tmp_path, rows([WORKING[0], "It is 15", "He has 15 apples left", "7"]))
    kept = loaded(tmp_path, rows(["Alice is 5 years older than Bob", "12 eggs each day for 3 days", "7", "8"]))
    assert [question.gold[0] for question in kept][:2] == [
        "Alice is 5 years older than Bob",
        "12 eggs each day for 3 days",
    ]
    [note] = kept.notes
    assert note == (
        "set: golds of which only the same text is right: set/0 (a sentence, so only the same words are right); "
        "set/1 (words around a number, so only the same words are right)"
    )


def test_questions_that_differ_in_white_space_only_are_one(tmp_path: Path) -> None:
    texts = ["What is 1+2?", "What is  1+2?", " What is\n1+2?\n", "What is 2+2?"]
    found = loaded(tmp_path, [{"question": text, "answer": 3} for text in texts])
    assert found.notes[0].startswith("set: its 4 rows ask 2 questions;")
    assert [question.id for question in each_once(found)] == ["set/0", "set/3"]
    assert len({question.asked for question in found}) == 2
    assert Question("set/9", "", ("3",)).asked == "set/9"
    groups = tuple(QuestionResponses(question.id, None, question.text, ()) for question in found)
    assert len(set(ModelResponses("m", "t", 1.0, groups).questions)) == 2
    verdicts = (Verdict(Outcome.RIGHT, extracted="3"),)
    one = Completion((1,), (0.0,), Stop.EOS, "3")
    asked = [Rollout(question, question.text, (1,), (one,), verdicts) for question in found]
    assert summarise("set", asked).different == 2


def test_files_of_equal_names_are_told_apart(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.jinja").write_text(f"{folder}: {{{{ question }}}}")
        (tmp_path / folder / "test-0.jsonl").write_text('{"question": "1+2=", "answer": 3}\n')
        shutil.copytree(taught_model(), tmp_path / folder / "step-1")
    sets = [{"name": str(tmp_path / folder / "test-0.jsonl")} for folder in "ab"]
    settings = checked(EvaluationSettings, {"benchmarks": sets, "max_new_tokens": 4})
    shapes = [checked(TemplateSettings, {"name": str(tmp_path / folder / "t.jinja")}) for folder in "ab"]
    models, out = [str(tmp_path / folder / "step-1") for folder in "ab"], tmp_path / "out"
    cells = evaluate_matrix(models, partial(local, rows=8, device="cpu"), shapes, settings, Conditions(out=out))
    assert [(cell.template, [result.name for result in cell.results]) for cell in cells] == [
        (label, ["a/test-0", "b/test-0"]) for label in ("a/t", "b/t", "a/t", "b/t")
    ]
    names = {f"{model}_step-1--{label}_t" for model in "ab" for label in "ab"}
    assert {path.name for path in out.iterdir() if path.is_dir()} == names
    assert {path.name for path in (out / "a_step-1--b_t").glob("*.parquet")} == {"a_test-0.parquet", "b_test-0.parquet"}
    for other in (f"{models[0]}/", models[0].replace("/step-1", "/./step-1")):
        with pytest.raises(UserError, match=r"name .* more than once; keep one of them"):
            evaluate_matrix([models[0], other], partial(local, rows=8, device="cpu"), shapes, settings, Conditions())
    assert told_apart(["x/a", "x/a/", "./x/a"]) == {"x/a": ["a"], "x/a/": ["a"], "./x/a": ["a"]}
    with pytest.raises(UserError, match=r"name .* more than once; keep one of them"):
        evaluate_matrix([models[0]] * 2, partial(local, rows=8), shapes, settings, Conditions())


# -- numbers over questions


def test_rows_of_one_question_are_one_piece_of_evidence() -> None:
    asked = [f"q{k // 16}" for k in range(128)]
    assert clustered([1.0] * 128, asked) == clustered([1.0] * 8)
    assert clustered([1.0] * 128, asked).low == pytest.approx(0.676, abs=5e-4)
    assert standard_error([1.0] * 128, asked) == standard_error([1.0] * 8)
    assert paired([0.0] * 128, [1.0] * 128, asked).p_value == 2 / 2**8
    assert clustered([0.0, 1.0, 1.0], ["a", "b", "c"]) == clustered([0.0, 1.0, 1.0])


def test_questions_of_different_counts() -> None:
    values, asked = [1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"]
    # mean 3/4; Q = 2 of N = 4: a's three differ by 1/4 each, b's by -3/4, both halved
    assert by_question(values, asked) == pytest.approx([0.75 + 0.375, 0.75 - 0.375])
    assert clustered(values, asked).value == 0.75
    assert standard_error(values, asked) == pytest.approx(0.375 / 2**0.5)


def test_equal_answers_vote_together(shared: Path) -> None:
    def vote(gold: str, samples: list[str]) -> float:
        with Verifier(workers=1, timeout_s=20.0) as verifier:
            verdicts = verifier.verify([(sample, [gold], AnswerFormat.BARE) for sample in samples])
        right = [verdict.right for verdict in verdicts]
        return majority(same_answers([None if ok else s for ok, s in zip(right, samples, strict=True)]), right)

    for line in (shared / "faults" / "majority.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert vote(row["gold"], row["samples"]) == row["maj"], row


def test_what_a_vote_costs_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums in sums, each dear and all different: beyond what a question's vote may cost, texts are told apart."""
    hostile = [rf"{k}+\sum_{{a=1}}^{{2000}}\sum_{{b=1}}^{{2000}}\sum_{{c=1}}^{{2000}}{k}" for k in range(2, 26)]
    compared: list[tuple[str, str]] = []

    def counted(gold: str, answer: str) -> Verdict | None:
        compared.append((gold, answer))
        return grade_exact(gold, answer)

    monkeypatch.setattr(votes, "grade_exact", counted)
    said = same_answers([*hostile, "1/2", "1/2 ", "1/2"])
    assert len(compared) < 24  # of the 552 that there are
    assert len(set(said[:24])) == 24
    assert said[24] == said[25] == said[26]
    one, other = same_answers(["1+x", "x+1"])  # the next question has units of its own
    assert one == other


def test_which_answers_are_the_same() -> None:
    said = same_answers(["1/2", "0.5", None, "x = 12", "12 cm", "12", "", r"\frac{1}{2}", "13", "12 km"])
    assert said[0] == said[1] == said[7] != said[5]
    assert said[3] == said[4] == said[5]
    assert said[2] is said[6] is None
    assert said[8] not in (said[0], said[5])
