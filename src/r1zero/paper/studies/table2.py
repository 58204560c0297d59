"""Table 2: what the losses of other projects do to lengths, measured instead of read (section 3.1, Listing 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from r1zero.objectives.bias_meter import bias_meter
from r1zero.objectives.example_batch import example_batch
from r1zero.objectives.expected_gradient import Audit
from r1zero.objectives.table import PEERS, PRESETS
from r1zero.objectives.toy_mdp import Mdp
from r1zero.paper.claims import Claim, ClaimStatus, Findings, FoundTable, Study
from r1zero.paper.jobs import Job

_GROUP = 4


def read(out: Path, jobs: Sequence[Job]) -> Findings:
    """Every row of the table of objectives, with its length bias and the exact bias of its gradient."""
    del out, jobs
    batch, mdp = example_batch(), Mdp()
    audit = Audit(mdp, _GROUP, mdp.policy())
    rows, biased, sloped = [], {}, 0
    for name, row in (PRESETS | PEERS).items():
        meter = bias_meter(*batch, replace(row, constant=1.0))
        biased[name] = audit.measure(row).relative_bias
        sloped += "/" in name and meter.length is not None and abs(meter.length) > 1e-6
        length = "–" if meter.length is None else f"{round(meter.length, 2) + 0.0:.2f}"
        rows.append([name, length, "none" if biased[name] < 1e-9 else f"{100 * biased[name]:.2g} %", row.formula])
    unbiased = [name for name in ("dr_grpo", "rloo", "reinforce") if biased[name] < 1e-9]
    peers = [name for name in biased if "/" in name]
    with_bias = [name for name in peers if biased[name] > 1e-3]
    claims = [
        Claim(
            "Dr. GRPO's expected gradient is the policy gradient.",
            f"relative bias {biased['dr_grpo']:.1g} with groups of {_GROUP}, by enumeration in float64 (also without "
            f"bias: {', '.join(name for name in unbiased if name != 'dr_grpo')})",
            ClaimStatus.SEEN if biased["dr_grpo"] < 1e-9 else ClaimStatus.NOT_SEEN,
        ),
        Claim(
            "Most losses of other projects are biased.",
            f"{len(with_bias)} of {len(peers)} rows of other projects have an expected gradient that is not a multiple "
            f"of the policy gradient; {sloped} weigh the responses of one step by their length",
            ClaimStatus.SEEN if len(with_bias) > len(peers) / 2 else ClaimStatus.NOT_SEEN,
        ),
    ]
    notes = ["The rows are those of July 2026, under each project's own option names; `r1zero audit` takes them apart."]
    headings = ["objective", "length bias (0: none, −1: 1/|o|)", f"bias of the gradient, G = {_GROUP}", "formula"]
    return Findings(claims, (), [FoundTable("All rows", headings, rows)], notes)


STUDIES = (
    Study(
        "table2", "Table 2, Listing 1", "Losses of other projects",
        "The bias of each project's loss, exactly, on a problem small enough to enumerate.",
        lambda *_: [], lambda *_: [], read,
    ),
)  # fmt: skip
