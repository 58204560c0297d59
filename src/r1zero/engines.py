"""vLLM engines of a recipe. Importing this needs vLLM, so it is imported where an engine is wanted.

An engine gets all weights, through shared memory on a CPU and by CUDA IPC on a GPU that it shares with the learner;
of a policy with adapters it gets these alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor
from vllm.distributed.weight_transfer import ModuleSource, ParamMeta, WeightSource
from vllm.distributed.weight_transfer.base import TrainerInitInfo
from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

from r1zero.config import Recipe
from r1zero.policy.load import Policy, load_blank, pick_autocast, pick_device
from r1zero.policy.lora import adapt
from r1zero.sampling.vllm_sampler import Adapters, EngineSettings, InPlace, Transfer, VllmSampler
from r1zero.sampling.vllm_weights import SharedMemoryTrainerInit


def make_sampler(
    recipe: Recipe, policy: Policy, transfer: Transfer, context: int, device: torch.device, *, sleeps: bool
) -> VllmSampler:
    """The engine of a recipe, on a device; `sleeps` where a learner shares it."""
    settings = EngineSettings(
        context=context,
        rows=recipe.sampling.batch_rows,
        memory=recipe.sampling.memory,
        exact=policy.exact,
        device=device,
        tensor_parallel=recipe.sampling.tensor_parallel,
        sleeps=sleeps and device.type == "cuda",
    )
    return VllmSampler(recipe.model.path, policy.tokenizer, policy.eos_ids, transfer, settings)


def own_transfer(policy: Policy, recipe: Recipe) -> Transfer:
    """How the engine comes by the weights of a policy in this process: on a GPU by CUDA IPC, which it shares."""
    if recipe.lora is not None:
        return Adapters(policy.model.save_pretrained, recipe.lora.rank)
    return InPlace(ModuleSource(policy.model), _way(policy.device, recipe.sampling.tensor_parallel))


def _way(device: torch.device, tensor_parallel: int) -> TrainerInitInfo:
    """CUDA IPC where engine and weights are on one GPU; an engine on several could not open the handle."""
    ipc = device.type == "cuda" and tensor_parallel == 1
    return IPCTrainerInitInfo(rank=0, packed=True) if ipc else SharedMemoryTrainerInit()


def make_replica(recipe: Recipe, context: int) -> VllmReplica:
    """An engine that is handed its weights, on the GPU that it sees or on the CPU."""
    return VllmReplica(recipe, context)


class VllmReplica:
    """An engine in an actor: the weights come from another process, and go to the engine from here."""

    def __init__(self, recipe: Recipe, context: int):
        device = pick_device(recipe.model.device)
        blank = load_blank(recipe.model.path, revision=recipe.model.revision)
        adapt(blank, recipe.lora, recipe.train.seed)
        self.policy = replace(blank, autocast=pick_autocast(recipe.learner.autocast, device))
        way = _way(device, recipe.sampling.tensor_parallel)
        self.delivered = Delivered(device if isinstance(way, IPCTrainerInitInfo) else torch.device("cpu"))
        transfer = InPlace(self.delivered, way)
        if recipe.lora is not None:
            transfer = Adapters(self.policy.model.save_pretrained, recipe.lora.rank)
        shares = recipe.cluster is not None and recipe.cluster.share_gpus
        self.engine = make_sampler(recipe, self.policy, transfer, context, device, sleeps=shares)
        self.sample = self.engine.sample

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take over these weights, all that is trained."""
        self.delivered.weights = weights
        if self.policy.model._hf_peft_config_loaded:
            self.policy.model.load_state_dict(dict(weights), strict=False, assign=True)
        self.engine.sync()


class Delivered(WeightSource):
    """Tensors from another process, moved to the engine's device one by one."""

    def __init__(self, device: torch.device):
        self.device = device
        self.weights: Mapping[str, Tensor] = {}

    def metadata(self) -> list[ParamMeta]:
        """Names, dtypes and shapes."""
        return [ParamMeta(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in self.weights.items()]

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, tensor.to(self.device)) for name, tensor in self.weights.items())
