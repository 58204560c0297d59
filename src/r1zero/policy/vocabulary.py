"""Whether a tokenizer and a model belong together: ids that the one makes and the other has no embedding for, and ids
that the other can say and the one has no text for.

Those of the second kind are counted and not forbidden. Embeddings are padded in many models (Qwen2.5 has 271 more than
tokens), and what is sampled, trained on and measured is one distribution, over all of them, whichever engine draws: a
sampler that left some out would tell log-probs of another distribution than the learner's, and than its own older runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from r1zero.errors import SettingName, UserError, plural


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, path: str) -> None:
    """Refuse a tokenizer that knows no text, or whose ordinary tokens, or one that opens every text, the model at
    `path` does not know.

    Tokens that were added to it count only where a prompt has them (`check_ids`): many folders have some for nothing.

    Raises:
        UserError: it is such a one.
    """
    if not tokenizer.encode("1 + 1", add_special_tokens=False):
        place = SettingName("model.path")
        raise UserError("The tokenizer at ", place, f" = {path!r} knows no text; add its tokenizer.json to the folder.")
    known: int = model.config.get_text_config().vocab_size
    vocabulary = tokenizer.get_vocab()
    added_of: Any = tokenizer.get_added_vocab  # of the kinds of tokenizers, not of their base
    added, opening = added_of(), set(tokenizer.encode(""))
    beyond = sorted(token for token, i in vocabulary.items() if i >= known and (token not in added or i in opening))
    if beyond:
        raise UserError(
            "The tokenizer at ",
            SettingName("model.path"),
            f" = {path!r} has {plural(len(beyond), 'token')} that the model has no embedding for (such as "
            f"{beyond[0]!r}; it knows {known}); give the tokenizer that belongs to the model.",
        )


def textless_ids(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> frozenset[int]:
    """Return the ids that a model can say and its tokenizer has no text for."""
    return frozenset(range(model.config.get_text_config().vocab_size)).difference(tokenizer.get_vocab().values())


def check_ids(prompts: Iterable[Sequence[int]], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse prompts with ids that the model has no embedding for.

    Raises:
        UserError: there is one.
    """
    known: int = model.config.get_text_config().vocab_size
    highest = max((max(ids, default=0) for ids in prompts), default=0)
    if highest >= known:
        raise UserError(
            f"A prompt has the token {tokenizer.convert_ids_to_tokens(highest)!r} (id {highest}), and the model has "
            f"embeddings for {known} alone; leave it out of template and questions, or give a model whose embeddings "
            "were enlarged for it."
        )
