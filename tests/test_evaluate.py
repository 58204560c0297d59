"""Evaluation: the numbers by hand, the same responses every time, and the command that writes them down."""

import itertools
import json
import math
import signal
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1zero.config import EvaluationSettings, TemplateSettings, checked
from r1zero.errors import UserError
from r1zero.evaluation import EvalProtocol, SetResult, average, evaluate_sets, summarise, wilson
from r1zero.evaluation.cell import Conditions, EvalCell
from r1zero.evaluation.compare import compare
from r1zero.evaluation.contamination import overlaps
from r1zero.evaluation.journal import Journal
from r1zero.evaluation.matrix import evaluate_matrix
from r1zero.evaluation.models import local
from r1zero.evaluation.saved import Saved, open_saved, regrade
from r1zero.evaluation.tables import details, headings_and_rows, tails
from r1zero.metrics import EVALUATION_METRICS
from r1zero.policy.load import Policy, load_policy
from r1zero.published import BENCHMARKS, FORMATS, published_benchmarks
from r1zero.questions import load_questions
from r1zero.rollouts.prompts import PreparedSet
from r1zero.sampling.embedded.sampler import make_sampler
from r1zero.sampling.protocol import SamplingParams
from r1zero.statistics import clustered, majority, paired, pass_at_k, standard_error
from r1zero.templates import get_template
from r1zero.types import AnswerFormat, Outcome, Question, Stop
from r1zero.verify import Verifier
from regime import seeded
from report_runs import group, response
from tiny_runs import Hold, random_model, start, taught_model

# ---- Wilson's interval


def test_wilson_by_hand() -> None:
    # p = 1/2, n = 4, z = 2: centre (1/2 + 4/8) / (1 + 1) = 1/2, half 2/2 · sqrt(1/16 + 4/64) = sqrt(1/8)
    low, high = wilson(0.5, 4, z=2.0)
    assert low == pytest.approx(0.5 - math.sqrt(1 / 8))
    assert high == pytest.approx(0.5 + math.sqrt(1 / 8))
    # p = 0, n = 4, z = 2: centre (0 + 4/8) / 2 = 1/4, half 1 · sqrt(0 + 4/64) = 1/4
    assert wilson(0.0, 4, z=2.0) == pytest.approx((0.0, 0.5))
    assert wilson(1.0, 4, z=2.0) == pytest.approx((0.5, 1.0))


def test_wilson_agrees_with_the_textbook() -> None:
    # Agresti and Coull (1998): 0 of 10 gives (0, 0.278); Newcombe (1998): 81 of 263 gives (0.2553, 0.3662)
    assert wilson(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)


@given(n=st.integers(1, 500), data=st.data())
def test_wilson_holds_the_share_and_stays_a_share(n: int, data: st.DataObject) -> None:
    p = data.draw(st.integers(0, n)) / n
    low, high = wilson(p, n)
    assert 0 <= low <= p + 1e-12
    assert p - 1e-12 <= high <= 1
    wider = wilson(p, n, z=3.0)
    assert wider[0] <= low + 1e-12
    assert high <= wider[1] + 1e-12


# ---- other estimators


@pytest.mark.parametrize("n", range(1, 8))
def test_pass_at_k_is_what_counting_all_subsets_gives(n: int) -> None:
    for c in range(n + 1):
        samples = [True] * c + [False] * (n - c)
        for k in range(1, n + 1):
            subsets = list(itertools.combinations(samples, k))
            assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


@pytest.mark.parametrize(("n", "c", "k"), [(4, 1, 5), (4, 1, 0), (4, 5, 1)])
def test_pass_at_impossible_k_is_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="pass@"):
        pass_at_k(n, c, k)


def test_majority_by_hand() -> None:
    assert majority(["4", "4.0", "5", "5"], [True, True, False, False]) == 0.5  # right ones vote together: a tie
    assert majority(["4", "4.0", "4", "5", "5"], [True, True, True, False, False]) == 1.0
    assert majority(["4", "5", "5", None], [True, False, False, False]) == 0.0
    assert majority([None, None], [False, False]) == 0.0


@pytest.mark.parametrize("n", [30, 83, 500])
@pytest.mark.parametrize("p", [0.05, 0.2, 0.3, 0.5, 0.85])
def test_95_percent_intervals_of_one_answer_each_cover_95_percent(n: int, p: float) -> None:
    """Exactly, over all outcomes; averaged over p ± 0.02, since coverage jumps with p for so coarse a binomial."""
    intervals = [clustered([1.0] * k + [0.0] * (n - k)) for k in range(n + 1)]
    coverage = []
    for near in np.linspace(p - 0.02, p + 0.02, 9):
        chances = [math.comb(n, k) * near**k * (1 - near) ** (n - k) for k in range(n + 1)]
        coverage.append(sum(c for c, e in zip(chances, intervals, strict=True) if e.low <= near <= e.high))
    assert 0.93 <= sum(coverage) / len(coverage) <= 0.97


@pytest.mark.parametrize("p", [0.08, 0.3, 0.5, 0.85])
@pytest.mark.parametrize(("questions", "samples"), [(83, 8), (272, 4)])
def test_95_percent_intervals_of_several_samples_cover_95_percent(p: float, questions: int, samples: int) -> None:
    """Questions of mixed difficulty, drawn anew each time: the interval holds the true mean in 93 to 97 of 100."""
    rng = np.random.default_rng([questions, samples, int(100 * p)])
    trials = 2000
    difficulty = rng.beta(2 * p, 2 * (1 - p), size=(trials, questions))
    shares = rng.binomial(samples, difficulty) / samples
    held = sum((e := clustered(row.tolist())).low <= p <= e.high for row in shares)
    assert 0.93 <= held / trials <= 0.97


def test_one_sample_each_makes_it_wilsons_interval() -> None:
    estimate = clustered([1.0, 0.0, 0.0, 1.0, 1.0])
    assert (estimate.low, estimate.high) == pytest.approx(wilson(0.6, 5))


def test_mcnemar_by_hand() -> None:
    # seven questions differ, six of them for the better: 2 · (7 + 1) / 2^7
    first, second = [0.0] * 6 + [1.0] + [1.0] * 5, [1.0] * 6 + [0.0] + [1.0] * 5
    found = paired(first, second)
    assert (found.questions, found.difference) == (12, pytest.approx(5 / 12))
    assert found.p_value == pytest.approx(2 * 8 / 128)
    assert found.test == "exact (McNemar)"
    assert paired(first, first).p_value == 1.0


def test_the_interval_of_a_difference_is_students() -> None:
    # differences 0, ½, ½, 1: mean ½, variance ½ / 3, error √(1/6 / 4) = 0.2041; t(0.975, 3) = 3.1824
    found = paired([0.0, 0.0, 0.0, 0.0], [0.0, 0.5, 0.5, 1.0])
    assert (found.low, found.high) == pytest.approx((-0.1497, 1.0), abs=1e-3)  # no difference is above 1
    one = paired([0.0], [1.0])
    assert (one.difference, one.low, one.high) == (1.0, -1.0, 1.0)


def test_sign_flips_by_hand() -> None:
    # differences ½, ½, 1: |sum| is 2 for two of eight flips
    found = paired([0.0, 0.5, 0.0], [0.5, 1.0, 1.0])
    assert found.p_value == 2 / 8
    assert found.test == "exact (all sign flips)"


def test_the_permutation_test_holds_its_level() -> None:
    rng = np.random.default_rng(0)
    p_values = []
    for trial in range(200):
        a, b = rng.binomial(4, 0.4, size=(2, 40)) / 4
        p_values.append(paired(a.tolist(), b.tolist(), seed=trial, draws=10_000).p_value)
    assert 0.01 <= float(np.mean(np.array(p_values) < 0.05)) <= 0.10


def test_the_papers_rows_average_to_what_is_printed() -> None:
    for row in BENCHMARKS:
        assert sum(row.percent) / 5 == pytest.approx(row.average, abs=0.11)
    assert published_benchmarks("somewhere/Qwen2.5-Math-7B", "no") is not None
    assert published_benchmarks("Qwen/Qwen2.5-Math-7B", "chat") is None


@pytest.mark.parametrize(
    ("model", "template", "average"),
    [
        ("sail/Qwen2.5-Math-7B-Oat-Zero", "qwen_math", 51.4),
        ("sail/Qwen2.5-Math-1.5B-Oat-Zero", "qwen_math", 42.1),
        ("sail/Llama-3.2-3B-Oat-Zero", "r1", 20.7),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "chat", 22.0),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "chat", 28.5),
        ("hkust-nlp/Qwen-2.5-Math-7B-SimpleRL-Zero", "qwen_math", 46.6),
        ("PRIME-RL/Eurus-2-7B-PRIME-Zero", "prime_zero", 48.0),
        ("Open-Reasoner-Zero/Open-Reasoner-Zero-7B", "open_reasoner_zero", 43.0),
        ("HuggingFaceTB/FineMath-Llama-3B", "r1", 6.0),
        ("lkevinzc/Llama-3.2-3B-NuminaQA", "r1", 0.14),
        ("meta-llama/Llama-3.2-3B", "r1", 3.3),
        ("meta-llama/Llama-3.2-3B-Instruct", "chat", 17.1),
        ("Qwen/Qwen2.5-Math-1.5B-Instruct", "chat", 39.8),
        ("Qwen/Qwen2.5-Math-7B-Instruct", "chat", 45.1),
        ("Qwen/Qwen2.5-Math-7B", "no", 38.2),
    ],
)
def test_released_models_have_their_published_rows(model: str, template: str, average: float) -> None:
    owner, name = model.split("/")
    for known in (
        model, name, f"models/{name}/", f"/data/{owner}_{name}", f"/data/{owner}__{name}", name.upper(),
        f"/cache/hub/models--{owner}--{name}/snapshots/0123456789abcdef",
    ):  # fmt: skip
        row = published_benchmarks(known, template)
        assert row is not None, known
        assert row.average == average
        assert published_benchmarks(known, "question_answer") is None


@pytest.mark.parametrize("model", ["runs/a/checkpoints/step-000016", "my-Qwen2.5-Math-7B", "Qwen2.5-Math-7B-mine", ""])
def test_other_models_have_none(model: str) -> None:
    assert all(published_benchmarks(model, row.template) is None for row in BENCHMARKS)


def test_the_papers_row_stands_beside_its_own_rule_alone() -> None:
    """Under the lenient tags other responses are right; a box is read by one rule everywhere."""
    for row in BENCHMARKS:
        own = row.answer_format
        if row.template != "chat":
            assert own == FORMATS.get(row.template, get_template(row.template).answer_format)
        found = {each for each in AnswerFormat if published_benchmarks(row.name, row.template, 3000, each) is not None}
        assert found == {own}, row
    assert published_benchmarks("meta-llama/Llama-3.2-3B", "r1", 3000, "answer_tags") is None


@pytest.mark.parametrize(
    ("more", "beside"), [({}, False), ({"answer_format": "answer_tags_strict"}, True), ({"reward": True}, False)]
)
def test_an_evaluation_under_r1_has_the_papers_row_by_its_rule(
    more: dict[str, Any], beside: bool, tmp_path: Path
) -> None:
    model = tmp_path / "Llama-3.2-3B"  # by its name
    model.symlink_to(taught_model())
    reward = tmp_path / "mine.py"
    reward.write_text("def reward(response, gold):\n    return 1.0\n")
    shape = checked(TemplateSettings, {"name": "r1", "answer_format": more.get("answer_format")})
    rows = tmp_path / "aime24.jsonl"
    rows.write_text('{"problem": "1+1=", "answer": "2"}\n')
    settings = checked(EvaluationSettings, {"benchmarks": [{"name": "aime24"}], "max_new_tokens": 4})
    conditions = Conditions(data_dir=tmp_path, reward=f"{reward}:reward" if "reward" in more else None)
    [cell] = evaluate_matrix([str(model)], partial(local, rows=4, device="cpu"), [shape], settings, conditions)
    assert (cell.paper is not None) == beside


def test_of_several_budgets_the_row_is_that_of_the_nearest_and_says_where_it_is_another() -> None:
    distilled = "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"
    averages = {n: published_benchmarks(distilled, "chat", n) for n in (1024, 3072, 8192, 32768)}
    assert [row and row.average for row in averages.values()] == [28.5, 28.5, 54.7, 54.7]
    result = summarise("amc", ROLLOUTS)
    labels = {}
    for tokens, row in averages.items():
        _, [_, [label, template, score, average]] = headings_and_rows(
            [EvalCell(distilled, "chat", [result], row, tokens)]
        )
        labels[tokens] = label
        assert (template, score, average) == ("chat", *(("26.2", "28.5") if tokens < 4000 else ("68.4", "54.7")))
    assert labels == {1024: "paper, Table 4, at 3000 tokens, not 1024", 3072: "paper, Table 4",
                      8192: "paper, Table 4", 32768: "paper, Table 4, at 8000 tokens, not 32768"}  # fmt: skip


# ---- contamination


def test_contamination_by_hand() -> None:
    def question(name: str, text: str) -> Question:
        return Question(name, text, ("1",))

    thirteen = "a train leaves the station at noon and runs sixty miles to town"
    benchmark = [
        question("b/0", "What is $2+2$?"),
        question("b/1", f"Suppose {thirteen}. How long?"),
        question("b/2", "Something else, with quite as many words as the others have, but none of them the same."),
    ]
    training = [
        question("t/0", "what is 2 + 2"),
        question("t/1", f"{thirteen.upper()}, as before: how fast?"),
        question("t/2", "Another question."),
    ]
    found = overlaps(training, benchmark)
    assert [(o.question.id, o.trained_on, o.exact) for o in found] == [("b/0", "t/0", True), ("b/1", "t/1", False)]
    assert found[1].shared == thirteen
    assert [o.covered for o in found] == [1.0, 13 / 16]  # of "suppose … how long", 13 of 16 words
    assert overlaps(training, benchmark, gram=14)[-1].question.id == "b/0"


# ---- the summary


ROLLOUTS = [
    group(0, response("", Outcome.RIGHT, 10), response("", Outcome.RIGHT, 20)),
    group(1, response("", Outcome.WRONG, 5), response("", Outcome.RIGHT, 32, Stop.LENGTH)),
    group(2, response("", Outcome.NO_ANSWER, 32, Stop.CONTEXT), response("", Outcome.NO_ANSWER, 3)),
    group(3, response("", Outcome.UNGRADED, 4), response("", Outcome.TIMEOUT, 14)),
]


def test_a_summary_by_hand() -> None:
    result = summarise("set", ROLLOUTS, seconds=2.0)
    shares = [1.0, 0.5, 0.0, 0.0]
    variance = (0.625**2 + 0.125**2 + 2 * 0.375**2) / 4
    low, high = wilson(3 / 8, 4 * (3 / 8 * 5 / 8) / variance)  # clustered: worth a little more than four answers
    assert result == SetResult(
        name="set",
        questions=4,
        different=4,
        samples=2,
        accuracy=3 / 8,
        accuracy_low=pytest.approx(low),
        accuracy_high=pytest.approx(high),
        standard_error=pytest.approx(math.sqrt(variance / 4)),
        length=(10 + 20 + 5 + 32 + 32 + 3 + 4 + 14) / 8,
        length_correct=15.0,  # the truncated one apart
        length_incorrect=(5 + 3 + 4 + 14) / 4,
        truncated=2 / 8,
        cut_by_context=1 / 8,
        answered=6 / 8,
        ungraded=2,
        rates={"right": 3 / 8, "wrong": 1 / 8, "no_answer": 1 / 8, "ungraded": 1 / 8, "timeout": 1 / 8,
               "truncated": 1 / 8},
        pass_at={1: clustered(shares), 2: clustered([1.0, 1.0, 0.0, 0.0])},
        majority=clustered([1.0, 1.0, 0.0, 0.0]),  # nobody but the right ones said what they answer
        within={16: 1 / 8, 32: 3 / 8},
        sample_seconds=2.0,
        tokens=120,
    )  # fmt: skip
    assert sum(result.rates.values()) == 1


def test_answers_that_are_all_alike_prove_no_error_of_zero() -> None:
    low, high = wilson(0.0, 30)
    assert standard_error([0.0] * 30) == pytest.approx((high - low) / (2 * 1.959964))
    assert standard_error([0.0, 1.0]) == pytest.approx(math.sqrt(0.5) / 2)


def test_the_table_of_a_set_shows_passes_budgets_and_format() -> None:
    headings, rows = details([summarise("set", ROLLOUTS, seconds=2.0)])
    assert headings == ["", "set"]
    shown = dict(rows)
    assert (shown["pass@1"], shown["pass@2"], shown["in the format"]) == ("0.375", "0.500", "75.0%")
    assert (shown["within 16 tokens"], shown["within 32 tokens"]) == ("0.125", "0.375")


def test_models_are_shown_by_what_tells_them_apart() -> None:
    runs = ["/data/deep/runs/first/checkpoints/step-000016", "/data/deep/runs/second/checkpoints/step-000016"]
    assert list(tails(runs).values()) == ["first/…/step-000016", "second/…/step-000016"]
    assert tails(["owner/name", "/models/mine"]) == {"owner/name": "owner/name", "/models/mine": "mine"}
    assert tails(["runs/a", "runs/a"]) == {"runs/a": "runs/a"}


def test_what_does_not_apply_is_left_out() -> None:
    result = summarise("amc", [group(0, response("", Outcome.WRONG, 8, Stop.LENGTH))])
    assert (result.length_correct, result.length_incorrect) == (None, None)
    assert result.numbers() == {
        "eval/amc/accuracy": 0.0,
        "eval/amc/accuracy_low": 0.0,
        "eval/amc/accuracy_high": wilson(0.0, 1)[1],
        "eval/amc/length": 8.0,
        "eval/amc/truncated": 1.0,
        "eval/amc/cut_by_context": 0.0,
        "eval/amc/answered": 1.0,
        "eval/amc/ungraded": 0,
    }


def test_numbers_are_named_as_the_table_says() -> None:
    keys = {key.replace("{set}", "set") for key in EVALUATION_METRICS} - {"eval/average"}
    assert "eval/set/pass_at_n" not in summarise("set", [group(0, response("", Outcome.RIGHT, 1))]).numbers()
    assert set(summarise("set", ROLLOUTS).numbers()) == keys


def test_the_average_is_over_sets_and_not_over_questions() -> None:
    one = summarise("a", [group(0, response("", Outcome.RIGHT, 1))])
    two = summarise("b", [group(i, response("", Outcome.WRONG, 1)) for i in range(9)])
    assert average([one, two]) == 0.5
    assert average([]) is None


# ---- a real model


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(str(taught_model()), device="cpu")


TEMPLATE = get_template("no", answer_format=AnswerFormat.LAST_NUMBER)
GREEDY = EvalProtocol(SamplingParams(16, temperature=0.0), samples=1, seed=0)
SAMPLED = EvalProtocol(SamplingParams(16, temperature=1.0), samples=3, seed=seeded())
SET = load_questions("arithmetic", limit=12, options={"level": 1, "style": "bare"})


def run(policy: Policy, protocol: EvalProtocol, folder: Path | None = None, rows: int = 64) -> SetResult:
    with Verifier(workers=1, timeout_s=60) as verifier:
        prepared = PreparedSet(SET, TEMPLATE, policy.encode)
        (result,) = evaluate_sets([prepared], make_sampler(policy, rows), verifier, protocol, folder=folder)
    return result


@pytest.mark.parametrize("protocol", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("rows", [64, 5])
def test_evaluating_twice_gives_the_same(tmp_path: Path, policy: Policy, protocol: EvalProtocol, rows: int) -> None:
    one = run(policy, protocol, tmp_path / "one")
    two = run(policy, protocol, tmp_path / "two", rows)
    assert one.numbers() == two.numbers()
    tables = [pq.read_table(tmp_path / name / "arithmetic.parquet").to_pylist() for name in ("one", "two")]
    for first, second in zip(*tables, strict=True):
        # another batch shape rounds differently
        assert first.pop("logprobs") == pytest.approx(second.pop("logprobs"), abs=1e-5)
        assert first == second
    if rows == 64:  # the same shapes: the same bytes
        files = [(tmp_path / name / "arithmetic.parquet").read_bytes() for name in ("one", "two")]
        assert files[0] == files[1]
    assert len(tables[0]) == 12 * protocol.samples
    assert 0 < one.accuracy < 1


def test_samples_of_one_question_differ_and_another_seed_draws_others(tmp_path: Path, policy: Policy) -> None:
    other = EvalProtocol(SAMPLED.params, samples=3, seed=seeded(1))
    for protocol, name in ((SAMPLED, "one"), (other, "two")):
        run(policy, protocol, tmp_path / name)
    drawn = [
        [row["response"] for row in pq.read_table(tmp_path / name / "arithmetic.parquet").to_pylist()]
        for name in ("one", "two")
    ]
    assert drawn[0] != drawn[1]
    assert any(len(set(drawn[0][3 * q : 3 * q + 3])) > 1 for q in range(12))


def test_greedy_is_what_transformers_generates(tmp_path: Path, policy: Policy) -> None:
    run(policy, GREEDY, tmp_path)
    for row in pq.read_table(tmp_path / "arithmetic.parquet").to_pylist():
        prompt = policy.tokenizer(row["prompt"], return_tensors="pt").input_ids
        whole = policy.model.generate(prompt, max_new_tokens=16, do_sample=False)
        assert row["response_ids"] == whole[0, prompt.shape[1] :].tolist()


def test_the_summary_is_that_of_the_saved_responses(tmp_path: Path, policy: Policy) -> None:
    result = run(policy, SAMPLED, tmp_path)
    rows = pq.read_table(tmp_path / "arithmetic.parquet").to_pylist()
    assert result.accuracy == pytest.approx(sum(row["outcome"] == "right" for row in rows) / 36)
    assert result.tokens == sum(row["length"] for row in rows)
    assert result.sample_seconds > 0
    for row in rows:  # graded by plain arithmetic
        numbers = "".join(char if char.isdigit() else " " for char in row["response"]).split()
        assert (row["outcome"] == "right") == (bool(numbers) and numbers[-1] == row["gold"][0])


# ---- the command


def test_evaluate_writes_results_and_responses(tmp_path: Path) -> None:
    words = ["evaluate", taught_model(), "-b", "arithmetic", "--limit", "6", "--template", "no"]
    words += ["--answer-format", "last_number", "--max-new-tokens", "8", "--device", "cpu"]
    said = start(*words, "--samples", "2", "--temperature", "0.7", "--out", tmp_path / "out").done()
    identity = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert identity["model"] == str(taught_model())
    assert identity["settings"]["temperature"] == 0.7
    assert identity["versions"]["versions"]["torch"]
    (cell,) = json.loads((tmp_path / "out" / "results.json").read_text())
    (result,) = cell["results"]
    assert (result["name"], result["questions"], result["samples"]) == ("arithmetic", 6, 2)
    assert pq.read_table(tmp_path / "out" / "arithmetic.parquet").num_rows == 12
    assert f"{result['accuracy']:.3f}" in said


def test_evaluate_takes_columns_and_the_likeliest_tokens(tmp_path: Path) -> None:
    rows = [{"text": f"{a}+1=", "gold": str(a + 1), "answer": "no"} for a in range(1, 7)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["evaluate", taught_model(), "-b", tmp_path / "sums.jsonl", "--template", "no", "--max-new-tokens", "8"]
    words += ["--answer-format", "last_number", "--device", "cpu", "--out", tmp_path / "out", "--limit", "4"]
    columns = ["--question-column", "text", "--answer-column", "gold"]
    start(*words, *columns, "--temperature", "1.0", "--top-k", "1").done()
    drawn = pq.read_table(tmp_path / "out" / "sums.parquet").to_pylist()
    assert [(row["prompt"], row["gold"]) for row in drawn] == [(f"{a}+1=", [str(a + 1)]) for a in range(1, 5)]
    assert all(set(row["logprobs"]) == {0.0} for row in drawn)  # of one token there is no choice
    settings = json.loads((tmp_path / "out" / "evaluation.json").read_text())["settings"]
    assert settings["top_k"] == 1
    assert settings["benchmarks"][0]["question_column"] == "text"


def test_evaluate_takes_a_split(tmp_path: Path) -> None:
    words = ["evaluate", taught_model(), "-b", "arithmetic", "--split", "test", "--limit", "3", "--template", "no"]
    start(*words, "--max-new-tokens", "4", "--device", "cpu", "--out", tmp_path / "out").done()
    assert pq.read_table(tmp_path / "out" / "arithmetic-test.parquet").num_rows == 3


WORDS = ("--template", "no", "--answer-format", "last_number", "--max-new-tokens", "16", "--device", "cpu")


def test_a_killed_evaluation_goes_on_where_it_stopped(tmp_path: Path) -> None:
    words = ["evaluate", taught_model(), "-b", "arithmetic", "--limit", "50", "--samples", "3", "--temperature", "1.0"]
    words += ["--batch-rows", "12", "--seed", str(seeded()), *WORDS]
    whole = start(*words, "--out", tmp_path / "whole")
    journal = tmp_path / "cut" / "arithmetic.jsonl"
    cut = start(*words, "--out", tmp_path / "cut", hold=Hold("r1zero.evaluation.journal:Journal.add", 100, after=True))
    cut.held()
    assert cut.kill() == -signal.SIGKILL
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert len(lines) == 100
    done = Counter(line["question"] for line in lines)
    missing = 3 * sum(done[question] < 3 for question in range(50))  # a question is drawn whole
    assert 50 <= missing < 150
    with journal.open("a") as file:
        file.write('{"question": 0, "sample": 0, "ids": [1')  # torn
    hold = Hold("r1zero.evaluation.journal:Journal.add", missing, after=True)
    again = start(*words, "--out", tmp_path / "cut", hold=hold)
    again.held()
    lines = [json.loads(line) for line in journal.read_text().splitlines() if line.endswith("}")]
    assert len(lines) == 100 + missing
    assert {(line["question"], line["sample"]) for line in lines} == {(q, g) for q in range(50) for g in range(3)}
    again.go()
    again.done()
    whole.done()
    assert not journal.exists()
    rows = [pq.read_table(tmp_path / name / "arithmetic.parquet").to_pylist() for name in ("whole", "cut")]
    for one, two in zip(*rows, strict=True):
        assert one.pop("logprobs") == pytest.approx(two.pop("logprobs"), abs=1e-5)
        assert one == two
    results = [(tmp_path / name / "results.json").read_bytes() for name in ("whole", "cut")]
    assert results[0] == results[1]


def test_a_finished_evaluation_is_not_asked_again_and_another_one_is_refused(tmp_path: Path) -> None:
    words = ["evaluate", taught_model(), "-b", "arithmetic", "--limit", "5", *WORDS, "--out", tmp_path / "out"]
    start(*words).done()
    before = (tmp_path / "out" / "arithmetic.parquet").stat().st_mtime_ns
    start(*words).done()
    assert (tmp_path / "out" / "arithmetic.parquet").stat().st_mtime_ns == before
    start(*words, "--seed", "1").refused("holds another evaluation (of other seed)")


def levels(path: Path, name: str = "sums") -> Path:
    """Write six sums of levels 1 to 5, and one of none."""
    rows = [{"question": f"{a}+1=", "answer": str(a + 1), "level": a} for a in range(1, 6)]
    rows.append({"question": "6+1=", "answer": "7"})
    file = path / f"{name}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_evaluate_takes_the_rows_of_a_filter_of_every_set_and_says_what_it_left_out(tmp_path: Path) -> None:
    sets = [levels(tmp_path, name) for name in ("one", "two")]
    words = ["evaluate", taught_model(), "-b", *sets, *WORDS, "--out", tmp_path / "out"]
    said = " ".join(start(*words, "--where", "level >= 3", "--limit", "2").done().split())
    for name in ("one", "two"):
        asked = pq.read_table(tmp_path / "out" / f"{name}.parquet").to_pylist()
        assert [row["prompt"] for row in asked] == ["3+1=", "4+1="]  # the first two of those that it takes
        assert f"{name}: 2 rows left out (not where level >= 3)" in said
        assert f"{name}: 1 row left out (where level >= 3 cannot be told: a column is missing" in said
    identity = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert [each["where"] for each in identity["settings"]["benchmarks"]] == ["level >= 3"] * 2
    start(*words, "--where", "-1 < level", "--limit", "2").refused(
        "holds another evaluation (of other settings, fingerprints)"
    )


def test_evaluations_of_other_filters_are_not_compared(tmp_path: Path) -> None:
    file, saved = levels(tmp_path), {}
    for where in ("level >= 3", None, "level > 2"):
        settings = checked(
            EvaluationSettings, {"benchmarks": [{"name": str(file), "where": where}], "max_new_tokens": 4}
        )
        conditions = Conditions(out=tmp_path / str(where))
        shape = checked(TemplateSettings, {"name": "no"})
        evaluate_matrix([str(taught_model())], partial(local, rows=8, device="cpu"), [shape], settings, conditions)
        saved[where] = open_saved(tmp_path / str(where))
    with pytest.raises(UserError, match=r"sums \(3 and 6, 3 in common\), where level >= 3 beside all; evaluate both"):
        compare(saved["level >= 3"], saved[None])
    assert compare(saved["level >= 3"], saved["level > 2"])[0].paired.questions == 3  # the same questions
    del saved[None].identity["settings"]  # written before there were any
    with pytest.raises(UserError, match="different questions of sums"):
        compare(saved["level >= 3"], saved[None])


def test_a_part_of_a_set_has_no_row_of_the_papers(tmp_path: Path) -> None:
    model = tmp_path / "Llama-3.2-3B"  # by its name
    model.symlink_to(taught_model())
    levels(tmp_path, "aime24")
    shape = checked(TemplateSettings, {"name": "r1", "answer_format": "answer_tags_strict"})
    found = {}
    for where in (None, "level < 9"):
        asked = {"benchmarks": [{"name": "aime24", "where": where}], "max_new_tokens": 4}
        [cell] = evaluate_matrix(
            [str(model)], partial(local, rows=4, device="cpu"), [shape], checked(EvaluationSettings, asked),
            Conditions(data_dir=tmp_path),
        )  # fmt: skip
        found[where] = cell.paper is not None
    assert found == {None: True, "level < 9": False}


def test_a_matrix_compare_and_regrade(tmp_path: Path) -> None:
    """Two models under two templates in one call; then two cells held against each other, and one graded again."""
    out = tmp_path / "out"
    words = ["evaluate", taught_model(), random_model(), "-b", "arithmetic", "--limit", "8", "--samples", "4"]
    words += ["--temperature", "1.0", "--template", "no", "qwen_math", *WORDS[2:], "--out", out]
    start(*words).done()
    cells = json.loads((out / "results.json").read_text())
    assert [(Path(cell["model"]).name, cell["template"]) for cell in cells] == [
        ("taught", "no"), ("taught", "qwen_math"), ("random", "no"), ("random", "qwen_math")
    ]  # fmt: skip
    assert (out / "results.png").stat().st_size > 1000
    assert "| taught" in (out / "results.md").read_text().replace(str(taught_model().parent) + "/", "")
    taught, random = out / "taught--no", out / "random--no"
    start("compare", random, taught, "--out", tmp_path / "pictures").done()
    assert (tmp_path / "pictures" / "arithmetic-pass-at-k.png").exists()
    (found,) = compare(open_saved(random), open_saved(taught))
    rows = {name: pq.read_table(out / name / "arithmetic.parquet").to_pylist() for name in ("taught--no", "random--no")}
    right = {name: sum(row["outcome"] == "right" for row in cell) / 32 for name, cell in rows.items()}
    assert found.paired.difference == pytest.approx(right["taught--no"] - right["random--no"])
    assert found.second_pass_at[4] >= found.second_pass_at[1]
    assert "0 verdicts changed" in start("evaluate", "--regrade", taught).done()


def test_regrading_lists_every_verdict_that_changed(tmp_path: Path) -> None:
    start("evaluate", taught_model(), "-b", "arithmetic", "--limit", "6", *WORDS, "--out", tmp_path / "out").done()
    saved = open_saved(tmp_path / "out")
    boxed = Saved(saved.path, saved.identity | {"answer_format": "boxed"})
    with Verifier(workers=1, timeout_s=60) as verifier:
        results, changed = regrade(boxed, verifier)
    assert results[0].accuracy == 0  # nobody draws boxes here
    answered = [row["outcome"] != "no_answer" for row in pq.read_table(saved.path / "arithmetic.parquet").to_pylist()]
    assert 0 < len(changed) == sum(answered)
    assert {d.after.outcome for d in changed} == {Outcome.NO_ANSWER}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["evaluate", "--regrade", "nowhere"], "holds no evaluation"),
        (["compare", "nowhere", "nowhere"], "holds no evaluation"),
        (["evaluate", "--regrade", "here", "--out", "there"], "writes into here itself; leave --out there out."),
        (["evaluate", "m", "m", "-b", "arithmetic", "--limit", "2"], "models name 'm' more than once"),
        (["evaluate", "m", "-b", "arithmetic", "--limit", "2", "-t", "no", "no"], "--template name 'no' more than"),
        (
            ["evaluate", "--regrade", "here", "--where", "a > 1", "-b", "x"],
            "asks nothing again; leave --benchmarks, --where out",
        ),
        (["evaluate", "--regrade", "here", "--temperature", "1"], "asks nothing again; leave --temperature out"),
        (
            ["evaluate", "m", "-b", "arithmetic", "--limit", "2", "--where", "a > 1"],
            "--where does not apply to arithmetic",
        ),
        (
            ["evaluate", "m", "-b", "arithmetic", "--limit", "2", "--where", "a >"],
            "--where = 'a >' is not a valid filter",
        ),
        (["evaluate", "m", "-b", "foo"], "neither --data-dir nor R1ZERO_DATA is set"),
    ],
)
def test_bad_input_is_one_sentence(words: list[str], sentence: str) -> None:
    start(*words).refused(sentence)


def test_a_journal_keeps_whole_groups(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "set.jsonl")
    completion, verdict = response("", Outcome.WRONG, 3)
    for key in ((0, 0), (0, 1), (2, 1)):
        journal.add(*key, completion, verdict)
    assert journal.read(2) == {0: {0: (completion, verdict), 1: (completion, verdict)}}
    assert Journal(tmp_path / "none.jsonl").read(2) == {}
