"""The paper's own numbers, to print beside a result: benchmarks (Tables 1 and 4), base models (Fig. 3, 9 and 11).

Benchmarks: greedy, 3000 tokens unless the row says otherwise; per cent right. In Table 1 the 7B model without a
template is printed with 0.2 on AIME, a slip for 20.0: its printed average needs it. The 4-shot rows' AMC values are
multiples of 1/40: another AMC set than the other rows'.

Base models: 500 MATH questions; integers are questions of 500, read off the paper's vector figures. Its pass@8 is
any-of-8, and its judge gpt-4o-mini.
"""

from __future__ import annotations

from dataclasses import dataclass

SETS = ("aime24", "amc", "math500", "minerva", "olympiad")
FORMATS = {"r1": "answer_tags_strict"}
"""The answer format of the paper's own reward under a template, where it is not the one that the template has here."""
_GRADED = {**FORMATS, "open_reasoner_zero": "answer_tags_loose"}  # by their boxes under all others


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """A published row: model, template, per cent on `SETS`, and the printed average."""

    model: str
    template: str
    percent: tuple[float, float, float, float, float]
    average: float
    table: str

    @property
    def name(self) -> str:
        """The model, without the budget that some rows say."""
        return self.model.partition(" @")[0]

    @property
    def max_new_tokens(self) -> int:
        """The most tokens of a response: 3000, or what the row says."""
        return 8000 if self.model.endswith("@8k") else 3000

    @property
    def answer_format(self) -> str:
        """The format by which the paper graded its responses."""
        return _GRADED.get(self.template, "boxed")

    def near(self, max_new_tokens: int) -> bool:
        """Tell whether that is about the row's budget: 3072 for 3000, 8192 for 8000."""
        return abs(max_new_tokens - self.max_new_tokens) <= 0.03 * self.max_new_tokens


BENCHMARKS = (
    BenchmarkRow("Qwen2.5-Math-1.5B", "few_shot", (0.0, 20.0, 50.4, 12.1, 15.9), 19.7, "1"),
    BenchmarkRow("Qwen2.5-Math-1.5B", "r1", (0.0, 9.6, 21.2, 6.6, 2.2), 7.9, "1"),
    BenchmarkRow("Qwen2.5-Math-1.5B", "qwen_math", (20.0, 32.5, 33.0, 12.5, 22.8), 24.2, "1"),
    BenchmarkRow("Qwen2.5-Math-1.5B", "no", (16.7, 43.4, 61.8, 15.1, 28.4), 33.1, "1"),
    BenchmarkRow("Qwen2.5-Math-7B", "few_shot", (3.3, 22.5, 61.6, 10.7, 20.9), 23.8, "1"),
    BenchmarkRow("Qwen2.5-Math-7B", "r1", (0.0, 0.0, 0.0, 0.0, 0.1), 0.0, "1"),
    BenchmarkRow("Qwen2.5-Math-7B", "qwen_math", (16.7, 38.6, 50.6, 9.9, 16.6), 26.5, "1"),
    BenchmarkRow("Qwen2.5-Math-7B", "no", (20.0, 45.8, 69.0, 21.3, 34.7), 38.2, "1"),
    BenchmarkRow("Oat-Zero-1.5B", "qwen_math", (20.0, 53.0, 74.2, 25.7, 37.6), 42.1, "4"),
    BenchmarkRow("R1-Distill-Qwen-1.5B @3k", "chat", (2.5, 21.7, 52.2, 16.3, 17.3), 22.0, "4"),
    BenchmarkRow("R1-Distill-Qwen-1.5B @8k", "chat", (20.0, 49.4, 77.4, 25.0, 35.8), 41.5, "4"),
    BenchmarkRow("Qwen2.5-Math-1.5B-Instruct", "chat", (10.0, 48.2, 74.2, 26.5, 40.2), 39.8, "4"),
    BenchmarkRow("Llama-3.2-3B", "r1", (0.0, 2.4, 6.4, 6.3, 1.3), 3.3, "4"),
    BenchmarkRow("Llama-3.2-3B + Dr. GRPO", "r1", (3.3, 7.2, 10.0, 11.0, 2.2), 6.8, "4"),
    BenchmarkRow("Llama-3.2-3B-FineMath", "r1", (0.0, 3.6, 18.4, 5.9, 2.2), 6.0, "4"),
    BenchmarkRow("Llama-3.2-3B-FineMath + Dr. GRPO", "r1", (3.3, 10.8, 38.0, 12.9, 9.0), 14.8, "4"),
    BenchmarkRow("Llama-3.2-3B-NuminaQA", "r1", (0.0, 0.0, 0.6, 0.0, 0.1), 0.14, "4"),
    BenchmarkRow("Oat-Zero-3B", "r1", (6.7, 18.1, 50.0, 14.3, 14.7), 20.7, "4"),
    BenchmarkRow("Llama-3.2-3B-Instruct", "chat", (6.7, 15.7, 38.8, 11.8, 12.6), 17.1, "4"),
    BenchmarkRow("SimpleRL-Zero-7B", "qwen_math", (26.7, 60.2, 78.2, 27.6, 40.3), 46.6, "4"),
    BenchmarkRow("PRIME-Zero-7B", "prime_zero", (16.7, 62.7, 83.8, 36.0, 40.9), 48.0, "4"),
    BenchmarkRow("OpenReasoner-Zero-7B @3k", "open_reasoner_zero", (13.3, 47.0, 79.2, 31.6, 44.0), 43.0, "4"),
    BenchmarkRow("OpenReasoner-Zero-7B @8k", "open_reasoner_zero", (13.3, 54.2, 82.4, 31.6, 47.9), 45.9, "4"),
    BenchmarkRow("Oat-Zero-7B", "qwen_math", (43.3, 62.7, 80.0, 30.1, 41.0), 51.4, "4"),
    BenchmarkRow("R1-Distill-Qwen-7B @3k", "chat", (10.0, 26.2, 60.1, 23.0, 23.1), 28.5, "4"),
    BenchmarkRow("R1-Distill-Qwen-7B @8k", "chat", (33.3, 68.4, 88.1, 35.9, 47.7), 54.7, "4"),
    BenchmarkRow("Qwen2.5-Math-7B-Instruct", "chat", (16.7, 53.0, 83.6, 29.8, 42.7), 45.1, "4"),
)


_RELEASED = {
    "sail/Qwen2.5-Math-1.5B-Oat-Zero": "Oat-Zero-1.5B",
    "sail/Qwen2.5-Math-7B-Oat-Zero": "Oat-Zero-7B",
    "sail/Llama-3.2-3B-Oat-Zero": "Oat-Zero-3B",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": "R1-Distill-Qwen-1.5B",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": "R1-Distill-Qwen-7B",
    "hkust-nlp/Qwen-2.5-Math-7B-SimpleRL-Zero": "SimpleRL-Zero-7B",
    "PRIME-RL/Eurus-2-7B-PRIME-Zero": "PRIME-Zero-7B",
    "Open-Reasoner-Zero/Open-Reasoner-Zero-7B": "OpenReasoner-Zero-7B",
    "HuggingFaceTB/FineMath-Llama-3B": "Llama-3.2-3B-FineMath",
    "lkevinzc/Llama-3.2-3B-NuminaQA": "Llama-3.2-3B-NuminaQA",
    "meta-llama/Llama-3.2-3B": "Llama-3.2-3B",
    "meta-llama/Llama-3.2-3B-Instruct": "Llama-3.2-3B-Instruct",
    "Qwen/Qwen2.5-Math-1.5B": "Qwen2.5-Math-1.5B",
    "Qwen/Qwen2.5-Math-7B": "Qwen2.5-Math-7B",
    "Qwen/Qwen2.5-Math-1.5B-Instruct": "Qwen2.5-Math-1.5B-Instruct",
    "Qwen/Qwen2.5-Math-7B-Instruct": "Qwen2.5-Math-7B-Instruct",
    "Qwen/Qwen2.5-7B": "Qwen2.5-7B",
    "meta-llama/Llama-3.1-8B": "Llama-3.1-8B",
    "meta-llama/Meta-Llama-3.1-8B": "Llama-3.1-8B",
    "deepseek-ai/deepseek-math-7b-base": "DeepSeek-Math-7B",
    "deepseek-ai/DeepSeek-V3-Base": "DeepSeek-V3-Base",
    "deepseek-ai/DeepSeek-R1-Zero": "DeepSeek-R1-Zero",
}
"""Models as they are released → as the paper's rows call them."""


def published_name(model: str) -> str:
    """Return what the paper calls a model, in small letters; of another its own name.

    It is known by its Hub name, and by its folder: its last part, with the owner before it or not (`owner__name`), or a
    snapshot in the Hub's cache (`models--owner--name/snapshots/…`).
    """
    parts = model.rstrip("/").split("/")
    folder = parts[-3] if len(parts) > 2 and parts[-2] == "snapshots" else parts[-1]
    plain = folder.lower().removeprefix("models--")
    for released, name in _RELEASED.items():
        owner, _, last = released.lower().partition("/")
        if plain in {last, *(f"{owner}{between}{last}" for between in ("--", "__", "_", "-"))}:
            return name.lower()
    return plain


def published_benchmarks(
    model: str, template: str, max_new_tokens: int = 3000, answer_format: str | None = None
) -> BenchmarkRow | None:
    """Return the paper's row for a model under a template, if it has one; of several that of the nearest budget.

    Responses that were graded by another `answer_format` than the paper's have none: other ones count as right.
    """
    name = published_name(model)
    rows = [
        row
        for row in BENCHMARKS
        if name in (row.name.lower(), row.model.lower())
        and row.template == template
        and answer_format in (None, row.answer_format)
    ]
    return min(rows, key=lambda row: abs(row.max_new_tokens - max_new_tokens), default=None)


QUESTIONS, SAMPLES = 500, 8
TEMPERATURES = tuple(round(0.1 * i, 1) for i in range(1, 11))


@dataclass(frozen=True, slots=True)
class BaseModelRow:
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


BASE_MODELS = (
    BaseModelRow(
        "Qwen2.5-Math-1.5B", 1.0, 0.638,
        _pass("514 570 584 638 672 696 764 758 750 752"),
        _counts("25 35 41 45 44 50 58 51 69 84"),
        _counts("107 121 139 137 162 173 163 183 187 212"),
        _counts("18 22 31 36 37 38 38 33 50 55"),
    ),
    BaseModelRow(
        "Qwen2.5-Math-7B", 1.0, 0.832,
        _pass("712 750 796 814 808 836 844 852 862 852"),
        _counts("27 37 28 40 38 51 44 38 53 71"),
        _counts("127 151 153 162 180 198 190 214 231 220"),
        _counts("23 31 19 30 30 41 28 27 29 38"),
    ),
    BaseModelRow(
        "Qwen2.5-7B", 1.0, 0.992,
        _pass("758 810 790 808 824 842 824 822 820 804"),
        _counts("28 32 35 31 36 32 36 34 52 38"),
        _counts("51 58 67 73 83 87 107 123 133 143"),
        _counts("18 18 27 17 24 21 26 26 33 23"),
    ),
    BaseModelRow(
        "Llama-3.1-8B", 0.634, 0.848,
        _pass("232 270 344 358 368 348 342 316 274 254"),
        _counts("0 0 0 0 0 0 0 0 3 4"),
        _counts("5 4 4 10 10 20 39 81 109 133"),
        _counts("0 0 0 0 0 0 0 0 0 0"),
    ),
    BaseModelRow(
        "DeepSeek-Math-7B", 0.698, 0.858,
        _pass("096 108 140 170 220 232 284 286 290 240"),
        _counts("0 0 1 1 2 0 0 2 1 3"),
        _counts("3 4 9 12 19 23 22 54 69 103"),
        _counts("0 0 0 0 0 0 0 0 0 2"),
    ),
    BaseModelRow(
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
"""Occurrences in 40,000 responses (500 questions, 8 samples, 10 temperatures) of each of `BASE_MODELS` (Fig. 9)."""


TABLE_5 = {"correct": (621.3, 4965.4), "incorrect": (1038.9, 8206.1), "unformatted": (880.7, 7870.3)}
"""Mean characters of the responses of DeepSeek-V3-Base and of DeepSeek-R1-Zero by category."""


def published_base_model(model: str) -> BaseModelRow | None:
    """Return the paper's row of a model."""
    name = published_name(model)
    return next((row for row in BASE_MODELS if row.model.lower() == name), None)
