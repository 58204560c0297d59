"""The rows of a batch that is being decoded: whose they are, and what each has drawn so far.

Legend: S rows there is room for, n active rows, L the largest token budget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from r1zero.errors import UserError
from r1zero.sampling.embedded.draw import draw
from r1zero.sampling.embedded.stops import StopRules
from r1zero.sampling.noise import row_key, uniforms
from r1zero.sampling.protocol import Request, Sampled, SamplingParams
from r1zero.types import Completion, Stop


class Rows:
    """Rows enter at the end, draw a token at a time, and leave when their response ends."""

    def __init__(self, room: int, rules: StopRules, params: SamplingParams, seed: tuple[int, int]):
        self.rules, self.params, self.seed = rules, params, seed
        self.device = rules.is_eos_V.device
        self.ids: list[tuple[int, int]] = []  # (request, sample) of each active row
        self.keys_S, self.count_S, self.last_S, self.budget_S = torch.zeros(
            4, room, dtype=torch.int64, device=self.device
        ).unbind()
        most = params.budget(0)
        self.tokens_SL = torch.zeros(room, most, dtype=torch.int64, device=self.device)
        self.logprobs_SL = torch.zeros(room, most, device=self.device)
        self.states = self.keys_S, self.count_S, self.last_S, self.budget_S, self.tokens_SL, self.logprobs_SL

    @property
    def active(self) -> int:
        """How many rows are at work: the first so many."""
        return len(self.ids)

    def enter(self, requests: Sequence[Request], ids: Sequence[tuple[int, int]]) -> slice:
        """Add rows that have drawn nothing yet; where they are."""
        rows = slice(self.active, self.active + len(ids))
        self.ids += ids
        keys = [row_key(*self.seed, requests[request].key, sample) for request, sample in ids]
        budgets = [self.params.budget(len(requests[request].prompt_ids)) for request, _ in ids]
        self.keys_S[rows] = torch.tensor(keys, device=self.device)
        self.budget_S[rows] = torch.tensor(budgets, device=self.device)
        self.count_S[rows] = 0
        return rows

    def draw(self, rows: slice, logits: Tensor) -> None:
        """Draw each row's next token from its logits [n, V]."""
        count = self.count_S[rows]
        tokens, logprobs = draw(logits, uniforms(self.keys_S[rows], count), self.params)
        index = torch.arange(rows.start, rows.stop, device=self.device)
        self.tokens_SL[index, count] = tokens
        self.logprobs_SL[index, count] = logprobs
        self.last_S[rows] = tokens
        self.count_S[rows] = count + 1

    def advance(self, logits: Tensor, alive: Tensor) -> None:
        """Draw the next token of the first rows, of those that are `alive`; one that certainly ends with it is no more.
        Nothing here waits for the host.
        """
        rows = len(alive)
        count, budget = self.count_S[:rows], self.budget_S[:rows]
        tokens, logprobs = draw(logits, uniforms(self.keys_S[:rows], count), self.params)
        place = count.clamp(max=self.tokens_SL.shape[1] - 1)[:, None]
        for kept, new in ((self.tokens_SL[:rows], tokens), (self.logprobs_SL[:rows], logprobs)):
            kept.scatter_(1, place, torch.where(alive[:, None], new[:, None], kept.gather(1, place)))
        self.last_S[:rows] = torch.where(alive, tokens, self.last_S[:rows])
        count += alive
        alive &= ~(self.rules.is_eos_V[tokens] | (count >= budget))

    def finished_since(self, looked: Tensor, most: int) -> list[tuple[int, Sampled]]:
        """Return the rows that have ended since they had drawn `looked` tokens, in order, with what they drew till
        there; none has drawn more than `most` since.
        """
        n = self.active
        place = looked[:, None] + torch.arange(most, device=self.device)
        new = self.tokens_SL[:n].gather(1, place.clamp(max=self.tokens_SL.shape[1] - 1))
        may_end = self.rules.may_end(new) | (place + 1 >= self.budget_S[:n, None])
        suspects = (may_end & (place < self.count_S[:n, None])).any(1).nonzero()[:, 0].tolist()
        if not suspects:
            return []
        found: list[tuple[int, Sampled]] = []
        states = (each[suspects].tolist() for each in (looked, self.count_S, self.budget_S))
        for row, before, count, budget in zip(suspects, *states, strict=True):
            tokens = self.tokens_SL[row, :count].tolist()
            for end in range(before + 1, count + 1):
                how = self.rules.ended(tokens[:end]) or (self.params.cut(budget) if end >= budget else None)
                if how is not None:
                    request, sample = self.ids[row]
                    found.append((row, Sampled(request, sample, self._completion(row, tokens[:end], how))))
                    break
        return found

    def finished(self) -> list[tuple[int, Sampled]]:
        """Return the rows whose newest token ended them, in order, with what they drew."""
        n = self.active
        full_n = self.count_S[:n] >= self.budget_S[:n]
        suspects = (self.rules.may_end(self.last_S[:n]) | full_n).nonzero()[:, 0].tolist()
        if not suspects:
            return []
        found: list[tuple[int, Sampled]] = []
        counts, budgets = self.count_S[suspects].tolist(), self.budget_S[suspects].tolist()
        for row, count, budget in zip(suspects, counts, budgets, strict=True):
            tokens = self.tokens_SL[row, :count].tolist()
            how = self.rules.ended(tokens) or (self.params.cut(budget) if count >= budget else None)
            if how is not None:
                request, sample = self.ids[row]
                found.append((row, Sampled(request, sample, self._completion(row, tokens, how))))
        return found

    def _completion(self, row: int, tokens: list[int], how: Stop) -> Completion:
        logprobs = tuple(self.logprobs_SL[row, : len(tokens)].tolist())
        if not math.isfinite(sum(logprobs)):
            raise UserError(
                "The policy's logits are not finite, so nothing can be sampled from it: training has diverged, or the "
                "weights of model.path are damaged; go on from an older checkpoint with a lower learner.learning_rate."
            )
        return Completion(tuple(tokens), logprobs, self.rules.text(tokens, how), how)

    def gaps(self, finished: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return rows (source, target) such that the last ones that go on close the gaps of those that end."""
        keep, gone = self.active - len(finished), set(finished)
        targets = [row for row in finished if row < keep]
        return [row for row in range(keep, self.active) if row not in gone], targets

    def release(self, finished: Sequence[int]) -> list[int]:
        """Let rows go; see `gaps`. Returns which row is now at each place."""
        kept = list(range(self.active - len(finished)))
        sources, targets = self.gaps(finished)
        if targets:
            for state in self.states:
                state[targets] = state[sources]
            for source, target in zip(sources, targets, strict=True):
                self.ids[target], kept[target] = self.ids[source], source
        del self.ids[len(kept) :]
        return kept
