"""Table 2: what the losses of other projects do to lengths, measured instead of read (section 3.1, Listing 1)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from r1zero.objectives.measured import GROUP_SIZE, measured, share, slope
from r1zero.objectives.table import PEERS, PRESETS
from r1zero.paper.claims import Findings, FoundTable, Study, judged
from r1zero.paper.jobs import Job

FIVE = ("trl/ppo", "openrlhf/gae", "verl/gae", "simplerl-zero/ppo", "open-reasoner-zero/ppo")
"""The rows of the paper's table."""


def read(_out: Path, _jobs: Sequence[Job]) -> Findings:
    """Return every row of the table of objectives, with its length bias and the exact bias of its gradient."""
    found = measured((PRESETS | PEERS).values(), 1.0)
    biased = {row["objective"]: row["relative_bias"] for row in found}
    sloped = sum("/" in row["objective"] and abs(row["length_bias"] or 0.0) > 1e-6 for row in found)
    rows = [[row["objective"], slope(row["length_bias"]), share(row["relative_bias"]), row["formula"]] for row in found]
    unbiased = [name for name in ("dr_grpo", "rloo", "reinforce") if biased[name] < 1e-9]
    peers = [name for name in biased if "/" in name]
    with_bias = [name for name in peers if biased[name] > 1e-3]
    claims = [
        judged(
            "Dr. GRPO's expected gradient is the policy gradient.",
            f"relative bias {biased['dr_grpo']:.1g} with groups of {GROUP_SIZE}, by enumeration in float64 (also "
            f"without bias: {', '.join(name for name in unbiased if name != 'dr_grpo')})",
            biased["dr_grpo"] < 1e-9,
        ),
        judged(
            "The PPO losses of the paper's five projects are biased.",
            "relative bias " + ", ".join(f"{name} {share(biased[name])}" for name in FIVE),
            all(biased[name] > 1e-3 for name in FIVE),
        ),
        judged(
            "Most losses of other projects are biased.",
            f"{len(with_bias)} of {len(peers)} rows of other projects have an expected gradient that is not a multiple "
            f"of the policy gradient; {sloped} weigh the responses of one step by their length",
            len(with_bias) > len(peers) / 2,
        ),
    ]
    notes = [
        "Rows have each project's own option names; which version was read is in docs/objectives.md, and what a "
        "project computed before has a name with @. `r1zero audit` takes them apart.",
    ]
    headings = ["objective", "length bias (0: none, −1: 1/|o|)", f"bias of the gradient, G = {GROUP_SIZE}", "formula"]
    return Findings(claims, (), [FoundTable("All rows", headings, rows)], notes)


STUDIES = (
    Study(
        "table2", "Table 2, Listing 1", "Losses of other projects",
        "The bias of each project's loss, exactly, on a problem small enough to enumerate.",
        lambda *_: [], lambda *_: [], read,
    ),
)  # fmt: skip
