"""Where a model runs: options that commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import Parameter

from r1zero.cli.app import at_least
from r1zero.errors import UserError

if TYPE_CHECKING:
    from r1zero.evaluation.models import EvaluatedModel

PATIENCE_S = 120.0
_FLAGS = {"model.attention": "--attention", "model.device": "--device"}
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

    def open(self, model: str, out: Path | None, patience_s: float = PATIENCE_S) -> EvaluatedModel:
        """Return the model, ready to be asked; what a server answers is kept in the folder `out`. Raises UserError."""
        from r1zero.evaluation.models import connect, local, served

        if self.server is None:
            try:
                return local(model, device=self.device, rows=self.batch_rows, attention=self.attention)
            except UserError as error:
                raise error.renamed(lambda setting: _FLAGS.get(setting, setting)) from error
        client = connect(self.server, requests=out and out / "requests.sqlite", patience_s=patience_s)
        return served(model, client, workers=self.server_workers, tokenizer=self.tokenizer)


ENGINE = ModelOptions()
