"""When a response ends: at the first token that completes a stop string, however tokens and characters fall."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from helpers import EOS, TOKENIZER, encode
from r1zero.sampling.embedded.stops import StopRules
from r1zero.types import Stop

CPU = torch.device("cpu")


def pieces_tokenizer(pieces: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of these pieces, ids in their order after `<pad>`, `<eos>` and `<unk>`."""
    vocabulary = {piece: i for i, piece in enumerate(["<pad>", "<eos>", "<unk>", *pieces])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


def bytes_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, as byte-level BPE falls back to for rare characters; byte b is id b + 3."""
    # GPT-2's table of printable stand-ins for bytes
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    stand_in = {b: chr(b) for b in printable}
    for n, b in enumerate(b for b in range(256) if b not in stand_in):
        stand_in[b] = chr(256 + n)
    vocabulary = {"<pad>": 0, "<eos>": 1, "<unk>": 2} | {stand_in[b]: b + 3 for b in range(256)}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


def metaspace_tokenizer(pieces: list[str]) -> PreTrainedTokenizerFast:
    """Llama 2's way: `▁` stands for a space, and the decoder drops the one that opens a text."""
    tokenizer = pieces_tokenizer(pieces)
    tokenizer.backend_tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def rules_of(tokenizer: PreTrainedTokenizerFast, stop: list[str], eos: tuple[int, ...] = (EOS,)) -> StopRules:
    return StopRules(tokenizer, eos, stop, len(tokenizer), CPU)


def walk(rules: StopRules, ids: list[int]) -> tuple[int, Stop, str] | None:
    """(length, stop, text) where a response with these ids ends, looked at as the sampler does; None if nowhere."""
    for n in range(1, len(ids) + 1):
        if rules.may_end(torch.tensor([ids[n - 1]])).item():
            how = rules.ended(ids[:n])
            if how is not None:
                return n, how, rules.text(ids[:n], how)
    return None


def naive(tokenizer: PreTrainedTokenizerFast, stop: list[str], ids: list[int]) -> tuple[int, Stop, str] | None:
    """The same by decoding everything after every token."""
    for n in range(1, len(ids) + 1):
        text = tokenizer.decode(ids[:n], skip_special_tokens=True)
        if ids[n - 1] == EOS:
            return n, Stop.EOS, text
        ends = [text.index(string) + len(string) for string in stop if string in text]
        if ends:
            return n, Stop.STOP_STRING, text[: min(ends)]
    return None


def test_eos_comes_before_all_else_and_leaves_no_text() -> None:
    rules = rules_of(TOKENIZER, ["ab"], eos=(EOS, 50))
    assert walk(rules, [*encode("xa"), EOS, *encode("b")]) == (3, Stop.EOS, "xa")
    assert walk(rules, [*encode("x"), 50]) == (2, Stop.EOS, "x" + TOKENIZER.decode([50]))


def test_a_stop_string_ends_a_response_with_the_token_that_completes_it() -> None:
    rules = rules_of(TOKENIZER, ["</answer>"])
    text = "<answer>4</answer> and so on"
    assert walk(rules, list(encode(text))) == (18, Stop.STOP_STRING, "<answer>4</answer>")
    assert walk(rules, list(encode("</answer"))) is None


def test_no_rules_but_eos() -> None:
    assert walk(rules_of(TOKENIZER, []), list(encode("abc"))) is None
    assert walk(rules_of(TOKENIZER, []), [EOS]) == (1, Stop.EOS, "")


def test_the_text_ends_with_the_stop_string_even_where_the_token_goes_on() -> None:
    tokenizer = pieces_tokenizer(["4", "</ans", "wer>\nQuestion", "</answer>\n\nmore", "x"])
    four, begin, goes_on, whole, x = range(3, 8)
    rules = rules_of(tokenizer, ["</answer>"])
    # over two tokens, the second of which holds nine characters more
    assert walk(rules, [four, begin, goes_on, x]) == (3, Stop.STOP_STRING, "4</answer>")
    # inside one token
    assert walk(rules, [x, whole, x]) == (2, Stop.STOP_STRING, "x</answer>")


def test_the_earliest_of_several_stop_strings_cuts_the_text() -> None:
    tokenizer = pieces_tokenizer(["a##b**c", "a**b##c"])
    rules = rules_of(tokenizer, ["**", "##"])
    assert walk(rules, [3]) == (1, Stop.STOP_STRING, "a##")
    assert walk(rules, [4]) == (1, Stop.STOP_STRING, "a**")


def test_a_stop_string_over_many_tokens_far_into_a_long_response() -> None:
    rules = rules_of(TOKENIZER, ["\n\nQuestion:"])
    ids = list(encode("blah " * 300 + "\n\nQuestion: what"))
    assert walk(rules, ids) == (1500 + 11, Stop.STOP_STRING, "blah " * 300 + "\n\nQuestion:")


@pytest.mark.parametrize("stop", ["é", "。。。", "\N{GRINNING FACE}", "a\N{GRINNING FACE}\N{GRINNING FACE}"])
def test_characters_of_several_byte_tokens(stop: str) -> None:
    """Three characters can be twelve tokens, and the last token of a character is no character by itself."""
    tokenizer = bytes_tokenizer()
    rules = rules_of(tokenizer, [stop])
    before = "日本 é"[:-1]
    ids = [b + 3 for b in (before + stop + "tail").encode()]
    length = len((before + stop).encode())
    assert walk(rules, ids) == (length, Stop.STOP_STRING, before + stop)


def test_a_stop_string_that_ends_in_a_space() -> None:
    """Alone, Llama 2's `▁The` decodes to "The": its space is there only after other text."""
    tokenizer = metaspace_tokenizer(["▁", "▁The", "a", "Q:"])
    _, the, a, q = range(3, 7)
    assert tokenizer.decode([a, q, the]) == "aQ: The"
    assert walk(rules_of(tokenizer, ["Q: "]), [a, q, the]) == (3, Stop.STOP_STRING, "aQ: ")


letters = st.text("ab<", min_size=1, max_size=4)


@given(
    pieces=st.lists(letters, min_size=3, max_size=8, unique=True),
    choice=st.lists(st.integers(0, 8), max_size=30),
    stop=st.lists(letters, min_size=1, max_size=2),
)
def test_equals_decoding_everything_after_every_token(pieces: list[str], choice: list[int], stop: list[str]) -> None:
    tokenizer = pieces_tokenizer(pieces)
    ids = [3 + i if i < len(pieces) else EOS for i in choice]
    assert walk(rules_of(tokenizer, stop), ids) == naive(tokenizer, stop, ids)


WIDE = "aé。\N{GRINNING FACE}"  # one, two, three and four bytes


@given(data=st.text(WIDE, max_size=12), stop=st.text(WIDE, min_size=1, max_size=4))
def test_equals_decoding_everything_with_byte_tokens(data: str, stop: str) -> None:
    tokenizer = bytes_tokenizer()
    ids = [b + 3 for b in data.encode()]
    assert walk(rules_of(tokenizer, [stop]), ids) == naive(tokenizer, [stop], ids)


def test_few_tokens_are_suspects() -> None:
    """That is the point of the table: only what can complete a stop string is looked at."""
    rules = rules_of(TOKENIZER, ["</answer>"])
    suspects = rules.may_end(torch.arange(len(TOKENIZER))).nonzero()[:, 0].tolist()
    assert suspects == [0, EOS, 2, *encode(">")]  # `<pad>` and `<unk>` are spelt with one


def test_a_vocabulary_wider_than_the_tokenizer() -> None:
    # models pad their embeddings: ids that no text has, and EOS ids that the model cannot say
    rules = StopRules(TOKENIZER, (EOS, 10_000), ["ab"], len(TOKENIZER) + 29, CPU)
    assert not rules.may_end(torch.tensor([len(TOKENIZER) + 28])).item()
    assert walk(rules, list(encode("xab"))) == (3, Stop.STOP_STRING, "xab")


# -- stop strings that are special tokens


def chat_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = pieces_tokenizer(["a", "b", "\n", "<|im_end|>", "<|other|>"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>", "<|other|>"]})
    return tokenizer


@pytest.mark.parametrize(
    ("stop", "said", "length", "text"),
    [
        (["<|im_end|>"], ["a", "b", "<|im_end|>", "a"], 3, "ab"),
        (["<|im_end|>\n"], ["a", "<|im_end|>", "b", "<|im_end|>", "\n", "a"], 5, "ab\n"),
        (["b", "<|im_end|>"], ["a", "<|other|>", "<|im_end|>", "b"], 3, "a"),
        (["b", "<|im_end|>"], ["a", "<|other|>", "b", "<|im_end|>"], 3, "ab"),
    ],
)
def test_a_stop_string_may_be_a_special_token(stop: list[str], said: list[str], length: int, text: str) -> None:
    """It is no part of the text, which holds no special tokens, as where they end a response by themselves."""
    tokenizer = chat_tokenizer()
    ids = [tokenizer.convert_tokens_to_ids(token) for token in said]
    assert walk(rules_of(tokenizer, stop), ids) == (length, Stop.STOP_STRING, text)


def test_ids_may_have_gaps() -> None:
    """The last token's id is then beyond the number of tokens."""
    vocabulary = {"<pad>": 0, "<eos>": 1, "<unk>": 2, "a": 3, "stop": 9}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>", unk_token="<unk>")
    assert walk(StopRules(tokenizer, (EOS,), ["stop"], 12, CPU), [3, 9, 3]) == (2, Stop.STOP_STRING, "astop")
