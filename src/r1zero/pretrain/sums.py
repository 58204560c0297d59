"""The base model of `recipes/arithmetic.toml`: tiny, and taught two-digit sums and differences.

It has read three kinds of answers: worked ones, which are right; quick guesses, which mostly are not; and text that
runs on to further questions. Pretraining teaches it to write all three in their proportions; reinforcement learning
has to find out, from rewards alone, which kind pays.
"""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from r1zero.errors import UserError
from r1zero.policy.device import set_threads
from r1zero.policy.tiny import character_tokenizer, tiny_model
from r1zero.pretrain.tiny import pretrain
from r1zero.questions.arithmetic import Problem, arithmetic
from r1zero.runs.files import writing

LEVEL = 3
PRETRAIN_STEPS = 1300
_BATCH = 32
_WORKED_ONLY = 0.8  # share of pretraining on worked answers alone: the sums must be learnt before they are diluted


def answer(problem: Problem, kind: str, rng: random.Random) -> str:
    """Return one answer to a two-digit sum or difference, of the kind `worked`, `guess` or `ramble`."""
    (a, b), op = problem.terms, problem.ops[0]
    if kind == "worked":
        return f" {worked_steps(a, op, b)} \\boxed{{{problem.answer}}}"
    if kind == "guess":
        return f" \\boxed{{{rng.randint(0, 198 if op == '+' else 89)}}}"
    further = (f"{rng.randint(10, 99)}{rng.choice('+-')}{rng.randint(10, 99)}=" for _ in range(rng.randint(1, 5)))
    return " " + " ".join(further)


def worked_steps(a: int, op: str, b: int) -> str:
    """Return column by column: 37+48 is "7+8=15 3+4+1=8", 37-18 is "17-8=9 3-1-1=1"."""
    (tens_a, ones_a), (tens_b, ones_b) = divmod(a, 10), divmod(b, 10)
    if op == "+":
        carry = (ones_a + ones_b) // 10
        return f"{ones_a}+{ones_b}={ones_a + ones_b} {tens_a}+{tens_b}+{carry}={tens_a + tens_b + carry}"
    borrow = int(ones_a < ones_b)
    top = ones_a + 10 * borrow
    return f"{top}-{ones_b}={top - ones_b} {tens_a}-{tens_b}-{borrow}={tens_a - tens_b - borrow}"


def corpus(seed: int, documents: int) -> Iterator[tuple[str, str]]:
    """Yield endless (question, answer) pairs; of the first `documents`, the first share is worked answers only."""
    questions = arithmetic(level=LEVEL, style="bare", seed=seed + 1)
    rng = random.Random(seed)
    for index in itertools.count():
        mixed = index >= _WORKED_ONLY * documents
        kind = rng.choices(("worked", "guess", "ramble"), (2, 3, 1))[0] if mixed else "worked"
        yield questions[index].text, answer(questions.problem(index), kind, rng)


def make_base_model(
    folder: Path,
    seed: int,
    steps: int = PRETRAIN_STEPS,
    watch: Callable[[int, float], None] = lambda step, loss: None,
) -> float:
    """Pretrain the model and save it as an ordinary model folder, whole or not at all; `watch` sees step and loss.

    Returns the last loss, in nats a token.

    Raises:
        UserError: there is something already, or it cannot be written.
    """
    if folder.exists():
        raise UserError(f"{folder} exists already; remove it, or give another folder.")
    set_threads(1)  # all that so small a model can use; and the same bits whatever else the machine does
    aside = folder.with_name(f".{folder.name}.tmp")
    with writing(folder):
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)  # what cannot be written is better told now than after pretraining
    tokenizer = character_tokenizer()
    model = tiny_model(tokenizer, width=64, layers=2, heads=4, seed=seed)
    documents = corpus(seed, steps * _BATCH)
    loss = pretrain(model, tokenizer, documents, steps=steps, batch=_BATCH, learning_rate=4e-3, watch=watch)
    with writing(folder):
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        aside.rename(folder)
    return loss
