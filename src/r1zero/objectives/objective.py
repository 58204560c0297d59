"""An objective as data: named parts and constants. It prints its own formula and has a hash.

To add a part: write it in `advantage`, `surrogate`, `kl` or `weights` and list it below; rows stand in `presets` and
`peers`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from r1zero.objectives import advantage, kl, own, surrogate, weights

VERSION = 1
"""Raised whenever a part's meaning changes, so that hashes in old runs keep telling the truth."""


@dataclass(frozen=True, slots=True)
class Part:
    """One of an objective's functions, with its formula."""

    formula: str
    function: Callable[..., Tensor]
    uses: frozenset[str] = field(default=frozenset(), kw_only=True)
    """Fields of the objective that it depends on and others of its kind do not."""


@dataclass(frozen=True, slots=True)
class Surrogate(Part):
    """A surrogate, and the tokens at its bounds."""

    bound: Callable[..., Tensor]


def _of_rewards(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """An advantage that does not look at lengths."""

    def of_rewards(rewards_PG: Tensor, graded_PG: Tensor, lengths_PG: Tensor) -> Tensor:
        del lengths_PG
        return function(rewards_PG, graded_PG)

    return of_rewards


def _standardised(eps: float) -> Part:
    function = partial(advantage.standardised, eps=eps)
    return Part(f"Â_i = (r_i − mean(r)) / (std(r) + {eps:g})", _of_rewards(function))


ADVANTAGES = {
    "centred": Part("Â_i = r_i − mean(r)", _of_rewards(advantage.centred)),
    "standardised": Part("Â_i = (r_i − mean(r)) / (std(r) + 1e-8)", _of_rewards(advantage.standardised)),
    "standardised_1e-4": _standardised(1e-4),
    "standardised_1e-6": _standardised(1e-6),
    "standardised_population": Part(
        "Â_i = (r_i − mean(r)) / (population std(r) + 1e-8)", _of_rewards(partial(advantage.standardised, correction=0))
    ),
    "raw": Part("Â_i = r_i", _of_rewards(advantage.raw)),
    "leave_one_out": Part("Â_i = r_i − mean(r of the others)", _of_rewards(advantage.leave_one_out)),
    "mean_divided": Part("Â_i = (r_i − mean(r)) / mean(r)", _of_rewards(advantage.mean_divided)),
    "batch_standardised": Part(
        "Â_i = (r_i − mean(r)) / (std of the batch's r + 1e-4)", _of_rewards(advantage.batch_standardised)
    ),
    "whitened": Part("a_i = r_i − mean(r), Â_i = (a_i − token mean(a)) / (token std(a) + 1e-8)", advantage.whitened),
    # the score; the critic makes token advantages of it
    "gae": Part("Â_it = GAE(γ = {gamma:.15g}, λ = {lam:.15g}) of r_i with values V", _of_rewards(advantage.raw)),
}
_BOUNDS = "1 − {clip_low:.15g}, 1 + {clip_high:.15g}"
SURROGATES = {
    "clipped": Surrogate(f"min(ρ·Â, clip(ρ, {_BOUNDS})·Â)", surrogate.clipped, surrogate.clip_active),
    "importance": Surrogate("ρ·Â", surrogate.importance, surrogate.never),
    "policy_gradient": Surrogate("log π·Â", surrogate.policy_gradient, surrogate.never),
    "cispo": Surrogate("sg(clip(ρ, {low:.15g}, {high:.15g}))·log π·Â", surrogate.cispo, surrogate.weight_capped),
    "soft_gated": Surrogate("(4/τ)·σ(τ(ρ − 1))·Â, τ = 1 (1.05 for Â < 0)", surrogate.soft_gated, surrogate.never),
}
RATIOS = {
    "token": "",
    "sequence": ", ρ_it = (π_θ(o_i) / π_old(o_i))^(1/|o_i|)",
}
_C, _CHUNKS = frozenset({"constant"}), frozenset({"chunks"})
WEIGHTS = {
    "constant": Part("w_i = 1 / (N·C), C = {constant:.15g}", weights.constant, uses=_C),
    "constant_total": Part("w_i = 1 / C, C = {constant:.15g}", weights.constant_total, uses=_C),
    "per_response": Part("w_i = 1 / (N·|o_i|)", weights.per_response),
    "token_mean": Part("w_i = 1 / Σ|o|", weights.token_mean),
    "live_token_mean": Part("w_i = 1 / Σ|o| of responses with Â ≠ 0", weights.live_token_mean),
    "chunk_token_mean": Part("w_i = 1 / (K·Σ|o| of its micro-batch), {chunks}", weights.chunk_token_mean, uses=_CHUNKS),
    "chunk_width": Part("w_i = n_k / (N·max|o|), {chunks}", weights.chunk_width, uses=_CHUNKS),
    "width": Part("w_i = 1 / max|o|", weights.width),
    "mean_width": Part("w_i = 1 / (N·max|o|)", weights.mean_width),
    "question_token_mean": Part("w_i = 1 / (P·Σ|o| of its question)", weights.question_token_mean),
    "response_sum": Part("w_i = 1 / N", weights.response_sum),
}
WHITENINGS = {
    "none": Part("", lambda values_N, tokens_N, add=None: values_N),
    "sample": Part(
        ", then (Â − token mean(Â)) / √(token var(Â) + 1e-8)",
        partial(advantage.whiten_tokens, scale=advantage.sample_scale),
    ),
    "population": Part(
        ", then (Â − token mean(Â)) / √max(population token var(Â), 1e-8)",
        partial(advantage.whiten_tokens, scale=advantage.population_scale),
    ),
}
"""What is made of a critic's token advantages, over all tokens of the rollout batch."""
KL = {
    "none": "",
    "k1_reward": "",
    "k2": " − {kl_coefficient:.15g}·(log π − log π_ref)²/2",
    "k3": " − {kl_coefficient:.15g}·(π_ref/π − 1 − log(π_ref/π))",
    "k3_corrected": " − {kl_coefficient:.15g}·(π/π_old)·(π_ref/π − 1 − log(π_ref/π))",
}
_PENALTY = "k_i = {kl_coefficient:.15g}·Σ_t (log π_sampler − log π_ref)"
PENALTIES = dict.fromkeys(ADVANTAGES, f" − (k_i − mean(k)), {_PENALTY}") | {
    "raw": f" − k_i, {_PENALTY}",
    "leave_one_out": f" − (k_i − mean(k of the others)), {_PENALTY}",
    "gae": ", less {kl_coefficient:.15g}·(log π_old − log π_ref) of each token",
}
"""What a KL penalty in the reward adds to the advantage: the penalty less its own baseline, never divided."""
DIVERGENCES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "none": lambda logprobs_N, reference_N, ratios_N: torch.zeros_like(logprobs_N),
    "k1_reward": lambda logprobs_N, reference_N, ratios_N: torch.zeros_like(logprobs_N),
    "k2": lambda logprobs_N, reference_N, ratios_N: kl.k2(logprobs_N, reference_N),
    "k3": lambda logprobs_N, reference_N, ratios_N: kl.k3(logprobs_N, reference_N),
    "k3_corrected": kl.k3_corrected,
}


def _label(function: own.Function) -> str:
    """Return what a formula calls a function, for `format`."""
    return own.label(function).replace("{", "{{").replace("}", "}}")


CHUNKS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "equal": lambda lengths_N, count: weights.equal_chunks(lengths_N.shape[0], count),
    "by_tokens": lambda lengths_N, count: weights.chunks_by_tokens(lengths_N),
}


@dataclass(frozen=True, slots=True)
class Objective:
    """A policy objective: its parts, by name or as functions of one's own (see `own`), and its constants.

    L = − Σ_i w_i Σ_t [surrogate(ρ_it, Â_it) − β·KL_it + η·H_it], to be minimised, with w_i fixed on the whole optimiser
    step. Every term goes through the same weights.
    """

    name: str = "own"
    advantage: str | own.Function = "centred"
    """Â of each response, [P, G]: a part's name, or a function of `rewards`, `graded` and `lengths`."""
    surrogate: str | own.Function = "clipped"
    """The gain of each token, [N]: a part's name, or a function of `ratios`, `advantages`, `low` and `high`."""
    weights: str | own.Function = "constant"
    """w of each response, [N]: a part's name, or a function of `lengths`, `live`, `group` and `constant`."""
    ratio: str = "token"
    """ρ of each token, or one of the whole `sequence` (GSPO)."""
    clip_low: float = 0.2
    clip_high: float = 0.2
    """ρ is clipped to [1 − clip_low, 1 + clip_high]."""
    dual_clip: float | None = None
    """The most a token of negative advantage weighs, as a multiple of |Â|."""
    constant: float = 1.0
    """C, in tokens."""
    kl: str = "none"
    kl_coefficient: float = 0.0
    """β."""
    entropy: float = 0.0
    """η."""
    importance_cap: float | None = None
    """Truncated importance sampling: gains are multiplied by min(π_old / π_sampler, cap)."""
    gamma: float = 1.0
    lam: float = 1.0
    whiten: str = "none"
    """How token advantages are whitened, where there is a critic."""
    chunks: int = 2
    """The micro-batches (or ranks) of a peer whose loss depends on them."""
    chunking: str = "equal"
    note: str = ""

    @property
    def _advantage(self) -> Part:
        part = self.advantage
        return ADVANTAGES[part] if isinstance(part, str) else Part(f"Â = {_label(part)}", own.advantage(part))

    @property
    def _surrogate(self) -> Surrogate:
        part = self.surrogate
        if isinstance(part, str):
            return SURROGATES[part]
        formula = f"{_label(part)} within [{{low:.15g}}, {{high:.15g}}]"
        return Surrogate(formula, own.gain(part), own.never_at_bound)

    @property
    def _weights(self) -> Part:
        part = self.weights
        if isinstance(part, str):
            return WEIGHTS[part]
        return Part(f"w = {_label(part)}, C = {{constant:.15g}}", own.response_weights(part), uses=_C)

    @property
    def functions(self) -> tuple[own.Function, ...]:
        """Those of its parts that are functions and no names."""
        return tuple(part for part in (self.advantage, self.surrogate, self.weights) if not isinstance(part, str))

    @property
    def formula(self) -> str:
        """The objective in one line, constants filled in."""
        numbers = {name: getattr(self, name) for name in ("clip_low", "clip_high", "constant", "gamma", "lam")}
        numbers |= {"kl_coefficient": self.kl_coefficient, "low": 1 - self.clip_low, "high": 1 + self.clip_high}
        split = {"equal": f"K = {self.chunks} equal micro-batches", "by_tokens": "micro-batches filled by tokens"}
        gain = self._surrogate.formula.format(**numbers)
        if self.dual_clip is not None:
            gain = f"max({gain}, {self.dual_clip:.15g}·Â where Â < 0)"
        if self.importance_cap is not None:
            gain = f"min(π_old/π_sampler, {self.importance_cap:.15g})·{gain}"
        inside = KL[self.kl].format(**numbers) if self.in_loss else ""
        bonus = f" + {self.entropy:.15g}·H" if self.entropy else ""
        summed = f"[{gain}{inside}{bonus}]" if inside or bonus else gain
        reward = (
            PENALTIES[self.advantage if isinstance(self.advantage, str) else "centred"].format(**numbers)
            if self.kl == "k1_reward"
            else ""
        )
        return (
            f"L = − Σ_i w_i Σ_t {summed}{RATIOS[self.ratio]}; "
            f"{self._advantage.formula.format(**numbers)}{reward}{WHITENINGS[self.whiten].formula}; "
            f"{self._weights.formula.format(chunks=split[self.chunking], **numbers)}"
        )

    @property
    def hash(self) -> str:
        """Twelve hex digits that name the mathematics (not the row's name): equal hashes mean equal objectives."""
        content = json.dumps([VERSION, self.formula], ensure_ascii=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    @property
    def in_loss(self) -> bool:
        """Whether a KL term stands in the loss."""
        return self.kl in ("k2", "k3", "k3_corrected")

    @property
    def uses(self) -> frozenset[str]:
        """The constants that its weights depend on."""
        return self._weights.uses

    @property
    def cut_equally(self) -> bool:
        """Whether its weights depend on the number of its equal micro-batches."""
        return "chunks" in self.uses and self.chunking == "equal"

    @property
    def critic(self) -> bool:
        """Whether token advantages come from a value head."""
        return self.advantage == "gae"

    @property
    def every_response_counts(self) -> bool:
        """Whether responses of zero advantage have a gradient, too."""
        return self.in_loss or self.entropy != 0 or self.critic

    def advantages(self, rewards_PG: Tensor, graded_PG: Tensor, lengths_PG: Tensor | None = None) -> Tensor:
        """Compute Â_PG of whole groups; 0 where `graded_PG` is False. Lengths (tokens) matter to few."""
        lengths_PG = torch.ones_like(rewards_PG, dtype=torch.int64) if lengths_PG is None else lengths_PG
        return self._advantage.function(rewards_PG, graded_PG, lengths_PG)

    def audited_advantages(self, rewards_PG: Tensor, graded_PG: Tensor, lengths_PG: Tensor) -> Tensor:
        """Compute Â_PG; of an objective with a critic what its tokens get where V = 0 and γ = λ = 1, whitened."""
        advantages_PG = self.advantages(rewards_PG, graded_PG, lengths_PG)
        tokens_PG = torch.where(graded_PG, lengths_PG, 0)
        whitened_PG = WHITENINGS[self.whiten].function(advantages_PG.flatten(), tokens_PG.flatten())
        return torch.where(graded_PG, whitened_PG.view_as(advantages_PG), 0.0)

    def whitened(
        self, advantages_N: Tensor, add: Callable[[Sequence[Tensor]], Sequence[Tensor]] = lambda sums: sums
    ) -> Tensor:
        """Return token advantages as they are learnt from; `add` adds sums up over all ranks."""
        return WHITENINGS[self.whiten].function(advantages_N, torch.ones_like(advantages_N, dtype=torch.int64), add=add)

    def penalised(self, advantages_PG: Tensor, penalties_PG: Tensor, graded_PG: Tensor) -> Tensor:
        """Compute Â_PG less what a KL term in the reward costs, against a baseline of its own.

        Divided with the rewards, a penalty's rounding would become a full-size advantage wherever a group's rewards
        are equal.
        """
        own = {"raw": advantage.raw, "leave_one_out": advantage.leave_one_out}
        baseline = own.get(self.advantage, advantage.centred) if isinstance(self.advantage, str) else advantage.centred
        return advantages_PG - baseline(penalties_PG, graded_PG)

    def response_weights(
        self, lengths_N: Tensor, live_N: Tensor | None = None, group_N: Tensor | None = None
    ) -> Tensor:
        """Compute w_N from *all* N responses of the optimiser step: lengths, which have an advantage, indices of
        questions.
        """
        step = weights.Step(
            lengths_N,
            live_N=torch.ones_like(lengths_N, dtype=torch.bool) if live_N is None else live_N,
            group_N=torch.zeros_like(lengths_N) if group_N is None else group_N,
            chunk_N=CHUNKS[self.chunking](lengths_N, self.chunks).to(lengths_N.device),
            constant=self.constant,
        )
        return self.weigh(step)

    def weigh(self, step: weights.Step) -> Tensor:
        """Compute w_N of a step."""
        return self._weights.function(step)

    def ratios(self, log_ratios_N: Tensor, response_N: Tensor) -> Tensor:
        """Compute ρ of each token, from its log π_θ − log π_old and the index of its response."""
        if self.ratio == "sequence":
            log_ratios_N = surrogate.sequence_log_ratios(log_ratios_N, response_N)
        return log_ratios_N.exp()

    def gains(self, ratios_N: Tensor, advantages_N: Tensor) -> Tensor:
        """Return the surrogate of each token."""
        gains_N = self._surrogate.function(ratios_N, advantages_N, 1 - self.clip_low, 1 + self.clip_high)
        return gains_N if self.dual_clip is None else surrogate.dual_clipped(gains_N, advantages_N, self.dual_clip)

    def token_gains(
        self, ratios_N: Tensor, advantages_N: Tensor, mismatch_N: Tensor, divergence_N: Tensor, entropies_N: Tensor
    ) -> Tensor:
        """Compute everything that stands in the sum over tokens: surrogate − β·KL + η·H.

        `mismatch_N` is π_old / π_sampler (detached), `divergence_N` the KL term, which is zeros without a reference.
        """
        gains_N = self.gains(ratios_N, advantages_N)
        if self.importance_cap is not None:
            gains_N = gains_N * mismatch_N.clamp(max=self.importance_cap)
        if self.in_loss:
            gains_N = gains_N - self.kl_coefficient * divergence_N
        return gains_N + self.entropy * entropies_N if self.entropy else gains_N

    def at_bound(self, ratios_N: Tensor, advantages_N: Tensor) -> Tensor:
        """Compute 1 for each token at the surrogate's bounds: its gradient is stopped (clipping) or its weight held
        (CISPO).
        """
        return self._surrogate.bound(ratios_N, advantages_N, 1 - self.clip_low, 1 + self.clip_high)

    def divergence(self, logprobs_N: Tensor, reference_N: Tensor, ratios_N: Tensor) -> Tensor:
        """Compute KL_it as it stands in the loss, without its coefficient."""
        return DIVERGENCES[self.kl](logprobs_N, reference_N, ratios_N)
