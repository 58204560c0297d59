"""How long a step takes: what is to be multiplied and read, over a machine's rates.

What is not counted: gathering shards and adding up gradients (a few hundredths where GPUs are joined by NVLink),
weights on their way to engines, verification, and evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

from r1zero.config import Recipe
from r1zero.objectives.from_recipe import recipe_objective
from r1zero.plan.machine import Machine
from r1zero.plan.memory import copy_size, engine_cache, side_by_side
from r1zero.plan.model_size import Shape
from r1zero.plan.placement import Staff, staff_of

FACTOR = 3
"""How far from the truth the times may be, either way."""
EFFICIENCY = 0.4
"""Of the rate of one large matrix product. Of a data sheet's peak this is 0.32. Pretraining with FSDP2 reaches 0.52 to
0.58 of it on A100s (torchtitan, docs/performance.md, Llama 3 8B and 70B); reinforcement learning has shorter and less
even rows, in layers that are not compiled."""
_LAYER_SECONDS = 3e-4  # a layer's many small operations in one decoding step, whatever its size
_ENGINE_SECONDS = 4e-3
"""Between two decoding steps of vLLM, which runs the layers as one CUDA graph: scheduling took 29 % of a step of which
the GPU's 38 % were about 5 ms (vLLM's blog of 5 September 2024 and 27 January 2025: version 0.5.3 with Llama 3 8B on an
H100; later versions need less)."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of a rollout batch where responses have `mean_tokens` tokens on average."""

    mean_tokens: int
    sampling: float
    learning: float
    overlaps: bool
    """Whether both are done at the same time."""

    @property
    def step(self) -> float:
        """Seconds from one rollout batch to the next."""
        return max(self.sampling, self.learning) if self.overlaps else self.sampling + self.learning


def pace_of(recipe: Recipe, shape: Shape, machine: Machine, mean_tokens: int) -> Pace:
    """Return the pace of a recipe."""
    staff, learning = staff_of(recipe, machine), _learn_seconds(recipe, shape, machine, mean_tokens)
    return Pace(
        mean_tokens,
        sampling_seconds(recipe, shape, machine, mean_tokens),
        learning if staff.crowded else learning / staff.learners,
        staff.overlaps,
    )


def sampling_seconds(recipe: Recipe, shape: Shape, machine: Machine, mean_tokens: int) -> float:
    """Return seconds in which a recipe's samplers draw a rollout batch."""
    staff = staff_of(recipe, machine)
    own = machine  # the share of it that one sampler has
    if staff.crowded:
        own = replace(machine, flops=machine.flops / staff.samplers, bandwidth=machine.bandwidth / staff.samplers)
    draw = _engine_seconds if staff.engine else _embedded_seconds
    return draw(recipe, shape, own, mean_tokens, staff)


def _embedded_seconds(recipe: Recipe, shape: Shape, machine: Machine, mean: int, staff: Staff) -> float:
    """Decoding steps times what one takes: to read all weights, or to multiply by them, and the small operations."""
    steps, full = _steps(recipe, side_by_side(recipe, staff.samplers), mean, staff)
    weights = shape.number * shape.parameters if staff.own else copy_size(recipe, shape, machine, staff)
    weights = weights or 4 * shape.parameters + 2 * shape.copies  # cast anew in every step
    multiplied = 2 * shape.parameters * full / (EFFICIENCY * machine.flops)
    return steps * (max(weights / machine.bandwidth, multiplied) + shape.layers * _LAYER_SECONDS)


def _engine_seconds(recipe: Recipe, shape: Shape, machine: Machine, mean: int, staff: Staff) -> float:
    """Return decoding steps times what one takes on each of the engine's GPUs: to read weights, keys and values, and to
    schedule. Lengths spread so far that a row at work is on average as long as a whole response (an exponential).
    Where the cache has no room at all, the time is that of a recipe whose memory is mended."""
    context = (_usual_prompt(recipe) + mean) * shape.cache_per_token
    rows = side_by_side(recipe, staff.samplers)
    fitting = engine_cache(recipe, shape, machine, staff) * staff.spread // context
    steps, full = _steps(recipe, min(rows, fitting or rows), mean, staff)
    read = (shape.number * shape.parameters + full * context) / (staff.spread * machine.bandwidth)
    multiplied = 2 * shape.parameters * full / (staff.spread * EFFICIENCY * machine.flops)
    return steps * (max(read, multiplied) + _ENGINE_SECONDS)


def _steps(recipe: Recipe, rows: int, mean: int, staff: Staff) -> tuple[float, float]:
    """Return decoding steps of one sampler with `rows` rows at most, and rows at work in one on average."""
    responses = recipe.responses / staff.samplers
    steps = max(responses * mean / rows, recipe.sampling.max_new_tokens)  # the longest is waited for
    return steps, responses * mean / steps


def _learn_seconds(recipe: Recipe, shape: Shape, machine: Machine, mean: int) -> float:
    """2·N FLOP a token forward and 4·N back; once more forward to checkpoint, and for old and reference log-probs."""
    again = recipe.learner.gradient_checkpointing + (recipe.learner.updates > 1 or recipe_objective(recipe).critic)
    again += recipe.objective.kl != "none"
    prompt = _usual_prompt(recipe)
    if recipe.learner.layout == "shared":  # once for all responses of a question
        prompt = ceil(prompt / recipe.rollout.samples)
    tokens = recipe.responses * (mean + prompt)
    return (6 + 2 * again) * shape.parameters * tokens / (EFFICIENCY * machine.flops)


def learning_seconds(recipe: Recipe, shape: Shape, machine: Machine, tokens: int) -> float:
    """Return seconds of learning to predict so many tokens, once each, on one GPU."""
    return (6 + 2 * recipe.learner.gradient_checkpointing) * shape.parameters * tokens / (EFFICIENCY * machine.flops)


def drawing_seconds(shape: Shape, machine: Machine, responses: int, rows: int, budget: int) -> float:
    """Return seconds in which the embedded sampler draws responses of a quarter of their budget on average, `rows` side
    by side, from weights of its own precision.
    """
    steps = max(responses * (budget / 4) / rows, budget)
    full = responses * (budget / 4) / steps
    read = shape.number * shape.parameters / machine.bandwidth
    multiplied = 2 * shape.parameters * full / (EFFICIENCY * machine.flops)
    return steps * (max(read, multiplied) + shape.layers * _LAYER_SECONDS)


def _usual_prompt(recipe: Recipe) -> int:
    """Return tokens of a prompt that the times assume."""
    return min(150, recipe.questions.longest_prompt)
