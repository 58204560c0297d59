"""A task small enough to list every response: strings over two letters and a terminator, with a softmax policy.

Each of P questions has a gold letter. A response is written letter by letter; after every `stride` letters, and at the
start, the terminator ■ is offered as well. It is right when it ended with ■ and its last letter is the gold one; one
cut off at the longest length is wrong. So there are short and long right answers, and short and long wrong ones. The
policy has a logit for every (question, prefix, token): all it can do is listed, and J and ∇J are exact.

Legend: P questions, S strings (responses), T positions of the longest, X prefixes, V tokens, K classes of responses
that no objective tells apart: equal reward and equal length.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import log

import torch
from jaxtyping import Float, Int
from torch import Tensor

STOP = 2
"""The terminator; 0 and 1 are the letters a and b."""


@dataclass(frozen=True)
class Mdp:
    """The task. `gold` holds a letter for each question; responses have 1, 1 + stride, … 1 + rounds·stride tokens."""

    gold: tuple[int, ...] = (0, 1)
    rounds: int = 2
    stride: int = 3

    @cached_property
    def strings(self) -> tuple[tuple[int, ...], ...]:
        """Every response, shortest first; the last ones are cut off before their terminator."""
        sizes = [self.stride * round_ for round_ in range(self.rounds + 1)]
        ended = [(*letters, STOP) for size in sizes for letters in product((0, 1), repeat=size)]
        return (*ended, *product((0, 1), repeat=sizes[-1] + 1))

    @cached_property
    def prefixes(self) -> dict[tuple[int, ...], int]:
        """Every prefix after which there is something to choose, numbered."""
        return {p: x for x, p in enumerate(dict.fromkeys(s[:t] for s in self.strings for t in range(len(s))))}

    @cached_property
    def lengths(self) -> Int[Tensor, " S"]:
        """|o|, terminator included."""
        return torch.tensor([len(s) for s in self.strings])

    @cached_property
    def rewards(self) -> Float[Tensor, "P S"]:
        """1 for a right response."""
        right = [[len(s) > 1 and s[-1] == STOP and s[-2] == gold for s in self.strings] for gold in self.gold]
        return torch.tensor(right, dtype=torch.float64)

    @cached_property
    def classes(self) -> tuple[tuple[float, int], ...]:
        """(reward, length) of each class, shortest first."""
        lengths = self.lengths.tolist()
        pairs = {(r, n) for row in self.rewards.tolist() for r, n in zip(row, lengths, strict=True)}
        return tuple(sorted(pairs, key=lambda pair: (pair[1], pair[0])))

    @cached_property
    def class_of(self) -> Int[Tensor, "P S"]:
        """The class of each response."""
        index = {pair: k for k, pair in enumerate(self.classes)}
        lengths = self.lengths.tolist()
        return torch.tensor([[index[r, n] for r, n in zip(row, lengths, strict=True)] for row in self.rewards.tolist()])

    @cached_property
    def _steps(self) -> tuple[Tensor, Tensor, Tensor]:
        """Prefix and token at each position, and whether there is one: [S, T] each."""
        width = int(self.lengths.max())
        pad = [(0, 0, False)]
        rows = [
            [(self.prefixes[s[:t]], s[t], True) for t in range(len(s))] + pad * (width - len(s)) for s in self.strings
        ]
        prefix_ST, token_ST, mask_ST = torch.tensor(rows).permute(2, 0, 1)
        return prefix_ST, token_ST, mask_ST.bool()

    @property
    def mask(self) -> Tensor:
        """Where a response has a token."""
        return self._steps[2]

    @cached_property
    def offered(self) -> Tensor:
        """Which tokens may follow a prefix."""
        offered = torch.zeros(len(self.prefixes), 3, dtype=torch.bool)
        prefix_ST, token_ST, mask_ST = self._steps
        offered[prefix_ST[mask_ST], token_ST[mask_ST]] = True
        return offered

    def logprobs(self, logits_PXV: Float[Tensor, "P X V"]) -> Float[Tensor, "P S T"]:
        """Compute log π of every token of every response; 0 where there is none."""
        prefix_ST, token_ST, mask_ST = self._steps
        table_PXV = logits_PXV.masked_fill(~self.offered, -torch.inf).log_softmax(dim=-1)
        return torch.where(mask_ST, table_PXV[:, prefix_ST, token_ST], 0.0)

    def probabilities(self, logits_PXV: Float[Tensor, "P X V"]) -> Float[Tensor, "P S"]:
        """Compute π(o | q) of every response."""
        return self.logprobs(logits_PXV).sum(dim=-1).exp()

    def class_probabilities(self, logits_PXV: Float[Tensor, "P X V"]) -> Float[Tensor, "P K"]:
        """Compute probability of each class."""
        zeros_PK = logits_PXV.new_zeros(len(self.gold), len(self.classes))
        return zeros_PK.scatter_add(1, self.class_of, self.probabilities(logits_PXV))

    def expected_reward(self, logits_PXV: Float[Tensor, "P X V"]) -> Float[Tensor, ""]:
        """Compute J(θ): the mean over questions of the probability of a right response."""
        return (self.probabilities(logits_PXV) * self.rewards).sum(dim=1).mean()

    def true_gradient(self, logits_PXV: Float[Tensor, "P X V"]) -> Float[Tensor, "P X V"]:
        """Compute ∇J(θ)."""
        leaf = logits_PXV.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.expected_reward(leaf), leaf)
        return gradient

    def mean_length(self, logits_PXV: Float[Tensor, "P X V"], reward: float) -> Float[Tensor, ""]:
        """Compute E[|o| | r = reward], over questions as they come."""
        mass_PS = self.probabilities(logits_PXV) * (self.rewards == reward)
        return (mass_PS * self.lengths).sum() / mass_PS.sum()

    def policy(self, seed: int = 0) -> Float[Tensor, "P X V"]:
        """Return a policy to audit at: it mostly knows the first question's letter, and hardly the last one's."""
        generator = torch.Generator().manual_seed(seed)
        logits_PXV = 0.3 * torch.randn(len(self.gold), len(self.prefixes), 3, generator=generator, dtype=torch.float64)
        for p, gold in enumerate(self.gold):
            knows = 0.85 - 0.7 * p / max(1, len(self.gold) - 1)
            for prefix, x in self.prefixes.items():
                stops = 0.25 if not prefix else 0.8 if len(prefix) == self.stride * self.rounds else 0.35
                logits_PXV[p, x, STOP] += log(stops)
                logits_PXV[p, x, gold] += log((1 - stops) * knows)
                logits_PXV[p, x, 1 - gold] += log((1 - stops) * (1 - knows))
        return logits_PXV


def ahead(mdp: Mdp, logits_PXV: Float[Tensor, "P X V"], steps: int = 4, size: float = 0.1) -> Float[Tensor, "P X V"]:
    """Return a policy some optimiser steps further up ∇J: what an objective meets at the later updates of a rollout
    batch.
    """
    for _ in range(steps):
        gradient = mdp.true_gradient(logits_PXV)
        logits_PXV = logits_PXV + size * gradient / gradient.norm()
    return logits_PXV
