"""Weights into vLLM engines on a CPU: one more backend of vLLM's weight-transfer API, through shared memory.

vLLM's own backends (NCCL, CUDA IPC) need GPUs. Here the trainer copies its tensors into one memory-mapped file, which
every worker of the engine has mapped since the handshake; nothing is pickled and nothing is left behind, since the file
has lost its name by then. vLLM finds the backend as a plugin (`vllm.general_plugins` in pyproject.toml).
"""

# pyright: reportMissingImports=warning
# vLLM is not to be had on every machine that this is worked on.
from __future__ import annotations

import math
import multiprocessing
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from vllm.distributed.weight_transfer import (
    TrainerWeightTransferEngine,
    VLLMWeightSyncClient,
    WeightSource,
    WeightTransferEngine,
    WeightTransferEngineFactory,
    WeightTransferTrainerFactory,
)
from vllm.distributed.weight_transfer.base import (
    ParamMeta,
    TrainerInitInfo,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding
from vllm.model_executor.model_loader.reload import finalize_layerwise_reload, initialize_layerwise_reload

from r1zero.errors import UserError

BACKEND = "r1zero_shared_memory"
_PLUGIN = "r1zero"  # its name in pyproject.toml
_ALIGNED = 64  # bytes


def register() -> None:
    """Tell vLLM of the backend. Called in each of its processes, perhaps more than once."""
    if BACKEND not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(BACKEND, SharedMemoryWorker)
        WeightTransferTrainerFactory.register_engine(BACKEND, SharedMemoryTrainer)
        parent = multiprocessing.parent_process()
        if parent is not None:
            os.setpgid(0, 0)  # Ctrl-C is for the parent, which ends this one in good order
            threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def check_plugin() -> None:
    """Raise a UserError where vLLM's processes would not call `register`."""
    chosen = os.environ.get("VLLM_PLUGINS")
    if chosen is not None and _PLUGIN not in chosen.split(","):
        raise UserError(f"VLLM_PLUGINS = {chosen!r} leaves out r1zero's own plugin; add {_PLUGIN} to it, or unset it.")
    if _PLUGIN not in entry_points(group="vllm.general_plugins").names:
        raise UserError(
            "This installation of r1zero is older than its code: it does not name its vLLM plugin; install it again "
            '(`pip install -e ".[vllm]"`, or `make setup-cluster`).'
        )


def _end_with(sentinel: int) -> None:
    """End this process with its parent. vLLM's engines outlive a parent that is killed, and keep its GPU's memory."""
    wait([sentinel])
    os._exit(1)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the file a tensor stands."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int

    def view(self, memory: Tensor) -> Tensor:
        """Return the tensor there."""
        dtype = getattr(torch, self.dtype)
        size = math.prod(self.shape) * dtype.itemsize
        return memory[self.start : self.start + size].view(dtype).view(self.shape)


def places(metadata: Sequence[ParamMeta]) -> tuple[list[Place], int]:
    """Return places for these tensors one after another, and the bytes of all."""
    found, start = [], 0
    for each in metadata:
        found.append(Place(each.name, str(each.dtype).removeprefix("torch."), tuple(each.shape), start))
        size = math.prod(each.shape) * each.dtype.itemsize
        start += -(-size // _ALIGNED) * _ALIGNED
    return found, start


def mapped(path: str, size: int) -> Tensor:
    """Return the bytes of a file as memory that all who map it share. Made where it is missing."""
    return torch.from_file(path, shared=True, size=size, dtype=torch.uint8)


@contextmanager
def reserved(size: int, folders: Sequence[Path] = ()) -> Iterator[str]:
    """The path of a file with so many bytes, until the context ends: in memory, or where temporary files go.

    Containers often have 64 MB of /dev/shm, and whoever writes beyond what is there is killed without a word; so the
    bytes are taken before anything is written.

    Raises:
        UserError: there is no room.
    """
    tried = [folder for folder in folders or (Path("/dev/shm"), Path(tempfile.gettempdir())) if folder.is_dir()]
    for folder in tried:
        with tempfile.TemporaryDirectory(prefix="r1zero-", dir=folder) as inside:
            path = Path(inside) / "weights"
            with path.open("wb") as file:
                try:
                    os.posix_fallocate(file.fileno(), 0, size)
                except OSError:
                    continue
            yield str(path)
            return
    raise UserError(
        f'sampling.engine = "vllm" takes {size / 2**30:.2f} GiB for the weights on their way to the engine, and there '
        f"is no room for them in {' nor in '.join(map(str, tried))}; give a container more shared memory (docker run "
        "--shm-size), or set TMPDIR to a folder with room."
    )


@dataclass
class SharedMemoryInit(WeightTransferInitInfo):
    """What a worker is told at the handshake."""

    path: str
    size: int
    tensors: list[list[Any]]


@dataclass
class SharedMemoryUpdate(WeightTransferUpdateInfo):
    """Nothing: where the tensors stand is known."""


@dataclass
class SharedMemoryTrainerInit(TrainerInitInfo):
    """The trainer is one process."""

    backend: ClassVar[str] = BACKEND
    rank: int = field(default=0, kw_only=True)


class SharedMemoryWorker(WeightTransferEngine[SharedMemoryInit, SharedMemoryUpdate]):
    """The side of vLLM's worker: loads the tensors like a checkpoint, into the storage that the engine already has."""

    init_info_cls = SharedMemoryInit
    update_info_cls = SharedMemoryUpdate
    weights: Sequence[tuple[str, Tensor]] = ()

    def init_transfer_engine(self, init_info: SharedMemoryInit) -> None:
        """Map the file."""
        memory = mapped(init_info.path, init_info.size)
        self.weights = [(place.name, place.view(memory)) for place in (Place(*each) for each in init_info.tensors)]

    def start_weight_update(self) -> None:
        """Make the model ready to load."""
        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Load. The base class waits for an accelerator, which need not be there."""
        self.receive_weights(self.parse_update_info(update_info))
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def receive_weights(self, update_info: SharedMemoryUpdate) -> None:
        """Load."""
        model: Any = self.model
        model.load_weights(iter(self.weights))

    def finish_weight_update(self) -> None:
        """Finish loading, and pack the output head again.

        On CPUs vLLM packs a head that is tied to the embedding when it is first loaded and leaves that copy as it is
        when weights are loaded later: log-probs would be those of a model half old, half new.
        """
        finalize_layerwise_reload(self.model, self.model_config)
        for module in self.model.modules():
            if isinstance(module, VocabParallelEmbedding):
                module.quant_method.process_weights_after_loading(module)

    def shutdown(self) -> None:
        """Let go of the file."""
        self.weights = ()


class SharedMemoryTrainer(TrainerWeightTransferEngine[SharedMemoryTrainerInit]):
    """The trainer's side: owns the file, copies and tells."""

    init_info_cls = SharedMemoryTrainerInit

    def __init__(self, client: VLLMWeightSyncClient, source: WeightSource, places: list[Place], memory: Tensor):
        super().__init__(client=client, source=source)
        self.places, self.memory = places, memory

    @classmethod
    def trainer_init(
        cls,
        init_info: SharedMemoryTrainerInit,
        *,
        client: VLLMWeightSyncClient,
        source: WeightSource | None = None,
    ) -> Self:
        """Make the file, let every worker map it, and take its name away."""
        assert source is not None
        found, size = places(source.metadata())
        with reserved(size) as path:
            memory = mapped(path, size)
            tensors = [[each.name, each.dtype, each.shape, each.start] for each in found]
            client.init_weight_transfer_engine({"path": path, "size": size, "tensors": tensors})
        return cls(client, source, found, memory)

    @torch.no_grad()
    def send_weights(self) -> None:
        """Copy the source's tensors and have them loaded."""
        assert self.source is not None
        for place, (name, tensor) in zip(self.places, self.source, strict=True):
            assert place.name == name
            place.view(self.memory).copy_(tensor)
        self.client.start_weight_update()
        self.client.update_weights({})
        self.client.finish_weight_update()
