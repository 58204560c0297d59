"""When a response ends: end-of-sequence ids and stop strings, looked at only where a token could end a response."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from r1zero.sampling.special_tokens import stops_at_special, without_special
from r1zero.types import Stop


class StopRules:
    """The stop rules of one sampling call.

    A stop string can be completed only by a token whose text holds the string's last character, so a table over the
    vocabulary picks the few rows whose text must be looked at; all others cost one tensor lookup.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        eos_ids: Collection[int],
        stop: Sequence[str],
        vocabulary: int,
        device: torch.device,
    ):
        self.tokenizer, self.stop = tokenizer, tuple(stop)
        self.special = stops_at_special(tokenizer, self.stop)
        self.eos_ids = frozenset(eos_ids)
        self.is_eos_V = torch.zeros(vocabulary, dtype=torch.bool)
        self.is_eos_V[[i for i in eos_ids if i < vocabulary]] = True
        self.may_complete_V = self.is_eos_V.clone()
        if self.stop:
            self.may_complete_V |= _can_complete(tokenizer, self.stop, vocabulary)
        self.is_eos_V, self.may_complete_V = self.is_eos_V.to(device), self.may_complete_V.to(device)

    def may_end(self, tokens_N: Tensor) -> Tensor:
        """Tell which rows' newest token could have ended them (bool)."""
        return self.may_complete_V[tokens_N]

    def ended(self, token_ids: list[int]) -> Stop | None:
        """Tell how a response ended with its newest token, or None. Budgets are the caller's business."""
        if token_ids[-1] in self.eos_ids:
            return Stop.EOS
        if self.stop:
            # a token holds at least one byte of the string
            tail = token_ids[-(max(len(stop.encode()) for stop in self.stop) + 4) :]
            text = self._decode(tail, special=self.special)
            if any(stop in text for stop in self.stop):
                return Stop.STOP_STRING
        return None

    def text(self, token_ids: list[int], how: Stop) -> str:
        """Return the response's text, without special tokens; ends with the stop string where that ended it."""
        if how is not Stop.STOP_STRING:
            return self._decode(token_ids)
        text = self._decode(token_ids, special=self.special)
        ends = [text.find(stop) + len(stop) for stop in self.stop if stop in text]
        text = text[: min(ends, default=len(text))]
        return without_special(self.tokenizer, text) if self.special else text

    def _decode(self, token_ids: list[int], *, special: bool = False) -> str:
        text = self.tokenizer.decode(token_ids, skip_special_tokens=not special, clean_up_tokenization_spaces=False)
        return cast(str, text)


class RuleBook:
    """The stop rules of a model's sampling calls, by their stop strings: a table over the vocabulary each."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, eos_ids: Collection[int]):
        self.model, self.tokenizer, self.eos_ids = model, tokenizer, frozenset(eos_ids)
        self.made: dict[tuple[str, ...], StopRules] = {}

    def of(self, stop: tuple[str, ...]) -> StopRules:
        """Return the rules with these stop strings."""
        if stop not in self.made:
            vocabulary: int = self.model.config.get_text_config().vocab_size
            self.made[stop] = StopRules(self.tokenizer, self.eos_ids, stop, vocabulary, self.model.device)
        return self.made[stop]


def _can_complete(tokenizer: PreTrainedTokenizerBase, stop: Sequence[str], vocabulary: int) -> Tensor:
    last = {string[-1] for string in stop}
    # a character of several bytes may be completed by a token that is only its last byte, which decodes to U+FFFD
    partial = any(not char.isascii() for char in last)
    # each twice: some decoders drop the space that a token begins with at the beginning of a text
    ids = sorted(i for i in set(tokenizer.get_vocab().values()) if i < vocabulary)  # they may have gaps
    pieces = tokenizer.batch_decode([[i, i] for i in ids], clean_up_tokenization_spaces=False)
    table = torch.zeros(vocabulary, dtype=torch.bool)
    for i, piece in zip(ids, pieces, strict=True):
        table[i] = any(char in piece for char in last) or (partial and "\ufffd" in piece)
    return table
