"""The paper's own benchmark rows (Tables 1 and 4), to print beside a result.

Greedy, 3000 tokens unless the row says otherwise; per cent right. In Table 1 the 7B model without a template is printed
with 0.2 on AIME, a slip for 20.0: its printed average needs it. The 4-shot rows' AMC values are multiples of 1/40:
another AMC set than the other rows'.
"""

from __future__ import annotations

from dataclasses import dataclass

SETS = ("aime24", "amc", "math500", "minerva", "olympiad")


@dataclass(frozen=True, slots=True)
class Row:
    """A published row: model, template, per cent on `SETS`, and the printed average."""

    model: str
    template: str
    percent: tuple[float, float, float, float, float]
    average: float
    table: str


ROWS = (
    Row("Qwen2.5-Math-1.5B", "few_shot", (0.0, 20.0, 50.4, 12.1, 15.9), 19.7, "1"),
    Row("Qwen2.5-Math-1.5B", "r1", (0.0, 9.6, 21.2, 6.6, 2.2), 7.9, "1"),
    Row("Qwen2.5-Math-1.5B", "qwen_math", (20.0, 32.5, 33.0, 12.5, 22.8), 24.2, "1"),
    Row("Qwen2.5-Math-1.5B", "no", (16.7, 43.4, 61.8, 15.1, 28.4), 33.1, "1"),
    Row("Qwen2.5-Math-7B", "few_shot", (3.3, 22.5, 61.6, 10.7, 20.9), 23.8, "1"),
    Row("Qwen2.5-Math-7B", "r1", (0.0, 0.0, 0.0, 0.0, 0.1), 0.0, "1"),
    Row("Qwen2.5-Math-7B", "qwen_math", (16.7, 38.6, 50.6, 9.9, 16.6), 26.5, "1"),
    Row("Qwen2.5-Math-7B", "no", (20.0, 45.8, 69.0, 21.3, 34.7), 38.2, "1"),
    Row("Oat-Zero-1.5B", "qwen_math", (20.0, 53.0, 74.2, 25.7, 37.6), 42.1, "4"),
    Row("R1-Distill-Qwen-1.5B @3k", "chat", (2.5, 21.7, 52.2, 16.3, 17.3), 22.0, "4"),
    Row("R1-Distill-Qwen-1.5B @8k", "chat", (20.0, 49.4, 77.4, 25.0, 35.8), 41.5, "4"),
    Row("Qwen2.5-Math-1.5B-Instruct", "chat", (10.0, 48.2, 74.2, 26.5, 40.2), 39.8, "4"),
    Row("Llama-3.2-3B", "r1", (0.0, 2.4, 6.4, 6.3, 1.3), 3.3, "4"),
    Row("Llama-3.2-3B + Dr. GRPO", "r1", (3.3, 7.2, 10.0, 11.0, 2.2), 6.8, "4"),
    Row("Llama-3.2-3B-FineMath", "r1", (0.0, 3.6, 18.4, 5.9, 2.2), 6.0, "4"),
    Row("Llama-3.2-3B-FineMath + Dr. GRPO", "r1", (3.3, 10.8, 38.0, 12.9, 9.0), 14.8, "4"),
    Row("Llama-3.2-3B-NuminaQA", "r1", (0.0, 0.0, 0.6, 0.0, 0.1), 0.14, "4"),
    Row("Oat-Zero-3B", "r1", (6.7, 18.1, 50.0, 14.3, 14.7), 20.7, "4"),
    Row("Llama-3.2-3B-Instruct", "chat", (6.7, 15.7, 38.8, 11.8, 12.6), 17.1, "4"),
    Row("SimpleRL-Zero-7B", "qwen_math", (26.7, 60.2, 78.2, 27.6, 40.3), 46.6, "4"),
    Row("PRIME-Zero-7B", "prime_zero", (16.7, 62.7, 83.8, 36.0, 40.9), 48.0, "4"),
    Row("OpenReasoner-Zero-7B @3k", "open_reasoner_zero", (13.3, 47.0, 79.2, 31.6, 44.0), 43.0, "4"),
    Row("OpenReasoner-Zero-7B @8k", "open_reasoner_zero", (13.3, 54.2, 82.4, 31.6, 47.9), 45.9, "4"),
    Row("Oat-Zero-7B", "qwen_math", (43.3, 62.7, 80.0, 30.1, 41.0), 51.4, "4"),
    Row("R1-Distill-Qwen-7B @3k", "chat", (10.0, 26.2, 60.1, 23.0, 23.1), 28.5, "4"),
    Row("R1-Distill-Qwen-7B @8k", "chat", (33.3, 68.4, 88.1, 35.9, 47.7), 54.7, "4"),
    Row("Qwen2.5-Math-7B-Instruct", "chat", (16.7, 53.0, 83.6, 29.8, 42.7), 45.1, "4"),
)


def published(model: str, template: str) -> Row | None:
    """The paper's row for a model (folder or Hub name, by its last part) under a template, if it has one."""
    name = model.rstrip("/").rsplit("/", 1)[-1].lower()
    return next((row for row in ROWS if row.model.lower() == name and row.template == template), None)
