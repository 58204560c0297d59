"""How fast and how right the verifier is, side by side with Math-Verify: `python benchmarks/verifier.py PAIRS.jsonl`.

PAIRS are lines with `gold`, `prediction`, `kind`, `expected` and perhaps `boxed` (docs/verification.md). Both graders
run in the same kind of worker with the same limits; ours decides most pairs before it asks one.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from r1zero.types import AnswerFormat
from r1zero.verify import Verifier
from r1zero.verify.pairs import GradedPair, Summary, grade_pairs, read_pairs, summarise
from r1zero.verify.workers.second_grader import SECOND


def main() -> None:
    """Print one line per grader."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--timeout-s", type=float, default=2.0)
    arguments = parser.parse_args()
    pairs = [pair for pair in read_pairs(arguments.pairs) if pair.row.get("boxed", True)]
    print("| grader | pairs | right | false accepts | false rejects | timeouts | median ms | mean ms |")
    print("|---|---|---|---|---|---|---|---|")
    with Verifier(1, arguments.timeout_s) as ours:
        ours.check()
        show("r1zero", summarise(list(grade_pairs(pairs, ours, AnswerFormat.BOXED))))
    for name in ("math-verify", "paper-slow-rules", "paper-fast"):
        with Verifier(1, arguments.timeout_s, reward=SECOND[name]) as other:
            other.check()
            verdicts = other.verify((pair.boxed, pair.gold, AnswerFormat.BOXED) for pair in pairs)
        # like ours, without the time in the queue
        graded = [
            GradedPair(pair, replace(verdict, extracted=None)) for pair, verdict in zip(pairs, verdicts, strict=True)
        ]
        show(name, summarise(graded))


def show(name: str, found: Summary) -> None:
    """One row of the table."""
    cells = [
        name,
        found.judged,
        f"{found.agreed / max(found.judged, 1):.1%}",
        len(found.false_accepts),
        len(found.false_rejects),
        found.outcomes["timeout"],
        f"{found.median_ms:.2f}",
        f"{found.mean_ms:.2f}",
    ]
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
