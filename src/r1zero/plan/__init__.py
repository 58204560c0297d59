"""What a recipe needs before anything starts: memory on its devices, the time of a step, and what to change.

Memory is that of the code as it is (`r1zero.plan.memory`), times are arithmetic over a machine's rates
(`r1zero.plan.step_time`). The machine may be this one, or a GPU that is known by its data sheet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from r1zero.config import Recipe
from r1zero.objectives.from_recipe import recipe_objective
from r1zero.plan.machine import GIB, USABLE, Machine, by_name, counted_machine, measure
from r1zero.plan.memory import Device, devices, longest
from r1zero.plan.model_size import Shape, shape_of, without_numbers
from r1zero.plan.remedies import remedies
from r1zero.plan.step_time import FACTOR, Pace, pace_of
from r1zero.policy.device import pick_autocast, pick_device
from r1zero.policy.precision import choose


@dataclass(frozen=True, slots=True)
class Plan:
    """What each kind of device holds, how long it takes, and what to change."""

    shape: Shape
    machine: Machine
    devices: tuple[Device, ...]
    pace: Pace
    steps: int
    remedies: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether every device has room for what it holds, with some to spare."""
        return all(device.fits(self.machine) for device in self.devices)

    @property
    def seconds(self) -> float:
        """The whole run, evaluation apart."""
        return self.steps * self.pace.step


def make_plan(
    recipe: Recipe, *, memory: float | None = None, mean_tokens: int | None = None, machine: str | None = None
) -> Plan:
    """Plan a training run on devices like the one that is measured here, or like `machine` by its data sheet.

    `memory` in GiB replaces the device's own. The times assume `mean_tokens` tokens of a response on average; None
    takes a quarter of the limit.

    Raises:
        UserError: no such model, device or objective, or a forward pass that cannot be counted.
    """
    recipe_objective(recipe)  # what is wrong with it is told before anything is counted
    if machine is None:
        device = pick_device(recipe.model.device)
        autocast = pick_autocast(_settled(recipe, device), device)
        found = measure(device, autocast)
    else:  # a GPU, where `auto` is bfloat16
        autocast = pick_autocast("off" if recipe.learner.autocast == "off" else "bfloat16", pick_device("cpu"))
        found = by_name(counted_machine(machine)[1], autocast, ", or leave it out to plan for the device that is here")
    shape = shape_of(
        recipe.model.path, recipe.model.revision, recipe.model.attention, autocast, longest(recipe), recipe.lora
    )
    if memory is not None:
        found = replace(found, memory=int(memory * GIB))
    return plan_of(recipe, shape, found, mean_tokens or max(1, recipe.sampling.max_new_tokens // 4))


def _settled(recipe: Recipe, device: torch.device) -> str:
    """Return what `learner.autocast` would come to in a run that begins here."""
    asked = recipe.learner.autocast
    if asked != "auto" or device.type != "cpu" or recipe.cluster is not None:
        return asked
    return choose(without_numbers(recipe.model.path, recipe.model.revision), asked, device)[0]


def plan_of(recipe: Recipe, shape: Shape, machine: Machine, mean_tokens: int) -> Plan:
    """Plan a training run of a model of this shape on machines like this."""
    return Plan(
        shape,
        machine,
        devices(recipe, shape, machine),
        pace_of(recipe, shape, machine, mean_tokens),
        recipe.train.steps,
        remedies(recipe, shape, machine),
    )
