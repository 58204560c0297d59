"""Log-probs of response tokens, without ever holding logits for the whole batch.

The output head runs only where a response token is predicted, and in chunks whose logits are recomputed in the
backward pass. Log-probs are those of the sampling distribution: logits are divided by the temperature that drew them.

Legend: N response tokens of a micro-batch, V vocabulary.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from r1zero.policy.batch import MicroBatch
from r1zero.policy.forward import hidden_states
from r1zero.policy.head import head_logits
from r1zero.policy.load import Policy
from r1zero.policy.shared_prompts import SharedPrompts

CHUNK_LOGITS = 1 << 24
"""Logits held at once (64 MiB in float32). Fewer than this in all, and nothing is recomputed."""


def response_logprobs(
    policy: Policy,
    batch: MicroBatch,
    temperature: float,
    *,
    prompts: SharedPrompts | None = None,
    chunk_logits: int = CHUNK_LOGITS,
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Return log-probs of the response tokens, with gradient, and the entropies of the distributions they came from,
    without.

    log π(o_it | q, o_i<t) and H(π(· | q, o_i<t)), in nats, one each per response token of the micro-batch.
    With `prompts`, the batch holds responses alone (`shared_micro_batches`).
    """
    states_NH = token_states(policy, batch, prompts)
    return score(policy, states_NH, batch, temperature, chunk_logits=chunk_logits)


class Scorer(nn.Module):
    """A policy's pass over a micro-batch as one module, which is what a model must be to be sharded over ranks."""

    def __init__(self, policy: Policy):
        super().__init__()
        self.policy, self.model = policy, policy.model

    def forward(
        self,
        batch: MicroBatch,
        prompts: SharedPrompts | None,
        temperature: float,
        entropy_gradient: bool = False,
    ) -> tuple[Float[Tensor, "N H"], Float[Tensor, " N"], Float[Tensor, " N"]]:
        """Return hidden states that predict the response tokens, the tokens' log-probs, and the entropies."""
        states_NH = token_states(self.policy, batch, prompts)
        logprobs_N, entropies_N = score(self.policy, states_NH, batch, temperature, entropy_gradient=entropy_gradient)
        return states_NH, logprobs_N, entropies_N


def token_states(policy: Policy, batch: MicroBatch, prompts: SharedPrompts | None = None) -> Float[Tensor, "N H"]:
    """Return the hidden state that predicts each response token."""
    if prompts is not None:
        return prompts.hidden(batch)
    with policy.autocast():
        states_BTH = hidden_states(policy.model, batch.input_ids_BT, position_ids=batch.positions_BT, use_cache=False)
    return states_BTH.flatten(0, 1)[batch.predictor_N]


def score(
    policy: Policy,
    states_NH: Float[Tensor, "N H"],
    batch: MicroBatch,
    temperature: float,
    *,
    entropy_gradient: bool = False,
    chunk_logits: int = CHUNK_LOGITS,
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """`response_logprobs` from the states; the entropies have a gradient on request."""
    with policy.autocast():
        vocabulary: int = policy.model.config.get_text_config().vocab_size
        rows = max(1, chunk_logits // vocabulary)
        if states_NH.shape[0] <= rows:
            return _score(policy.model, states_NH, batch.targets_N, temperature, entropy_gradient)
        chunks: list[tuple[Tensor, Tensor]] = [  # computed again in the backward pass
            checkpoint(_score, policy.model, states, targets, temperature, entropy_gradient, use_reentrant=False)
            for states, targets in zip(states_NH.split(rows), batch.targets_N.split(rows), strict=True)
        ]
    return torch.cat([logprobs for logprobs, _ in chunks]), torch.cat([entropies for _, entropies in chunks])


def _score(
    model: PreTrainedModel,
    hidden_NH: Tensor,
    targets_N: Int[Tensor, " N"],
    temperature: float,
    entropy_gradient: bool,
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    logits_NV = head_logits(model, hidden_NH).float() / temperature
    log_total_N = logits_NV.logsumexp(dim=-1)
    logprobs_N = logits_NV.gather(1, targets_N[:, None])[:, 0] - log_total_N
    # last, so that the recomputation in backward, which stops once it has what it needs, never gets here
    with torch.set_grad_enabled(entropy_gradient and torch.is_grad_enabled()):
        probs_NV = (logits_NV - log_total_N[:, None]).exp()
        entropies_N = log_total_N - (probs_NV * logits_NV).sum(dim=-1)
    return logprobs_N, entropies_N
