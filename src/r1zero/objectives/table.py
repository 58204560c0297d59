"""Objectives by name: the presets, and other projects' losses under their own names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from r1zero.errors import UserError, did_you_mean
from r1zero.objectives.objective import Objective
from r1zero.objectives.peers import PEERS
from r1zero.objectives.presets import PRESETS

__all__ = ["PEERS", "PRESETS", "TABLE", "Objective", "make_objective", "pick_rows"]

TABLE = PRESETS | PEERS


OWN = "own:"
"""What the names of objectives begin with in recipes whose parts are functions."""
_UNBOUNDED = ("importance", "policy_gradient", "soft_gated")  # surrogates that look at no bounds


def make_objective(name: str, own: Objective | None = None, **settings: Any) -> Objective:
    """Return a named objective, or a program's `own`, its row's values replaced by `settings` (fields of `Objective`;
    None keeps the row's).

    Raises:
        UserError: a name that is not in the table, or settings that contradict each other.
    """
    row = own or TABLE.get(name)
    if row is None and name.startswith(OWN):
        raise UserError(
            f"objective.name = {name!r} is of functions of a program's own: give them again, from Python, with "
            "r1zero.train(…, objective=…)."
        )
    if row is None:
        hint = did_you_mean(name, TABLE, show=repr)
        raise UserError(
            f"objective.name = {name!r} is not in the table; {hint}it has: {', '.join(PRESETS)}, and the rows that "
            "`r1zero objectives` lists."
        )
    given = {key: value for key, value in settings.items() if value is not None}
    objective = replace(row, **given)
    for holds, sentence in _FAULTS:
        if holds(objective, given):
            raise UserError(sentence.format(o=objective))
    return objective


def pick_rows(names: Iterable[str], default: Mapping[str, Objective] = TABLE) -> list[Objective]:
    """Return the rows of these names, or all of `default` where none is given. Raises UserError for a name there is
    not.
    """
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in TABLE:
            hint = did_you_mean(name, TABLE, show=repr)
            raise UserError(f"No objective is called {name!r}; {hint}`r1zero objectives` lists them all.")
    return [TABLE[name] for name in wanted] if wanted else list(default.values())


# Settings that contradict each other or do nothing: (what is wrong, the sentence). `given` are the user's own.
_FAULTS = (
    (
        lambda o, given: o.kl != "none" and not o.kl_coefficient,
        "objective.kl = {o.kl!r} has no objective.kl_coefficient; give it one above 0, or leave objective.kl out.",
    ),
    (
        lambda o, given: o.kl == "none" and o.kl_coefficient,
        "objective.kl_coefficient = {o.kl_coefficient:g} has no estimator; set objective.kl to k1_reward, k2, k3 or "
        "k3_corrected.",
    ),
    (
        lambda o, given: "dual_clip" in given and o.surrogate != "clipped",
        "objective.dual_clip bounds a clipped surrogate, and {o.name} has {o.surrogate!r}; leave it out.",
    ),
    (
        lambda o, given: o.dual_clip is not None and o.dual_clip <= 1 + o.clip_high,
        "objective.dual_clip = {o.dual_clip:g} stands inside the clip range; set it above 1 + objective.clip_high = "
        "1 + {o.clip_high:g} (3 is usual).",
    ),
    (
        lambda o, given: {"clip_low", "clip_high"} & given.keys() and o.surrogate in _UNBOUNDED,
        "objective {o.name} has no clip range; leave objective.clip_low and objective.clip_high out.",
    ),
    (
        lambda o, given: o.importance_cap is not None and o.importance_cap < 1,
        "objective.importance_cap = {o.importance_cap:g} would shrink every token's gain, even where the sampler is "
        "the policy; set it to 1 or more (2 is usual).",
    ),
    (
        lambda o, given: {"gamma", "lam"} & given.keys() and not o.critic,
        "objective.gamma and objective.lam belong to a critic, which {o.name} has not; leave them out, or name "
        'objective "ppo".',
    ),
    (
        lambda o, given: "chunks" in given and "chunks" not in o.uses,
        "objective.chunks belongs to losses that depend on micro-batches, and {o.name} does not; leave it out.",
    ),
    (
        lambda o, given: o.ratio == "sequence" and "ratio" in given and o.weights != "per_response",
        "objective.ratio = 'sequence' summed over tokens weighs responses by length; set objective.weights to "
        "'per_response', or leave the ratio at 'token'.",
    ),
)
