"""A tiny decoder with a character-level tokenizer: an ordinary Hugging Face model folder that needs no download."""

from __future__ import annotations

import string

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

_ALPHABET = "\n " + string.digits + string.ascii_letters + string.punctuation


def character_tokenizer() -> PreTrainedTokenizerFast:
    """Return one token per printable ASCII character, plus `<pad>`, `<eos>` and `<unk>`."""
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<eos>", "<unk>", *_ALPHABET])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", model_max_length=4096
    )


def tiny_model(
    tokenizer: PreTrainedTokenizerFast, *, width: int = 128, layers: int = 3, heads: int = 4, seed: int = 0
) -> LlamaForCausalLM:
    """Return a Llama decoder of `layers` × `width` with random weights (a pure function of `seed`), embeddings tied.

    Not Qwen2: for folders of that type transformers takes Qwen2's own tokenizer, whatever tokenizer.json says.
    """
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids("<eos>"),
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)
