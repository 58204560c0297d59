"""The server sampler: models that do not fit here, through an OpenAI-compatible completions endpoint (vLLM, SGLang).

Prompts go out as token ids, one request a response. A response's seed is a pure function of (seed, step, key, sample),
as far as the server honours seeds. What a server does not tell is counted, and never made up: a missing token id is −1,
a missing log-prob NaN, so that lengths stay right and nobody can train on them by accident.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from transformers import PreTrainedTokenizerBase

from r1zero.endpoint import Client, NotThereError, RefusedError, UnusableError, as_text, content_key
from r1zero.errors import UserError
from r1zero.sampling.protocol import Request, Sampled, SamplingParams
from r1zero.sampling.special_tokens import stops_at_special, without_special
from r1zero.types import Completion, Stop

MISSING_ID = -1
_NEUTRAL: Mapping[str, Any] = {
    "top_k": -1,
    "min_p": 0.0,
    "typical_p": 1.0,
    "repetition_penalty": 1.0,
    "repeat_penalty": 1.0,  # llama.cpp
}
"""What leaves a model's distribution alone. What a server is not told, it takes from the model's generation_config,
which often draws from 20 tokens and punishes repetition, even at temperature 0."""
_EXTENSIONS: Mapping[str, Any] = {
    "include_stop_str_in_output": True,  # vLLM
    "return_token_ids": True,  # vLLM
    "no_stop_trim": True,  # SGLang
}
"""What tells more of a response. These and `_NEUTRAL` are sent where the server knows them: what it refuses by name is
left out from then on, and all of them where it names none."""
_FINISHED = frozenset({"stop", "length", "eos", "eos_token", "stop_sequence"})
"""How a response ends by itself or at its limit; an aborted one is asked for again."""
_SPECIAL = re.compile(r"<\|[^|\s]+\|>")
"""How special tokens are mostly spelled."""
_READ = ("text", "finish_reason", "stop_reason", "matched_stop", "token_ids", "logprobs")


class ServerSampler:
    """Samples from the model that a server calls `model`. `counts` tells of what was missing.

    `tokenizer` is the model's, where it is known: it tells which stop strings are special tokens.
    """

    def __init__(
        self, client: Client, model: str, *, workers: int = 32, tokenizer: PreTrainedTokenizerBase | None = None
    ):
        self.client, self.model, self.workers, self.tokenizer = client, model, workers, tokenizer
        self._unknown: frozenset[str] = frozenset()
        self.positions: int | None = None
        """The most tokens of prompt and response, where the server has said so as it encoded."""

    @property
    def missing(self) -> dict[str, int]:
        """Responses whose token ids or log-probs the server did not give."""
        return {name: self.client.counts[name] for name in ("without token ids", "without log-probs")}

    @property
    def not_neutral(self) -> list[str]:
        """Settings of sampling that the server refuses to be told, so that its own or the model's defaults hold."""
        return [name for name in _NEUTRAL if name in self._unknown]

    def sample(
        self, requests: Sequence[Request], samples: int, params: SamplingParams, *, seed: int, step: int
    ) -> Iterator[Sampled]:
        """See `Sampler`. Raises UserError when the server is away for too long."""
        self._check_stops(params.stop)
        work = [(r, g) for r in range(len(requests)) for g in range(samples)]

        def ask(item: tuple[int, int]) -> Completion:
            request, sample = requests[item[0]], item[1]
            noise = request_seed(seed, step, request.key, sample)
            return self._completion(request, params, noise)

        for index, completion in self.client.each(work, ask, self.workers):
            self.client.count("without token ids", MISSING_ID in completion.token_ids)
            self.client.count("without log-probs", any(map(math.isnan, completion.logprobs)))
            yield Sampled(*work[index], completion)

    def _special(self, stop: Sequence[str]) -> bool:
        return self.tokenizer is not None and stops_at_special(self.tokenizer, stop)

    def _check_stops(self, stop: Sequence[str]) -> None:
        """Raise a UserError for what looks like a special token where nobody knows: no server would stop there."""
        strange = [each for each in stop if _SPECIAL.search(each)] if self.tokenizer is None else []
        if strange:
            raise UserError(
                f"The stop string {strange[0]!r} looks like a special token, which servers leave out of their texts, "
                "and so would never end a response; name the model's tokenizer with --tokenizer (a folder or a Hub "
                "name), which tells."
            )

    def _completion(self, request: Request, params: SamplingParams, noise: int) -> Completion:
        body = request_body(self.model, request, params, noise)
        special = self._special(params.stop)
        if special:
            body["skip_special_tokens"] = False  # vLLM and SGLang look for stop strings in their texts
        more = {**_NEUTRAL, **_EXTENSIONS, **body}
        key = content_key("completion", {**_NEUTRAL, **body})
        read = partial(read_completion, stops=params.stop, cut=params.cut(body["max_tokens"]))
        unknown = self._unknown
        try:
            while True:
                asked = {name: value for name, value in more.items() if name in body or name not in unknown}
                try:
                    completion = self.client.ask("/completions", asked, key, read, slim)
                except RefusedError as error:
                    left = asked.keys() - body.keys()
                    if not left:
                        raise
                    unknown |= {name for name in left if name in str(error)} or left
                else:
                    self._unknown |= unknown  # only now: the prompt itself may have been refused
                    if special and self.tokenizer is not None:
                        completion = replace(completion, text=without_special(self.tokenizer, completion.text))
                    return completion
        except RefusedError as error:
            if special and "skip_special_tokens" in str(error):
                raise UserError(
                    f"{self.client.endpoint.setting} {self.client.endpoint.url} cannot stop at special tokens, as "
                    f"{', '.join(map(repr, params.stop))} asks for ({error}); take a template with another stop."
                ) from None
            raise UserError(
                f"{self.client.endpoint.setting} {self.client.endpoint.url} refuses the prompt of {request.key} "
                f"({len(request.prompt_ids)} tokens, {body['max_tokens']} to come): {error}; check the model's "
                "name, --max-new-tokens and the server's longest context."
            ) from None

    def encode(self, text: str) -> tuple[int, ...]:
        """Return token ids of a prompt, by the server's own tokenizer (vLLM and SGLang have one at /tokenize)."""
        body = {"model": self.model, "prompt": text, "add_special_tokens": True}
        try:
            ids, self.positions = self.client.ask("//tokenize", body, content_key("tokenize", body), _read_tokens)
        except (RefusedError, NotThereError):
            raise UserError(
                f"{self.client.endpoint.setting} {self.client.endpoint.url} does not tokenize; name the model's "
                "tokenizer with --tokenizer (a folder or a Hub name)."
            ) from None
        return ids


def request_seed(seed: int, step: int, key: str, sample: int) -> int:
    """Return 31 bits that name one response's noise."""
    text = f"{seed}/{step}/{sample}/{key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "little") >> 1


def request_body(model: str, request: Request, params: SamplingParams, noise: int) -> dict[str, Any]:
    """Return a completions request in the words that all servers know; `top_k` only where it is used.

    The penalties are said to be none: a server would take a model's own defaults.
    """
    body: dict[str, Any] = {
        "model": model,
        "prompt": list(request.prompt_ids),
        "max_tokens": params.budget(len(request.prompt_ids)),
        "temperature": params.temperature,
        "top_p": params.top_p,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "seed": noise,
        "n": 1,
        "logprobs": 1,
    }
    return (
        body | ({"top_k": params.top_k} if params.top_k else {}) | ({"stop": list(params.stop)} if params.stop else {})
    )


def read_completion(answer: Mapping[str, Any], stops: Sequence[str], cut: Stop = Stop.LENGTH) -> Completion:
    """Return the completion in a server's answer. Raises UnusableError when there is none, or it was broken off."""
    try:
        choice = answer["choices"][0]
        text, finish = choice["text"], choice["finish_reason"]
        logprobs = (choice.get("logprobs") or {}).get("token_logprobs")
        ids = choice.get("token_ids")
        counted = (answer.get("usage") or {}).get("completion_tokens")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise UnusableError(f"it is not a completion: {error!r}") from None
    if not isinstance(text, str):
        raise UnusableError("it is not a completion: its text is not text")
    if finish not in _FINISHED:
        raise UnusableError(f"it ended by {finish!r}")
    ids, logprobs = _all(ids, _is_token), _all(logprobs, lambda x: x is None or isinstance(x, int | float))
    count: int = counted if counted is not None and _is_token(counted) else 1
    how, text = _stop(finish, choice, as_text(text), stops, cut)
    # a server that gives neither ids nor log-probs nor a count leaves one missing token
    length = next((len(x) for x in (ids, logprobs) if x), count)
    found_ids = tuple(ids) if ids else (MISSING_ID,) * length
    if not logprobs or len(logprobs) != len(found_ids):
        logprobs = [math.nan] * len(found_ids)
    return Completion(found_ids, tuple(math.nan if x is None else float(x) for x in logprobs), text, how)


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _all(values: object, known: Callable[[object], bool]) -> list[Any]:
    """A list of what is known; anything else is missing."""
    return values if isinstance(values, list) and all(map(known, values)) else []


def _read_tokens(answer: dict[str, Any]) -> tuple[tuple[int, ...], int | None]:
    """Return token ids and the longest context, which vLLM says beside them."""
    ids = answer.get("tokens")
    if not ids or not _all(ids, _is_token):
        raise UnusableError("it holds no token ids; name the model's tokenizer with --tokenizer")
    positions = answer.get("max_model_len")
    return tuple(ids), positions if _is_token(positions) else None


def slim(answer: dict[str, Any]) -> dict[str, Any]:
    """Return a server's answer without what `read_completion` does not read: tokens as text, alternatives, their log-
    probs.
    """
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return answer
    kept = {name: choices[0][name] for name in _READ if name in choices[0]}
    if isinstance(kept.get("logprobs"), dict):
        kept["logprobs"] = {"token_logprobs": kept["logprobs"].get("token_logprobs")}
    return {"choices": [kept], "usage": answer.get("usage")}


def _stop(finish: str, choice: Mapping[str, Any], text: str, stops: Sequence[str], cut: Stop) -> tuple[Stop, str]:
    """Tell how a response ended, and its text with the stop string that a server left out."""
    if finish == "length":
        return cut, text
    # vLLM, SGLang: the string, or a token's id
    said = choice.get("matched_stop") if choice.get("stop_reason") is None else choice["stop_reason"]
    if isinstance(said, str) and said in stops:
        return Stop.STOP_STRING, text if said in text else text + said
    if said is None and any(stop in text for stop in stops):
        return Stop.STOP_STRING, text
    return Stop.EOS, text
