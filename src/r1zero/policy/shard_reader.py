"""Reading shards without running what they say.

`torch.distributed.checkpoint` keeps its table of contents as a pickle, and objects beside tensors as pickles too:
either runs code of whoever wrote them, and a checkpoint may come from anywhere. Here only the format's classes exist.
"""

from __future__ import annotations

import io
import pickle
from pathlib import PurePosixPath
from typing import Any

import torch
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.checkpoint.planner import ReadItem

_FORMAT = {
    "torch.distributed.checkpoint.metadata": (
        "Metadata MetadataIndex StorageMeta TensorStorageMetadata BytesStorageMetadata ChunkStorageMetadata "
        "TensorProperties _MEM_FORMAT_ENCODING"
    ),
    "torch.distributed.checkpoint.filesystem": "_StorageInfo",
    "torch": "Size",
    "torch.serialization": "_get_layout",
    "pathlib": "PosixPath PurePosixPath",
}


class _OnlyTheFormat(pickle.Unpickler):
    """An unpickler that knows the classes of the format, torch's dtypes, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        is_dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if is_dtype or name in _FORMAT.get(module, "").split():
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}, which the format does not have")


class ShardReader(FileSystemReader):
    """Reads the table of contents with an unpickler that runs nothing, and no file outside the folder."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Return the table of contents. UnpicklingError if it is anything else."""
        path = self._get_metadata_path(kwargs.get("rank"))
        with self.fs.create_stream(path, "rb") as stream:
            metadata = _OnlyTheFormat(stream).load()
        if not isinstance(metadata, Metadata) or not isinstance(metadata.storage_data, dict):
            raise pickle.UnpicklingError("its table of shards is something else")
        for each in metadata.storage_data.values():
            if PurePosixPath(each.relative_path).name != str(each.relative_path):
                raise pickle.UnpicklingError(f"it names the file {each.relative_path} outside the folder")
        about = metadata.storage_meta = getattr(metadata, "storage_meta", None) or StorageMeta()
        about.load_id = self.load_id
        return metadata


class ShardPlanner(DefaultLoadPlanner):
    """Takes objects beside tensors (numbers, names and lists of them) as data only."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        """Put an object into the state that is being read. UnpicklingError if it is of a class."""
        safe = io.BytesIO()
        torch.save(torch.load(value, weights_only=True), safe)
        safe.seek(0)
        super().load_bytes(read_item, safe)  # unpickles whatever it is given, so it is given data alone
