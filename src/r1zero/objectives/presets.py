"""The named objectives: what a recipe's `objective.name` chooses from."""

from __future__ import annotations

from r1zero.objectives.objective import Objective

_ROWS = (
    # Liu et al. 2025, "Understanding R1-Zero-Like Training": the whole of it, and its two ablations
    Objective("dr_grpo", "centred", "clipped", "constant"),
    Objective("grpo", "standardised", "clipped", "per_response"),
    Objective("grpo_no_std", "centred", "clipped", "per_response", note="GRPO with only its length bias."),
    Objective("grpo_no_length", "standardised", "clipped", "constant", note="GRPO with only its difficulty bias."),
    Objective("ppo", "gae", "clipped", "constant", note="Token advantages from a value head (the [critic] section)."),
    Objective("reinforce", "raw", "policy_gradient", "constant"),
    Objective("rloo", "leave_one_out", "clipped", "constant"),
    Objective("dapo", "standardised", "clipped", "token_mean", clip_high=0.28, note="With `rollout.dynamic = true`."),
    Objective("gspo", "standardised", "clipped", "per_response", ratio="sequence", clip_low=3e-4, clip_high=4e-4),
    Objective("cispo", "standardised", "cispo", "token_mean", clip_low=1.0, clip_high=4.0),
    Objective("max_rl", "mean_divided", "clipped", "constant",
              note="Aims at the log of each question's pass rate, so its distance from ∇J is meant."),
)  # fmt: skip

PRESETS = {row.name: row for row in _ROWS}
