"""Run directories written by hand for the tests of the report: a few steps, every kind of response, known numbers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r1zero.runs.files import write_parquet
from r1zero.runs.rollout_rows import rollout_table
from r1zero.types import Completion, Outcome, Question, Rollout, Stop, Verdict

FORMULA = "L = − Σ_i w_i Σ_t ρ·Â; Â_i = r_i − mean(r); w_i = 1 / (N·C), C = 64"
FACTS: dict[str, Any] = {
    "started": "2026-01-02T03:04:05+00:00",
    "r1zero": "0.1.0",
    "python": "3.11.7",
    "versions": {"torch": "2.13.0"},
    "git_commit": "0123456789abcdef+changes",
    "command": ["r1zero", "train", "a.toml"],
    "objective": "dr_grpo",
    "objective_formula": FORMULA,
    "objective_hash": "abc123",
    "questions": "sums",
    "questions_count": 12,
    "questions_dropped": {"no answer": 1},
    "questions_fingerprint": "f00",
    "template": "no",
    "template_hash": "e37",
    "parameters": 1000,
    "device": "cpu",
    "threads": 1,
}

HOSTILE = (
    "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
    "\u202edesrever\u202c \x07\x1b[31m \u2028 <!-- ]]> &lt; \U0001f600 recheck: \\boxed{42}"
)


def response(
    text: str, outcome: Outcome = Outcome.WRONG, length: int = 4, stop: Stop = Stop.EOS, extracted: str | None = None
) -> tuple[Completion, Verdict]:
    """One response whose every token has a surprisal of half a nat."""
    completion = Completion((5,) * length, (-0.5,) * length, text, stop)
    return completion, Verdict(outcome, extracted, "number", 0.001)


def group(number: int, *responses: tuple[Completion, Verdict]) -> Rollout:
    """A question with its responses; its answer is 42."""
    completions, verdicts = zip(*responses, strict=True)
    question = Question(f"sums/{number}", f"{number}+{42 - number}=", ("42",), "1")
    return Rollout(question, f"{number}+{42 - number}=", (1, 2), completions, verdicts)


EVERY_KIND = (
    group(
        1,
        response("so \\boxed{42}", Outcome.RIGHT, 10, extracted="42"),
        response("it is \\boxed{41}. Let me Double-Check: \\boxed{40}", Outcome.WRONG, 20, extracted="40"),
        response("and on and on", Outcome.NO_ANSWER, 64, Stop.LENGTH),
        response("\\boxed{x}", Outcome.TIMEOUT, 6, extracted="x"),
    ),
    group(
        2,
        response(HOSTILE, Outcome.RIGHT, 30, extracted="42"),
        response("", Outcome.NO_ANSWER, 1),
        response("שלום \\boxed{42}", Outcome.RIGHT, 12, extracted="42"),
        response("no box", Outcome.UNGRADED, 8),
    ),
)
"""Two questions with four responses each: 3 correct (10, 30, 12 tokens), 2 incorrect (20, 1), 1 truncated (64) and 2
ungraded (6, 8)."""


def make_run(
    path: Path,
    *,
    seed: int = 0,
    metrics: Sequence[Mapping[str, float]] = ({"rollout/reward": 0.25}, {"rollout/reward": 0.75}),
    rollouts: Mapping[int, Sequence[Rollout]] | None = None,
    evaluations: Mapping[int, float] | None = None,
    evaluated: Mapping[int, Sequence[Rollout]] | None = None,
    steps: int | None = None,
    facts: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
) -> Path:
    """Write a run directory: its metrics of steps 1, 2, …; its responses, and accuracies with an interval of ± 0.1."""
    path.mkdir(parents=True)
    (path / "run.json").write_text(json.dumps(FACTS | dict(facts or {})))
    sections = {"model": {"path": "models/tiny"}, "objective": {"name": "dr_grpo", "clip_low": None},
                "train": {"steps": len(metrics) if steps is None else steps, "seed": seed}}  # fmt: skip
    for name, value in (recipe or {}).items():
        section, key = name.split(".")
        sections.setdefault(section, {})[key] = value
    (path / "recipe.json").write_text(json.dumps(sections))
    lines = [json.dumps({"step": step, **row}) + "\n" for step, row in enumerate(metrics, start=1)]
    (path / "metrics.jsonl").write_text("".join(lines))
    name = "eval/sums-test/accuracy"
    rows = [
        {"step": step, name: value, f"{name}_low": value - 0.1, f"{name}_high": value + 0.1}
        for step, value in (evaluations or {}).items()
    ]
    (path / "evaluations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for step, batch in (rollouts or {}).items():
        verdicts = [verdict for rollout in batch for verdict in rollout.verdicts]
        rewards = [float(verdict.right) for verdict in verdicts]
        extra = {"reward": rewards, "advantage": [reward - 0.5 for reward in rewards]}
        write_parquet(path / "rollouts" / f"step-{step:06d}.parquet", rollout_table(batch, extra))
    for step, batch in (evaluated or {}).items():
        write_parquet(path / "evaluations" / f"step-{step:06d}" / "sums-test.parquet", rollout_table(batch, {}))
    return path
