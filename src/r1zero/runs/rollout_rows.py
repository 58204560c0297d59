"""Rollouts as rows and back, one row a response: the one form in which responses are saved.

Parquet files hold rows as columns, without `score` and with log-probs in float32. An evaluation's journal and the
checkpoint of a batch that was drawn ahead hold whole rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from r1zero.errors import UNREADABLE, UserError, regular
from r1zero.runs.files import read_parquet
from r1zero.types import Completion, Outcome, Question, RewardPart, Rollout, Stop, Verdict

Row = dict[str, Any]

_SCHEMA = pa.schema(
    [
        ("question_id", pa.string()),
        ("question", pa.string()),  # files of before this column have only the prompt
        ("level", pa.string()),
        ("source", pa.string()),
        ("extra", pa.string()),  # JSON, in a group's first row alone
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
_KINDS = dict(zip(_SCHEMA.names, _SCHEMA.types, strict=True)) | dict.fromkeys(("reward", "advantage"), pa.float64())
_SOMETIMES = ("question", "source", "extra", "grade_seconds")  # columns that not every file has
ROLLOUT_COLUMNS = tuple(name for name in _SCHEMA.names if name not in (*_SOMETIMES, "length"))
"""The columns without which rows are no rollouts."""


class RolloutFileError(UserError):
    """A file of responses that cannot be read; `reason` says why."""

    def __init__(self, *parts: object, reason: str = ""):  # from parts as others, to be renamed and sent to a process
        super().__init__(*parts)
        self.reason = reason


def response_row(sample: int, completion: Completion, verdict: Verdict) -> Row:
    """Tell a graded response in plain values."""
    return {
        "sample": sample,
        "response": completion.text,
        "stop": str(completion.stop),
        "length": completion.length,
        "outcome": str(verdict.outcome),
        "extracted": verdict.extracted,
        "rule": verdict.rule,
        "grade_seconds": verdict.seconds,
        "score": verdict.score,
        "response_ids": completion.token_ids,
        "logprobs": completion.logprobs,
        **({"parts": [_part_row(part) for part in verdict.parts]} if verdict.parts else {}),
    }


def _part_row(part: RewardPart) -> Row:
    found = part.verdict
    told = {"outcome": str(found.outcome), "extracted": found.extracted, "rule": found.rule, "seconds": found.seconds}
    told |= {"score": found.score, "columns": dict(found.columns)}
    return {"name": part.name, "weight": part.weight, "answers": part.answers, **told}


def _part_of(row: Mapping[str, Any]) -> RewardPart:
    told = (row[name] for name in ("extracted", "rule", "seconds", "score", "columns"))
    return RewardPart(row["name"], Verdict(Outcome(row["outcome"]), *told), row["weight"], row["answers"])


def graded_response(row: Mapping[str, Any]) -> tuple[Completion, Verdict]:
    """Take a graded response from its row."""
    ids, logprobs = tuple(row["response_ids"]), tuple(row["logprobs"])
    seconds, score = row.get("grade_seconds", 0.0), row.get("score")
    parts = tuple(_part_of(part) for part in row.get("parts", ()))
    return (
        Completion(ids, logprobs, row["response"], Stop(row["stop"])),
        Verdict(Outcome(row["outcome"]), row["extracted"], row["rule"], seconds, score, parts=parts),
    )


def rows_of(rollouts: Iterable[Rollout]) -> list[Row]:
    """Tell rollouts in rows, in question order."""
    return [
        {
            "question_id": rollout.question.id,
            "question": rollout.question.text,
            "level": rollout.question.level,
            "source": rollout.question.source,
            "extra": None if g else extra_text(rollout.question),
            "gold": rollout.question.gold,
            "prompt": rollout.prompt,
            "prompt_ids": rollout.prompt_ids,
            **response_row(g, completion, verdict),
        }
        for rollout in rollouts
        for g, (completion, verdict) in enumerate(zip(rollout.completions, rollout.verdicts, strict=True))
    ]


LONGEST_EXTRA = 4000
"""Characters of a further column, as JSON, that are saved."""


def extra_text(question: Question) -> str | None:
    """Return a question's further columns as JSON, None where there are none. What is longer than `LONGEST_EXTRA`, such
    as a worked solution, is left out, and its place says so."""
    texts = {name: json.dumps(value) for name, value in question.extra.items()}
    return (
        json.dumps(
            {
                name: question.extra[name] if len(text) <= LONGEST_EXTRA else f"(left out: {len(text):,} characters)"
                for name, text in texts.items()
            }
        )
        if texts
        else None
    )


def extra_of(text: object) -> dict[str, Any]:
    """Take further columns from `extra_text`; none from what is not such a text."""
    try:
        found = json.loads(text) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def rollouts_of(rows: Iterable[Row]) -> list[Rollout]:
    """Take rollouts from their rows; the question's text is "" where a file of before has none."""
    rollouts = []
    for group in grouped(rows):
        first, (completions, verdicts) = group[0], zip(*map(graded_response, group), strict=True)
        text, extra = first.get("question", ""), extra_of(first.get("extra"))
        question = Question(first["question_id"], text, tuple(first["gold"]), first["level"], extra)
        rollouts.append(Rollout(question, first["prompt"], tuple(first["prompt_ids"]), completions, verdicts))
    return rollouts


def rows_of_before(group: Mapping[str, Any]) -> list[Row]:
    """Tell a group in rows that an older checkpoint holds in lists and tensors."""
    question = dict(zip(("question_id", "question", "gold", "level"), group["question"], strict=True))
    shared = {"prompt": group["prompt"], "prompt_ids": group["prompt_ids"], **question}
    names = ("response_ids", "logprobs", "response", "stop", "outcome", "extracted", "rule", "grade_seconds", "score")
    return [
        shared | {"sample": g} | dict(zip(names, (ids, logprobs.tolist(), text, stop, *verdict), strict=True))
        for g, ((ids, logprobs, text, stop), verdict) in enumerate(
            zip(group["completions"], group["verdicts"], strict=True)
        )
    ]


def grouped(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Split rows in question order into groups: one ends where the question changes, or samples are counted anew."""
    group: list[Row] = []
    for row in rows:
        if group and (row["question_id"] != group[-1]["question_id"] or row["sample"] <= group[-1]["sample"]):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def rollout_table(rollouts: Iterable[Rollout], extra: Mapping[str, list[Any]], *, timed: bool = True) -> pa.Table:
    """Return rollouts as a table, one row a response in question order; `extra` are further columns in that order.

    Of a list of rewards each has a column reward/NAME, without a value where it could not be had, further numbers that
    it gave in reward/NAME.COLUMN, and in rule/NAME by what rule.
    """
    rollouts = list(rollouts)
    table = pa.Table.from_pylist(rows_of(rollouts), schema=_SCHEMA)
    if not timed:  # equal responses, equal bytes
        table = table.drop_columns(["grade_seconds"])
    for name, values in extra.items():
        table = table.append_column(name, pa.array(values, type=pa.float64()))
    for name, told in _part_columns([v.parts for rollout in rollouts for v in rollout.verdicts]).items():
        kind = pa.string() if name.startswith("rule/") else pa.float64()
        table = table.append_column(name, pa.array(told, type=kind))
    return table


def _part_columns(responses: Sequence[tuple[RewardPart, ...]]) -> dict[str, list[Any]]:
    """Return the columns of the parts of rewards, by name: a value for each response, None where it has none."""
    found: dict[str, list[Any]] = {}
    for i, parts in enumerate(responses):
        for part in parts:
            verdict = part.verdict
            told = {
                f"reward/{part.name}": verdict.reward if verdict.graded else None,
                f"rule/{part.name}": verdict.rule,
            }
            told |= {f"reward/{part.name}.{column}": value for column, value in verdict.columns.items()}
            for name, value in told.items():
                found.setdefault(name, [None] * len(responses))[i] = value
    return found


def read_rollouts(path: Path) -> list[Rollout]:
    """Read the graded groups of a saved set. Raises RolloutFileError when it is not one."""
    with reading(path):
        return rollouts_of(read_rows(path, ROLLOUT_COLUMNS, _SOMETIMES))


def read_rows(path: Path, columns: Sequence[str] = (), optional: Sequence[str] = ()) -> list[Row]:
    """Read a file's rows in `columns` and in those of `optional` that it has; by default in all it has.

    Raises:
        RolloutFileError: it is damaged, lacks a column, or holds something else in it than its name says.
    """
    return read_table(path, columns, optional).to_pylist()


def read_table(path: Path, columns: Sequence[str] = (), optional: Sequence[str] = ()) -> pa.Table:
    """`read_rows` as a table."""
    with reading(path):
        schema = pq.read_schema(path)
        found = [name for name in optional if name in schema.names]
        names = [*columns, *found] if columns or optional else schema.names
        _check(schema, names)
        return read_parquet(path, names)


def count_rows(path: Path, columns: Sequence[str]) -> int:
    """Count the responses of a file that has `columns`, without reading them. Raises as `read_rows`."""
    with reading(path):
        metadata = pq.read_metadata(path)
        _check(metadata.schema.to_arrow_schema(), columns)
        return metadata.num_rows


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Where taking responses from `path` fails: RolloutFileError with the reason."""
    try:
        regular(path)
        yield
    except (*UNREADABLE, pa.ArrowException) as error:
        why = next(iter(str(error).splitlines()), type(error).__name__)
        told = f"{path} holds no saved responses ({why}); restore it, or remove it."
        raise RolloutFileError(told, reason=why) from None


def _check(schema: pa.Schema, names: Iterable[str]) -> None:
    if missing := [name for name in names if name not in schema.names]:
        raise ValueError(f"it lacks {', '.join(missing)}")
    for name in names:
        if name in _KINDS and not _fits(schema.field(name).type, _KINDS[name]):
            raise ValueError(f"its column {name} holds {schema.field(name).type}")


def _fits(kind: pa.DataType, wanted: pa.DataType) -> bool:
    """Tell whether a column can be read as one of a kind, as other programs write it too."""
    if pa.types.is_list(wanted):
        return pa.types.is_null(kind) or (pa.types.is_list(kind) and _fits(kind.value_type, wanted.value_type))
    if pa.types.is_string(wanted):
        return any(check(kind) for check in (pa.types.is_null, pa.types.is_string, pa.types.is_large_string))
    numbers = (pa.types.is_integer, pa.types.is_floating)[: 1 + pa.types.is_floating(wanted)]
    return any(check(kind) for check in (pa.types.is_null, *numbers))
