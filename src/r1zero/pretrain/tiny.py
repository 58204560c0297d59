"""Pretraining a causal language model on question–answer documents: where base models come from.

Each document is a row of its own, ending in EOS. The loss is the mean over the tokens of the answers: a generated
question's digits are noise, and learning to predict noise is most of the work otherwise.

Legend: B documents, T columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

IGNORED = -100  # a target that takes no part in the loss


def pretrain(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    documents: Iterator[tuple[str, str]],
    *,
    steps: int,
    batch: int,
    learning_rate: float,
    watch: Callable[[int, float], None] = lambda step, loss: None,
) -> float:
    """Train `model` in place on `steps` batches of `batch` (question, answer) pairs.

    Returns the last loss, in nats a token.

    AdamW, linear warm-up over a tenth of the steps, then linear decay to a tenth of `learning_rate`.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.01)
    warmup = max(1, steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / warmup, 1.0 - 0.9 * max(0, step - warmup) / max(1, steps - warmup))
    )
    model.train()
    loss = torch.tensor(float("nan"))
    for step in range(steps):
        inputs_BT, targets_BT = encode_documents(tokenizer, [next(documents) for _ in range(batch)])
        logits_BTV = model(input_ids=inputs_BT.to(model.device)).logits
        loss = functional.cross_entropy(
            logits_BTV.flatten(0, 1), targets_BT.flatten().to(model.device), ignore_index=IGNORED
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        watch(step + 1, loss.item())
    return loss.item()


def encode_documents(
    tokenizer: PreTrainedTokenizerBase, documents: list[tuple[str, str]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (inputs_BT, targets_BT): documents with EOS, right-padded; only answers and their EOS are targets."""
    eos = tokenizer.convert_tokens_to_ids(str(tokenizer.eos_token))
    questions = [tokenizer.encode(question, add_special_tokens=False) for question, _ in documents]
    answers = [[*tokenizer.encode(answer, add_special_tokens=False), eos] for _, answer in documents]
    width = max(len(q) + len(a) for q, a in zip(questions, answers, strict=True)) - 1
    inputs = torch.zeros(len(documents), width, dtype=torch.int64)
    targets = torch.full((len(documents), width), IGNORED)
    for i, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        row = torch.tensor([*question, *answer])
        inputs[i, : len(row) - 1] = row[:-1]
        targets[i, len(question) - 1 : len(row) - 1] = row[len(question) :]
    return inputs, targets
