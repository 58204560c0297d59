"""The decoder of static shapes draws what the plain one draws: the same ids, however seldom it looks at them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel

from helpers import EOS, TOKENIZER, VOCABULARY, gemma2, llama, qwen
from r1zero.policy.device import pick_autocast
from r1zero.policy.probe import Told, objection
from r1zero.sampling.embedded import static
from r1zero.sampling.embedded.sampler import TorchSampler, _Decoder
from r1zero.sampling.embedded.static import StaticDecoder, rows_of
from r1zero.sampling.protocol import Request, Sampled, SamplingParams
from r1zero.types import Completion, Stop
from regime import seeded
from test_embedded_sampler import PROMPTS, SOME_EOS, requests_of
from test_stops import pieces_tokenizer

Found = dict[tuple[int, int], Completion]


def drawn(
    model: PreTrainedModel,
    requests: Sequence[Request],
    look_every: int,
    *,
    rows: int = 256,
    samples: int = 3,
    eos: Sequence[int] = SOME_EOS,
    tokenizer: Any = TOKENIZER,
    **how: Any,
) -> Found:
    """Every completion; each must come exactly once."""
    sampler = TorchSampler(model, tokenizer, eos, rows=rows, look_every=look_every)
    found: Found = {}
    for each in sampler.sample(
        requests, samples, SamplingParams(**{"max_new_tokens": 40} | how), seed=seeded(), step=1
    ):
        assert (each.request, each.sample) not in found
        found[each.request, each.sample] = each.completion
    assert len(found) == len(requests) * samples
    return found


def assert_same(ours: Found, plain: Found) -> None:
    """Ids, texts and endings are equal, log-probs to 1e-5."""
    assert {key: (c.token_ids, c.text, c.stop) for key, c in ours.items()} == {
        key: (c.token_ids, c.text, c.stop) for key, c in plain.items()
    }
    for key, completion in ours.items():
        assert completion.logprobs == pytest.approx(plain[key].logprobs, abs=1e-5)


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The shapes of all static steps."""
    seen: list[tuple[int, int]] = []
    advance = StaticDecoder.advance

    def noted(self: StaticDecoder, rows: int, width: int) -> None:
        seen.append((rows, width))
        advance(self, rows, width)

    monkeypatch.setattr(StaticDecoder, "advance", noted)
    return seen


CASES: dict[str, dict[str, Any]] = {
    "sampled": {},
    "greedy": {"temperature": 0.0},
    "filtered": {"temperature": 0.8, "top_k": 20, "top_p": 0.9},
    "refills": {"rows": 5},
    "context": {"positions": 48, "rows": 6},
    "one token": {"max_new_tokens": 1},
    "budget alone": {"eos": (0,), "max_new_tokens": 21},
}


@pytest.mark.parametrize("every", [1, 4, 16])
@pytest.mark.parametrize("case", CASES)
def test_it_draws_what_the_plain_decoder_draws(case: str, every: int, shapes: list[tuple[int, int]]) -> None:
    model, requests = llama() if case == "refills" else qwen(), requests_of(PROMPTS)
    plain = drawn(model, requests, 0, **CASES[case])
    assert not shapes
    assert_same(drawn(model, requests, every, **CASES[case]), plain)
    assert bool(shapes) is (case != "one token")
    if case == "context":
        assert {c.stop for c in plain.values()} >= {Stop.CONTEXT}


@pytest.mark.parametrize("every", [1, 4, 16])
def test_stop_strings_cut_where_they_end(every: int) -> None:
    """Strings inside tokens of many characters, and over several of them; some rows draw on behind their end."""
    pieces = [a + b for a in ["", "x", "y", ">", "\n"] for b in ["</an", "swer>", "swer> more", "</", "</answer>!!"]]
    tokenizer = pieces_tokenizer(pieces + [f"w{i}" for i in range(VOCABULARY - 3 - len(pieces))])
    how: dict[str, Any] = {"tokenizer": tokenizer, "eos": (7,), "stop": ("</answer>", "w7"), "samples": 12, "rows": 20}
    plain = drawn(qwen(), requests_of(PROMPTS), 0, **how)
    assert_same(drawn(qwen(), requests_of(PROMPTS), every, **how), plain)
    assert {c.stop for c in plain.values()} >= {Stop.STOP_STRING}
    assert len({c.length for c in plain.values()}) > every  # they end at every place of a stretch


@pytest.mark.parametrize("every", [3, 16])
def test_rows_come_and_go_for_long(every: int, monkeypatch: pytest.MonkeyPatch, shapes: list[tuple[int, int]]) -> None:
    """The cache runs out of columns, and everything moves left; shapes stay few."""
    monkeypatch.setattr(static, "COLUMNS", 16)
    model = llama()
    requests = [Request(f"r{i}", tuple(3 + (7 * i + t) % 90 for t in range(1 + 5 * i % 19))) for i in range(60)]
    how: dict[str, Any] = {"rows": 6, "samples": 2, "max_new_tokens": 16 if every == 3 else 64}
    plain = drawn(model, requests, 0, **how)
    moves: list[int] = []
    moved = static.DecodingBatch.moved
    monkeypatch.setattr(static.DecodingBatch, "moved", lambda self, by: (moves.append(by), moved(self, by))[1])
    assert_same(drawn(model, requests, every, **how), plain)
    assert len(moves) > 2
    assert len(set(shapes)) < 20 < len(shapes)
    assert {rows for rows, _ in shapes} <= {1, 2, 4, 6}


class Asked(TorchDispatchMode):
    """Counts what would make Python wait for a device."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket._qualified_op_name in ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal"):
            self.count += 1
        return func(*args, **(kwargs or {}))


def test_no_step_asks_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    step = StaticDecoder.step

    def watched(self: StaticDecoder) -> None:
        with Asked() as asked:
            step(self)
        counts.append(asked.count)

    monkeypatch.setattr(StaticDecoder, "step", watched)
    drawn(qwen(), requests_of(PROMPTS), 8, top_k=10, top_p=0.9)
    assert counts
    assert set(counts) == {0}
    with Asked() as asked:
        assert torch.ones(1).item()
    assert asked.count == 1  # the set-up: it would have been seen


def test_rows_by_hand() -> None:
    assert [rows_of(n, 300) for n in (1, 2, 3, 5, 8, 9, 16, 17, 31, 33, 64, 65, 200, 257)] == [
        1, 2, 4, 8, 8, 16, 16, 24, 32, 40, 64, 80, 224, 300,
    ]  # fmt: skip
    assert rows_of(3, 3) == 3


def test_under_autocast_it_is_the_model_to_rounding() -> None:
    model, requests = llama(), requests_of(PROMPTS)
    context = pick_autocast("bfloat16", torch.device("cpu"))
    sampler = TorchSampler(model, TOKENIZER, SOME_EOS, rows=6, autocast=context, look_every=4)
    found: list[Sampled] = list(sampler.sample(requests, 2, SamplingParams(20), seed=seeded(), step=1))

    def told() -> Iterator[Told]:
        for each in found:
            drawn = each.completion
            yield requests[each.request].prompt_ids, drawn.token_ids, torch.tensor(drawn.logprobs)

    assert objection(model, told, context) == ""


def test_the_plain_decoder_is_the_default_on_cpus_and_for_other_models(monkeypatch: pytest.MonkeyPatch) -> None:
    decoders: list[type] = []
    for kind in (StaticDecoder, _Decoder):
        prefill = kind.prefill_waiting
        monkeypatch.setattr(
            kind, "prefill_waiting", lambda self, kept=prefill: (decoders.append(type(self)), kept(self))[1]
        )
    for model, every in ((qwen(), None), (gemma2(), 4), (qwen(), 4)):
        sampler = TorchSampler(model, TOKENIZER, (EOS,), look_every=every)
        list(sampler.sample(requests_of(PROMPTS[:1]), 1, SamplingParams(3), seed=0, step=0))
    assert list(dict.fromkeys(decoders)) == [_Decoder, StaticDecoder]
    assert decoders == [_Decoder, _Decoder, StaticDecoder]
