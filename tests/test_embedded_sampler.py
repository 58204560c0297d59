"""The embedded sampler: transformers' own greedy tokens, a plain forward's log-probs, and noise that batching cannot
change.

Models end at one of several ids that their random weights happen to say often, so that responses end at every length.
"""

import itertools
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel, Qwen3NextConfig

from helpers import EOS, MODELS, TOKENIZER, VOCABULARY, encode, full_logprobs, llama, qwen
from r1zero.errors import UserError
from r1zero.policy.device import pick_autocast
from r1zero.policy.tiny import character_tokenizer, tiny_model
from r1zero.sampling.embedded import batch as batch_module
from r1zero.sampling.embedded import sampler as embedded
from r1zero.sampling.embedded.kv_cache import KvCache, KvLayer
from r1zero.sampling.embedded.plain import PlainSampler
from r1zero.sampling.embedded.sampler import TorchSampler
from r1zero.sampling.noise import row_key, uniforms
from r1zero.sampling.protocol import Request, Sampled, SamplingParams
from r1zero.types import Completion, Stop
from regime import seeded
from test_stops import pieces_tokenizer

PROMPTS = ["1+1=", "A much longer prompt, over many tokens: ", "x", "What is 7 + 5?\n", "0123456789", "the end"]
SOME_EOS = (EOS, *range(20, 26))  # about one token in fourteen ends a response


def requests_of(prompts: Sequence[str]) -> list[Request]:
    return [Request(f"q/{i}/{prompt}", encode(prompt)) for i, prompt in enumerate(prompts)]


def run(
    model: PreTrainedModel,
    requests: Sequence[Request],
    samples: int = 1,
    *,
    eos: Sequence[int] = SOME_EOS,
    rows: int = 256,
    seed: int = 0,
    step: int = 0,
    tokenizer: Any = TOKENIZER,
    **how: Any,
) -> dict[tuple[str, int], Completion]:
    """Every completion by (request key, sample); each must come exactly once."""
    sampler = TorchSampler(model, tokenizer, eos, rows=rows)
    params = SamplingParams(**{"max_new_tokens": 12, **how})
    found: dict[tuple[str, int], Completion] = {}
    for done in sampler.sample(requests, samples, params, seed=seeded(seed), step=step):
        key = (requests[done.request].key, done.sample)
        assert key not in found
        found[key] = done.completion
    assert found.keys() == {(request.key, sample) for request in requests for sample in range(samples)}
    return found


def cache_of(kwargs: dict[str, Any]) -> Any:
    """The cache that a model was called with; transformers calls it `cache` from 5.24 on."""
    return kwargs["cache"] if "cache" in kwargs else kwargs["past_key_values"]


def ids(found: dict[tuple[str, int], Completion]) -> dict[tuple[str, int], tuple[tuple[int, ...], Stop, str]]:
    return {key: (c.token_ids, c.stop, c.text) for key, c in found.items()}


# -- the model's context


def test_the_budget_of_a_response_by_hand() -> None:
    bounded = SamplingParams(10, positions=12)
    assert [bounded.budget(prompt) for prompt in (0, 2, 3, 11)] == [10, 10, 9, 1]
    assert [bounded.cut(budget) for budget in (10, 9)] == [Stop.LENGTH, Stop.CONTEXT]
    assert SamplingParams(10).budget(10**6) == 10
    with pytest.raises(ValueError, match="a prompt of 12 tokens leaves no room among 12 positions"):
        bounded.budget(12)


@pytest.mark.parametrize("rows", [4, 256])
@pytest.mark.parametrize("kind", [TorchSampler, PlainSampler])
def test_a_response_ends_where_the_context_does(kind: type[TorchSampler | PlainSampler], rows: int) -> None:
    """The same draws as without a bound, cut: prompts of 3 to 10 tokens, twelve positions, twelve tokens."""
    requests = requests_of(["1+1"[:3] + "2" * more for more in (0, 7, 2, 5, 2, 7)])
    sampler = kind(qwen(), TOKENIZER, SOME_EOS, rows=rows)
    drawn = []
    for positions in (None, 12):
        params = SamplingParams(12, positions=positions)
        found = sampler.sample(requests, 4, params, seed=seeded(), step=0)
        drawn.append({(each.request, each.sample): each.completion for each in found})
    for (request, sample), whole in drawn[0].items():
        room, cut = 12 - len(requests[request].prompt_ids), drawn[1][request, sample]
        assert cut.token_ids == whole.token_ids[:room]
        assert cut.logprobs == pytest.approx(whole.logprobs[:room], abs=1e-5)
        ends = whole.length <= room and not whole.truncated
        assert cut.stop is (whole.stop if ends else Stop.CONTEXT)
        assert cut.truncated is not ends
    assert {each.stop for each in drawn[1].values()} >= {Stop.CONTEXT}


# -- greedy


def generated(model: PreTrainedModel, prompts: Sequence[str], eos: Sequence[int], tokens: int) -> list[tuple[int, ...]]:
    """transformers' own greedy generation on a left-padded batch, cut after the first EOS."""
    encoded = [encode(prompt) for prompt in prompts]
    width = max(map(len, encoded))
    batch = torch.tensor([[0] * (width - len(row)) + list(row) for row in encoded])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in encoded])
    out = model.generate(
        batch, attention_mask=mask, do_sample=False, max_new_tokens=tokens, eos_token_id=list(eos), pad_token_id=0
    )
    rows = []
    for row in out[:, width:].tolist():
        end = next((t + 1 for t, token in enumerate(row) if token in eos), len(row))
        rows.append(tuple(row[:end]))
    return rows


@pytest.mark.parametrize("name", MODELS)
def test_greedy_equals_transformers_generate(name: str) -> None:
    model = MODELS[name]()
    free = generated(model, PROMPTS, (0,), 30)
    # two ids that greedy responses come to say become EOS: some responses end early, at either
    eos = next(
        pair
        for pair in itertools.combinations(sorted({token for row in free for token in row}), 2)
        for ended in [[row[: min((row.index(each) for each in pair if each in row), default=30) + 1] for row in free]]
        if len({len(row) for row in ended}) > 2 and {row[-1] for row in ended} >= set(pair)
    )
    expected = generated(model, PROMPTS, eos, 30)
    assert len({len(row) for row in expected}) > 2  # the set-up: several lengths, and both ids at work
    assert {row[-1] for row in expected} >= set(eos)
    for rows in (256, 2):
        found = run(model, requests_of(PROMPTS), eos=eos, rows=rows, temperature=0.0, max_new_tokens=30)
        assert [found[f"q/{i}/{prompt}", 0].token_ids for i, prompt in enumerate(PROMPTS)] == expected


def test_sliding_windows_are_shorter_than_what_they_see() -> None:
    """The set-up of the tests above: without its window, Mistral says something else."""
    windowed, whole = MODELS["mistral"](), MODELS["mistral"]()
    whole.config.sliding_window = None
    assert generated(windowed, PROMPTS, (EOS,), 30) != generated(whole, PROMPTS, (EOS,), 30)


# -- log-probs


def assert_plain(
    model: PreTrainedModel, request: Request, completion: Completion, temperature: float = 1.0, atol: float = 1e-5
) -> None:
    """Its log-probs are those of a plain forward pass."""
    with torch.no_grad():
        plain = full_logprobs(model, request.prompt_ids, completion.token_ids, temperature)
    torch.testing.assert_close(torch.tensor(completion.logprobs), plain, rtol=0, atol=atol)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_log_probs_are_those_of_a_plain_forward_pass(name: str, temperature: float) -> None:
    model = MODELS[name]()
    requests = requests_of(PROMPTS)
    found = run(model, requests, 3, rows=7, temperature=temperature)
    for request in requests:
        for sample in range(3):
            assert_plain(model, request, found[request.key, sample], temperature)


def test_tokens_are_what_the_noise_says() -> None:
    """Token t inverts the distribution function of a plain forward pass at u(seed, step, question, sample, t)."""
    model, (request,) = qwen(), requests_of(["What is 7 + 5?\n"])
    for completion_key, completion in run(model, [request], 4, seed=11, step=5, temperature=0.8).items():
        key = torch.tensor([row_key(seeded(11), 5, request.key, completion_key[1])])
        for t, token in enumerate(completion.token_ids):
            seen = torch.tensor([request.prompt_ids + completion.token_ids[:t]])
            with torch.no_grad():
                probs = torch.softmax(model(input_ids=seen).logits[0, -1].double() / 0.8, dim=0)
            u = uniforms(key, torch.tensor([t])).item()
            before = probs[:token].sum().item()
            assert before - 1e-5 <= u <= before + probs[token].item() + 1e-5


def test_filters_reach_the_log_probs() -> None:
    model, requests = qwen(), requests_of(PROMPTS)
    for completion in run(model, requests, 2, top_k=1).values():
        assert completion.logprobs == (0.0,) * completion.length  # one token is all there is
    nucleus = run(model, requests, 2, top_p=0.3)
    assert ids(nucleus) != ids(run(model, requests, 2))


# -- noise, batching, order


def test_responses_do_not_depend_on_rows_order_or_company() -> None:
    model, requests = llama(), requests_of(PROMPTS)
    together = run(model, requests, 4)
    assert len(set(ids(together).values())) > 20  # samples differ
    for rows in (1, 4, 5, 9, 17):
        assert ids(run(model, requests, 4, rows=rows)) == ids(together)
    shuffled = random.Random(0).sample(requests, len(requests))
    assert ids(run(model, shuffled, 4, rows=8)) == ids(together)
    for request in requests:
        alone = ids(run(model, [request], 4))
        assert alone == {key: value for key, value in ids(together).items() if key[0] == request.key}
    # the first two of four samples are the two of two
    fewer = ids(run(model, requests, 2))
    assert fewer == {key: value for key, value in ids(together).items() if key[1] < 2}


@settings(max_examples=10)
@given(data=st.data())
def test_any_batching_draws_the_same(data: st.DataObject) -> None:
    model = qwen()
    lengths = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=7))
    requests = [Request(f"r{i}", tuple(3 + (i + t) % 90 for t in range(n))) for i, n in enumerate(lengths)]
    samples, rows = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 10))
    reference: dict[tuple[str, int], Completion] = {}
    for request in requests:
        reference |= run(model, [request], samples, max_new_tokens=9)
    order = data.draw(st.permutations(requests))
    assert ids(run(model, order, samples, rows=rows, max_new_tokens=9)) == ids(reference)


@pytest.mark.parametrize("changed", [{"seed": 1}, {"step": 1}])
def test_seed_and_step_change_the_responses(changed: dict[str, int]) -> None:
    model, requests = qwen(), requests_of(PROMPTS[:2])
    base = run(model, requests, 2)
    assert ids(run(model, requests, 2)) == ids(base)
    assert ids(run(model, requests, 2, **changed)) != ids(base)


def test_equal_keys_draw_equal_responses() -> None:
    found = run(qwen(), [Request("same", encode("1+1="))], 2)
    sampler = TorchSampler(qwen(), TOKENIZER, SOME_EOS)
    twice = [Request("same", encode("1+1="))] * 2
    drawn = list(sampler.sample(twice, 2, SamplingParams(max_new_tokens=12), seed=seeded(), step=0))
    assert len(drawn) == 4
    for done in drawn:
        assert done.completion.token_ids == found["same", done.sample].token_ids


class WatchedCache(KvCache):
    """A cache that remembers what `make_room` had to do."""

    shifts: list[int]
    growths: list[int]

    def make_room(self, leftmost: int) -> int:
        capacity = self.capacity
        moved = super().make_room(leftmost)
        if moved:
            type(self).shifts.append(moved)
        if self.capacity != capacity:
            type(self).growths.append(self.capacity)
        return moved


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> type[WatchedCache]:
    WatchedCache.shifts, WatchedCache.growths = [], []
    monkeypatch.setattr(embedded, "KvCache", WatchedCache)
    return WatchedCache


@pytest.mark.parametrize("name", ["qwen", "mistral"])
def test_responses_survive_the_caches_shifts(name: str, cache: type[WatchedCache]) -> None:
    """Rows come and go for so long that the cache runs out of columns, and everything moves left, several times."""
    model = MODELS[name]()
    dealer = random.Random(1)
    requests = [
        Request(f"r{i}", tuple(dealer.randrange(3, VOCABULARY) for _ in range(dealer.randrange(1, 20))))
        for i in range(140)
    ]
    found = run(model, requests, 2, rows=6, max_new_tokens=16, eos=range(20, 28))
    assert len(cache.shifts) >= 2
    shifts = len(cache.shifts)
    assert ids(found) == ids(run(model, requests, 2, rows=280, max_new_tokens=16, eos=range(20, 28)))
    assert len(cache.shifts) == shifts  # all rows at once: nothing to shift, so this is another path
    for request in requests[::5]:
        assert_plain(model, request, found[request.key, 1])


def test_responses_survive_the_caches_growth(cache: type[WatchedCache]) -> None:
    model, requests = qwen(), requests_of(PROMPTS)
    found = run(model, requests, 8, eos=(EOS,), max_new_tokens=150)  # of 48, one in three is longer than 120
    assert len(cache.growths) >= 1
    longest = max(found.values(), key=lambda c: c.length)
    assert longest.length > 120
    for request in requests:
        assert_plain(model, request, found[request.key, 0], atol=2e-5)


# -- prefill


@pytest.mark.parametrize("rows", [6, 256])
def test_storage_kept_from_earlier_calls_changes_no_bit(rows: int) -> None:
    """A run resumed with fresh storage must not differ from one that went on with what earlier calls left behind."""
    model, params = qwen(), SamplingParams(max_new_tokens=12)
    used = TorchSampler(model, TOKENIZER, SOME_EOS, rows=rows)
    for prompts, budget in ((PROMPTS, 90), (PROMPTS[::-1], 5)):
        list(used.sample(requests_of(prompts), 2, SamplingParams(max_new_tokens=budget), seed=3, step=1))
    storage = used._kept
    assert storage is not None
    fresh = TorchSampler(model, TOKENIZER, SOME_EOS, rows=rows)
    requests = requests_of(PROMPTS)
    kept = {(d.request, d.sample): d.completion for d in used.sample(requests, 2, params, seed=0, step=0)}
    anew = {(d.request, d.sample): d.completion for d in fresh.sample(requests, 2, params, seed=0, step=0)}
    assert used._kept is storage
    assert kept == anew  # tokens, and log-probs to the last bit


@pytest.mark.parametrize("name", MODELS)
def test_under_autocast_the_cache_holds_what_attention_reads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the bytes of float32, and the same bits: attention would cast each number at every step."""
    bfloat16 = pick_autocast("bfloat16", torch.device("cpu"))
    requests = requests_of(["2+2=", "17+25=", "9"])
    made: list[KvCache] = []

    def drawn() -> list[tuple[int, int, Completion]]:
        sampler = TorchSampler(MODELS[name](), TOKENIZER, SOME_EOS, rows=6, autocast=bfloat16)
        found = sampler.sample(requests, 4, SamplingParams(12), seed=seeded(), step=0)
        listed = sorted(((each.request, each.sample, each.completion) for each in found), key=lambda each: each[:2])
        assert sampler._kept is not None
        made.append(sampler._kept)
        return listed

    halved, allocate = drawn(), KvLayer.lazy_initialization

    def in_float32(layer: KvLayer, keys: torch.Tensor, values: torch.Tensor) -> None:
        with torch.autocast("cpu", enabled=False):
            allocate(layer, keys, values)

    monkeypatch.setattr(KvLayer, "lazy_initialization", in_float32)
    assert drawn() == halved
    assert [{t.dtype for layer in cache.kv_layers for t in (layer.keys, layer.values)} for cache in made] == [
        {torch.bfloat16},
        {torch.float32},
    ]
    assert 2 * made[0].size == made[1].size


def prefilled(model: PreTrainedModel) -> list[tuple[int, ...]]:
    """A list that grows by the ids of every row that is computed without the cache (pads removed)."""
    seen: list[tuple[int, ...]] = []

    def look(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not isinstance(cache_of(kwargs), KvCache):
            rows, masks = kwargs["input_ids"].tolist(), kwargs["attention_mask"].tolist()
            for row, mask in zip(rows, masks, strict=True):
                seen.append(tuple(token for token, real in zip(row, mask, strict=True) if real))

    model.base_model.register_forward_pre_hook(look, with_kwargs=True)
    return seen


@pytest.mark.parametrize("rows", [1, 6, 256])
def test_every_question_is_prefilled_exactly_once(rows: int) -> None:
    model, requests = qwen(), requests_of(PROMPTS)
    seen = prefilled(model)
    run(model, requests, 5, rows=rows)
    assert sorted(seen) == sorted(request.prompt_ids for request in requests)


def test_prefill_passes_stay_under_their_token_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_module, "_PREFILL_TOKENS", 50)
    model, requests = qwen(), requests_of(PROMPTS)
    seen: list[tuple[int, int]] = []

    def look(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not isinstance(cache_of(kwargs), KvCache):
            seen.append(tuple(kwargs["input_ids"].shape))

    model.base_model.register_forward_pre_hook(look, with_kwargs=True)
    run(model, requests, 2)
    assert all(rows * width <= 50 for rows, width in seen)
    assert len(seen) > 1


# -- how responses end


def test_eos_is_included_and_last() -> None:
    found = run(qwen(), requests_of(PROMPTS), 6).values()
    ended = [c for c in found if c.stop is Stop.EOS]
    assert len({c.token_ids[-1] for c in ended}) > 1  # several ids end responses
    for completion in found:
        assert not set(completion.token_ids[:-1]) & set(SOME_EOS)
        assert (completion.token_ids[-1] in SOME_EOS) is (completion.stop is Stop.EOS)
        assert completion.stop is Stop.EOS or completion.length == 12


def test_text_leaves_special_tokens_out() -> None:
    (completion,) = run(qwen(), requests_of(["1+1="]), temperature=0.0, eos=range(VOCABULARY)).values()
    assert completion.length == 1
    found = run(qwen(), requests_of(PROMPTS), 8, max_new_tokens=60, eos=(EOS,)).values()
    (ended, *_) = [c for c in found if c.stop is Stop.EOS]
    assert ended.text == TOKENIZER.decode(ended.token_ids[:-1], skip_special_tokens=True)
    assert "<eos>" not in ended.text


def greedy_text(model: PreTrainedModel, prompt: str, tokens: int) -> str:
    (completion,) = run(model, requests_of([prompt]), temperature=0.0, eos=(EOS,), max_new_tokens=tokens).values()
    return completion.text


def test_the_budget_ends_a_response_as_truncated() -> None:
    (completion,) = run(qwen(), requests_of(["1+1="]), eos=(0,), temperature=0.0, max_new_tokens=7).values()
    assert (completion.length, completion.stop, completion.truncated) == (7, Stop.LENGTH, True)
    (one,) = run(qwen(), requests_of(["1+1="]), eos=(0,), temperature=0.0, max_new_tokens=1).values()
    assert one.token_ids == completion.token_ids[:1]


def test_eos_as_the_last_token_of_the_budget_is_eos() -> None:
    model, requests = qwen(), requests_of(PROMPTS)
    free = run(model, requests, eos=(0,), temperature=0.0, max_new_tokens=7)
    for request in requests:
        tokens = free[request.key, 0].token_ids
        if tokens[6] not in tokens[:6]:
            (completion,) = run(model, [request], eos=(tokens[6],), temperature=0.0, max_new_tokens=7).values()
            assert (completion.token_ids, completion.stop) == (tokens, Stop.EOS)
            return
    raise AssertionError("no response has a seventh token that is new")


def test_a_stop_string_as_the_last_token_of_the_budget_is_a_stop_string() -> None:
    model = qwen()
    texts = {prompt: greedy_text(model, prompt, 8) for prompt in PROMPTS}
    prompt, text = next((p, t) for p, t in texts.items() if len(t) == 8 and t.index(t[5:8]) == 5)
    (completion,) = run(
        model, requests_of([prompt]), eos=(EOS,), temperature=0.0, max_new_tokens=8, stop=(text[5:8],)
    ).values()
    assert (completion.length, completion.stop, completion.text) == (8, Stop.STOP_STRING, text)


@pytest.mark.parametrize(("start", "length"), [(3, 1), (4, 3), (0, 1), (9, 6)])
def test_stop_strings_over_one_and_over_several_tokens(start: int, length: int) -> None:
    """Any piece of what a model says becomes the stop string: the response ends with the token that completes it."""
    model, requests = qwen(), requests_of(PROMPTS)
    texts = {request: greedy_text(model, prompt, 20) for prompt, request in zip(PROMPTS, requests, strict=True)}
    whole = {request: text for request, text in texts.items() if len(text) == 20}  # one character a token: no `<unk>`
    assert len(whole) > 2
    for request, text in whole.items():
        stop = text[start : start + length]
        end = text.index(stop) + length
        (completion,) = run(
            model, [request], eos=(EOS,), temperature=0.0, max_new_tokens=20, stop=("\x00", stop)
        ).values()
        assert (completion.length, completion.stop, completion.text) == (end, Stop.STOP_STRING, text[:end])


def test_stop_strings_inside_tokens_of_many_characters() -> None:
    """With sampled text: every response ends at the first token after which the text holds a stop string."""
    pieces = [a + b for a in ["", "x", "y", ">", "\n"] for b in ["</an", "swer>", "swer> more", "</", "</answer>!!"]]
    tokenizer = pieces_tokenizer(pieces + [f"w{i}" for i in range(VOCABULARY - 3 - len(pieces))])
    stop = ("</answer>", "w7")
    model, requests = qwen(), requests_of(PROMPTS)
    free = run(model, requests, 12, eos=(0,), tokenizer=tokenizer, max_new_tokens=40)
    stopped = run(model, requests, 12, eos=(0,), tokenizer=tokenizer, max_new_tokens=40, stop=stop)
    inside = 0
    for key, completion in stopped.items():
        tokens = free[key].token_ids
        texts = [tokenizer.decode(tokens[:n], skip_special_tokens=True) for n in range(1, len(tokens) + 1)]
        n = next((n for n, text in enumerate(texts, 1) if any(s in text for s in stop)), None)
        if n is None:
            assert completion.stop in (Stop.LENGTH, Stop.EOS)
            assert completion.token_ids == tokens
        else:
            assert (completion.token_ids, completion.stop) == (tokens[:n], Stop.STOP_STRING)
            assert completion.text.endswith(stop)
            assert texts[n - 1].startswith(completion.text)
            inside += completion.text != texts[n - 1]
    assert inside > 3  # the set-up: some tokens went on after the stop string


# -- shapes of calls


def test_no_requests_no_responses() -> None:
    assert list(TorchSampler(qwen(), TOKENIZER, (EOS,)).sample([], 4, SamplingParams(5), seed=0, step=0)) == []


def test_one_request_one_sample() -> None:
    (completion,) = run(qwen(), requests_of(["1+1="]), rows=1).values()
    assert completion.length >= 1


def test_more_samples_than_rows() -> None:
    requests = requests_of(PROMPTS[:3])
    assert ids(run(qwen(), requests, 5, rows=2)) == ids(run(qwen(), requests, 5))


def test_prompts_of_very_different_lengths() -> None:
    model = llama()
    requests = [Request("short", encode("x")), Request("long", encode("blah " * 80)), Request("mid", encode("abc def"))]
    found = run(model, requests, 2, rows=4)
    for request in requests:
        for sample in range(2):
            assert_plain(model, request, found[request.key, sample])
    for request in requests:
        assert ids(run(model, [request], 2)).items() <= ids(found).items()


def test_responses_stream_out_as_they_finish() -> None:
    model, requests = qwen(), requests_of(PROMPTS)
    steps = 0

    def count(*args: Any) -> None:
        nonlocal steps
        steps += 1

    model.base_model.register_forward_hook(count)
    sampler = TorchSampler(model, TOKENIZER, SOME_EOS)
    when: list[tuple[int, Sampled]] = []
    for done in sampler.sample(requests, 4, SamplingParams(max_new_tokens=12), seed=0, step=0):
        when.append((steps, done))
    # one prefill and one pass per further token: a response of n tokens is out after n passes, before later ones run
    assert [passes for passes, _ in when] == [done.completion.length for _, done in when]
    assert when[0][0] < when[-1][0] == steps


def test_a_call_may_be_abandoned_half_way() -> None:
    model, requests = qwen(), requests_of(PROMPTS)
    sampler = TorchSampler(model, TOKENIZER, SOME_EOS)
    next(sampler.sample(requests, 4, SamplingParams(max_new_tokens=12), seed=0, step=0))
    assert ids(run(model, requests, 4)) == ids(run(qwen(), requests, 4))


def test_it_sees_the_models_current_weights() -> None:
    model, requests = qwen(), requests_of(PROMPTS)
    sampler = TorchSampler(model, TOKENIZER, SOME_EOS)
    params = SamplingParams(max_new_tokens=12)
    before = list(sampler.sample(requests, 2, params, seed=0, step=0))
    model.load_state_dict(qwen(seed=1).state_dict())
    after = list(sampler.sample(requests, 2, params, seed=0, step=0))
    assert before != after
    assert {(d.request, d.sample): d.completion for d in after} == {
        (d.request, d.sample): d.completion
        for d in TorchSampler(qwen(seed=1), TOKENIZER, SOME_EOS).sample(requests, 2, params, seed=0, step=0)
    }


def test_nothing_is_left_for_autograd() -> None:
    model = qwen()
    model.train()
    run(model, requests_of(PROMPTS[:1]))
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_recurrent_layers_are_refused() -> None:
    model = qwen()
    model.config = Qwen3NextConfig(num_hidden_layers=4)
    with pytest.raises(UserError, match=r"qwen3_next model with linear_attention layers, which the embedded sampler"):
        TorchSampler(model, TOKENIZER, (EOS,))


def test_logits_that_are_not_finite_are_one_sentence() -> None:
    tokenizer = character_tokenizer()
    model = tiny_model(tokenizer, width=32, layers=1, heads=2)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    sampler = TorchSampler(model, tokenizer, (1,))
    with pytest.raises(UserError, match="logits are not finite"):
        list(sampler.sample([Request("a", (3, 4))], 2, SamplingParams(4), seed=0, step=0))


@pytest.mark.parametrize(
    "name, value",
    [
        ("max_new_tokens", 0), ("max_new_tokens", -1), ("temperature", -1.0), ("temperature", float("nan")),
        ("temperature", float("inf")), ("top_p", 0.0), ("top_p", 1.5), ("top_p", float("nan")), ("top_k", -1),
        ("stop", ("",)), ("stop", "ab"),
    ],
)  # fmt: skip
def test_what_nothing_can_be_drawn_with_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"is not a valid {name}: give "):
        SamplingParams(**{"max_new_tokens": 4, name: value})
