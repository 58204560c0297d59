"""The critic as it learns: beside the policy, from the same states, towards the returns of what was sampled."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from r1zero import config
from r1zero.learner.experience import Experience, PerResponse, concat
from r1zero.learner.value_head import ValueHead, clipped_value_loss
from r1zero.metrics import Tally
from r1zero.policy.batch import MicroBatch
from r1zero.policy.load import Policy


class Critic:
    """The value head with its optimiser. Learns beside the policy, from the same states, towards the returns."""

    def __init__(self, policy: Policy, settings: config.CriticSettings, seed: int):
        self.settings = settings
        self.head = ValueHead(policy.model.config.get_text_config().hidden_size, seed).to(policy.device)
        self.optimiser = torch.optim.Adam(self.head.parameters(), lr=settings.learning_rate)

    def learn(self, states_NH: Tensor, batch: MicroBatch, experience: Experience, tally: Tally) -> None:
        """Add the gradient of the clipped value loss on a micro-batch, a sum over tokens, to the head's `.grad`."""
        assert experience.values is not None
        assert experience.returns is not None
        old_N, returns_N = concat(batch, experience.values), concat(batch, experience.returns)
        loss_N = clipped_value_loss(self.head(states_NH), old_N, returns_N, self.settings.clip)
        total = sum(values.shape[0] for values in experience.values if values is not None)
        (loss_N.sum() / total).backward()
        tally.add("learn/value_loss", loss_N.detach().sum(), loss_N.numel())

    def step(self) -> None:
        """Take one step of the optimiser on what `learn` has added up."""
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Any]:
        """Return weights and optimiser."""
        return {"head": self.head.state_dict(), "optimiser": self.optimiser.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`, with the learning rate that the settings now ask for."""
        self.head.load_state_dict(state["head"])
        self.optimiser.load_state_dict(state["optimiser"])
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate

    def observe(self, values: PerResponse, returns: PerResponse, tally: Tally) -> None:
        """Tally how much of the returns' variance the values, as they were before the update, explain."""
        known = [(v, r) for v, r in zip(values, returns, strict=True) if v is not None and r is not None]
        if not known:
            return
        values_N, returns_N = torch.cat([v for v, _ in known]).double(), torch.cat([r for _, r in known]).double()
        spread = returns_N.var(correction=0).item()
        if spread > 0:
            tally.add("learn/explained_variance", 1 - (returns_N - values_N).var(correction=0).item() / spread)
