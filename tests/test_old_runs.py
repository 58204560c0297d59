"""What commit 219b11d wrote is still read: a run, an evaluation, and one that was interrupted.

`tests/old_runs` holds, as that commit left them on a machine with AVX-512: `run`, four steps of the tiny recipe on the
taught model; `evaluation`, two samples of eight sums; `interrupted`, the same after nine of the sixteen responses.
"""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from r1zero.runs.run import Run
from tiny_runs import start, sums_of, taught_model

OLD = Path(__file__).resolve().parent / "old_runs"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy to work on."""
    shutil.copytree(OLD, tmp_path / "old")
    return tmp_path / "old"


def test_a_run_is_read(old: Path) -> None:
    run = Run.open(old / "run")
    assert run.facts["git_commit"].startswith("219b11d")
    assert run.recipe.objective.name == "dr_grpo"
    assert [row["step"] for row in run.read("metrics")] == [1, 2, 3, 4]
    assert [row["eval/arithmetic/accuracy"] for row in run.read("evaluations")] == [0.8125, 0.8125, 1.0]
    rewards = [[row["reward"] for row in run.responses(step)] for step in (1, 2, 3, 4)]
    assert [sum(each) for each in rewards] == [1, 7, 5, 7]


def test_a_run_is_continued(old: Path) -> None:
    before = {name: (old / "run" / name).read_bytes() for name in ("metrics.jsonl", "evaluations.jsonl")}
    start("train", "run", "--resume", "--train.steps", "5", cwd=old).done()
    run = Run.open(old / "run")
    for name, content in before.items():
        assert (old / "run" / name).read_bytes().startswith(content)
    last = run.read("metrics")[-1]
    assert last["step"] == last["learn/updates"] == 5
    assert "step-000005" in " ".join(sums_of(old / "run" / "checkpoints"))
    assert len(run.responses(5)) == len(run.responses(4)) == 16


def test_a_run_is_reported_and_audited(old: Path) -> None:
    start("report", "run", "--out", "page", cwd=old).done()
    (page,) = (old / "page").glob("*.html")
    text = page.read_text(encoding="utf-8")
    assert "f3cb01d860f6" in text  # the objective's hash
    assert "Length by class" in text  # from the rollouts' rows
    meter = json.loads(start("audit", "--run", "run", "--json", cwd=old).done())
    assert {row["step"] for row in meter} == {1, 2, 3, 4}


def test_a_run_and_an_evaluation_are_analysed(old: Path) -> None:
    start("analyze", "--run", "run", "--out", "training", cwd=old).done()
    sources = json.loads((old / "training" / "training.json").read_text(encoding="utf-8"))["sources"]
    assert {source["name"]: len(source["steps"]) for source in sources} == {"rollouts": 4, "arithmetic": 3}
    start("analyze", "--saved", "evaluation", "--out", "card", cwd=old).done()
    explored = json.loads((old / "card" / "exploration.json").read_text(encoding="utf-8"))["temperatures"]
    assert (explored[0]["questions"], explored[0]["samples"]) == (8, 2)


def test_an_evaluation_is_compared_and_graded_again(old: Path) -> None:
    said = start("compare", "evaluation", "evaluation", cwd=old).done()
    assert "arithmetic" in said
    assert "0 verdicts changed" in start("evaluate", "--regrade", "evaluation", cwd=old).done()


def test_an_interrupted_evaluation_goes_on(old: Path) -> None:
    """Its identity names the files of a model that is elsewhere now, which are put in; its responses are its own."""
    identity = json.loads((old / "interrupted" / "evaluation.json").read_text(encoding="utf-8"))
    model = shutil.copytree(taught_model(), old / "model")
    identity["model_files"] = {f.name: [f.stat().st_size, f.stat().st_mtime_ns] for f in sorted(model.glob("*"))}
    (old / "interrupted" / "evaluation.json").write_text(json.dumps(identity), encoding="utf-8")
    lines = (old / "interrupted" / "arithmetic.jsonl").read_text(encoding="utf-8").splitlines()
    kept = [line for line in map(json.loads, lines) if line["question"] in whole(lines)]
    assert kept
    start("evaluate", "model", "--benchmarks", "arithmetic", "--limit", "8", "--template", "no",
          "--answer-format", "last_number", "--samples", "2", "--temperature", "1", "--max-new-tokens", "12",
          "--out", "interrupted", cwd=old).done()  # fmt: skip
    rows = pq.read_table(old / "interrupted" / "arithmetic.parquet").to_pylist()
    assert len(rows) == 16
    for line in kept:
        row = rows[2 * line["question"] + line["sample"]]
        assert (row["response"], row["response_ids"]) == (line["text"], line["ids"])
        assert row["logprobs"] == pytest.approx(line["logprobs"], abs=1e-6)  # kept as float32


def whole(lines: list[str]) -> set[int]:
    """The questions of which both responses are there: others are asked again."""
    seen = [json.loads(line)["question"] for line in lines]
    return {question for question in seen if seen.count(question) == 2}
