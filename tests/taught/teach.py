"""Make the weights of tests/taught: tiny models that have read one-digit sums, half of whose answers are wrong.

    .venv/bin/python tests/taught/teach.py

They are kept, in bfloat16, rather than taught by every test session: what a model so small says hangs on the last bits
of its training, which another processor rounds otherwise. tests/test_taught.py holds what tests rely on.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file

from r1zero.policy.tiny import character_tokenizer, tiny_model
from r1zero.pretrain import pretrain
from r1zero.questions.arithmetic import arithmetic

SHAPES = ((32, 4, 1e-2), (64, 2, 5e-3))
"""(width, heads, learning rate): the second has heads of 32, which vLLM's kernels need."""


def sums(seed: int) -> Iterator[tuple[str, str]]:
    """The tiny recipe's sixteen sums, right every other time; one answer in five runs on past the token budget."""
    questions, rng = arithmetic(level=1, style="bare", count=16), random.Random(seed)
    while True:
        index = rng.randrange(16)
        value = questions.problem(index).answer + rng.choice((0, 0, 1, 2))
        yield questions[index].text, f" {value}" + (" +1+1+1+1+1+1+1+1" if rng.random() < 0.2 else "")


def teach(width: int, heads: int, learning_rate: float, folder: Path) -> None:
    """Teach one model and keep its weights."""
    torch.set_num_threads(1)
    tokenizer = character_tokenizer()
    model = tiny_model(tokenizer, width=width, layers=2, heads=heads)
    loss = pretrain(model, tokenizer, sums(0), steps=300, batch=16, learning_rate=learning_rate)
    weights = {name: parameter.detach().to(torch.bfloat16) for name, parameter in model.named_parameters()}
    save_file(weights, folder / f"taught-{width}-{heads}.safetensors")
    print(f"taught-{width}-{heads}: loss {loss:.3f} nats a token")


if __name__ == "__main__":
    for shape in SHAPES:
        teach(*shape, Path(__file__).resolve().parent)
