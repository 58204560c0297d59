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
