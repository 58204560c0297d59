"""Embeddings beyond the tokenizer: ids that a model can say and no text has, drawn, trained on, and counted."""

import json
import math
from pathlib import Path

import pytest
import torch

from helpers import TOKENIZER
from r1zero.api.ask import evaluate
from r1zero.policy.load import load_policy
from r1zero.policy.tiny import tiny_model
from r1zero.policy.vocabulary import textless_ids
from r1zero.sampling.embedded.draw import BLOCK, drawing
from r1zero.training.train import train
from tiny_runs import random_model, tiny_recipe, trained

KNOWN = len(TOKENIZER)
PADDED = KNOWN + 40


@pytest.fixture(scope="module")
def padded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model that says an id without a text about every second token."""
    folder = tmp_path_factory.mktemp("padded")
    model = tiny_model(TOKENIZER, width=32, layers=2)
    model.resize_token_embeddings(PADDED, mean_resizing=False)
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()  # every id is as likely as any other
    model.save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return folder


def test_ids_without_a_text_are_those_between_tokenizer_and_embeddings(padded: Path) -> None:
    policy = load_policy(str(padded), device="cpu")
    assert textless_ids(policy.tokenizer, policy.model) == set(range(KNOWN, PADDED))
    assert all(policy.tokenizer.decode([i]) == "" for i in range(KNOWN, PADDED))


def test_a_run_counts_responses_that_hold_them(padded: Path, tmp_path: Path) -> None:
    run = train(tiny_recipe({"train.steps": 2, "learner.updates": 1}, padded), tmp_path / "run")
    for line in run.read("metrics"):
        rows = run.responses(line["step"])
        held = [any(i >= KNOWN for i in row["response_ids"]) for row in rows]
        assert line["rollout/textless"] == sum(held) / len(held) > 0
        if line["step"] == 1:  # one distribution, over all ids, is drawn from, trained on and measured
            assert line["rollout/surprisal"] == pytest.approx(math.log(PADDED), abs=1e-4)
            assert line.get("learn/entropy", math.log(PADDED)) == pytest.approx(math.log(PADDED), abs=1e-4)
        assert line.get("learn/logprob_gap", 0.0) < 1e-4


def test_a_run_of_before_the_blocks_says_that_it_goes_on_with_them(tmp_path: Path) -> None:
    model = tiny_model(TOKENIZER, width=32, layers=2)
    model.resize_token_embeddings(BLOCK + 1, mean_resizing=False)
    model.save_pretrained(tmp_path / "model")
    TOKENIZER.save_pretrained(tmp_path / "model")
    few = {"train.steps": 1, "checkpoint.every": 1, "evaluation.benchmarks": []}
    run = train(tiny_recipe(few, tmp_path / "model"), tmp_path / "run")
    assert run.facts["drawing"] == drawing(BLOCK + 1)
    path = tmp_path / "run" / "run.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({name: fact for name, fact in facts.items() if name != "drawing"}))
    for steps in (2, 3):
        run = train(tiny_recipe(few | {"train.steps": steps}, tmp_path / "model"), tmp_path / "run", resume=True)
    (note,) = (row for row in run.read("notes") if "drawing tokens" in row["note"])  # of the first time alone
    assert (note["step"], run.facts["drawing"]) == (1, drawing(BLOCK + 1))
    assert trained({"train.steps": 2}).facts["drawing"] is None


def test_a_model_without_padding_has_no_such_number() -> None:
    policy = load_policy(str(random_model()), device="cpu")
    assert not textless_ids(policy.tokenizer, policy.model)
    assert all("rollout/textless" not in line for line in trained({"train.steps": 2}).read("metrics"))


def test_an_evaluation_tells_how_many_there_were(padded: Path, tmp_path: Path) -> None:
    options = {"level": 1, "style": "bare"}
    words = {"temperature": 1.0, "max_new_tokens": 16, "out": tmp_path}
    for _ in ("asked", "read again"):
        (result,) = evaluate(str(padded), [{"name": "arithmetic", "limit": 8, "options": options}], "no", **words)
        (note,) = [note for note in result.notes if "no text" in note]
        assert "of 8 responses hold token ids that have no text" in note
        assert note in json.loads((tmp_path / "results.json").read_text())[0]["results"][0]["notes"]
        assert note in (tmp_path / "results.md").read_text()
