"""The critic: a value head on the policy's hidden states.

It reads the states and sends nothing back into them, so that the policy's weights are moved by the policy objective
alone. Legend: N response tokens, H hidden size.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ValueHead(nn.Module):
    """V(s_t) of the state before each response token, from the hidden state that predicts the token.

    One hidden layer; its output layer starts at zero, so that the first advantages are plain returns. `seed` decides
    the rest of its weights.
    """

    def __init__(self, hidden_size: int, seed: int):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.inner, self.outer = nn.Linear(hidden_size, hidden_size), nn.Linear(hidden_size, 1)
        with torch.no_grad():
            self.inner.weight.copy_(torch.randn(hidden_size, hidden_size, generator=generator) / hidden_size**0.5)
            self.inner.bias.zero_()
            self.outer.weight.zero_()
            self.outer.bias.zero_()

    def forward(self, states_NH: Float[Tensor, "N H"]) -> Float[Tensor, " N"]:
        """Compute values of detached states, in float32."""
        return self.outer(torch.tanh(self.inner(states_NH.detach().float())))[:, 0]


def clipped_value_loss(
    values_N: Float[Tensor, " N"], old_N: Float[Tensor, " N"], returns_N: Float[Tensor, " N"], clip: float
) -> Float[Tensor, " N"]:
    """Compute ½ max((V − R)², (V_old + clamp(V − V_old, ±clip) − R)²) per token.

    PPO's value loss (Schulman et al. 2017, as in their code): pessimistic like the policy's surrogate.
    """
    near_N = old_N + (values_N - old_N).clamp(-clip, clip)
    return torch.maximum((values_N - returns_N).square(), (near_N - returns_N).square()) / 2
