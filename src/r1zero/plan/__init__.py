"""What a recipe needs before anything starts: memory on its device, the time of a step, and what to change if too much.

Memory is that of the code as it is: float32 weights, their gradients and AdamW's moments all the time; the sampler's
cache and what the learner keeps for a backward pass in turns. Legend: N parameters, B responses of a rollout batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

from r1zero.assemble import recipe_objective
from r1zero.config import Recipe
from r1zero.plan.machine import Machine, measure
from r1zero.plan.shape import Shape, shape_of
from r1zero.policy.load import pick_autocast, pick_device
from r1zero.policy.logprobs import CHUNK_LOGITS

GIB = 2**30
USABLE = 0.92
"""The share of a device's memory that a plan may fill: allocators and libraries take some for themselves."""
_LOGITS = 6  # float32 copies of a chunk of logits while it is differentiated: logits, over T, exp, probs, two gradients
_LAYER_SECONDS = 3e-4  # a layer's many small operations in one decoding step, whatever its size
_EFFICIENCY = 0.4  # of the rate of one large matrix product


@dataclass(frozen=True, slots=True)
class Plan:
    """Memory in bytes by what it is for, times in seconds, and what to change."""

    shape: Shape
    machine: Machine
    always: dict[str, int]
    """There from the first step to the last."""
    sampling: dict[str, int]
    """While responses are drawn."""
    learning: dict[str, int]
    """While they are learnt from."""
    mean_tokens: int
    """Tokens of a response on average that the times assume."""
    sample_seconds: float
    learn_seconds: float
    steps: int
    remedies: tuple[str, ...]

    @property
    def peak(self) -> int:
        """The most that is there at once."""
        return sum(self.always.values()) + max(sum(self.sampling.values()), sum(self.learning.values()))

    @property
    def fits(self) -> bool:
        """Whether it does, with some to spare."""
        return self.peak <= USABLE * self.machine.memory


def make_plan(recipe: Recipe, *, memory: float | None = None, mean_tokens: int | None = None) -> Plan:
    """Plan a training run on the recipe's device as it is measured here, or on one like it with `memory` GiB.

    The times assume `mean_tokens` tokens of a response on average; None takes a quarter of the limit.

    Raises:
        UserError: no such model, device or objective, or a forward pass that cannot be counted.
    """
    recipe_objective(recipe)  # what is wrong with it is told before anything is counted
    device = pick_device(recipe.model.device)
    autocast = pick_autocast(recipe.learner.autocast, device)
    shape = shape_of(
        recipe.model.path, recipe.model.revision, recipe.model.attention, autocast, _longest(recipe), recipe.lora
    )
    machine = measure(device, autocast)
    if memory is not None:
        machine = replace(machine, memory=int(memory * GIB))
    return plan_of(recipe, shape, machine, mean_tokens or max(1, recipe.sampling.max_new_tokens // 4))


def plan_of(recipe: Recipe, shape: Shape, machine: Machine, mean_tokens: int) -> Plan:
    """Plan a training run of a model of this shape on this machine."""
    always = _always(recipe, shape)
    settings = recipe.learner
    return Plan(
        shape,
        machine,
        always,
        {"keys and values of responses": _cache(recipe, shape, _rows(recipe))},
        _learning(recipe, shape, settings.micro_tokens, settings.gradient_checkpointing),
        mean_tokens,
        _sample_seconds(recipe, shape, machine, mean_tokens),
        _learn_seconds(recipe, shape, machine, mean_tokens),
        recipe.train.steps,
        _remedies(recipe, shape, int(USABLE * machine.memory) - sum(always.values())),
    )


def _always(recipe: Recipe, shape: Shape) -> dict[str, int]:
    n, trained = shape.parameters, shape.trained
    parts = {"weights (float32)": 4 * n, "gradients": 4 * trained, "AdamW's two moments": 8 * trained}
    if recipe.objective.kl != "none":
        parts["reference model"] = 4 * n
    return parts


def _rows(recipe: Recipe) -> int:
    """Responses decoded side by side."""
    return min(max(recipe.sampling.batch_rows, recipe.rollout.samples), recipe.responses)


def _cache(recipe: Recipe, shape: Shape, rows: int) -> int:
    """The sampler's slab at its widest: prompt and budget, and as much again where waiting questions enter."""
    budget = recipe.sampling.max_new_tokens
    again = max(budget, 64) if rows < recipe.responses else 0
    return rows * (recipe.questions.max_prompt_tokens + budget + again) * shape.cache_per_token


def _learning(recipe: Recipe, shape: Shape, tokens: int, checkpointing: bool) -> dict[str, int]:
    tokens = max(tokens, _longest(recipe))  # a longer response has a pass of its own
    kept = shape.kept_checkpointed if checkpointing else shape.kept_per_token
    copies = shape.copies // shape.layers if checkpointing else shape.copies
    parts = {
        f"kept for the backward pass of {tokens:,} tokens": int(kept * tokens),
        "weights in bfloat16": copies,
        "logits, in chunks": _LOGITS * 4 * min(CHUNK_LOGITS, tokens * shape.vocabulary),
    }
    return {name: size for name, size in parts.items() if size}


def _longest(recipe: Recipe) -> int:
    return recipe.questions.max_prompt_tokens + recipe.sampling.max_new_tokens


def _remedies(recipe: Recipe, shape: Shape, room: int) -> tuple[str, ...]:
    """Settings that make it fit into `room` bytes beside what is always there."""
    if room <= 0:
        return ("weights, gradients and moments alone do not fit: take a smaller model or a larger device",)
    found = []
    rows = _rows(recipe)
    if _cache(recipe, shape, rows) > room:
        fitting = next((r for r in range(rows - 1, 0, -1) if _cache(recipe, shape, r) <= room), 0)
        fitting -= fitting % recipe.rollout.samples
        found.append(
            f"sampling.batch_rows = {fitting}"
            if fitting
            else "lower sampling.max_new_tokens or rollout.samples: not one question's responses fit"
        )
    settings = recipe.learner
    needed = lambda tokens, checkpointing: sum(_learning(recipe, shape, tokens, checkpointing).values())  # noqa: E731
    if needed(settings.micro_tokens, settings.gradient_checkpointing) > room:
        shared = ' and learner.layout = "padded"' if settings.layout == "shared" else ""
        for checkpointing in (settings.gradient_checkpointing, True):
            tokens = settings.micro_tokens
            while tokens > _longest(recipe) and needed(tokens, checkpointing) > room:
                tokens //= 2
            if needed(tokens, checkpointing) <= room:
                fewer = f"learner.micro_tokens = {tokens}" if tokens < settings.micro_tokens else ""
                new = checkpointing and not settings.gradient_checkpointing
                again = f"learner.gradient_checkpointing = true{shared}" if new else ""
                found.append(" and ".join(filter(None, (fewer, again))))
                break
        else:
            found.append("lower sampling.max_new_tokens: not one response's backward pass fits")
    return tuple(found)


def _sample_seconds(recipe: Recipe, shape: Shape, machine: Machine, mean: int) -> float:
    """Decoding steps times what one takes: to read all weights, or to multiply by them, and the small operations."""
    rows = _rows(recipe)
    steps = max(recipe.responses * mean / rows, recipe.sampling.max_new_tokens)  # the longest is waited for
    full = recipe.responses * mean / steps  # rows at work in a step
    read = (4 * shape.parameters + 2 * shape.copies) / machine.bandwidth
    multiplied = 2 * shape.parameters * full / (_EFFICIENCY * machine.flops)
    return steps * (max(read, multiplied) + shape.layers * _LAYER_SECONDS)


def _learn_seconds(recipe: Recipe, shape: Shape, machine: Machine, mean: int) -> float:
    """2·N FLOP a token forward and 4·N back; once more forward to checkpoint, and for old and reference log-probs."""
    again = recipe.learner.gradient_checkpointing + (recipe.learner.updates > 1 or recipe_objective(recipe).critic)
    again += recipe.objective.kl != "none"
    tokens = recipe.responses * (mean + _prompt(recipe))
    return (6 + 2 * again) * shape.parameters * tokens / (_EFFICIENCY * machine.flops)


def _prompt(recipe: Recipe) -> int:
    """Tokens of a prompt that the times assume; once for all responses of a question where prompts are shared."""
    usual = min(150, recipe.questions.max_prompt_tokens)
    return ceil(usual / recipe.rollout.samples) if recipe.learner.layout == "shared" else usual
