"""vLLM engines of a recipe, or of a model that nobody trains. Importing this needs vLLM, so `vllm_module` does.

A recipe's gets all weights, through shared memory on a CPU and by CUDA IPC on a GPU that it shares with the learner;
of a policy with adapters it gets these alone.
"""

# pyright: reportMissingImports=warning
# vLLM is not to be had on every machine that this is worked on.
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor
from vllm.distributed.weight_transfer import ModuleSource, ParamMeta, WeightSource
from vllm.distributed.weight_transfer.base import TrainerInitInfo
from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

from r1zero.config import Recipe
from r1zero.policy.device import pick_autocast, pick_device
from r1zero.policy.load import Policy, load_blank
from r1zero.policy.lora import add_lora
from r1zero.sampling.standing_engine import StandingEngine
from r1zero.sampling.vllm.sampler import (
    Adapters,
    InPlace,
    OwnFiles,
    Transfer,
    VllmSampler,
)
from r1zero.sampling.vllm.spec import EngineSpec, memory_options
from r1zero.sampling.vllm.weight_transfer import SharedMemoryTrainerInit

_PACKED = 1 << 30  # bytes of one message of CUDA IPC, where no tensor is larger


def make_sampler(
    recipe: Recipe, policy: Policy, transfer: Transfer, context: int, device: torch.device, *, sleeps: bool
) -> VllmSampler:
    """Return the engine of a recipe, on a device; `sleeps` where a learner shares it."""
    model, settings = recipe.model, recipe.sampling
    spec = EngineSpec(
        model.path, model.revision, policy.tokenizer, policy.eos_ids, policy.engine_dtype, device, context,
        settings.batch_rows, settings.memory, settings.tensor_parallel, sleeps and device.type == "cuda",
    )  # fmt: skip
    return VllmSampler(spec, transfer)


def standing_engine(
    path: str, blank: Policy, device: torch.device, *, rows: int, memory: float, tensor_parallel: int
) -> StandingEngine:
    """Return an engine on the files of a model, of which `blank` is what is known without its weights.

    Raises:
        UserError: this installation of vLLM cannot run it.
    """
    spec = EngineSpec(
        path, None, blank.tokenizer, blank.eos_ids, blank.engine_dtype, device, 1, rows, memory, tensor_parallel
    )
    memory_options(spec)  # what cannot be is told before anything is asked
    return StandingEngine(lambda context: VllmSampler(replace(spec, context=context), OwnFiles(blank)))


def own_transfer(policy: Policy, recipe: Recipe) -> Transfer:
    """Tell how the engine comes by the weights of a policy in this process: on a GPU by CUDA IPC, which it shares."""
    if recipe.lora is not None:
        return Adapters(policy.model.save_pretrained, recipe.lora.rank)
    source = Weights(policy.device, policy.engine_dtype, ModuleSource(policy.model))
    return InPlace(source, _way(policy, policy.device, recipe.sampling.tensor_parallel))


def _way(policy: Policy, device: torch.device, tensor_parallel: int) -> TrainerInitInfo:
    """Return CUDA IPC where engine and weights are on one GPU; an engine on several could not open the handle."""
    if device.type != "cuda" or tensor_parallel > 1:
        return SharedMemoryTrainerInit()
    largest = max(each.numel() for each in policy.model.parameters()) * policy.engine_dtype.itemsize
    return IPCTrainerInitInfo(rank=0, packed=True, packed_buffer_size_bytes=max(_PACKED, largest))


class VllmReplica:
    """An engine in an actor, on the GPU that it sees or on the CPU: the weights come from another process."""

    def __init__(self, recipe: Recipe, context: int):
        device = pick_device(recipe.model.device)
        blank = load_blank(recipe.model.path, revision=recipe.model.revision)
        add_lora(blank, recipe.lora, recipe.train.seed)
        self.policy = replace(blank, autocast=pick_autocast(recipe.learner.autocast, device))
        way = _way(self.policy, device, recipe.sampling.tensor_parallel)
        there = device if isinstance(way, IPCTrainerInitInfo) else torch.device("cpu")
        self.delivered = Weights(there, self.policy.engine_dtype)
        transfer = InPlace(self.delivered, way)
        if recipe.lora is not None:
            transfer = Adapters(self.policy.model.save_pretrained, recipe.lora.rank)
        shares = recipe.cluster is not None and recipe.cluster.share_gpus
        self.engine = make_sampler(recipe, self.policy, transfer, context, device, sleeps=shares)
        self.sample, self.sleep = self.engine.sample, self.engine.sleep

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take over these weights, all that is trained."""
        self.delivered.named = tuple(weights.items())
        if self.policy.model._hf_peft_config_loaded:
            self.policy.model.load_state_dict(dict(weights), strict=False, assign=True)
        self.engine.update_weights()
        self.delivered.named = ()  # the object store may have its memory back
        torch.cuda.empty_cache()


class Weights(WeightSource):
    """Tensors on an engine's device and in its dtype, one by one: what is sent is no larger than what it keeps."""

    def __init__(self, device: torch.device, dtype: torch.dtype, named: Iterable[tuple[str, Tensor]] = ()):
        self.device, self.dtype, self.named = device, dtype, named

    def metadata(self) -> list[ParamMeta]:
        """Return names, dtypes and shapes."""
        return [ParamMeta(name, self.dtype, tuple(tensor.shape)) for name, tensor in self.named]

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, tensor.detach().to(self.device, self.dtype)) for name, tensor in self.named)
