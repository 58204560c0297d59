"""Stop strings that have special tokens in them: texts hold none, so whoever looks for a stop must be shown them."""

from __future__ import annotations

from collections.abc import Iterable

from transformers import PreTrainedTokenizerBase


def stops_at_special(tokenizer: PreTrainedTokenizerBase, stop: Iterable[str]) -> bool:
    """Tell whether a stop string has a special token in it, such as "<|im_end|>"."""
    return any(token in each for token in tokenizer.all_special_tokens for each in stop)


def without_special(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """Return a text without the special tokens that are spelled out in it."""
    for token in sorted(tokenizer.all_special_tokens, key=len, reverse=True):
        text = text.replace(token, "")
    return text
