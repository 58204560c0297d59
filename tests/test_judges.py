"""Judges: the rules on the labelled passages, a language model behind a real server, and how far two of them agree."""

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from r1zero.analyze.judges.llm import LLMJudge, Price, agreement, read_answer
from r1zero.analyze.judges.rubrics import ANSWERING, REFLECTION, RUBRICS, Item
from r1zero.analyze.judges.rules import RuleJudge, loops, only_code
from r1zero.analyze.passages import FIRST, QUESTIONS, SECOND
from r1zero.endpoint import Client, Endpoint, Store
from r1zero.errors import UserError
from served import Server


def judge_at(url: str, store: Path | None = None, patience_s: float = 2.0, **more: Any) -> LLMJudge:
    endpoint = Endpoint(url, "--judge", "R1ZERO_JUDGE_KEY", more.pop("key", None), patience_s=patience_s)
    return LLMJudge(REFLECTION, Client(endpoint, Store(store)), "big-model", **{"workers": 4, **more})


ITEMS = [Item("What is 1 + 1?", text) for text in ("2", "3. Let me recheck: 2", "RIDDLE", "REFUSE", "2", "4")]


# ---- rules


def test_rules_say_that_they_are_rules() -> None:
    for rubric in RUBRICS.values():
        assert RuleJudge(rubric).name.startswith("rule-based judge")


def test_the_rules_on_all_four_classes() -> None:
    passages = FIRST + SECOND
    labels = [j.label for j in RuleJudge(REFLECTION).judge([Item(QUESTIONS[p.question], p.text) for p in passages])]
    found = agreement(("rules", "by hand"), labels, [p.label for p in passages])
    print(f"\nrules against labels by hand: share {found.share:.3f}, kappa {found.kappa:.3f}, {found.judged} passages")
    assert found.share is not None
    assert found.share >= 0.95
    assert found.kappa is not None
    assert found.kappa >= 0.9


@pytest.mark.parametrize("text", ["", " \n", "a" * 100_000, "recheck " * 20_000, "\\boxed{" * 20_000, "x = " * 30_000,
                                  "to " * 30_000, "```" * 20_000, "? " * 30_000, "the is 1 " * 20_000])  # fmt: skip
def test_rules_come_to_a_judgement_of_anything(text: str) -> None:
    for rubric in RUBRICS.values():
        (judgement,) = RuleJudge(rubric).judge([Item("What is 1 + 1?", text)])
        assert judgement.label in rubric.classes
        assert judgement.reason


def test_loops_and_code() -> None:
    assert loops("again and again " * 10)
    assert not loops("one two three four five six seven eight nine ten eleven twelve")
    assert not loops("no no no")
    assert only_code("```python\nprint(1)\n```")
    assert not only_code("We add them up, and then we print the sum:\n```python\nprint(1)\n```")
    assert not only_code("x = 2")


# ---- reading a language model's answers


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("It checks.\nCLASS: 2", 2),
        ("CLASS: 0", 0),
        ("Because.\n**CLASS: 3**\n\n", 3),
        ("CLASS: 2\nor so", None),
        ("It is class 2", None),
        ("CLASS: 7", None),
        ("CLASS: 2 or 1", None),
        ("CLASS: 12", None),
        ("", None),
    ],
)
def test_answers_are_read_strictly(text: str, label: int | None) -> None:
    assert REFLECTION.parse(text) == label


def test_the_prompt_holds_question_response_and_classes() -> None:
    system, user = ANSWERING.messages(Item("Q-text", "R-text"))
    assert "0 = " in system["content"]
    assert "1 = " in system["content"]
    assert "Q-text" in user["content"]
    assert "R-text" in user["content"]


# ---- a real server


CHAT = {"choices": [{"message": {"content": "CLASS: 2"}}]}
ODD: list[dict[str, Any]] = [
    {"error": {"message": "model overloaded"}},
    {"choices": []},
    {"choices": [{"message": {"content": 7}}]},
    {"choices": [{"message": {"content": [7]}}]},
]


@pytest.mark.parametrize("server", [{"odd": odd, "odd_times": 1} for odd in ODD], indirect=True)
def test_an_answer_that_is_none_is_asked_for_again_and_not_kept(server: Server, tmp_path: Path) -> None:
    judge = judge_at(server.url, tmp_path / "kept.sqlite")
    assert [j.label for j in judge.judge(ITEMS[:1])] == [1]
    assert [j.label for j in judge_at(server.url, tmp_path / "kept.sqlite").judge(ITEMS[:1])] == [1]


@pytest.mark.parametrize("server", [{"odd": ODD[0], "odd_times": 3}], indirect=True)
def test_an_endpoint_of_another_kind_is_one_sentence_and_the_next_call_goes_on(server: Server, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"answers at /chat/completions, but not with what was asked for .* nothing of it"
    ):
        judge_at(server.url, tmp_path / "kept.sqlite", workers=1).judge(ITEMS[:2])
    assert [j.label for j in judge_at(server.url, tmp_path / "kept.sqlite").judge(ITEMS[:2])] == [1, 2]


def test_what_a_chat_answer_may_look_like() -> None:
    parts = [{"type": "text", "text": "CLASS"}, {"type": "image"}, {"type": "text", "text": ": 2"}]
    assert read_answer({"choices": [{"message": {"content": parts}}]}).text == "CLASS: 2"
    assert read_answer({"choices": [{"message": {"content": None}}]}).text == ""
    for usage in ("many", [1], {"prompt_tokens": "many"}, None):
        assert read_answer(CHAT | {"usage": usage}).prompt_tokens == 0
    assert read_answer(CHAT | {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}).answer_tokens == 4
    assert read_answer({"choices": [{"message": {"content": "\ud800"}}]}).text.encode() == "\ufffd".encode() * 3


@pytest.mark.parametrize("damaged", ["substr(answer, 1, 9)", """'{"error": "of an earlier version"}'""", "'[]'"])
def test_damaged_answers_on_disk_are_asked_for_again(server: Server, tmp_path: Path, damaged: str) -> None:
    path = tmp_path / "kept.sqlite"
    judge_at(server.url, path).judge(ITEMS[:1])
    with sqlite3.connect(path) as base:
        base.execute(f"UPDATE answers SET answer = {damaged}")
    assert [j.label for j in judge_at(server.url, path).judge(ITEMS[:1])] == [1]
    assert len(server.answered) == 2


def test_a_key_is_never_shown() -> None:
    Endpoint("http://localhost:1/v1", "--judge", "R1ZERO_JUDGE_KEY", "  sekret\n")  # its ends are nobody's
    for key in ("sek\nret", "s\u00e9kret"):
        with pytest.raises(UserError, match="R1ZERO_JUDGE_KEY holds what no key has") as caught:
            Endpoint("http://localhost:1/v1", "--judge", "R1ZERO_JUDGE_KEY", key)
        assert "kret" not in str(caught.value)
    with pytest.raises(UserError, match="is not a valid address"):
        Endpoint("http://localhost:1/v 1", "--judge")


def test_whatever_goes_wrong_in_a_thread_is_raised_as_it_is(server: Server) -> None:
    client = Client(Endpoint(server.url, "--judge", patience_s=1.0))
    with pytest.raises(ZeroDivisionError):
        list(client.each([1, 0, 2], lambda x: 1 / x, 2))
    given, begun = [], []
    with pytest.raises(ZeroDivisionError):
        given.extend(client.each([1, 0, 2], lambda x: begun.append(x) or 1 / x, 1))
    assert (given, begun) == ([(0, 1.0)], [1, 0])
    assert list(client.each([], abs, 2)) == []


def test_an_interrupt_waits_for_no_thread() -> None:
    code = """
import os, signal, threading
from r1zero.endpoint import Client, Endpoint

signal.signal(signal.SIGINT, signal.default_int_handler)  # which children of a background job ignore

def hang(_):
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait()

list(Client(Endpoint("http://localhost:1/v1", "--judge")).each([1], hang, 2))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGINT, done.stderr


def test_a_language_model_judges_and_is_paid_once(server: Server, tmp_path: Path) -> None:
    judge = judge_at(server.url, tmp_path / "kept.sqlite", price=Price(1.0, 4.0))
    judged = judge.judge(ITEMS)
    assert [j.label for j in judged] == [1, 2, None, None, 1, 1]
    assert [j.refused for j in judged] == [False, False, False, True, False, False]
    bill = judge.bill()
    # five different items, one of them refused; 4 · (100 + 10) tokens
    assert (bill.asked, bill.stored, bill.refused, bill.unparsable) == (4, 0, 1, 1)
    assert (bill.prompt_tokens, bill.answer_tokens) == (400, 40)
    assert bill.cost == pytest.approx((400 * 1 + 40 * 4) / 1e6)
    again = judge_at(server.url, tmp_path / "kept.sqlite", price=Price(1.0, 4.0))
    assert again.judge(ITEMS) == judged
    assert (again.bill().asked, again.bill().stored, again.bill().cost) == (0, 4, bill.cost)
    assert sum(request["status"] == 200 for request in server.answered) == 4


def test_another_prompt_or_model_is_asked_anew(server: Server, tmp_path: Path) -> None:
    judge = judge_at(server.url, tmp_path / "kept.sqlite")
    judge.judge(ITEMS[:1])
    LLMJudge(REFLECTION, judge.client, "another").judge(ITEMS[:1])
    LLMJudge(ANSWERING, judge.client, "big-model").judge(ITEMS[:1])
    assert judge.bill().asked == 3


@pytest.mark.parametrize("server", [{"busy": 2}], indirect=True)
def test_a_busy_server_is_asked_again(server: Server) -> None:
    judge = judge_at(server.url)
    assert [j.label for j in judge.judge(ITEMS[:2])] == [1, 2]
    assert judge.bill().retried == 2


@pytest.mark.parametrize("server", [{"key": "right"}], indirect=True)
def test_keys(server: Server) -> None:
    assert judge_at(server.url, key="right").judge(ITEMS[:1])[0].label == 1
    with pytest.raises(UserError, match=r"does not accept the key \(401\); set R1ZERO_JUDGE_KEY"):
        judge_at(server.url, key="wrong").judge(ITEMS[:1])
    assert "right" not in repr(judge_at(server.url, key="right").client.endpoint)


def test_nothing_there(server: Server) -> None:
    with pytest.raises(UserError, match=r"has nothing at /chat/completions \(404\); check the address"):
        judge_at(server.url.removesuffix("/v1")).judge(ITEMS[:1])
    with pytest.raises(UserError, match="is not a valid address: give one such as http://localhost:8000/v1"):
        judge_at("localhost:8000")


def test_a_dead_judge_is_one_sentence_and_what_it_said_is_kept(server: Server, tmp_path: Path) -> None:
    judge_at(server.url, tmp_path / "kept.sqlite").judge(ITEMS[:2])
    server.kill()
    dead = judge_at(server.url, tmp_path / "kept.sqlite", patience_s=0.6)
    with pytest.raises(UserError, match=r"--judge http://127.* does not answer \(.*refused.*; tried 3 times\)"):
        dead.judge(ITEMS)
    server.restart()
    assert [j.label for j in dead.judge(ITEMS)] == [1, 2, None, None, 1, 1]
    answered = [str(request["body"]) for request in server.answered if request["status"] == 200]
    assert len(answered) == len(set(answered)) == 4


def test_waits_grow_and_end() -> None:
    assert Endpoint("http://h/v1", "--judge", patience_s=4.0).waits == [0.5, 1.0, 2.0, 0.5]
    assert sum(Endpoint("http://h/v1", "--judge").waits) == pytest.approx(120)
    assert max(Endpoint("http://h/v1", "--judge", patience_s=600).waits) == 30


# ---- agreement


def test_kappa_by_hand() -> None:
    # a textbook table: both yes 20, both no 15, first only 5, second only 10: p_o = 0.7, p_e = 0.5·0.6 + 0.5·0.4 = 0.5
    first = [1] * 20 + [1] * 5 + [0] * 10 + [0] * 15
    second = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    found = agreement(("a", "b"), first, second)
    assert (found.judged, found.share) == (50, pytest.approx(0.7))
    assert found.kappa == pytest.approx(0.4)
    assert found.table == {"0/0": 15, "0/1": 10, "1/0": 5, "1/1": 20}


def test_agreement_of_nothing_and_of_one_class() -> None:
    assert agreement(("a", "b"), [None, 1], [1, None]).share is None
    alike = agreement(("a", "b"), [1, 1], [1, 1])
    assert (alike.share, alike.kappa) == (1.0, None)
