"""Rollouts are saved in one form: Parquet, journal and checkpoint give back what they were given; older ones too."""

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from r1zero.analyze.responses import read_groups
from r1zero.errors import UserError
from r1zero.evaluation.journal import Journal
from r1zero.metrics import Tally
from r1zero.rollouts.async_collector import AsyncCollector
from r1zero.runs.files import write_parquet
from r1zero.runs.rollout_rows import (
    ROLLOUT_COLUMNS,
    RolloutFileError,
    count_rows,
    read_rollouts,
    read_rows,
    rollout_table,
    rollouts_of,
    rows_of,
)
from r1zero.templates import get_template
from r1zero.types import Completion, Outcome, Question, Rollout, Stop, Verdict

PROMPT = get_template("r1").render("3+8=")
TENTH = struct.unpack("f", struct.pack("f", -0.1))[0]
"""The float32 nearest to -0.1, which no float64 literal of few digits is."""
TWICE = Rollout(
    Question("set/0", "3+8=", ("11", "eleven"), "1"),
    PROMPT,
    (6, 80, 11),
    (Completion((4, 4, 1), (-0.1, -1 / 3, -2.0), " 11", Stop.EOS), Completion((5,), (-1.5,), "é\n", Stop.LENGTH)),
    (Verdict(Outcome.RIGHT, "11", "number", 0.5, 1.25), Verdict(Outcome.NO_ANSWER, None, "no answer", 0.25)),
)
ROLLOUTS = [
    TWICE,
    replace(TWICE, completions=TWICE.completions[::-1], verdicts=TWICE.verdicts[::-1]),  # dealt twice in a row
    Rollout(
        Question("set/1", "9", ("9",)),
        "9",
        (12,),
        (Completion((7, 7), (-0.125, -3.0), "8", Stop.STOP_STRING), Completion((), (), "", Stop.LENGTH)),
        (Verdict(Outcome.UNGRADED, "8", "gold too long"), Verdict(Outcome.TIMEOUT, "", "killed", 2.0)),
    ),
]


def single(rollout: Rollout) -> Rollout:
    """A rollout as Parquet keeps it: log-probs in float32, no score."""
    completions = tuple(
        replace(c, logprobs=tuple(struct.unpack("f", struct.pack("f", p))[0] for p in c.logprobs))
        for c in rollout.completions
    )
    return replace(rollout, completions=completions, verdicts=tuple(replace(v, score=None) for v in rollout.verdicts))


def saved(folder: Path, *without: str) -> Path:
    path = folder / "set.parquet"
    write_parquet(path, rollout_table(ROLLOUTS, {}).drop_columns(list(without)))
    return path


def test_rows_lose_nothing() -> None:
    assert rollouts_of(rows_of(ROLLOUTS)) == ROLLOUTS
    assert [row["sample"] for row in rows_of(ROLLOUTS)] == [0, 1] * 3
    assert rollouts_of([]) == []


def test_parquet_keeps_rollouts_to_the_bits_of_float32(tmp_path: Path) -> None:
    read = read_rollouts(saved(tmp_path))
    assert read == [single(rollout) for rollout in ROLLOUTS]
    assert read[0].completions[0].logprobs[0] == TENTH != -0.1
    untimed = read_rollouts(saved(tmp_path, "grade_seconds"))
    assert [v.seconds for rollout in untimed for v in rollout.verdicts] == [0.0] * 6


def test_a_file_without_the_questions_column_reads_as_it_did(tmp_path: Path) -> None:
    path = saved(tmp_path, "question")
    texts = {"set/0": "3+8=", "set/1": "9"}
    for old, rollout in zip(read_rollouts(path), ROLLOUTS, strict=True):
        assert old == replace(single(rollout), question=replace(rollout.question, text=""))
    assert [group.question for group in read_groups(path, "r1")] == ["3+8=", "3+8=", "9"]  # what r1 does not surround
    assert [group.question for group in read_groups(path, "chat")] == [PROMPT, PROMPT, "9"]
    new = read_groups(saved(tmp_path), "chat")
    assert [group.question for group in new] == [texts[group.id] for group in new] == ["3+8=", "3+8=", "9"]


def test_chosen_columns(tmp_path: Path) -> None:
    path = saved(tmp_path, "rule")
    assert read_rows(path, ("length",), ("rule", "level"))[:2] == [
        {"length": 3, "level": "1"},
        {"length": 1, "level": "1"},
    ]
    assert read_rows(path)[0].keys() == {*rows_of(ROLLOUTS)[0]} - {"rule", "score"}
    assert count_rows(path, ("length", "stop")) == 6
    for read in (lambda: read_rows(path, ROLLOUT_COLUMNS), lambda: count_rows(path, ("rule",))):
        with pytest.raises(RolloutFileError) as told:
            read()
        assert told.value.reason == "it lacks rule"


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("outcome", pa.array(["right", "strange"] * 3), "'strange' is not a valid Outcome"),
        ("stop", pa.array([1] * 6), "its column stop holds int64"),
        ("sample", pa.array([1.5] * 6), "its column sample holds double"),
        ("logprobs", pa.array([["a"]] * 6), "its column logprobs holds list<element: string>"),
        ("response_ids", pa.array([[1]] * 6), "1 token ids but 3 log-probs"),
        ("gold", pa.array([None] * 6), "'NoneType' object is not iterable"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, name: str, values: Any, reason: str) -> None:
    path, table = saved(tmp_path), rollout_table(ROLLOUTS, {})
    pq.write_table(table.set_column(table.schema.get_field_index(name), name, values), path)
    with pytest.raises(UserError) as told:
        read_rollouts(path)
    assert str(told.value) == f"{path} holds no saved responses ({reason}); restore it, or remove it."


def test_a_column_that_another_program_wrote_wider_is_read(tmp_path: Path) -> None:
    path, table = saved(tmp_path), rollout_table(ROLLOUTS, {})
    wide = {"response": pa.large_string(), "sample": pa.int64(), "logprobs": pa.list_(pa.float64())}
    for name, kind in wide.items():
        table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(kind))
    pq.write_table(table, path)
    assert read_rollouts(path) == [single(rollout) for rollout in ROLLOUTS]


def test_a_journal_keeps_every_bit_and_lines_of_before_are_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "set.jsonl")
    for g, pair in enumerate(zip(TWICE.completions, TWICE.verdicts, strict=True)):
        journal.add(0, g, *pair)
    before = {
        "question": 1, "sample": 0, "ids": [4, 1], "logprobs": [-0.1, -2.0], "text": " 11", "stop": "eos",
        "outcome": "right", "extracted": "11", "rule": "number", "score": 0.5,
    }  # fmt: skip
    with journal.path.open("a") as file:
        file.write(json.dumps(before) + "\n" + json.dumps(before | {"sample": 1, "stop": "length"}) + "\n[]\n3\n{}\n")
    completion, verdict = Completion((4, 1), (-0.1, -2.0), " 11", Stop.EOS), Verdict(Outcome.RIGHT, "11", "number")
    assert journal.read(2) == {
        0: dict(enumerate(zip(TWICE.completions, TWICE.verdicts, strict=True))),
        1: {
            0: (completion, replace(verdict, score=0.5)),
            1: (replace(completion, stop=Stop.LENGTH), replace(verdict, score=0.5)),
        },
    }


class Beginning:
    """A collector that stands at the beginning of its questions."""

    def state(self) -> dict[str, Any]:
        return {"position": 0}

    def restore(self, state: dict[str, Any]) -> None:
        assert state["position"] == 0


def through_a_file(state: dict[str, Any], folder: Path) -> AsyncCollector:
    """A collector that goes on from a state as checkpoints keep it."""
    torch.save(state, folder / "state.pt")
    collector = AsyncCollector(Beginning(), None, 9)  # type: ignore[arg-type]
    collector.restore(torch.load(folder / "state.pt", weights_only=True))
    return collector


def test_a_batch_drawn_ahead_survives_its_checkpoint_and_one_of_before_is_read(tmp_path: Path) -> None:
    ones_PG = torch.ones(3, 2)
    rest = {"version": 4, "tally": Tally().state(), "rewards": ones_PG, "graded": ones_PG > 0,
            "penalties": 0 * ones_PG, "advantages": 0.1 * ones_PG}  # fmt: skip
    before = [
        {
            "question": [r.question.id, r.question.text, list(r.question.gold), r.question.level],
            "prompt": r.prompt,
            "prompt_ids": list(r.prompt_ids),
            "completions": [
                [list(c.token_ids), torch.tensor(c.logprobs, dtype=torch.float64), c.text, str(c.stop)]
                for c in r.completions
            ],
            "verdicts": [[str(v.outcome), v.extracted, v.rule, v.seconds, v.score] for v in r.verdicts],
        }
        for r in ROLLOUTS
    ]
    collector = through_a_file({"ahead": {**rest, "rollouts": before}, "position": 0}, tmp_path)
    for _ in range(2):
        assert collector.drawing is not None
        batch = collector.drawing.wait()
        assert batch.rollouts == ROLLOUTS
        assert torch.equal(batch.advantages_PG, 0.1 * ones_PG)
        state = collector.state()
        assert state["ahead"]["rollouts"] == rows_of(ROLLOUTS)
        collector = through_a_file(state, tmp_path)


def test_no_flipped_bit_changes_a_response_in_silence(tmp_path: Path) -> None:
    """Pages have the format's own checksums, and the footer has ours: a bit is noticed wherever it flips."""
    table = pq.read_table(Path(__file__).parent / "old_runs" / "evaluation" / "arithmetic.parquet")
    whole, torn = tmp_path / "whole.parquet", tmp_path / "torn.parquet"
    write_parquet(whole, table)
    data, rows = whole.read_bytes(), read_rows(whole)
    assert rows == table.to_pylist()
    noticed = 0
    for at in range(0, len(data), 5):
        torn.write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
        try:
            assert read_rows(torn) == rows
        except RolloutFileError:
            noticed += 1
    assert noticed > len(data) / 10  # most bits matter


def test_a_file_that_another_program_wrote_anew_is_read(tmp_path: Path) -> None:
    """It takes our metadata over, and with it the checksum of a footer that is no longer there."""
    path = tmp_path / "a.parquet"
    write_parquet(path, pq.read_table(Path(__file__).parent / "old_runs" / "evaluation" / "arithmetic.parquet"))
    table = pq.read_table(path)
    assert b"r1zero_footer" in table.schema.metadata
    pq.write_table(table.slice(0, 3), path)
    assert read_rows(path) == table.slice(0, 3).to_pylist()
