"""Keywords: the paper's list wherever it stands, whole words apart, counts at both levels, marks; how well it does."""

from collections import Counter
from pathlib import Path

import pytest

from r1zero.analyze.detectors import measure, table
from r1zero.analyze.keywords import (
    KEYWORDS,
    Counted,
    Detector,
    KeywordCount,
    Piece,
    count_levels,
    excerpt,
    keyword_table,
    read_keywords,
)
from r1zero.analyze.markdown import marked
from r1zero.analyze.passages import FIRST, SECOND
from r1zero.errors import UserError


def places(text: str, *, whole: bool = False) -> list[str]:
    return [text[span.start : span.end] for span in Detector().spans(text, whole=whole)]


def test_the_papers_fifteen() -> None:
    assert len(set(KEYWORDS)) == 15
    assert not {"wait", "try again"} & set(KEYWORDS)


@pytest.mark.parametrize(
    ("text", "anywhere", "whole"),
    [
        ("Let me RECHECK this.", ["RECHECK"], ["RECHECK"]),
        ("I rechecked the mailbox", ["recheck"], []),
        ("a double-checking account", ["double-check"], []),
        ("To double-check: yes", ["double-check"], ["double-check"]),
        ("we re-evaluate and reevaluate", ["re-evaluate", "reevaluate"], ["re-evaluate", "reevaluate"]),
        ("a reevaluation", ["reevaluation"], ["reevaluation"]),
        ("check\n  again", [], []),  # the paper counts the very words
        ("so\nRecheck: 2", ["Recheck"], ["Recheck"]),
        ("_recheck_ it", ["recheck"], ["recheck"]),
        ("the paycheck again", ["check again"], []),
        ("unre-examined", ["re-examine"], []),
        ("self-reassess", ["reassess"], []),
        ("wait, try again", [], []),
        ("", [], []),
    ],
)
def test_keywords_and_whole_words(text: str, anywhere: list[str], whole: list[str]) -> None:
    assert places(text) == anywhere
    assert places(text, whole=True) == whole


def test_a_keyword_table_counts_occurrences_and_responses_both_ways() -> None:
    table = keyword_table(["recheck, recheck, rechecked", "rethinking", "nothing"], Detector(["Recheck", "rethink"]))
    assert table == [KeywordCount("recheck", 3, 1, 2, 1), KeywordCount("rethink", 1, 1, 0, 0)]


def test_counts_at_both_levels() -> None:
    assert count_levels([[True, True, False], [False, False, False], [False, True, False]]) == Counted(3, 2, 9)
    assert count_levels([[True, None], [None, None], [False, None]]) == Counted(1, 1, 2)


def test_words_are_marked_in_their_surroundings() -> None:
    text = "a" * 300 + " so | recheck *it* " + "b" * 300
    found = excerpt(text, Detector().spans(text), around=8)
    assert found == [Piece("… ", False), Piece("aa so | ", False), Piece("recheck", True), Piece(" *it* bb", False),
                     Piece(" …", False)]  # fmt: skip
    assert marked(found) == "… aa so \\| **recheck** \\*it\\* bb …"
    assert excerpt("plain", []) == [Piece("plain", False)]
    assert excerpt("", []) == []


def test_a_users_own_list(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("# ours\nWait\n\ntry  again\nwait\n")
    assert read_keywords(path) == ("wait", "try again")
    path.write_text("wait\n", encoding="utf-8-sig")  # a mark that some editors put first
    assert read_keywords(path) == ("wait",)
    path.write_text("# nothing\n")
    with pytest.raises(UserError, match="--keywords holds no word"):
        read_keywords(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_keywords(tmp_path / "none.txt")


def test_the_passages_are_many_and_of_every_class() -> None:
    assert len({p.text for p in FIRST + SECOND}) == len(FIRST + SECOND) >= 60
    for half in (FIRST, SECOND):
        assert set(Counter(p.label for p in half)) == {0, 1, 2, 3}
    traps = [p for p in FIRST + SECOND if p.label == 1 and Detector().holds(p.text)]
    assert len(traps) >= 6  # words that only look like reflection


def test_precision_and_recall_on_the_passages() -> None:
    measured = measure()
    print()
    for row in table(measured)[1]:
        print("  ".join(row))
    by_name = {(m.detector, m.passages): m for m in measured}
    # counted by hand in the second half: "think again" hits one of 12, and "rethink", "verify again", "check again" err
    anywhere = by_name["reflection: keywords", "second half"]
    assert (anywhere.true, anywhere.false, anywhere.missed) == (1, 3, 11)
    whole = by_name["reflection: keywords as whole words", "second half"]
    assert whole.false < anywhere.false
    for half in ("first half", "second half"):
        for detector in ("reflection: rule-based judge", "answering: rule-based judge"):
            found = by_name[detector, half]
            assert min(found.precision or 0, found.recall or 0) >= 0.9, found
