"""The server sampler: what it asks and reads, and an analysis whose server is killed half-way."""

import json
import math
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from processes import wait_for
from r1zero.endpoint import Client, Endpoint, Store, UnusableError
from r1zero.errors import UserError
from r1zero.evaluation.models import served
from r1zero.policy.tiny import character_tokenizer
from r1zero.sampling.protocol import Request, SamplingParams
from r1zero.sampling.server import MISSING_ID, ServerSampler, read_completion, request_seed, slim
from r1zero.types import Completion, Stop
from served import Server, serve
from tiny_runs import Command, random_model, start, taught_model


def ids(text: str) -> tuple[int, ...]:
    return tuple(map(ord, text))


def sampler_at(server: Server, store: Path | None = None) -> ServerSampler:
    return ServerSampler(Client(Endpoint(server.url, "--server", patience_s=1.0), Store(store)), "big", workers=4)


def drawn(
    sampler: ServerSampler, prompts: list[str], samples: int = 2, **more: object
) -> dict[tuple[int, int], Completion]:
    requests = [Request(f"q/{i}", ids(prompt)) for i, prompt in enumerate(prompts)]
    params = SamplingParams(16, **{"temperature": 1.0, **more})  # type: ignore[arg-type]
    found = sampler.sample(requests, samples, params, seed=0, step=-1)
    return {(each.request, each.sample): each.completion for each in found}


# ---- stop strings that are special tokens


@contextmanager
def serving(folder: Path, **options: object) -> Iterator[Server]:
    server = serve(folder, **options)
    try:
        yield server
    finally:
        server.kill()


def test_what_looks_like_a_special_token_is_refused_where_nobody_knows(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        says = r"'<\|im_end\|>' looks like a special token, .*; name .* with --tokenizer"
        with pytest.raises(UserError, match=says):
            drawn(sampler_at(server), ["1+2"], stop=("<|im_end|>",))


def test_a_server_that_cannot_stop_at_special_tokens_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path, unknown=["skip_special_tokens"]) as server:
        sampler = sampler_at(server)
        sampler.tokenizer = character_tokenizer()
        assert drawn(sampler, ["1+2"], stop=("+",))
        with pytest.raises(UserError, match=r"cannot stop at special tokens, as '<unk>' asks for"):
            drawn(sampler, ["1+2"], stop=("<unk>",))


# ---- one answer


def answer(**choice: object) -> dict[str, object]:
    return {"choices": [{"text": "a b", "finish_reason": "stop", **choice}], "usage": {"completion_tokens": 3}}


def test_ids_and_logprobs_are_the_servers() -> None:
    found = read_completion(answer(token_ids=[5, 6, 1], logprobs={"token_logprobs": [-0.1, -0.2, -0.3]}), ())
    assert found == Completion((5, 6, 1), (-0.1, -0.2, -0.3), "a b", Stop.EOS)


def test_what_the_server_does_not_tell_is_missing_and_not_made_up() -> None:
    found = read_completion(answer(), ())
    assert found.token_ids == (MISSING_ID,) * 3
    assert all(map(math.isnan, found.logprobs))
    assert found.length == 3
    half = read_completion(answer(logprobs={"token_logprobs": [-0.1, None]}), ())
    assert half.token_ids == (MISSING_ID,) * 2
    assert half.logprobs[0] == -0.1
    assert math.isnan(half.logprobs[1])


@pytest.mark.parametrize(
    ("choice", "stop", "text"),
    [
        ({"finish_reason": "length"}, Stop.LENGTH, "a b"),
        ({"stop_reason": None}, Stop.EOS, "a b"),
        ({"stop_reason": 7}, Stop.EOS, "a b"),
        ({"matched_stop": 7}, Stop.EOS, "a b"),
        ({"stop_reason": "</answer>"}, Stop.STOP_STRING, "a b</answer>"),
        ({"stop_reason": "</answer>", "text": "c</answer>"}, Stop.STOP_STRING, "c</answer>"),
        ({"stop_reason": None, "matched_stop": "</answer>"}, Stop.STOP_STRING, "a b</answer>"),
        ({"text": "c</answer>"}, Stop.STOP_STRING, "c</answer>"),
    ],
)
def test_how_a_response_ended(choice: dict[str, object], stop: Stop, text: str) -> None:
    found = read_completion(answer(**choice), ("</answer>",))
    assert (found.stop, found.text) == (stop, text)


def test_only_what_is_read_is_kept() -> None:
    logprobs = {"token_logprobs": [-0.1, -0.2], "tokens": ["a", " b"], "top_logprobs": [{"a": -0.1}, {" b": -0.2}]}
    whole = answer(token_ids=[5, 6], logprobs=logprobs, stop_reason="</answer>", prompt_token_ids=[1] * 100)
    stops = ("</answer>",)
    assert read_completion(slim(whole), stops) == read_completion(whole, stops)
    assert "top_logprobs" not in str(slim(whole))
    assert "prompt_token_ids" not in str(slim(whole))
    assert slim({}) == {}


def test_an_answer_that_is_none() -> None:
    for wrong in ({}, {"choices": []}, {"choices": [{"message": {}}]}, answer(text=None), answer(text=[])):
        with pytest.raises(UnusableError, match="is not a completion"):
            read_completion(wrong, ())
    for aborted in (None, "abort", "error"):
        with pytest.raises(UnusableError, match="it ended by"):
            read_completion(answer(finish_reason=aborted), ())


def test_what_a_server_gives_wrongly_is_missing() -> None:
    for wrong in (["5"], [2**40], [True], "ids"):
        assert set(read_completion(answer(token_ids=wrong), ()).token_ids) == {MISSING_ID}
    odd = answer(token_ids=[5], logprobs={"token_logprobs": ["x"]})
    assert math.isnan(read_completion(odd, ()).logprobs[0])
    assert read_completion({**answer(), "usage": {"completion_tokens": "many"}}, ()).token_ids == (MISSING_ID,)
    read_completion(answer(text="half \ud800"), ()).text.encode()


def test_seeds_differ_by_everything_and_are_stable() -> None:
    seeds = {request_seed(s, t, k, g) for s in (0, 1) for t in (-1, 0) for k in ("a", "b") for g in (0, 1)}
    assert len(seeds) == 16
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert request_seed(0, -1, "q", 0) == request_seed(0, -1, "q", 0)


# ---- a real server


def test_prompts_go_out_as_ids_and_nothing_is_asked_twice(server: Server, tmp_path: Path) -> None:
    store = tmp_path / "kept.sqlite"
    first = drawn(sampler_at(server, store), ["3+4=", "5+6="], stop=("\n",), top_k=5)
    assert set(first) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    body = server.answered[0]["body"]
    assert body["prompt"] in (list(ids("3+4=")), list(ids("5+6=")))
    assert (body["n"], body["max_tokens"], body["stop"], body["top_k"]) == (1, 16, ["\n"], 5)
    again = sampler_at(server, store)
    assert drawn(again, ["3+4=", "5+6="], stop=("\n",), top_k=5) == first
    assert len(server.answered) == 4
    assert again.missing == {"without token ids": 0, "without log-probs": 0}


@pytest.mark.parametrize("server", [{"strict": True, "bare": True}], indirect=True)
def test_a_server_that_knows_no_extensions_is_asked_without(server: Server) -> None:
    sampler = sampler_at(server)
    assert len(drawn(sampler, ["3+4="], 3)) == 3
    assert sampler.missing == {"without token ids": 3, "without log-probs": 3}


NEUTRAL = {
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}


@pytest.mark.parametrize("server", [{"own_defaults": list(NEUTRAL)}], indirect=True)
def test_no_default_of_the_servers_or_the_models_own_is_left(server: Server) -> None:
    sampler = sampler_at(server)
    [completion] = drawn(sampler, ["3+4="], 1, temperature=0.0).values()
    assert "7" in completion.text
    body = server.answered[0]["body"]
    assert {name: body[name] for name in NEUTRAL} == NEUTRAL
    assert sampler.not_neutral == []


@pytest.mark.parametrize("server", [{"unknown": ["typical_p", "repeat_penalty", "no_stop_trim"]}], indirect=True)
def test_what_a_server_refuses_by_name_alone_is_left_out_and_said(server: Server) -> None:
    sampler = sampler_at(server)
    assert len(drawn(sampler, ["3+4=", "5+6="], 2)) == 4
    assert sampler.not_neutral == ["typical_p", "repeat_penalty"]
    assert sampler.missing == {"without token ids": 0, "without log-probs": 0}  # what it knows is still asked for
    assert all(line["body"]["min_p"] == 0.0 for line in server.answered)


def test_a_prompt_that_is_refused_is_named(server: Server) -> None:
    with pytest.raises(UserError, match=r"refuses the prompt of q/0 \(6 tokens, 16 to come\).*too long"):
        drawn(sampler_at(server), ["REFUSE"])


def test_the_servers_tokenizer(server: Server) -> None:
    sampler = sampler_at(server)
    assert sampler.encode("a+b") == ids("a+b")
    assert sampler.encode("a+b") == ids("a+b")
    assert len(server.answered) == 1


@pytest.mark.parametrize("server", [{"context": 12}], indirect=True)
def test_a_server_is_asked_for_no_more_than_its_context_holds(server: Server) -> None:
    """vLLM says it as it encodes; a response that fills what is left of it is cut by the context."""
    sampler = sampler_at(server)
    assert sampler.positions is None
    sampler.encode("a+b")
    assert sampler.positions == 12
    drawn(sampler, ["a+b", "a" * 11], samples=1, positions=sampler.positions)
    asked = [each["body"]["max_tokens"] for each in server.answered if each["path"] == "/v1/completions"]
    assert sorted(asked) == [1, 9]
    cut = answer(finish_reason="length")
    assert read_completion(cut, (), Stop.CONTEXT).stop is Stop.CONTEXT
    assert read_completion(cut, ()).stop is Stop.LENGTH


@pytest.mark.parametrize("server", [{"context": 40}], indirect=True)
def test_an_evaluation_by_a_server_tells_what_does_not_fit(server: Server, tmp_path: Path) -> None:
    rows = [{"question": f"{'0' * zeros}1+1=", "answer": "2"} for zeros in (1, 2, 28, 45)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["evaluate", "big", "-b", str(tmp_path / "sums.jsonl"), "--template", "no", "--max-new-tokens", "16"]
    command = start(*words, "--answer-format", "last_number", "--server", server.url, "--out", tmp_path / "out")
    command.done()
    told = " ".join(command.out.split())
    assert "1 question left out, whose prompts fill the model's 40 positions: sums/3" in told
    assert "1 prompt of which less than the budget of 16 tokens is left of the model's 40 positions" in told
    [cell] = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(cell["results"][0]["notes"]) == 2


@pytest.mark.parametrize("server", [{"no_tokenizer": True}], indirect=True)
def test_a_server_without_a_tokenizer(server: Server) -> None:
    with pytest.raises(UserError, match="does not tokenize; name the model's tokenizer with --tokenizer"):
        sampler_at(server).encode("a")


@pytest.mark.parametrize("server", [{"no_tokenizer": True}], indirect=True)
def test_a_tokenizer_by_name(server: Server) -> None:
    client = Client(Endpoint(server.url, "--server", patience_s=1.0))
    evaluated = served("big", client, workers=2, tokenizer=str(random_model()))
    assert len(evaluated.encode("1+1=")) == 4
    assert server.answered == []
    with pytest.raises(UserError, match="--tokenizer nowhere cannot be loaded"):
        served("big", client, workers=2, tokenizer="nowhere")


def test_a_damaged_checkpoint_is_no_tokenizer_either(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "step-000001"
    shutil.copytree(random_model(), folder)
    (folder / "complete.json").write_text('{"step": 1, "score": null, "files": {"tokenizer.json": {"blake2b": "0"}}}')
    with pytest.raises(UserError, match=r"step-000001 is damaged, .*tokenizer\.json is not what complete\.json says"):
        served("big", Client(Endpoint(server.url, "--server", patience_s=1.0)), workers=2, tokenizer=str(folder))


# ---- an analysis whose server dies


def kill_half_way(server: Server, command: Command) -> None:
    """Kill a server that gives so many answers only, when it has given them; the command then ends in one sentence."""
    wait_for(lambda: server.held or command.poll(), "a server that is held", timeout_s=600)
    assert server.held, command.err
    server.kill()
    command.refused("does not answer (")


def analyse(server: Server, out: Path) -> Command:
    return start(
        "analyze", "big-model", "--server", server.url, "--server-workers", "4", "--patience", "1", "--questions",
        "arithmetic", "--limit", "8", "--templates", "no", "question_answer", "--answer-format", "last_number",
        "--temperatures", "0.5", "1.0", "--samples", "4", "--judge", server.url, "--judge-model", "judge", "--out", out,
    )  # fmt: skip


@pytest.mark.slow
def test_a_killed_server_stops_the_analysis_in_one_sentence_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    server = serve(tmp_path, answers=50)
    out = tmp_path / "analysis"
    command = analyse(server, out)
    kill_half_way(server, command)
    assert "give the same command: nothing that it has answered is asked twice." in command.err
    before = len(server.answered)
    server.restart()
    said = analyse(server, out).done()
    answered = [json.dumps([r["path"], r["body"]], sort_keys=True) for r in server.answered if r["status"] == 200]
    repeated = [body for body, times in Counter(answered).items() if times > 1]
    assert len(answered) > before
    assert repeated == []
    server.kill()
    card = json.loads((out / "card.json").read_text())
    assert card["judge"] == "LLM judge judge"
    assert card["agreements"]["reflection"]["judged"] == 32
    assert 0 < card["agreements"]["answering"]["judged"] <= 8
    assert (out / "card.md").read_text().count("Cohen's kappa") == 2
    reflection = json.loads((out / "reflection.json").read_text())
    assert reflection["bill"]["prompt_tokens"] > 0
    at_one = reflection["temperatures"][1]
    assert at_one["agreement"]["second"].startswith("rule-based judge")
    assert at_one["counts"]["judge"]["responses"] == at_one["counts"]["cross"]["responses"]  # it judges by the word
    assert "Cohen's kappa" in (out / "reflection.md").read_text()
    assert "answered from disk" in said
    analyse(server, out).done()  # the server is away, and all is there


SMOLLM2 = Path(__file__).resolve().parents[1] / "models/SmolLM2-135M-Instruct"


@pytest.mark.slow
def test_a_real_model_behind_a_server_that_dies_is_analysed_to_the_end(tmp_path: Path) -> None:
    """SmolLM2-135M-Instruct where scripts/convert_smollm2.py has made its folder, else the taught model."""
    model = SMOLLM2 if SMOLLM2.is_dir() else taught_model()
    # Of 4 questions under 2 templates, 8 are greedy answers: the ninth is the first of those that are sampled.
    server, out = serve(tmp_path, model=str(model), answers=9), tmp_path / "analysis"
    common = ("--questions", "arithmetic", "--limit", "4", "--templates", "no", "question_answer", "--answer-format",
              "last_number", "--temperatures", "1.0", "--samples", "4", "--max-new-tokens", "12")  # fmt: skip
    words = (
        "analyze",
        "real",
        "--server",
        server.url,
        "--server-workers",
        "2",
        "--patience",
        "1",
        *common,
        "--out",
        out,
    )
    kill_half_way(server, start(*words))
    server.restart(model=str(model))
    start(*words).done()
    server.kill()
    answered = [json.dumps([r["path"], r["body"]], sort_keys=True) for r in server.answered if r["status"] == 200]
    assert [body for body, times in Counter(answered).items() if times > 1] == []
    local = tmp_path / "local"
    start("analyze", model, *common, "--out", local).done()
    greedy = [sorted((folder / "responses").glob("*-t0-*/arithmetic.parquet")) for folder in (out, local)]
    assert len(greedy[0]) == len(greedy[1]) == 2
    for ours, theirs in zip(*greedy, strict=True):
        both = [
            pq.read_table(path, columns=["response", "response_ids", "outcome"]).to_pylist() for path in (ours, theirs)
        ]
        assert both[0] == both[1]


def test_evaluate_asks_a_server_as_well(server: Server, tmp_path: Path) -> None:
    """The same command, another engine: accuracy, responses kept, and nothing asked twice."""
    words = ["evaluate", "big", "-b", "arithmetic", "--limit", "6", "--template", "no", "--max-new-tokens", "32"]
    words += ["--answer-format", "last_number", "--server", server.url, "--out", str(tmp_path / "out")]
    start(*words).done()
    asked = [each["path"] for each in server.answered].count("/v1/completions")
    assert asked == 6
    rows = pq.read_table(tmp_path / "out" / "arithmetic.parquet").to_pylist()
    assert len(rows) == 6
    start(*words).done()
    assert [each["path"] for each in server.answered].count("/v1/completions") == asked
    away = start(*(word if word != server.url else "nowhere" for word in words[:-1]), str(tmp_path / "other"))
    away.refused("--server nowhere is not a valid address")
