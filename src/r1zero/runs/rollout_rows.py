"""Rollouts as rows of a table and back: the one format in which responses are saved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from r1zero.errors import UserError
from r1zero.types import Completion, Outcome, Question, Rollout, Stop, Verdict


def rollout_table(rollouts: Iterable[Rollout], extra: Mapping[str, list[Any]], *, timed: bool = True) -> pa.Table:
    """Rollouts as a table, one row a response in question order; `extra` are further columns of the same order."""
    rows = [
        {
            "question_id": rollout.question.id,
            "level": rollout.question.level,
            "gold": list(rollout.question.gold),
            "sample": g,
            "prompt": rollout.prompt,
            "response": completion.text,
            "stop": str(completion.stop),
            "length": completion.length,
            "outcome": str(verdict.outcome),
            "extracted": verdict.extracted,
            "rule": verdict.rule,
            "grade_seconds": verdict.seconds,
            "prompt_ids": list(rollout.prompt_ids),
            "response_ids": list(completion.token_ids),
            "logprobs": list(completion.logprobs),
        }
        for rollout in rollouts
        for g, (completion, verdict) in enumerate(zip(rollout.completions, rollout.verdicts, strict=True))
    ]
    table = pa.Table.from_pylist(rows, schema=_ROLLOUT_SCHEMA)
    if not timed:  # equal responses, equal bytes
        table = table.drop_columns(["grade_seconds"])
    for name, values in extra.items():
        table = table.append_column(name, pa.array(values, type=pa.float64()))
    return table


_ROLLOUT_SCHEMA = pa.schema(
    [
        ("question_id", pa.string()),
        ("level", pa.string()),
        ("gold", pa.list_(pa.string())),
        ("sample", pa.int32()),
        ("prompt", pa.string()),
        ("response", pa.string()),
        ("stop", pa.string()),
        ("length", pa.int32()),
        ("outcome", pa.string()),
        ("extracted", pa.string()),
        ("rule", pa.string()),
        ("grade_seconds", pa.float64()),
        ("prompt_ids", pa.list_(pa.int32())),
        ("response_ids", pa.list_(pa.int32())),
        ("logprobs", pa.list_(pa.float32())),
    ]
)


def read_rollouts(path: Path) -> list[Rollout]:
    """The graded groups of a saved set. Raises UserError when it is not one."""
    try:
        rows = pq.read_table(path).to_pylist()
        return [_rollout(list(group)) for _, group in groupby(rows, key=lambda row: row["question_id"])]
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise UserError(
            f"{path} holds no saved responses ({error}); restore or remove it, or name the --out folder of an "
            "evaluation."
        ) from None


def _rollout(rows: list[dict[str, Any]]) -> Rollout:
    first = rows[0]
    return Rollout(
        Question(first["question_id"], "", tuple(first["gold"]), level=first["level"]),
        first["prompt"],
        tuple(first["prompt_ids"]),
        tuple(
            Completion(tuple(row["response_ids"]), tuple(row["logprobs"]), row["response"], Stop(row["stop"]))
            for row in rows
        ),
        tuple(Verdict(Outcome(row["outcome"]), row["extracted"], row["rule"]) for row in rows),
    )
