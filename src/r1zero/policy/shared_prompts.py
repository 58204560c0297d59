"""Shared prompts: the prompt of a group's G responses goes through the model once, forward and backward.

The prompts' keys and values are computed in a pass of their own and handed to the responses' passes as a cache; the
gradients that the responses leave on them then go back through the prompts in one more pass. The sum is the plain
gradient: for every response the same numbers flow through the same operations, only added up earlier.

Legend: P prompts, B rows of a micro-batch, T its columns, N its response tokens, H hidden size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from r1zero.policy.batch import MicroBatch, Trajectory, micro_batches
from r1zero.policy.device import to_device
from r1zero.policy.forward import backbone, hidden_states, with_cache
from r1zero.policy.load import Policy


class SharedPrompts:
    """The distinct prompts of `trajectories[i] for i in indices`, run through the model once."""

    def __init__(self, policy: Policy, trajectories: Sequence[Trajectory], indices: Sequence[int]):
        prompts = list(dict.fromkeys(trajectories[i].prompt_ids for i in indices))
        row = {prompt: p for p, prompt in enumerate(prompts)}
        self.policy, self.row_of = policy, {i: row[trajectories[i].prompt_ids] for i in indices}
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
        self.lengths_P = to_device(torch.tensor([len(prompt) for prompt in prompts]), policy.device)
        columns = torch.arange(width, device=policy.device)
        self.mask_PW = (columns >= width - self.lengths_P[:, None]).long()
        cache = DynamicCache()  # without a config: plain layers, which keep every column
        with policy.autocast():
            states_PWH = hidden_states(
                policy.model,
                to_device(ids, policy.device),
                attention_mask=self.mask_PW,
                position_ids=(self.mask_PW.cumsum(1) - 1).clamp(min=0),
                **with_cache(backbone(policy.model), cache),
            )
        layers = [layer for layer in cache.layers if isinstance(layer, DynamicLayer)]
        keys_values = [tensor for layer in layers for tensor in (layer.keys, layer.values) if tensor is not None]
        self.outputs = [states_PWH[:, -1], *keys_values]
        # the responses' passes see leaves, so that each can be done and freed by itself
        self.leaves = [tensor.detach().requires_grad_(tensor.requires_grad) for tensor in self.outputs]

    def hidden(self, batch: MicroBatch) -> Tensor:
        """Return the hidden state that predicts each response token, [N, H], for a batch made by
        `shared_micro_batches`.
        """
        rows_B = to_device(torch.tensor([self.row_of[i] for i in batch.responses]), self.policy.device)
        last_PH, *keys_values = self.leaves
        cache = DynamicCache()
        for layer in range(len(keys_values) // 2):
            keys, values = keys_values[2 * layer : 2 * layer + 2]
            cache.update(keys.index_select(0, rows_B), values.index_select(0, rows_B), layer)
        responses_BT = batch.input_ids_BT[:, 1:]  # column 0 stands for the prompt
        with self.policy.autocast():
            states_BTH = hidden_states(
                self.policy.model,
                responses_BT,
                attention_mask=torch.cat([self.mask_PW[rows_B], torch.ones_like(responses_BT)], dim=1),
                position_ids=batch.positions_BT[:, :-1] + self.lengths_P[rows_B][:, None],
                **with_cache(backbone(self.policy.model), cache),
            )
        hidden_BTH = torch.cat([last_PH.index_select(0, rows_B)[:, None], states_BTH], dim=1)
        return hidden_BTH.flatten(0, 1)[batch.predictor_N]

    def backward(self) -> None:
        """Carry what the responses left on the prompts back to the parameters."""
        pairs = [(o, leaf.grad) for o, leaf in zip(self.outputs, self.leaves, strict=True) if leaf.grad is not None]
        if pairs:
            torch.autograd.backward([output for output, _ in pairs], [grad for _, grad in pairs])


def shared_micro_batches(
    policy: Policy, trajectories: Sequence[Trajectory], indices: Sequence[int], budget: int
) -> Iterator[tuple[MicroBatch, SharedPrompts]]:
    """Yield micro-batches of responses alone, with their prompts: as many prompts at a time as the budget holds.

    Whoever iterates must be done with a micro-batch's backward pass before taking the next: the prompts' own backward
    pass is run when their last micro-batch has been used.
    """
    bare = [replace(trajectory, prompt_ids=(0,)) for trajectory in trajectories]
    for group in _groups(trajectories, indices, budget):
        prompts = SharedPrompts(policy, trajectories, group)
        for batch in micro_batches(bare, group, budget, packed=False, device=policy.device):
            yield batch, prompts
        if torch.is_grad_enabled():
            prompts.backward()


def _groups(trajectories: Sequence[Trajectory], indices: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Yield indices by prompt, longest prompts first, in lots whose padded prompts stay within the budget."""
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for i in indices:
        by_prompt.setdefault(trajectories[i].prompt_ids, []).append(i)
    lot: list[tuple[int, ...]] = []
    for prompt in sorted(by_prompt, key=lambda prompt: -len(prompt)):
        if lot and (len(lot) + 1) * len(lot[0]) > budget:
            yield [i for chosen in lot for i in by_prompt[chosen]]
            lot = []
        lot.append(prompt)
    if lot:
        yield [i for chosen in lot for i in by_prompt[chosen]]
