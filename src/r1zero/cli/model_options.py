"""Where a model runs: options that commands share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import Parameter

from r1zero.cli.app import at_least
from r1zero.errors import UserError

if TYPE_CHECKING:
    from r1zero.evaluation.models import EvaluatedModel

PATIENCE_S = 120.0
_FLAGS = {
    "model.attention": "--attention", "model.device": "--device", "sampling.batch_rows": "--batch-rows",
    "sampling.memory": "--memory", 'sampling.engine = "vllm"': "--engine vllm",
    'sampling.engine = "torch"': "--engine torch",
}  # fmt: skip
"""What the settings of a recipe are called here."""


def check_patience(seconds: float) -> None:
    """Refuse a time that nobody could wait. Raises UserError."""
    if not 0 <= seconds < 1e6:
        raise UserError(f"--patience {seconds:g} is not a valid time to wait: give seconds, 0 or more.")


def check_judge(judge: str | None, model: str | None, workers: int) -> None:
    """Refuse a judge's address without its model's name, or the other way round. Raises UserError."""
    if judge is None and model:
        raise UserError(f"--judge-model {model} needs its address; add --judge http://HOST:PORT/v1.")
    if judge is not None and not model:
        raise UserError(f"--judge {shown(judge)} needs the model's name there; add --judge-model NAME.")
    at_least(1, "judge-workers", workers, "asks nothing")


def shown(address: str) -> str:
    """Return an address as it may be printed: one with an @ may hold a password."""
    return "(an address with a name or a password)" if "@" in address else address


@contextmanager
def flags_named() -> Iterator[None]:
    """Sentences name settings of a recipe as they are called here."""
    try:
        yield
    except UserError as error:
        raise error.renamed(lambda setting: _FLAGS.get(setting, setting)) from error


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Where the model runs."""

    device: str = "auto"
    """cpu, cuda, …; auto takes a GPU when there is one."""
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    """How the model computes attention; some have "eager" alone (gpt-oss)."""
    batch_rows: int = 64
    """The most responses decoded side by side."""
    engine: Literal["torch", "vllm"] = "torch"
    """`torch` is the embedded sampler; `vllm` has the model in a process of its own (r1zero[vllm])."""
    memory: float = 0.9
    """The share of a device's memory that vLLM takes."""
    tensor_parallel: int = 1
    """GPUs that vLLM is spread over."""
    server: str | None = None
    """An OpenAI-compatible server that holds MODEL (vLLM, SGLang): http://HOST:PORT/v1. Key: R1ZERO_SERVER_KEY."""
    server_workers: int = 64
    """The most requests to it side by side."""
    tokenizer: str | None = None
    """MODEL's tokenizer (folder or Hub name), for a server without /tokenize."""

    def check(self) -> None:
        """Refuse numbers that nothing could be made of. Raises UserError."""
        at_least(1, "batch-rows", self.batch_rows, "decodes nothing")
        at_least(1, "server-workers", self.server_workers, "asks nothing")
        at_least(1, "tensor-parallel", self.tensor_parallel, "computes nothing")
        if not 0 < self.memory < 1:
            raise UserError(f"--memory {self.memory:g} is not a valid share of a device: write one between 0 and 1.")
        if self.engine == "vllm" and self.server is not None:
            raise UserError(
                "--engine vllm runs the model here, and --server asks one that runs: leave one of them out."
            )
        if self.engine == "vllm" and self.attention != "sdpa":
            raise UserError(f"--attention {self.attention} is for --engine torch; leave it out: vLLM has its own.")

    def open(self, model: str, out: Path | None, patience_s: float = PATIENCE_S) -> EvaluatedModel:
        """Return the model, ready to be asked; what a server answers is kept in the folder `out`. Raises UserError."""
        from r1zero.evaluation.models import beside, connect, local, served

        if self.server is None:
            with flags_named():
                if self.engine == "torch":
                    return local(model, device=self.device, rows=self.batch_rows, attention=self.attention)
                return beside(
                    model,
                    device=self.device,
                    rows=self.batch_rows,
                    memory=self.memory,
                    tensor_parallel=self.tensor_parallel,
                )
        client = connect(self.server, requests=out and out / "requests.sqlite", patience_s=patience_s)
        return served(model, client, workers=self.server_workers, tokenizer=self.tokenizer)


ENGINE = ModelOptions()
