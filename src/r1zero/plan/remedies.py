"""What to change in a recipe so that it fits: settings are tried, mildest first, and those that help are named."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from r1zero.config import ClusterSettings, Recipe
from r1zero.plan.machine import USABLE, Machine
from r1zero.plan.memory import Device, devices, longest, side_by_side
from r1zero.plan.model_size import Shape
from r1zero.plan.placement import staff_of

Change = Mapping[str, object]
"""New values by the settings' names."""
_MOST_RANKS = 64
_SHARES = [step / 20 for step in range(18, 0, -1)]  # of sampling.memory: the largest that fits samples fastest


def remedies(recipe: Recipe, shape: Shape, machine: Machine) -> tuple[str, ...]:
    """Return settings that make it fit, or what else to do; nothing where it fits."""

    def placed(change: Change) -> tuple[Device, ...]:
        return devices(changed(recipe, change), shape, machine)

    usable = USABLE * machine.memory
    if all(device.fits(machine) for device in placed({})):
        return ()
    ranks, shards = list(_ranks(recipe, machine)), _sharded(recipe, shape, machine)
    if not any(all(sum(device.always.values()) < usable for device in placed(change)) for change in ranks):
        return (f"weights, gradients and moments alone do not fit: take a smaller model or a larger device{shards}",)
    too_much = f"lower sampling.max_new_tokens{shards}: not one response's backward pass fits"
    milder = [{**more, **less} for more, less in product(ranks, micro_batches(recipe))]
    if any(device.at_once for device in placed({})):
        both = ({**learn, **draw} for learn, draw in product(milder, _drawing(recipe, machine)))
        whole = next((change for change in both if all(device.fits(machine) for device in placed(change))), None)
        return (_said(whole),) if whole is not None else (too_much,)
    learn = next((change for change in milder if all(_learns(device, usable) for device in placed(change))), None)
    base = learn or {}
    drawing = _drawing(changed(recipe, base), machine)
    draw = next((less for less in drawing if all(_draws(device, usable) for device in placed({**base, **less}))), None)
    found = [
        _said(draw) if draw is not None else _no_room(recipe),
        _said(learn) if learn is not None else too_much,
    ]
    return tuple(filter(None, found))


def shares() -> Sequence[float]:
    """Return shares of a device's memory to try for vLLM, the largest first."""
    return _SHARES


def changed(recipe: Recipe, change: Change) -> Recipe:
    """Return the recipe with other values, which are not checked."""
    for name, value in change.items():
        section, _, key = name.partition(".")
        part: Any = getattr(recipe, section)
        recipe = recipe.model_copy(update={section: part.model_copy(update={key: value})})
    return recipe


def _said(change: Change) -> str:
    return " and ".join(f"{name} = {json.dumps(value)}" for name, value in change.items())


def _learns(device: Device, usable: float) -> bool:
    return sum(device.always.values()) + sum(device.learning.values()) <= usable


def _draws(device: Device, usable: float) -> bool:
    return sum(device.always.values()) + sum(device.sampling.values()) <= usable and device.rows != 0


def _ranks(recipe: Recipe, machine: Machine) -> Iterator[Change]:
    """As it is, and where there is a cluster of GPUs with twice the ranks, and again."""
    yield {}
    ranks = recipe.cluster.learners if recipe.cluster is not None and machine.gpu else _MOST_RANKS
    while (ranks := 2 * ranks) <= _MOST_RANKS:
        both = {"cluster.samplers": ranks} if recipe.cluster and recipe.cluster.share_gpus else {}
        yield {"cluster.learners": ranks, **both}


def micro_batches(recipe: Recipe) -> Iterator[Change]:
    """Yield micro-batches of fewer tokens, down to the longest response's; then the same with checkpointing."""
    settings = recipe.learner
    for checkpointing in dict.fromkeys((settings.gradient_checkpointing, True)):
        again: Change = {}
        if checkpointing != settings.gradient_checkpointing:
            layout = {"learner.layout": "padded"} if settings.layout == "shared" else {}
            again = {"learner.gradient_checkpointing": True, **layout}
        tokens = settings.micro_tokens
        yield again
        while tokens > longest(recipe):
            tokens //= 2
            yield {"learner.micro_tokens": tokens, **again}


def _drawing(recipe: Recipe, machine: Machine) -> Iterator[Change]:
    """As it is; fewer rows of whole groups, or of an engine another share of the memory, then more GPUs."""
    yield {}
    staff = staff_of(recipe, machine)
    if staff.engine:
        wider = [spread for spread in (2, 4, 8) if spread > staff.spread and not staff.together | staff.crowded]
        for spread in ({}, *({"sampling.tensor_parallel": number} for number in wider)):
            yield spread
            yield from ({**spread, "sampling.memory": share} for share in _SHARES)
    if not staff.engine or staff.crowded:
        group = recipe.rollout.samples
        rows = (side_by_side(recipe, staff.samplers) - 1) // group * group
        yield from ({"sampling.batch_rows": fewer} for fewer in range(rows, 0, -group))


def _no_room(recipe: Recipe) -> str:
    if recipe.sampling.engine == "torch":
        return "lower sampling.max_new_tokens or rollout.samples: not one question's responses fit"
    return (
        "lower sampling.max_new_tokens, or take a smaller model or a larger device: vLLM's weights and one response "
        "do not fit"
    )


def _sharded(recipe: Recipe, shape: Shape, machine: Machine) -> str:
    """Return the ranks that it takes, where none are asked for."""
    if recipe.cluster is not None or not machine.gpu:
        return ""
    whole = recipe.model_copy(update={"cluster": ClusterSettings(learners=1)})
    for more, less in product(_ranks(whole, machine), micro_batches(whole)):
        learner = devices(changed(whole, {**more, **less}), shape, machine)[0]
        if learner.count > 1 and _learns(learner, USABLE * machine.memory):
            also = f" and {_said(less)}" if less else ""
            return f", or shard it over GPUs (the section [cluster] with learners = {learner.count}{also})"
    return ""
