"""Whether a model computes a layout of the learner's as it computes each response alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch

from r1zero.errors import UserError
from r1zero.policy.batch import MicroBatch, Trajectory, micro_batches
from r1zero.policy.load import Policy
from r1zero.policy.logprobs import response_logprobs
from r1zero.policy.probe import Told, objection
from r1zero.policy.shared_prompts import SharedPrompts, shared_micro_batches

Laid = tuple[MicroBatch, SharedPrompts | None]


def passes(
    policy: Policy, trajectories: Sequence[Trajectory], indices: Sequence[int], layout: str, budget: int
) -> Iterator[Laid]:
    """Yield micro-batches of `trajectories[i] for i in indices`, of at most `budget` tokens, in a layout."""
    if layout == "shared":
        yield from shared_micro_batches(policy, trajectories, indices, budget)
        return
    for batch in micro_batches(trajectories, indices, budget, packed=layout == "packed", device=policy.device):
        yield batch, None


def check_layout(policy: Policy, layout: str) -> None:
    """Try a few short responses in a layout, against the model's own forward pass of each alone.

    Raises:
        UserError: the layout is not for this model, or the model not for training in company at all.
    """
    flash = "flash" in str(policy.model.config._attn_implementation)
    if flash and policy.device.type == "cpu":  # a rank of a cluster, before its model goes to its GPU
        return
    plain = policy if flash else replace(policy, autocast=nullcontext)  # rounding would hide what is tried
    policy.model.eval()
    said = objection(policy.model, lambda: _tried(plain, layout), plain.autocast)
    if not said:
        return
    kind = policy.model.config.model_type
    if layout == "padded":
        raise UserError(
            f"model.path names a {kind} model that cannot be trained on several responses side by side ({said}); "
            "choose another architecture."
        )
    raise UserError(
        f'learner.layout = "{layout}" is not for the {kind} model at model.path ({said}); write "padded", the default.'
    )


@torch.no_grad()
def _tried(policy: Policy, layout: str) -> Iterator[Told]:
    """Compute log-probs of a few responses: of several lengths side by side, two of them to one prompt."""
    ids = tuple(i % policy.model.config.get_text_config().vocab_size for i in range(3, 17))
    pairs = [(ids[:3], ids[3:12]), (ids[:5], ids[9:]), (ids[:5], ids[6:9]), (ids[4:12], ids[:4])]
    rows = [Trajectory(prompt, response, (0.0,) * len(response), 1.0) for prompt, response in pairs]
    for batch, prompts in passes(policy, rows, range(len(rows)), layout, 1 << 10):
        found, _ = response_logprobs(policy, batch, 1.0, prompts=prompts)
        for i, logprobs in zip(batch.responses, found.split([rows[i].length for i in batch.responses]), strict=True):
            yield rows[i].prompt_ids, rows[i].response_ids, logprobs
