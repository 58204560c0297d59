"""Parts of an objective that are functions of a program's own, called by the parameters that they name.

    advantage(rewards, graded, lengths)             [P, G] each -> Â, [P, G]
    surrogate(ratios, advantages, low, high)        [N] tokens, and the bounds on the ratio -> the gain of each, [N]
    weights(lengths, live, group, constant)         [N] responses of the whole optimiser step, and C -> w, [N]

Names may have a suffix of shape (`rewards_PG`); whatever is not needed is left out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from r1zero.errors import UserError
from r1zero.objectives import surrogate
from r1zero.objectives.weights import Step
from r1zero.sources import function_name, source_hash

ADVANTAGE = ("rewards", "graded", "lengths")
SURROGATE = ("ratios", "advantages", "low", "high")
WEIGHTS = ("lengths", "live", "group", "constant")

Function = Callable[..., Tensor]


@lru_cache(maxsize=256)
def label(function: Function) -> str:
    """Return what a formula calls a function: its name and what tells it from others of that name."""
    return f"{function_name(function)}[{source_hash(function)}]"


def advantage(function: Function) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return the advantage of a function; what nobody could grade has none, whatever the function says."""
    call = named(function, ADVANTAGE)

    def of_groups(rewards_PG: Tensor, graded_PG: Tensor, lengths_PG: Tensor) -> Tensor:
        given = {"rewards": torch.where(graded_PG, rewards_PG, 0.0), "graded": graded_PG, "lengths": lengths_PG}
        found = _shaped(call(given), rewards_PG, function, "advantage")
        return torch.where(graded_PG, found, 0.0)

    return of_groups


def gain(function: Function) -> Callable[[Tensor, Tensor, float, float], Tensor]:
    """Return the surrogate of a function."""
    call = named(function, SURROGATE)

    def of_tokens(ratios_N: Tensor, advantages_N: Tensor, low: float, high: float) -> Tensor:
        found = call({"ratios": ratios_N, "advantages": advantages_N, "low": low, "high": high})
        return _shaped(found, ratios_N, function, "surrogate")

    return of_tokens


never_at_bound = surrogate.never
"""A function's own bounds, if it has any, are not known."""


def response_weights(function: Function) -> Callable[[Step], Tensor]:
    """Return the weights of a function."""
    call = named(function, WEIGHTS)

    def of_step(step: Step) -> Tensor:
        given = {"lengths": step.tokens, "live": step.live_N, "group": step.group_N, "constant": step.constant}
        return _shaped(call(given), step.tokens, function, "weights")

    return of_step


@lru_cache(maxsize=256)
def named(function: Function, names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], Any]:
    """Return how a function is called with values of these names: with those that it names.

    Raises:
        UserError: it asks for something else.
    """
    parameters = inspect.signature(function).parameters.values()
    wanted = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    by_place: list[str] = []
    by_name: dict[str, str] = {}
    for each in wanted:
        bare = each.name.partition("_")[0]
        if bare in names:
            if each.kind is each.POSITIONAL_ONLY:
                by_place.append(bare)
            else:
                by_name[each.name] = bare
        elif each.default is each.empty:
            raise UserError(
                f"{function_name(function)} is not a valid part of an objective: it asks for {each.name!r}, and may "
                f"name {', '.join(names)}."
            )
    return lambda given: function(
        *(given[bare] for bare in by_place), **{name: given[bare] for name, bare in by_name.items()}
    )


def _shaped(found: object, like: Tensor, function: Function, what: str) -> Tensor:
    """Return what a function made. Raises UserError where it is no tensor of the shape that it must have."""
    if not isinstance(found, Tensor) or found.shape != like.shape:
        got = f"a tensor of shape {list(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise UserError(
            f"{function_name(function)} is not a valid {what}: it returned {got}, and must return a tensor of shape "
            f"{list(like.shape)}."
        )
    return found.to(like.dtype)
