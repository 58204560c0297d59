"""A model's tokenizer, as its own tokenizer.json describes it."""

from __future__ import annotations

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.utils.hub import cached_file

_PROBE = "Let $x_1 = 12$ be  so.\n\nThen\tx + 3 = 15"


def load_tokenizer(path: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a model folder or Hub name, as its tokenizer.json describes it.

    transformers' AutoTokenizer builds, of the class that a folder or its model type names, that class's own tokenizer
    around the vocabulary, whatever else the file says: all spaces vanish from every prompt of DeepSeek-Math, whose
    byte-level tokenizer bears the name of Llama's (huggingface/transformers#48206). Where its ids are not those of the
    file, the file is right.
    """
    stated = get_tokenizer_config(path, revision=revision).get("tokenizer_class")
    if stated not in ("TokenizersBackend", "PreTrainedTokenizerFast"):
        found = AutoTokenizer.from_pretrained(path, revision=revision, trust_remote_code=False)
        if _is_as_described(found, path, revision):
            return found
    return PreTrainedTokenizerFast.from_pretrained(path, revision=revision or "main")


def _is_as_described(tokenizer: PreTrainedTokenizerBase, path: str, revision: str | None) -> bool:
    """Tell whether a tokenizer makes of a text what the tokenizer.json beside it makes; yes where there is none."""
    file = cached_file(path, "tokenizer.json", revision=revision, _raise_exceptions_for_missing_entries=False)
    if file is None:
        return True
    described = Tokenizer.from_file(str(file)).encode(_PROBE, add_special_tokens=False).ids
    return tokenizer.encode(_PROBE, add_special_tokens=False) == described
