"""Hostile inputs, against the whole verifier: nothing hangs, crashes, runs code or is wrongly accepted."""

import asyncio
import multiprocessing
import threading
import time
from pathlib import Path

import pytest

from hostile import GOLD, HOSTILE, PAIRS
from r1zero.types import AnswerFormat, Outcome
from r1zero.verify import Verifier
from r1zero.verify.extraction.extract import extract
from r1zero.verify.grade import grade_exact

BOXED = AnswerFormat.BOXED
ITEMS = [(response, [GOLD], BOXED) for response in HOSTILE]
# None of them comes near any limit: the slowest takes a tenth of a second on a free core.
LIMIT_S = 60.0


@pytest.fixture(scope="module")
def verifier():
    with Verifier(workers=2, timeout_s=LIMIT_S) as pool:
        pool.check()
        yield pool


def test_there_are_enough():
    assert len(set(HOSTILE)) >= 75


@pytest.mark.parametrize("answer_format", AnswerFormat)
def test_none_is_right_or_late(verifier, answer_format, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    items = [(response, [GOLD], answer_format) for response in HOSTILE]
    verdicts = verifier.verify(items)
    late = [v for v in verdicts if v.outcome is Outcome.TIMEOUT or v.seconds > LIMIT_S]
    assert not late
    if answer_format is BOXED:
        assert [r[:80] for r, v in zip(HOSTILE, verdicts, strict=True) if v.right] == []
    assert not any("failed" in v.rule for v in verdicts)
    assert list(tmp_path.iterdir()) == []  # nothing was run that leaves a file


def test_most_are_refused_before_anything_is_computed():
    # What the guard lets through costs milliseconds of this process, or goes to a worker.
    begun = time.thread_time()
    answers = [answer for response in HOSTILE if (answer := extract(response, BOXED)) is not None]
    left = [answer for answer in answers if grade_exact(GOLD, answer) is None]
    assert len(left) <= 5, left
    assert time.thread_time() - begun < 10  # of computation, and a third of a second on a free core


@pytest.mark.parametrize("gold, answer", [*PAIRS, *[(answer, gold) for gold, answer in PAIRS]])
def test_pairs_that_fool_other_graders(verifier, gold, answer):
    [verdict] = verifier.verify([(rf"\boxed{{{answer}}}", [gold], BOXED)])
    assert not verdict.right, verdict


def test_from_a_thread_and_asyncio(verifier):
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.extend(v.right for v in verifier.verify(ITEMS)))
    thread.start()
    thread.join()
    assert not any(found)
    assert len(found) == len(ITEMS)
    assert not any(v.right for v in asyncio.run(verifier.averify(ITEMS)))


def grade_in_child(pipe) -> None:
    with Verifier(workers=1, timeout_s=LIMIT_S) as pool:
        pipe.send([v.right for v in pool.verify(ITEMS)])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_from_a_child_process(method):
    context = multiprocessing.get_context(method)
    here, there = context.Pipe()
    child = context.Process(target=grade_in_child, args=(there,))
    child.start()
    there.close()
    assert not any(here.recv())
    child.join(600)
    assert child.exitcode == 0


@pytest.mark.parametrize("count", [2, 16, 1000])
def test_honest_answers_among_poison_are_right(verifier, count):
    poison = [(rf"\boxed{{{k + 9}^{{9^{{9^{{9}}}}}}+{10**9 + k}!}}", [GOLD], BOXED) for k in range(count)]
    honest = [(rf"\boxed{{{k}x + \sqrt{{{k}}}}}", [rf"\sqrt{{{k}}}+x \cdot {k}"], BOXED) for k in range(50)]
    items = [item for pair in zip(poison, honest * (count // 50 + 1), strict=False) for item in pair] + honest
    verdicts = verifier.verify(items)
    for (_, gold, _), verdict in zip(items, verdicts, strict=True):
        assert verdict.right == (gold != [GOLD])
        assert verdict.right or verdict.rule == "refused: a large power"  # unseen: no number of them holds anyone up


def test_no_exception_and_no_output(verifier, capfd):
    verifier.verify(ITEMS)
    out, err = capfd.readouterr()
    assert out == err == ""
    assert not Path("HACKED").exists()
