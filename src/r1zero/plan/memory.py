"""What the devices of a run hold, by what it is for.

A learner holds float32 weights, their gradients and AdamW's moments all the time. Several ranks hold equal shards of
them (FSDP2, a group for each layer and one for the ends: embeddings, last norm and head); a pass gathers a layer, the
next one and the ends in the precision of its products. The sampler's cache, and what the learner keeps for a backward
pass, are there in turns. What is not counted: what is made and dropped between the operations of a backward pass,
CUDA's own memory, what vLLM takes of its share to compute (so its cache is at most what is said), the moment at which
weights go to an engine, and the hosts' memory, through which they go to replicas.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

from r1zero.config import Recipe
from r1zero.plan.machine import USABLE, Machine
from r1zero.plan.model_size import Shape
from r1zero.plan.placement import Staff, staff_of
from r1zero.policy.device import COPY_SHARE
from r1zero.policy.logprobs import CHUNK_LOGITS

_LOGITS = 6  # float32 copies of a chunk of logits while it is differentiated: logits, over T, exp, probs, two gradients
_BLOCK = 256  # tokens that an engine's cache on a CPU has to spare for each row
Parts = dict[str, int]
"""Bytes by what they are for."""


@dataclass(frozen=True, slots=True)
class Device:
    """One of `count` alike, and what it holds: `kind` is learner, sampler, both or all."""

    kind: str
    count: int
    always: Parts = field(default_factory=dict)
    """There from the first step to the last."""
    sampling: Parts = field(default_factory=dict)
    """While responses are drawn."""
    learning: Parts = field(default_factory=dict)
    """While they are learnt from."""
    at_once: bool = False
    """Whether what drawing needs is there while responses are learnt from."""
    rows: int | None = None
    """Responses of full length that fit into vLLM's cache side by side."""

    @property
    def peak(self) -> int:
        """The most that is there at once."""
        drawing, learning = sum(self.sampling.values()), sum(self.learning.values())
        return sum(self.always.values()) + (drawing + learning if self.at_once else max(drawing, learning))

    def fits(self, machine: Machine) -> bool:
        """Tell whether all goes into what a machine has, and one response into an engine's cache."""
        return self.peak <= USABLE * machine.memory and self.rows != 0


def devices(recipe: Recipe, shape: Shape, machine: Machine) -> tuple[Device, ...]:
    """Return the devices that a recipe needs, each kind once."""
    staff = staff_of(recipe, machine)
    held, learning = held_parts(recipe, shape, staff.learners), learning_parts(recipe, shape, staff.learners)
    weights, cache, rows = sampler_parts(recipe, shape, machine, staff)
    if staff.crowded and recipe.cluster is not None:
        always = _times(held, staff.learners) | _times(weights, staff.samplers)
        return (Device("all", 1, always, _times(cache, staff.samplers), _times(learning, staff.learners), True, rows),)
    spread = staff.samplers * staff.spread
    if not staff.together:
        return (
            Device("learner", staff.learners, held, {}, learning),
            Device("sampler", spread, sampling=weights | cache, rows=rows),
        )
    if staff.sleeps:
        cache = weights | cache
    else:
        held = held | weights
    stays = staff.ahead or (staff.engine and not staff.sleeps)
    both = Device("both", min(staff.learners, spread), held, cache, learning, stays, rows)
    more = Device("sampler", spread - both.count, sampling=weights | cache, rows=rows)
    return (both, more) if more.count > 0 else (both,)


def _times(parts: Parts, count: int) -> Parts:
    return {f"{count} × {name}" if count > 1 else name: count * size for name, size in parts.items()}


def held_parts(recipe: Recipe, shape: Shape, ranks: int) -> Parts:
    """Return what a rank holds from the first step to the last."""
    n, trained = shape.parameters, shape.trained
    parts = {"weights (float32)": 4 * n, "gradients": 4 * trained, "AdamW's two moments": 8 * trained}
    if recipe.objective.kl != "none":
        parts["reference model"] = 4 * n
    if ranks == 1:
        return parts
    return {f"{name}, 1 of {ranks} shards": ceil(size / ranks) for name, size in parts.items()}


def learning_parts(recipe: Recipe, shape: Shape, ranks: int) -> Parts:
    """Return what a rank keeps while it learns from one micro-batch."""
    tokens = max(recipe.learner.micro_tokens, longest(recipe))  # a longer response has a pass of its own
    checkpointing = recipe.learner.gradient_checkpointing
    kept = shape.kept_checkpointed if checkpointing else shape.kept_per_token
    parts = {f"kept for the backward pass of {tokens:,} tokens": int(kept * tokens)}
    parts["weights in bfloat16"] = shape.copies // shape.layers if checkpointing else shape.copies
    if ranks > 1:
        # a layer is added up over ranks at a time; the ends' turn comes when nothing else is kept
        share = shape.trained / shape.parameters
        parts["two layers, embeddings and head, gathered (float32)"] = 4 * (2 * shape.layer + shape.ends)
        parts["their gradients, before they are added up"] = int(share * 4 * (shape.ends + 2 * shape.layer))
    parts["logits, in chunks"] = _LOGITS * 4 * min(CHUNK_LOGITS, tokens * shape.vocabulary)
    return {name: size for name, size in parts.items() if size}


def sampler_parts(recipe: Recipe, shape: Shape, machine: Machine, staff: Staff) -> tuple[Parts, Parts, int | None]:
    """Return a sampler's own weights and its cache on one device, and the rows of full length that an engine's cache
    holds.
    """
    weights = ceil(shape.number * shape.parameters / staff.spread)
    precision = "bfloat16" if shape.number == 2 else "float32"
    if not staff.engine:
        own = {f"sampler's weights ({precision})": weights} if staff.own else {}
        copied = copy_size(recipe, shape, machine, staff)
        copy = {"sampler's copy of the weights (bfloat16)": copied} if copied else {}
        return own, copy | {"keys and values of responses": slab(recipe, shape, staff.samplers)}, None
    size = engine_cache(recipe, shape, machine, staff)
    rows = int(size * staff.spread // (longest(recipe) * shape.cache_per_token))
    return {f"vLLM's weights ({precision})": weights}, {"vLLM's cache": size}, rows


def copy_size(recipe: Recipe, shape: Shape, machine: Machine, staff: Staff) -> int:
    """Return bytes of the copy of the learner's weights that the embedded sampler makes for a call under autocast: 0
    where it makes none, as its products are in float32, its weights its own, or memory short.
    """
    if staff.own or shape.number == 4:
        return 0
    free = machine.memory - sum(held_parts(recipe, shape, staff.learners).values())
    size = shape.number * shape.matrices
    return size if size <= COPY_SHARE * free else 0


def engine_cache(recipe: Recipe, shape: Shape, machine: Machine, staff: Staff) -> int:
    """Return bytes on one device, at most: of a GPU what weights leave of vLLM's share, on a CPU what its rows can
    fill.
    """
    share = int(recipe.sampling.memory * machine.memory)
    if machine.gpu:
        return max(0, share - ceil(shape.number * shape.parameters / staff.spread))
    return min(share, (longest(recipe) + _BLOCK) * recipe.sampling.batch_rows * shape.cache_per_token)


def side_by_side(recipe: Recipe, samplers: int) -> int:
    """Return responses that one sampler decodes side by side, at most."""
    return min(max(recipe.sampling.batch_rows, recipe.rollout.samples), ceil(recipe.responses / samplers))


def slab(recipe: Recipe, shape: Shape, samplers: int = 1) -> int:
    """Return the embedded sampler's slab at its widest: prompt and budget, and as much again where waiting questions
    enter.
    """
    rows, budget = side_by_side(recipe, samplers), recipe.sampling.max_new_tokens
    again = max(budget, 64) if rows < ceil(recipe.responses / samplers) else 0
    return rows * (recipe.questions.longest_prompt + budget + again) * shape.cache_per_token


def longest(recipe: Recipe) -> int:
    """Return tokens of the longest prompt and response together."""
    return recipe.questions.longest_prompt + recipe.sampling.max_new_tokens
