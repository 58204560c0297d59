"""The base model of recipes/arithmetic.toml: what it reads, its script, and once the whole recipe."""

import random
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from r1zero.config import Recipe
from r1zero.config.load import packaged_recipe
from r1zero.errors import UserError
from r1zero.pretrain.sums import answer, corpus, make_base_model, worked_steps
from r1zero.questions.arithmetic import Problem
from r1zero.training.train import train
from r1zero.types import AnswerFormat
from r1zero.verify import Verifier
from regime import SEED


def sums() -> list[Problem]:
    pairs = [(a, b) for a in range(10, 100) for b in range(10, 100)]
    chosen = random.Random(0).sample(pairs, 300)
    return [Problem(3, pair, ("+",)) for pair in chosen] + [
        Problem(3, (max(pair), min(pair)), ("-",)) for pair in chosen
    ]


def test_worked_steps_by_hand() -> None:
    assert worked_steps(37, "+", 48) == "7+8=15 3+4+1=8"
    assert worked_steps(37, "-", 18) == "17-8=9 3-1-1=1"
    assert worked_steps(50, "+", 49) == "0+9=9 5+4+0=9"
    assert worked_steps(95, "-", 20) == "5-0=5 9-2-0=7"


def test_every_step_of_a_worked_answer_is_true_and_the_answer_is_right() -> None:
    problems = sums()
    texts = [answer(problem, "worked", random.Random(0)) for problem in problems]
    for text in texts:
        for step in text.split("\\boxed")[0].split():
            left, _, right = step.partition("=")
            assert eval(left) == int(right), step  # digits and signs, made above
    with Verifier(workers=1, timeout_s=60) as verifier:
        items = [(text, (str(p.answer),), AnswerFormat.BOXED) for text, p in zip(texts, problems, strict=True)]
        assert all(verdict.right for verdict in verifier.verify(items))


def test_guesses_are_seldom_right_and_rambling_never_answers() -> None:
    rng = random.Random(0)
    problems = sums()
    guesses = [answer(problem, "guess", rng) == f" \\boxed{{{problem.answer}}}" for problem in problems]
    assert 0 <= sum(guesses) < 0.05 * len(guesses)
    assert not any("boxed" in answer(problem, "ramble", rng) for problem in problems)


def test_the_corpus_teaches_first_and_mixes_later() -> None:
    documents = corpus(seed=0, documents=1000)
    read = [next(documents)[1] for _ in range(1000)]
    worked = [" \\boxed" not in text[:8] and "boxed" in text for text in read]
    assert all(worked[:800])
    assert 0.2 < sum(worked[800:]) / 200 < 0.5  # 2 of 6
    again = corpus(seed=0, documents=1000)
    assert [next(again)[1] for _ in range(1000)] == read


def test_the_base_model_is_an_ordinary_folder_made_whole_or_not_at_all(tmp_path: Path) -> None:
    base = tmp_path / "models" / "base"
    (tmp_path / "models" / ".base.tmp").mkdir(parents=True)
    (tmp_path / "models" / ".base.tmp" / "torn").write_text("{")
    threads = torch.get_num_threads()
    make_base_model(base, 0, steps=2)
    torch.set_num_threads(threads)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base)
    ids = tokenizer("37+48=", return_tensors="pt").input_ids
    assert ids.shape == (1, 6)
    assert model(ids).logits.shape == (1, 6, len(tokenizer))
    assert tokenizer.decode(ids[0]) == "37+48="
    assert not (base / "torn").exists()
    assert [path.name for path in base.parent.iterdir()] == ["base"]
    with pytest.raises(UserError, match="exists already; remove it, or give another folder"):
        make_base_model(base, 0, steps=2)


# ---- the whole of it


@pytest.mark.slow
@pytest.mark.long
def test_it_learns_by_its_recipe(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    make_base_model(tmp_path / "base", SEED)
    changes = {"model.path": str(tmp_path / "base"), "train.seed": SEED}
    run = train(packaged_recipe("arithmetic", Recipe, changes), tmp_path / "run")
    torch.set_num_threads(threads)
    rewards = [row["rollout/reward"] for row in run.read("metrics")]
    assert len(rewards) == 100
    assert sum(rewards[:3]) / 3 < 0.4
    assert sum(rewards[-10:]) / 10 > 0.7
    scores = [row["eval/average"] for row in run.read("evaluations")]
    assert scores[-1] > 0.7  # greedy, on sums that training never saw
