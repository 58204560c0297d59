"""How a run may be split over the GPUs of a machine, and which splits fit and are fastest.

A split is settings of a recipe: learners, samplers, whether they share GPUs, tensor parallelism, vLLM's share of memory
and the tokens of a micro-batch. None of them changes what is learnt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from r1zero.config import ClusterSettings, Recipe
from r1zero.plan.machine import GIB, Machine, by_name, counted_machine
from r1zero.plan.memory import devices, longest
from r1zero.plan.model_size import BFLOAT16, Shape, shape_of
from r1zero.plan.remedies import changed, micro_batches, shares
from r1zero.plan.step_time import Pace, pace_of

_SPREADS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class GpuSplit:
    """A split that fits: its settings by dotted names, the GPUs it takes, the most that one holds, and its pace."""

    changes: Mapping[str, object]
    gpus: int
    peak: int
    pace: Pace

    @property
    def bound(self) -> str:
        """What a step waits for."""
        drawn, learnt = self.pace.sampling, self.pace.learning
        share = max(drawn, learnt) / self.pace.step
        what = "drawing responses" if drawn > learnt else "learning"
        return f"{what}, {share:.0%} of a step" if share < 1 else what

    @property
    def text(self) -> str:
        """The split in words."""
        cluster = self.changes["cluster"]
        memory = f"vLLM on {self.changes['sampling.memory']:.0%} of a GPU"
        if cluster is None:
            return f"1 GPU in turns, {memory}"
        assert isinstance(cluster, Mapping)
        spread = self.changes["sampling.tensor_parallel"]
        if cluster["share_gpus"]:
            return f"{cluster['learners']} learners and samplers in turns, {memory}"
        over = f" over {spread} GPUs each" if spread != 1 else ""
        return f"{cluster['learners']} learners, {cluster['samplers']} samplers{over}, {memory}"


def best_splits(recipe: Recipe, machine: str, memory: float | None, mean_tokens: int | None) -> list[GpuSplit]:
    """Return the splits of a run over "NxGPU" that fit, the fastest first; `memory` in GiB replaces the data sheet's.

    Raises:
        UserError: no such machine or model.
    """
    count, name = counted_machine(machine)
    sheet = by_name(name, BFLOAT16)
    if memory is not None:
        sheet = replace(sheet, memory=int(memory * GIB))
    model = recipe.model
    shape = shape_of(model.path, model.revision, model.attention, BFLOAT16, longest(recipe), recipe.lora)
    return splits(recipe, shape, sheet, count, mean_tokens or max(1, recipe.sampling.max_new_tokens // 4))


def splits(
    recipe: Recipe, shape: Shape, machine: Machine, gpus: int, mean_tokens: int, memory: Sequence[float] = ()
) -> list[GpuSplit]:
    """Return the splits of a run over so many GPUs that fit, the fastest first; each with the largest share of memory
    for vLLM (of `memory`, if any are named) and the largest micro-batches that go together.
    """
    tried = memory or shares()
    found = [_fitting(each, shape, machine, mean_tokens, tried) for each in _placements(recipe, gpus)]
    return sorted((each for each in found if each is not None), key=lambda each: (each.pace.step, each.gpus))


def _placements(recipe: Recipe, gpus: int) -> Iterator[Recipe]:
    """Yield the recipe on one GPU, on shared ones, and on GPUs of their own for learners and samplers."""
    if not recipe.rollout.max_staleness:
        yield _placed(recipe, None, 1)
        for ranks in (count for count in _powers(gpus) if count > 1):
            yield _placed(recipe, ClusterSettings(learners=ranks, samplers=ranks, share_gpus=True), 1)
    for learners, spread in product(range(1, gpus), _SPREADS):
        samplers = (gpus - learners) // spread
        if samplers and learners + samplers * spread == gpus:
            yield _placed(recipe, ClusterSettings(learners=learners, samplers=samplers), spread)


def _powers(most: int) -> Iterator[int]:
    count = 1
    while count < most:
        yield count
        count *= 2
    yield most


def _placed(recipe: Recipe, cluster: ClusterSettings | None, spread: int) -> Recipe:
    layout = recipe.learner.layout
    if cluster is not None and layout == "shared":  # which ranks cannot have
        layout = "packed"
    sampling = recipe.sampling.model_copy(update={"engine": "vllm", "tensor_parallel": spread})
    learner = recipe.learner.model_copy(update={"layout": layout})
    if cluster is not None and recipe.cluster is not None:
        cluster = cluster.model_copy(update={name: getattr(recipe.cluster, name) for name in ("address", "verifiers")})
    return recipe.model_copy(update={"cluster": cluster, "sampling": sampling, "learner": learner})


def _fitting(
    recipe: Recipe, shape: Shape, machine: Machine, mean_tokens: int, memory: Sequence[float]
) -> GpuSplit | None:
    """Return a placement with the mildest settings that fit; None where none do."""
    for less, share in product(micro_batches(recipe), memory):
        tried = changed(recipe, {**less, "sampling.memory": share})
        placed = devices(tried, shape, machine)
        if all(device.fits(machine) for device in placed):
            pace = pace_of(tried, shape, machine, mean_tokens)
            return GpuSplit(
                _settings(tried), sum(each.count for each in placed), max(each.peak for each in placed), pace
            )
    return None


def _settings(recipe: Recipe) -> dict[str, object]:
    return {
        "cluster": recipe.cluster and recipe.cluster.model_dump(),
        "sampling.engine": "vllm",
        "sampling.memory": recipe.sampling.memory,
        "sampling.tensor_parallel": recipe.sampling.tensor_parallel,
        "learner.layout": recipe.learner.layout,
        "learner.gradient_checkpointing": recipe.learner.gradient_checkpointing,
        "learner.micro_tokens": recipe.learner.micro_tokens,
    }


def splits_text(found: list[GpuSplit], steps: int) -> str:
    """Return splits to read, one a line."""
    lines = []
    for i, each in enumerate(found, start=1):
        hours = steps * each.pace.step / 3600
        lines.append(
            f"{i}. {each.text}: {each.gpus} GPU{'s' if each.gpus > 1 else ''}, at most {each.peak / GIB:.1f} GiB; a "
            f"step about {each.pace.step:.0f} s, {hours:.1f} h for {steps:,} steps; bound by {each.bound}"
        )
        settings = [f"--{name} {_toml(value)}" for name, value in _flat(each.changes).items()]
        lines.append("   " + " ".join(settings))
    return "\n".join(lines)


def _flat(changes: Mapping[str, object]) -> dict[str, object]:
    """Return settings as a command line takes them: a cluster's one by one, and none where there is none."""
    flat: dict[str, object] = {}
    for name, value in changes.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{key}": each for key, each in value.items() if key != "verifiers"}
        elif value is not None:
            flat[name] = value
    return flat


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
