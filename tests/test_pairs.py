"""Audits of files, `r1zero verify`, second graders, and users' own reward functions."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from processes import look, wait_ended
from r1zero.cli.app import app
from r1zero.cli.verify import verify as command
from r1zero.errors import UserError
from r1zero.types import AnswerFormat, Outcome, Verdict
from r1zero.verify import Verifier
from r1zero.verify.pairs import grade_pairs, read_pairs, summarise
from r1zero.verify.rule_names import MEANING, explained
from r1zero.verify.workers.custom_reward import check_reward, judged
from r1zero.verify.workers.second_grader import SECOND, paper_fast

BOXED = AnswerFormat.BOXED
# Where nothing is to run into a limit, however slow and busy the machine: it only ends what hangs.
PLENTY_S = 600.0

REWARDS = """
import os, time, sys

def exact(response, gold):
    return response in gold

def score(response, gold):
    return len(response) / 4

def unsure(response, gold):
    return None

def odd(response, gold):
    return {"hang": hang, "die": die, "raise": fail, "bad": lambda: "many"}.get(response, lambda: True)()

def hang():
    time.sleep(600)

def die():
    os._exit(3)

def fail():
    raise KeyError("no such column: " + "x" * 1000)

def memory(response, gold):
    return bool(bytearray(10 ** 10))
"""


@pytest.fixture
def rewards(tmp_path, monkeypatch):
    (tmp_path / "rewards.py").write_text(REWARDS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def grade(reward: str, responses: list[str], gold: str = "four", timeout_s=PLENTY_S, **limits) -> list[Verdict]:
    with Verifier(workers=1, reward=reward, timeout_s=timeout_s, **limits) as pool:
        pool.check()
        return pool.verify([(response, [gold], BOXED) for response in responses])


# -- users' own functions


SLOW = """
import time
time.sleep(8)
"""


@pytest.mark.parametrize("spec", ["kept/lazy.py:reward", "lazy:reward"])
def test_what_a_function_imports_is_no_part_of_grading_time_and_may_lie_beside_it(tmp_path, monkeypatch, spec):
    """A module that takes 8 s to be imported, asked for inside functions, under a limit of 2 s an answer."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "slow_one.py").write_text(SLOW)
    (kept / "helper.py").write_text("def same(a, b):\n    import slow_one\n    return a == b\n")
    (kept / "lazy.py").write_text(
        "def reward(response, gold):\n    try:\n        import no_such_module\n    except ImportError:\n        pass\n"
        "    from helper import same\n    return same(response, gold[0])\n"
    )
    monkeypatch.chdir(tmp_path if "/" in spec else kept)
    verdicts = grade(spec, ["four", "five"], timeout_s=2.0)
    assert [v.outcome for v in verdicts] == [Outcome.RIGHT, Outcome.WRONG]


@pytest.mark.parametrize("spec", ["rewards.py:exact", "rewards:exact"])
def test_a_function_grades_the_whole_response(rewards, spec):
    verdicts = grade(spec, ["four", "five", ""])
    assert [v.outcome for v in verdicts] == [Outcome.RIGHT, Outcome.WRONG, Outcome.WRONG]
    assert [v.reward for v in verdicts] == [1.0, 0.0, 0.0]
    assert verdicts[0].rule == f"reward {spec}"
    assert verdicts[0].extracted is None


def test_numbers_without_quotes_are_golds_and_predictions(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [(6.022e23, 602200000000000000000000), (142.0, 142), (1e-7, "0.0000001"), (["7", 8], 8.0), (0.1, "0.1")]
    path.write_text("".join(json.dumps({"gold": gold, "prediction": given}) + "\n" for gold, given in rows))
    found = [(pair.gold, pair.prediction) for pair in read_pairs(path)]
    assert found == [
        (("602200000000000000000000",), "602200000000000000000000"),
        (("142",), "142"),
        (("0.0000001",), "0.0000001"),
        (("7", "8"), "8"),
        (("0.1",), "0.1"),
    ]
    with Verifier(workers=1) as verifier:
        assert all(g.verdict.right for g in grade_pairs(read_pairs(path), verifier, AnswerFormat.BOXED))


def test_a_number_is_a_score_and_none_is_no_grade(rewards):
    verdicts = grade("rewards:score", ["a", "four", "eight ch"])
    assert [(v.outcome, v.score, v.reward) for v in verdicts] == [
        (Outcome.WRONG, 0.25, 0.25),
        (Outcome.RIGHT, 1.0, 1.0),
        (Outcome.RIGHT, 2.0, 2.0),
    ]
    [verdict] = grade("rewards:unsure", ["a"])
    assert (verdict.outcome, verdict.reward) == (Outcome.UNGRADED, 0.0)


def test_hanging_dying_and_raising_cost_only_themselves(rewards):
    verdicts = grade("rewards:odd", ["fine", "hang", "fine 2", "die", "raise", "bad", "fine 3"], timeout_s=3.0)
    assert [v.outcome.value for v in verdicts] == [
        "right",
        "timeout",
        "right",
        "ungraded",
        "ungraded",
        "ungraded",
        "right",
    ]
    died, raised, bad = (v.rule for v in verdicts[3:6])
    assert died == "worker died"
    assert raised.startswith("grader failed: KeyError: 'no such column: xxx")
    assert len(raised) < 250
    assert bad == "grader failed: TypeError: it returned a str: return true or false, a number, or None"


def test_the_import_of_a_function_has_a_limit_of_its_own(rewards):
    (rewards / "slow.py").write_text("import time\ntime.sleep(2.5)\ndef reward(response, gold):\n    return True\n")
    [verdict] = grade("slow.py:reward", ["x"], timeout_s=2.0)
    assert verdict.right


def test_a_second_grader_has_its_imports_behind_it_before_the_first_answer():
    """Their seconds would be the first answer's, which has a limit."""
    code = (
        "import sys; from r1zero.verify.workers.worker import _load_reward\n"
        f"grade = _load_reward({SECOND['math-verify']!r}, 1.0)\n"
        "print('sympy' in sys.modules, 'math_verify' in sys.modules)\n"
        "before = set(sys.modules)\n"
        "task = {'gold': ['four'], 'first_gold': 'four', 'response': r'\\boxed{four}', 'extra': {}, 'columns': {}}\n"
        "print(grade(task)[0][0], sum(name.split('.')[0] in ('sympy', 'math_verify') for name in "
        "set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PLENTY_S)
    print(done.stdout, done.stderr)
    assert done.stdout.splitlines() == ["True True", "right 0"], done.stderr


def test_memory_is_limited(rewards):
    [verdict] = grade("rewards:memory", ["x"], memory_mb=1024)
    assert (verdict.outcome, verdict.rule) == (Outcome.UNGRADED, "out of memory")


def test_a_command_reads_and_writes_json(rewards):
    program = "import json, sys; task = json.load(sys.stdin); print(json.dumps(task['response'] in task['gold']))"
    (rewards / "grade.py").write_text(program)
    verdicts = grade(f"cmd: {sys.executable} grade.py", ["four", "five"])
    assert [v.outcome for v in verdicts] == [Outcome.RIGHT, Outcome.WRONG]
    [verdict] = grade(f"cmd: {sys.executable} -c 'print(0.5)'", ["x"])
    assert (verdict.score, verdict.outcome) == (0.5, Outcome.WRONG)
    [verdict] = grade(f"cmd: {sys.executable} -c 'import sys; sys.exit(3)'", ["x"])
    assert verdict.outcome is Outcome.UNGRADED


def test_a_hanging_command_is_killed_with_what_it_started(rewards):
    (rewards / "hang.sh").write_text("sleep 600 &\necho $$ $! > pids\nwait\n")
    [verdict] = grade("cmd: sh hang.sh", ["x"], timeout_s=2.0)
    assert verdict.outcome is Outcome.TIMEOUT
    shell, child = map(int, (rewards / "pids").read_text().split())
    wait_ended(filter(None, (look(shell), look(child))), 60)


@pytest.mark.parametrize(
    "spec, sentence",
    [
        ("exact", "names no function"),
        (":exact", "names no function"),
        ("rewards:no-name", "names no function"),
        ("absent.py:exact", "does not exist"),
        ("cmd:", "starts no program"),
        ("cmd: no-such-program-here", "starts no program"),
        ("cmd: 'open", "is not a valid command line"),
    ],
)
def test_a_reward_that_names_nothing_is_told(spec, sentence):
    with pytest.raises(UserError, match=sentence):
        check_reward(spec)


@pytest.mark.parametrize("spec", ["no_such_module_here:exact", "rewards:absent"])
def test_a_reward_that_does_not_load_is_told(rewards, spec):
    with Verifier(reward=spec) as pool, pytest.raises(UserError, match=r"does not start.*Error"):
        pool.check()


def test_results_of_reward_functions():
    assert judged(True) == ("right", None)
    assert judged(0) == ("wrong", 0.0)
    assert judged(None) == ("ungraded", None)
    with pytest.raises(ValueError, match="finite"):
        judged(float("nan"))


# -- audits

LINES = [
    {"gold": "5", "prediction": "5.0", "kind": "answer", "expected": True, "note": "kept"},
    {"gold": ["6", "7"], "prediction": r"so \boxed{7}", "kind": "response", "expected": True},
    {"gold": "5", "prediction": r"it is \boxed{5}", "expected": False},
    {"gold": "5", "prediction": "6", "expected": True},
    {"gold": "{", "prediction": "6"},
    {"gold": "5", "prediction": "nothing here", "kind": "response"},
]


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES) + "\n")
    return path


def test_an_audit(pairs):
    with Verifier() as pool:
        graded = list(grade_pairs(read_pairs(pairs), pool, AnswerFormat.AUTO))
    found = summarise(graded)
    assert found.outcomes == {"right": 3, "wrong": 1, "no_answer": 1, "ungraded": 1, "timeout": 0}
    assert (found.pairs, found.judged, found.agreed) == (6, 4, 2)
    assert [g.pair.line for g in found.false_accepts] == [3]
    assert [g.pair.line for g in found.false_rejects] == [4]
    assert found.in_process == 1.0
    row = graded[0].row
    assert {key: row[key] for key in ("note", "verdict", "extracted", "rule")} == {
        "note": "kept",
        "verdict": "right",
        "extracted": "5.0",
        "rule": "number",
    }


def test_the_command_audits_a_file(pairs, tmp_path, capsys):
    out = tmp_path / "verdicts.jsonl"
    command(file=pairs, out=out)
    shown = capsys.readouterr().out
    assert "2 of 4 (50.0%)" in shown
    assert "false accepts: 1" in shown
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["verdict"] for row in rows] == ["right", "right", "right", "wrong", "ungraded", "no_answer"]
    assert all(set(row) >= {"gold", "prediction", "verdict", "extracted", "rule", "seconds"} for row in rows)


def test_the_command_explains(capsys):
    app(["verify", r"\frac{1}{2}", r"so \boxed{0.5}"], exit_on_error=False, result_action="return_value")
    shown = capsys.readouterr().out
    assert "verdict    right" in shown
    assert "extracted  0.5" in shown
    assert "two plain numbers" in shown


@pytest.mark.parametrize(
    "prediction, kind",
    [
        ("42", "answer"),
        (r"\frac{1}{2} \text{ of the whole}", "answer"),
        ("The answer is 42", "answer"),
        ("1, 2, 3, 4, 5, 6, 7, 8, 9", "answer"),
        ("not 42", "answer"),
        (r"so \boxed{42}", "response"),
        ("<answer>42</answer>", "response"),
        ("It is 6*7.\n42", "response"),
        ("She has bought six times seven apples, that is 42.", "response"),
        ("4" * 201, "response"),
    ],
)
def test_a_prediction_is_an_answer_or_a_response_by_one_rule(prediction, kind, tmp_path, capsys):
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"gold": "42", "prediction": prediction}))
    assert read_pairs(path)[0].kind == kind
    with Verifier(workers=1, timeout_s=PLENTY_S) as pool:
        [graded] = grade_pairs(read_pairs(path), pool, AnswerFormat.AUTO)
    command("42", prediction, timeout_s=PLENTY_S)
    assert f"verdict    {graded.verdict.outcome.value}" in capsys.readouterr().out


def test_an_audit_that_ends_early_leaves_its_lines(tmp_path, monkeypatch):
    path, out = tmp_path / "pairs.jsonl", tmp_path / "verdicts.jsonl"
    path.write_text("".join(json.dumps({"gold": "5", "prediction": str(k)}) + "\n" for k in range(200)))

    def some(pairs, *rest):
        for number, graded in enumerate(grade_pairs(pairs, *rest)):
            if number == 100:
                raise KeyboardInterrupt
            yield graded

    monkeypatch.setattr("r1zero.verify.pairs.grade_pairs", some)
    with pytest.raises(KeyboardInterrupt):
        command(file=path, out=out)
    assert len(out.read_text().splitlines()) == 100


def test_a_mark_at_the_beginning_of_a_file_is_none_of_its_text(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"gold": 5, "prediction": "5"}', encoding="utf-8-sig")
    assert read_pairs(path)[0].gold == ("5",)


def test_a_second_grader(tmp_path, capsys):
    path = tmp_path / "pairs.jsonl"
    lines = [{"gold": "a+1", "prediction": "c+1", "expected": False}, {"gold": "5", "prediction": "5"}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    command(file=path, second="paper-fast")
    shown = capsys.readouterr().out
    assert "disagreements with the second grader: 1" in shown
    assert "second: right" in shown


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"gold": "5"}, "nothing to verify"),
        ({"gold": "5", "answer": "5", "format": "odd"}, "--format odd"),
        ({"gold": "5", "answer": "5", "second": "odd"}, "--second odd"),
        ({"gold": "5", "answer": "5", "workers": 0}, "--workers"),
        ({"gold": "5", "answer": "5", "timeout_s": float("nan")}, "--timeout-s"),
        ({"gold": "5", "answer": "5", "timeout_s": float("inf")}, "--timeout-s"),
        ({"gold": "5", "answer": "5", "out": Path("x.jsonl")}, "add --file"),
        ({"file": Path("absent.jsonl")}, "cannot be read"),
    ],
)
def test_mistakes_are_one_sentence(settings, sentence):
    given = dict(settings)
    with pytest.raises(UserError, match=sentence):
        command(given.pop("gold", None), given.pop("answer", None), **given)


@pytest.mark.parametrize(
    "line, sentence",
    [
        ("{", "line 1, is not JSON"),
        ("[]", "lacks gold or prediction"),
        ('{"gold": "5"}', "lacks gold or prediction"),
        ('{"gold": "5", "prediction": [5]}', "neither text nor a number"),
        ('{"gold": true, "prediction": "5"}', "neither text nor a number"),
        ('{"gold": "5", "prediction": false}', "neither text nor a number"),
        ('{"gold": "5", "prediction": null}', "neither text nor a number"),
        ('{"gold": "5", "prediction": %s}' % ("[" * 100_000), "nested too deeply"),
        ('{"gold": "5", "prediction": "5", "kind": "x"}', "has kind"),
        ('{"gold": "5", "prediction": "5", "expected": 1}', "has expected"),
        ("", "holds no line"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, sentence):
    path = tmp_path / "pairs.jsonl"
    path.write_text(line)
    with pytest.raises(UserError, match=sentence):
        read_pairs(path)


@pytest.mark.parametrize(
    "gold, answer, fast",
    [
        ("a+1", "c+1", True),
        ("(a)", "(c)", True),
        ("x=5", "y=5", True),
        (r"50\%", "50", True),
        ("2/4", "1/2", False),
        ("2^{10}", "1024", False),
        ("2,1", "1,2", False),
        ("(1,2)", "(2,1)", False),
        (r"3\pi", "9.42477796", False),
        ("5", "The answer is 5", False),
        ("0.5", r"\frac{1}{2}", True),
    ],
)
def test_the_papers_rules(gold, answer, fast):
    assert paper_fast(rf"\boxed{{{answer}}}", [gold]) is fast


def test_the_slow_rules_ask_math_verify():
    with Verifier(workers=1, timeout_s=PLENTY_S, reward=SECOND["paper-slow-rules"]) as pool:
        verdicts = pool.verify([(r"\boxed{1024}", ["2^{10}"], BOXED), (r"\boxed{1023}", ["2^{10}"], BOXED)])
    assert [v.right for v in verdicts] == [True, False]


def test_rules_are_explained():
    assert explained("number") == "number (two plain numbers, compared exactly)"
    assert explained("refused: too long") == "refused: too long (the answer was refused unseen)"
    assert all(meaning[0].islower() or meaning.startswith("Math") for meaning in MEANING.values())
