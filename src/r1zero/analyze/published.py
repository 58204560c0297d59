"""The paper's own numbers of six base models on 500 MATH questions (Fig. 3 and 11), to print beside a result.

Integers are questions of 500, read off its vector figures. Its pass@8 is any-of-8, and its judge gpt-4o-mini.
"""

from __future__ import annotations

from dataclasses import dataclass

TEMPERATURES = tuple(round(0.1 * i, 1) for i in range(1, 11))
QUESTIONS, SAMPLES = 500, 8


@dataclass(frozen=True, slots=True)
class Published:
    """One model: answering rates without and with a template, pass@8 and reflecting questions over `TEMPERATURES`."""

    model: str
    without_template: float
    with_template: float
    pass_at_8: tuple[float, ...]
    keywords: tuple[int, ...]
    judge: tuple[int, ...]
    cross: tuple[int, ...]


def _pass(text: str) -> tuple[float, ...]:
    return tuple(float(f"0.{digits}") for digits in text.split())


def _counts(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))


ROWS = (
    Published(
        "Qwen2.5-Math-1.5B", 1.0, 0.638,
        _pass("514 570 584 638 672 696 764 758 750 752"),
        _counts("25 35 41 45 44 50 58 51 69 84"),
        _counts("107 121 139 137 162 173 163 183 187 212"),
        _counts("18 22 31 36 37 38 38 33 50 55"),
    ),
    Published(
        "Qwen2.5-Math-7B", 1.0, 0.832,
        _pass("712 750 796 814 808 836 844 852 862 852"),
        _counts("27 37 28 40 38 51 44 38 53 71"),
        _counts("127 151 153 162 180 198 190 214 231 220"),
        _counts("23 31 19 30 30 41 28 27 29 38"),
    ),
    Published(
        "Qwen2.5-7B", 1.0, 0.992,
        _pass("758 810 790 808 824 842 824 822 820 804"),
        _counts("28 32 35 31 36 32 36 34 52 38"),
        _counts("51 58 67 73 83 87 107 123 133 143"),
        _counts("18 18 27 17 24 21 26 26 33 23"),
    ),
    Published(
        "Llama-3.1-8B", 0.634, 0.848,
        _pass("232 270 344 358 368 348 342 316 274 254"),
        _counts("0 0 0 0 0 0 0 0 3 4"),
        _counts("5 4 4 10 10 20 39 81 109 133"),
        _counts("0 0 0 0 0 0 0 0 0 0"),
    ),
    Published(
        "DeepSeek-Math-7B", 0.698, 0.858,
        _pass("096 108 140 170 220 232 284 286 290 240"),
        _counts("0 0 1 1 2 0 0 2 1 3"),
        _counts("3 4 9 12 19 23 22 54 69 103"),
        _counts("0 0 0 0 0 0 0 0 0 2"),
    ),
    Published(
        "DeepSeek-V3-Base", 0.1, 0.994,
        _pass("740 770 754 806 788 802 784 788 774 738"),
        _counts("3 0 7 2 2 1 5 5 9 5"),
        _counts("38 43 55 51 55 69 77 84 108 122"),
        _counts("3 0 6 1 2 0 3 4 8 2"),
    ),
)  # fmt: skip
KEYWORDS: dict[str, tuple[int, ...]] = {
    word: _counts(counts)
    for word, counts in (
        ("re-evaluate", "607 513 808 0 1 2"),
        ("recheck", "424 266 156 0 2 4"),
        ("reconsider", "103 118 50 2 0 57"),
        ("check again", "11 10 72 1 10 11"),
        ("double-check", "12 9 12 1 0 45"),
        ("re-examine", "20 25 23 0 0 6"),
        ("verify again", "19 17 1 0 0 0"),
        ("rethink", "7 7 0 0 0 0"),
        ("think again", "0 0 0 8 1 0"),
        ("reassess", "0 1 0 0 0 3"),
        ("reevaluation", "1 1 1 0 0 1"),
        ("reevaluate", "0 0 0 0 0 2"),
        ("reanalyze", "2 0 0 0 0 0"),
        ("go over the steps", "0 0 0 0 2 0"),
        ("reexamine", "0 0 0 0 0 0"),
    )
}
"""Occurrences in 40,000 responses (500 questions, 8 samples, 10 temperatures) of each of `ROWS`' models (Fig. 9)."""
_ALIASES = {"deepseek-math-7b-base": "deepseek-math-7b"}


def published(model: str) -> Published | None:
    """The paper's row of a model, by the last part of its name."""
    name = model.rstrip("/").rsplit("/", 1)[-1].lower()
    name = _ALIASES.get(name, name)
    return next((row for row in ROWS if row.model.lower() == name), None)
