"""The table of known question sets: where each lives on the Hub and on disks, and which columns it keeps what in.

Evidence for the Hub ids (no Hub was reachable when this was written): `lkevinzc/math-eval`'s own README lists its five
splits with 30, 83, 500, 272 and 675 rows and the columns `problem` and `answer` (strings); `lkevinzc/math-12k` and
`axon-rl/*` are the mirrors that the paper's authors use in their own later code (sail-sg/oat, axon-rl/gem), with the
columns `problem` and `answer`; `openai/gsm8k` is the original; of Big-Math name, configuration and columns are those of
the authors' script, its rows those that public projects count in it. A set without a Hub id is read from disks only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

QUESTION_COLUMNS = ("question", "problem", "prompt", "input", "messages", "query")
"""Where the question stands in a file of unknown origin: the first of these columns that exists."""

ANSWER_COLUMNS = (
    "answer", "gt_answer", "ground_truth_answer", "target", "expected_answer", "final_answer", "ground_truth",
    "reward_model.ground_truth", "reward_spec.ground_truth", "extra_info.answer", "label",
)  # fmt: skip
"""Where the gold answer stands. Not `solution`: worked solutions are no gold answers, unless they are named."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One known set.

    `files` are stems looked for in a data folder, in this order, each as `STEM.jsonl`, `STEM.parquet` and a
    `save_to_disk` folder `STEM`; those with a slash are the layout of the paper's own `datasets` folder. `rows` is the
    published size, for the note that a copy holds another number. `marker` precedes the gold answer where the answer
    column holds a whole solution. `answers_are_floats` marks sets whose whole numbers may be printed "142.0".
    """

    name: str
    description: str
    rows: int
    files: tuple[str, ...]
    hub: str | None = None
    config: str | None = None
    split: str | None = None
    question_columns: tuple[str, ...] = QUESTION_COLUMNS
    answer_columns: tuple[str, ...] = ANSWER_COLUMNS
    marker: str | None = None
    answers_are_floats: bool = False
    part_of: str | None = None
    """The set of which this one is `rows` questions, in equal numbers of every level; they keep their ids."""


_ENTRIES = (
    Entry(
        "aime24",
        "AIME 2024, papers I and II",
        30,
        ("aime24", "evaluation_suite/aime"),
        "lkevinzc/math-eval",
        split="aime",
    ),
    Entry(
        "amc",
        "AMC, the paper's 83 questions",
        83,
        ("amc", "evaluation_suite/amc"),
        "lkevinzc/math-eval",
        split="amc",
        answers_are_floats=True,
    ),
    Entry(
        "math500",
        "500 held-out questions of MATH",
        500,
        ("math500", "evaluation_suite/math"),
        "lkevinzc/math-eval",
        split="math",
    ),
    Entry(
        "minerva",
        "Minerva Math: undergraduate science, several accepted alternatives",
        272,
        ("minerva", "evaluation_suite/minerva"),
        "lkevinzc/math-eval",
        split="minerva",
    ),
    Entry(
        "olympiad",
        "OlympiadBench, English maths, text only",
        675,
        ("olympiad_bench", "evaluation_suite/olympiad_bench"),
        "lkevinzc/math-eval",
        split="olympiad_bench",
    ),
    Entry(
        "math-12k",
        "MATH without MATH-500; 4,498 rows are official test questions",
        12_000,
        ("math_12k", "train/math_12k"),
        "lkevinzc/math-12k",
        split="train",
        question_columns=("problem",),
        answer_columns=("answer",),
    ),
    Entry(
        "math-train-500",
        "500 questions of math-12k, 100 a level: what the paper asks base models",
        500,
        (),
        part_of="math-12k",
    ),
    Entry(
        "math-lvl3to5",
        "MATH levels 3 to 5, the minimalist recipe's set; all of it is in math-12k",
        8_523,
        ("math_lvl3to5_8k", "train/math_lvl3to5_8k"),
        "axon-rl/MATH-lvl3to5-8k",
        split="train",
        # the saved folder also holds `input`, a finished prompt; the paper trained on problem and answer
        question_columns=("problem", "question"),
        answer_columns=("answer", "gt_answer", "ground_truth_answer"),
    ),
    Entry(
        "big-math",
        "Big-Math, verified answers, all levels: what the authors' script for Qwen2.5-7B trains on",
        215_608,
        ("big_math",),
        "open-r1/Big-Math-RL-Verified-Processed",
        config="all",
        split="train",
        question_columns=("prompt",),
        answer_columns=("solution",),  # the final answer alone
    ),
    Entry(
        "orz-57k",
        "Open-Reasoner-Zero's 57k questions",
        57_000,
        ("orz_57k", "train/orz_57k", "orz_57k_head"),
        "axon-rl/ORZ-57k",
        split="train",
    ),
    Entry(
        "gsm8k",
        "GSM8K, training questions",
        7_473,
        ("gsm8k_train",),
        "openai/gsm8k",
        config="main",
        split="train",
        marker="####",
    ),
    Entry(
        "gsm8k-test",
        "GSM8K, test questions",
        1_319,
        ("gsm8k_test",),
        "openai/gsm8k",
        config="main",
        split="test",
        marker="####",
    ),
    Entry(
        "gsm8k-paper",
        "the paper's GSM8K training set, which holds all 1,319 test questions: never evaluate on gsm8k-test after it",
        8_792,
        ("train/gsm_8k", "gsm_8k"),
        split="train",
        marker="####",
    ),
    Entry(
        "asdiv",
        "ASDiv, school word problems with numeric answers",
        1_788,
        ("asdiv_2k", "train/asdiv_2k"),
        "axon-rl/ASDIV-2k",
        split="train",
    ),
)

CATALOGUE: Mapping[str, Entry] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
"""Every known set by name."""

BENCHMARKS = ("aime24", "amc", "math500", "minerva", "olympiad")
"""The paper's five benchmarks, in the order of its tables."""
