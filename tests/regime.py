"""What the suite is run under, besides the processor: three variables that `make test-numerics` sets.

R1ZERO_TEST_SEED      the seed of everything that a test trains, draws or makes up; 0 by default
R1ZERO_TEST_THREADS   torch's threads, in the tests and in the runs that they start; 1 by default
R1ZERO_TEST_MARGINS   a file for the margins by which assertions hold: one JSON line each (see conftest.py)

A test that holds for one seed only says more about the seed than about the code.
"""

import json
import os
import re
from pathlib import Path

SEED = int(os.environ.get("R1ZERO_TEST_SEED", "0"))
THREADS = int(os.environ.get("R1ZERO_TEST_THREADS", "1"))
MARGINS = os.environ.get("R1ZERO_TEST_MARGINS")


def seeded(number: int = 0) -> int:
    """The seed that stands for `number` under this run's seed: no two runs share one."""
    return number + 10_007 * SEED


_NUMBER = r"-?(?:\d+\.?\d*(?:e[+-]?\d+)?|inf)"
_ORDER = re.compile(rf"({_NUMBER}) (<|<=|>|>=) ({_NUMBER})")
_NEAR = re.compile(rf"({_NUMBER}) == ({_NUMBER}) ± ({_NUMBER})")


def used(explanation: str) -> float | None:
    """How much of its room an assertion that passed has used, from pytest's explanation of it: 1 is the edge.

    None where the explanation compares no two numbers, or with zero, which has no scale.
    """
    first = explanation.split("\n", 1)[0]
    if found := _ORDER.fullmatch(first):
        left, right = float(found[1]), float(found[3])
        value, bound = (left, right) if found[2].startswith("<") else (right, left)
        return value / bound if value > 0 and bound > 0 else None
    if found := _NEAR.fullmatch(first):
        value, expected, tolerance = map(float, found.groups())
        return abs(value - expected) / tolerance if tolerance else None
    return None


def note_margin(test: str, line: int, source: str, explanation: str) -> None:
    """Append what an assertion that passed has used of its room to the file of margins."""
    share = used(explanation)
    if MARGINS and share is not None:
        said = explanation.split("\n", 1)[0]
        row = {"test": test, "line": line, "source": source, "said": said, "used": share}
        with Path(MARGINS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
