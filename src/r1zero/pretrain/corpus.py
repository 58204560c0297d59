"""Documents in a seeded order, and packing them into rows of one length without letting one see another.

Legend: B rows, L tokens of a row.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from r1zero.config.pretrain import CorpusSettings
from r1zero.errors import UserError, plural, reason
from r1zero.hub import reached_or_offline
from r1zero.policy.batch import MicroBatch
from r1zero.policy.device import to_device

_BUILDERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".txt": "text"}


def open_corpus(settings: CorpusSettings) -> Any:
    """Return the rows of a corpus: an Arrow table on disk, or an iterable when it is streamed.

    Raises:
        UserError: nothing readable there, or a stated column is missing.
    """
    import datasets

    path, unreached = Path(settings.name), ""
    rows: Any
    try:
        with reached_or_offline() as unreached:
            if path.is_dir() and (path / "dataset_info.json").is_file():
                rows = datasets.load_from_disk(str(path))
            elif path.is_file():
                builder = _BUILDERS.get(path.suffix)
                if builder is None:
                    raise UserError(f"corpus.name = {settings.name!r} is no {', '.join(_BUILDERS)} file; convert it.")
                file = glob.escape(str(path))  # it would be taken for a pattern, which may fit no file or others
                rows = datasets.load_dataset(builder, data_files=file, split="train", streaming=settings.streaming)
            else:
                rows = datasets.load_dataset(
                    settings.name, settings.config, split=settings.split, streaming=settings.streaming
                )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise UserError(
            f"corpus.name = {settings.name!r} cannot be read ({unreached or reason(error)}); give a file, "
            "folder or Hub name."
        ) from None
    wanted = [c for c in (settings.text_column, settings.question_column, settings.answer_column) if c is not None]
    columns = rows.column_names or []
    missing = [column for column in wanted if columns and column not in columns]
    if missing:
        raise UserError(f"corpus {settings.name} has no column {missing[0]!r}; it has {', '.join(columns)}.")
    return rows.take(settings.limit) if settings.limit else rows


def document_text(row: dict[str, Any], settings: CorpusSettings) -> str:
    """Return a row as the text that is learnt, "" where it holds none."""
    if settings.text_column is not None:
        return str(row[settings.text_column] or "")
    question, answer = row[str(settings.question_column)], row[str(settings.answer_column)]
    return f"{question}{settings.joint}{answer}" if question and answer else ""


class Documents:
    """Token ids of documents, each ended by EOS, without end: a pure function of (seed, position).

    A corpus on disk is dealt in a new order each epoch; a streamed one in its own, shuffled over a buffer. `held_out`
    last rows are never dealt.
    """

    def __init__(
        self,
        rows: Any,
        settings: CorpusSettings,
        encode: Callable[[str], Sequence[int]],
        eos: int,
        *,
        seed: int,
        held_out: int,
    ):
        self.rows, self.settings, self.encode, self.eos, self.seed = rows, settings, encode, eos, seed
        self.size = None if settings.streaming else len(rows) - held_out
        if self.size is not None and self.size < 1:
            raise UserError(f"corpus {settings.name} has no document left to train on; lower evaluation.documents.")
        self.position = 0
        self._order: tuple[int, np.ndarray] | None = None
        self._stream: Iterator[dict[str, Any]] | None = None

    def next(self) -> list[int]:
        """Return the next document with text. Raises UserError where a whole epoch holds none."""
        for _ in range(2 * (self.size or 10**9)):
            text = document_text(self._row(), self.settings)
            self.position += 1
            if text:
                return [*self.encode(text), self.eos]
        raise UserError(f"corpus {self.settings.name} holds no text; name other columns.")

    @property
    def epoch(self) -> float:
        """Passes so far; 0 of a stream."""
        return self.position / self.size if self.size else 0.0

    def _row(self) -> dict[str, Any]:
        if self.size is None:
            return self._streamed()
        epoch, index = divmod(self.position, self.size)
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([self.seed, epoch]).permutation(self.size)
        return self.rows[int(self._order[1][index])]

    def _streamed(self) -> dict[str, Any]:
        if self._stream is None:
            shuffled = self.rows.shuffle(seed=self.seed, buffer_size=self.settings.buffer)
            self._stream = iter(shuffled.skip(self.position))
        try:
            return next(self._stream)
        except StopIteration:
            raise UserError(
                f"the streamed corpus {self.settings.name} ended after {plural(self.position, 'document')}; lower "
                "train.steps."
            ) from None


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows of documents one after another. `starts` marks the first token of each document, or of what goes on."""

    ids_BL: Tensor
    starts_BL: Tensor

    def part(self, rows: slice) -> Packed:
        """Some of the rows."""
        return Packed(self.ids_BL[rows], self.starts_BL[rows])

    @property
    def targets(self) -> int:
        """Tokens that are predicted: all but the first of each document in each row."""
        return int((~self.starts_BL).sum())

    def micro_batch(self, device: torch.device) -> MicroBatch:
        """Return the rows as the policy computes log-probs of them.

        Positions begin anew with each document, from which transformers derives the mask between them; a document's
        first token is nobody's target, so that nothing is predicted from another document's end.
        """
        b, length = self.ids_BL.shape
        columns = torch.arange(length).expand(b, length)
        begun = torch.where(self.starts_BL, columns, 0).cummax(dim=1).values
        target_BL = ~self.starts_BL
        flat = torch.arange(b * length).view(b, length)
        tensors = (
            self.ids_BL,
            columns - begun,
            flat[target_BL] - 1,
            self.ids_BL[target_BL],
            torch.arange(b)[:, None].expand(b, length)[target_BL],
        )
        return MicroBatch(*(to_device(tensor, device) for tensor in tensors), responses=tuple(range(b)))


class Packer:
    """Fills rows of `length` tokens with documents; what does not fit goes on in the next row."""

    def __init__(self, documents: Documents, length: int):
        self.documents, self.length = documents, length
        self.rest: list[int] = []

    def next(self, rows: int) -> Packed:
        """Return the next `rows` rows."""
        ids, starts = [], []
        for _ in range(rows):
            row, begins = [], []
            while len(row) < self.length:
                fresh = self.rest or self.documents.next()
                taken, self.rest = fresh[: self.length - len(row)], fresh[self.length - len(row) :]
                begins += [True] + [False] * (len(taken) - 1)
                row += taken
            ids.append(row)
            starts.append(begins)
        return Packed(torch.tensor(ids), torch.tensor(starts))

    def state(self) -> dict[str, Any]:
        """Tell where it stands."""
        return {"position": self.documents.position, "rest": list(self.rest)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        self.documents.position, self.rest = state["position"], list(state["rest"])


def held_out(documents: Documents, count: int, length: int) -> list[Packed]:
    """Return the last `count` documents, which are never dealt, each a row of its own, cut at `length` tokens."""
    packed, rows = [], documents.rows
    for i in range(len(rows) - count, len(rows)):
        ids = [*documents.encode(document_text(rows[i], documents.settings)), documents.eos][:length]
        if len(ids) > 1:
            starts = torch.zeros(1, len(ids), dtype=torch.bool)
            starts[0, 0] = True
            packed.append(Packed(torch.tensor([ids]), starts))
    return packed
