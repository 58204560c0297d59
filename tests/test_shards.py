"""Shards are data: whatever a folder from elsewhere holds, nothing of it is run."""

from __future__ import annotations

import io
import json
import os
import pickle
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict, get_optimizer_state_dict
from torch.distributed.checkpoint.state_dict_saver import save

from r1zero.errors import UserError
from r1zero.policy.shard_reader import ShardReader
from r1zero.policy.sharded import SHARDS, has_shards, load_shards, missing_shards, save_shards


class Harmful:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return os.mkdir, (str(self.mark), 0o700)


def trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Linear(3, 3)
    optimiser = torch.optim.AdamW(model.parameters())
    model(torch.ones(3)).sum().backward()
    optimiser.step()
    return model, optimiser


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    model, optimiser = trained()
    save_shards(tmp_path, model, optimiser)
    other, moments = trained()
    load_shards(tmp_path, other, moments)
    assert torch.equal(other.weight, model.weight)
    assert moments.state_dict()["param_groups"] == optimiser.state_dict()["param_groups"]
    assert torch.equal(moments.state_dict()["state"][0]["exp_avg"], optimiser.state_dict()["state"][0]["exp_avg"])
    assert missing_shards(tmp_path) == []


def test_shards_are_read_where_the_seal_says_so(tmp_path: Path) -> None:
    """Without a seal, where there is nothing else: whole weights beside them are what the model is."""
    seal, table = tmp_path / "complete.json", f"{SHARDS}/.metadata"
    assert not has_shards(tmp_path)
    save_shards(tmp_path, *trained())
    assert has_shards(tmp_path)
    (tmp_path / "model.safetensors").touch()
    assert not has_shards(tmp_path)
    seal.write_text(json.dumps({"step": 1, "score": None, "files": {"model.safetensors": {}}}))
    assert not has_shards(tmp_path)
    seal.write_text(json.dumps({"step": 1, "score": None, "files": {table: {}}}))
    assert has_shards(tmp_path)


@pytest.mark.parametrize("kind", ["a call", "a class of torch", "a list", "half a pickle", "nothing"])
def test_a_table_of_contents_that_is_none(tmp_path: Path, kind: str) -> None:
    model, optimiser = trained()
    save_shards(tmp_path, model, optimiser)
    table = tmp_path / SHARDS / ".metadata"
    made = {
        "a call": pickle.dumps(Harmful(tmp_path / "harm")),
        "a class of torch": pickle.dumps(model),
        "a list": pickle.dumps([1, 2]),
        "half a pickle": table.read_bytes()[:100],
        "nothing": b"",
    }[kind]
    table.write_bytes(made)
    for read in (lambda: load_shards(tmp_path, *trained()), lambda: missing_shards(tmp_path)):
        with pytest.raises(UserError, match=r"The shards in .* cannot be read \(.*\); delete this checkpoint's folder"):
            read()
    assert not (tmp_path / "harm").exists()


def test_an_object_beside_the_tensors(tmp_path: Path) -> None:
    model, optimiser = trained()
    state = {
        "model": get_model_state_dict(model),
        "optimiser": get_optimizer_state_dict(model, optimiser),
    }
    for group in state["optimiser"]["param_groups"]:
        group["lr"] = Harmful(tmp_path / "harm")
    with warnings.catch_warnings(action="ignore"):  # of torch, that there is one process
        save(state, checkpoint_id=tmp_path / SHARDS, no_dist=True)
    with pytest.raises(UserError, match="cannot be read"):
        load_shards(tmp_path, model, optimiser)
    assert not (tmp_path / "harm").exists()


def test_a_file_outside_the_folder(tmp_path: Path) -> None:
    model, optimiser = trained()
    save_shards(tmp_path, model, optimiser)
    metadata = ShardReader(tmp_path / SHARDS).read_metadata()
    for each in metadata.storage_data.values():
        each.relative_path = "../elsewhere.distcp"
    made = io.BytesIO()
    pickle.dump(metadata, made)
    (tmp_path / SHARDS / ".metadata").write_bytes(made.getvalue())
    with pytest.raises(UserError, match=r"names the file \.\./elsewhere\.distcp outside the folder"):
        load_shards(tmp_path, *trained())
