"""A study says which rows of its sets its runs and evaluations left out."""

import json
from pathlib import Path

from r1zero.paper.jobs import EvaluationJob, RunJob
from r1zero.paper.rows_left_out import rows_left_out


def write(path: Path, data: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


def test_each_is_said_once_and_files_that_are_not_there_or_damaged_say_nothing(tmp_path: Path) -> None:
    note = "gsm8k-test: 1 row left out (asking what another row asks)"
    set_ = {"name": "gsm8k-test", "notes": [note, "gsm8k-test: golds of which only the same text is right: 1"]}
    write(tmp_path / "a/run.json", {"questions": "math-12k", "questions_dropped": {"no answer": 2}})
    write(tmp_path / "b/run.json", {"questions": "math-12k", "questions_dropped": {"no answer": 2, "too long": 1}})
    parts = [{"name": "one", "dropped": {}}, {"name": "two", "dropped": {"no question": 3}}]
    write(
        tmp_path / "c/run.json", {"questions": "one + two", "questions_dropped": {"no question": 3}, "sources": parts}
    )
    write(tmp_path / "d/results.json", [{"results": [set_]}])
    write(tmp_path / "e/results.json", {"results": 3})
    (tmp_path / "e/run.json").write_text("{")
    runs = [RunJob(name, "demo") for name in ("a", "b", "c", "e", "absent")]
    jobs = [*runs, EvaluationJob("d", "no", []), EvaluationJob("e", "no", [])]
    assert rows_left_out(tmp_path, jobs) == [
        "math-12k: 2 rows left out (no answer).",
        "math-12k: 1 row left out (too long).",
        "two: 3 rows left out (no question).",
        f"{note}.",
    ]
