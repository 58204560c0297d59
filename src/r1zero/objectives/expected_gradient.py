"""The exact audit: what each objective's gradient is on average, against the gradient of what it is meant to raise.

For an objective with gain Σ_i w_i Σ_t s(ρ_it, Â_i), responses drawn from π_old, the audit computes in float64

    g(θ) = E[ ∇_θ Σ_i w_i Σ_t s(ρ_it, Â_i) ]        beside        ∇J(θ) = ∇_θ E_{o∼π_θ}[r(o)]

exactly, though there are |strings|^(P·G) batches. Three facts make that possible:

1. w_i and Â_i see a response only through its reward and its length, so batches are counted by *class*: K classes
   instead of |strings| responses.
2. The G responses of a question are drawn alike, so only how many fall into each class matters: multisets with their
   multinomial probabilities instead of K^G sequences. (Where micro-batches of a peer cut through a group, the order
   matters as well; then all sequences are listed. Where a peer sorts by length, ties are broken by position, which is
   any order with equal probability: a response's weight is the mean over its question's responses of equal length.)
3. s is positively homogeneous in Â, so E[w·Â⁺] and E[w·Â⁻] of each class are all that is needed; one backward pass
   over all strings does the rest.

The advantages and weights are those of training, run on every batch that can happen. An advantage with a critic (`gae`)
is audited with V = 0 and as if γ = λ = 1, its whitening included. Legend: P questions, G samples each, N = P·G, K
classes, M groups that can happen, B = M^P batches; strings as in `mdp`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import combinations_with_replacement, product
from math import factorial, prod

import torch
from jaxtyping import Float
from torch import Tensor

from r1zero.objectives import weights
from r1zero.objectives.bias_meter import NO_BASELINE, Bias
from r1zero.objectives.objective import CHUNKS, Objective
from r1zero.objectives.toy_mdp import Mdp

MOST_BATCHES = 1_100_000
"""More batches than this are not enumerated."""
_AT_ONCE = 1 << 15


class TooManyError(ValueError):
    """More batches could happen than can be listed."""


@dataclass(frozen=True, slots=True)
class Pushes:
    """E[Σ_i w_i·Â_i⁺ 1{i in class k of question p}] and the same of Â⁻, for every batch that can happen."""

    members_MG: Tensor
    """Classes of the responses of each group."""
    ways_M: Tensor
    """How many orders of draws give the group."""
    up_BPK: Tensor
    down_BPK: Tensor

    def expected(self, probabilities_PK: Float[Tensor, "P K"]) -> tuple[Float[Tensor, "P K"], Float[Tensor, "P K"]]:
        """Compute the means of both, responses drawn with these probabilities of their classes."""
        likely_B = torch.ones(1, dtype=torch.float64)
        for probabilities_K in probabilities_PK:
            likely_M = self.ways_M * probabilities_K[self.members_MG].prod(dim=1)
            likely_B = (likely_B[:, None] * likely_M).flatten()
        up, down = (torch.tensordot(likely_B, table, dims=1) for table in (self.up_BPK, self.down_BPK))
        return up, down


@dataclass(frozen=True, slots=True)
class Measure:
    """How far an objective's expected gradient is from ∇J."""

    objective: str
    group_size: int
    relative_bias: float
    """min over a ≥ 0 of ‖a·g − ∇J‖ / ‖∇J‖."""
    cosine: float
    scale: float
    """That a."""
    length_bias: float | None
    """Slope of the log of a response's push on the log of its length."""
    difficulty_bias: float | None
    """Slope on the log of √(p(1−p)) of its question."""


def pushes(mdp: Mdp, objective: Objective, group_size: int) -> Pushes:
    """Compute advantages times weights in every batch that can happen, summed by question and class."""
    questions = len(mdp.gold)
    rewards_K = torch.tensor([reward for reward, _ in mdp.classes], dtype=torch.float64)
    lengths_K = torch.tensor([length for _, length in mdp.classes])
    cut = _cuts_groups(objective, questions, group_size)
    members_MG, ways_M = _groups(len(mdp.classes), group_size, ordered=cut, questions=questions)
    one_hot_MGK = torch.nn.functional.one_hot(members_MG, len(mdp.classes)).double()
    up, down = [], []
    for picked_BP in torch.cartesian_prod(*[torch.arange(len(ways_M))] * questions).view(-1, questions).split(_AT_ONCE):
        members_BPG = members_MG[picked_BP]
        share_BPG = _shares(objective, rewards_K[members_BPG], lengths_K[members_BPG])
        hot_BPGK = one_hot_MGK[picked_BP]
        up.append(torch.einsum("bpg,bpgk->bpk", share_BPG.clamp(min=0), hot_BPGK))
        down.append(torch.einsum("bpg,bpgk->bpk", (-share_BPG).clamp(min=0), hot_BPGK))
    return Pushes(members_MG, ways_M, torch.cat(up), torch.cat(down))


@dataclass
class Audit:
    """The audit at one policy θ and one group size; responses are drawn by `old_PXV` (by θ itself unless given)."""

    mdp: Mdp
    group_size: int
    logits_PXV: Tensor
    old_PXV: Tensor | None = None
    _known: dict[Objective, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def sampler(self) -> Float[Tensor, "P X V"]:
        """The policy that draws the responses."""
        return self.logits_PXV if self.old_PXV is None else self.old_PXV

    def measure(self, objective: Objective) -> Measure:
        """Tell how far the objective's expected gradient is from ∇J."""
        cosine, scale, relative = compare(self.gradient(objective), self.mdp.true_gradient(self.logits_PXV))
        bias = self.bias(objective)
        return Measure(objective.name, self.group_size, relative, cosine, scale, bias.length, bias.difficulty)

    def gradient(self, objective: Objective) -> Float[Tensor, "P X V"]:
        """Compute g(θ): the direction in which the objective moves θ on average."""
        return expected_gradient(self.mdp, objective, self._expected(objective), self.logits_PXV, self.sampler)

    def bias(self, objective: Objective) -> Bias:
        """Compute slopes of log m: how many times Dr. GRPO's push (with C = 1) the objective gives a class on average.

        On length within the responses of one question and reward, so that nothing else enters; on the question's
        √(p(1−p)) from what length leaves. None where pushes go the wrong way, or there is nothing to compare.
        """
        multiple_PK, mdp = self.multiples(objective), self.mdp
        if not bool((multiple_PK > 0).all()):
            return Bias(None, None)
        log_m_PK, reward_K = multiple_PK.log(), torch.tensor([reward for reward, _ in mdp.classes])
        log_n_K = torch.tensor([length for _, length in mdp.classes], dtype=torch.float64).log()
        top, bottom = 0.0, 0.0
        for reward in (0.0, 1.0):
            x = log_n_K[reward_K == reward]
            y = log_m_PK[:, reward_K == reward]
            top += float(((x - x.mean()) * y).sum())
            bottom += float((x - x.mean()).square().sum()) * len(mdp.gold)
        length = top / bottom if bottom else None
        y_P = (log_m_PK - (length or 0.0) * log_n_K).mean(dim=1)
        p_P = (mdp.probabilities(self.sampler) * mdp.rewards).sum(dim=1)
        x_P = (p_P * (1 - p_P)).sqrt().log()
        x_P = x_P - x_P.mean()
        spread = float(x_P.square().sum())
        return Bias(length, float((x_P * y_P).sum()) / spread if spread > 1e-9 else None)

    def multiples(self, objective: Objective) -> Float[Tensor, "P K"]:
        """Compute E[push of the class] over the same under Dr. GRPO with C = 1; negative where a class is pushed the
        wrong way.

        Where no baseline is subtracted, one is for this question: it changes no expectation, and shares out the push.
        Where tokens are whitened, it is subtracted before.
        """
        if objective.advantage in NO_BASELINE:
            objective = replace(objective, advantage="centred")
        towards_K = torch.tensor([1.0 if reward else -1.0 for reward, _ in self.mdp.classes], dtype=torch.float64)
        (up, down), (plain_up, plain_down) = self._expected(objective), self._expected(_PLAIN)
        return towards_K * (up - down) / (plain_up + plain_down)

    def _expected(self, objective: Objective) -> tuple[Tensor, Tensor]:
        """Compute E[w·Â⁺] and E[w·Â⁻] by class; rows that share advantage and weights share them too."""
        key = replace(_PLAIN, **{name: getattr(objective, name) for name in _ENTERS})
        if key not in self._known:
            chance_PK = self.mdp.class_probabilities(self.sampler)
            self._known[key] = pushes(self.mdp, objective, self.group_size).expected(chance_PK)
        return self._known[key]


_PLAIN = Objective("", "centred", "clipped", "constant")
_ENTERS = ("advantage", "whiten", "weights", "constant", "chunks", "chunking")
"""What the pushes depend on."""


def expected_gradient(
    mdp: Mdp,
    objective: Objective,
    expected: tuple[Float[Tensor, "P K"], Float[Tensor, "P K"]],
    logits_PXV: Float[Tensor, "P X V"],
    old_PXV: Float[Tensor, "P X V"],
) -> Float[Tensor, "P X V"]:
    """Compute ∇_θ of what the expected pushes of the classes make of the surrogate, over all strings."""
    # a class's push is dealt to its strings by their probability within the class
    within_PS = mdp.probabilities(old_PXV) / mdp.class_probabilities(old_PXV).gather(1, mdp.class_of)
    leaf = logits_PXV.detach().requires_grad_()
    log_ratios_PST = mdp.logprobs(leaf) - mdp.logprobs(old_PXV.detach())
    mask_PST = mdp.mask.expand_as(log_ratios_PST)
    response_N = torch.arange(within_PS.numel()).view_as(within_PS)[:, :, None].expand_as(mask_PST)[mask_PST]
    ratios_N = objective.ratios(log_ratios_PST[mask_PST], response_N)
    total = leaf.new_zeros(())
    for sign, push_PK in zip((1.0, -1.0), expected, strict=True):
        push_N = (push_PK.gather(1, mdp.class_of) * within_PS).flatten()[response_N]
        total = total + (push_N * objective.gains(ratios_N, torch.full_like(ratios_N, sign))).sum()
    (gradient,) = torch.autograd.grad(total, leaf)
    return gradient


def compare(gradient: Tensor, true: Tensor) -> tuple[float, float, float]:
    """Compute (cosine, scale, relative bias) of a gradient against the true one."""
    g, t = gradient.flatten(), true.flatten()
    if not g.norm() or not t.norm():
        return 0.0, 0.0, 1.0
    along = torch.dot(g, t)
    scale = (along / torch.dot(g, g)).clamp(min=0)
    return float(along / (g.norm() * t.norm())), float(scale), float((scale * g - t).norm() / t.norm())


def _shares(objective: Objective, rewards_BPG: Tensor, lengths_BPG: Tensor) -> Tensor:
    """Compute w_i·Â_i of every response of every batch."""
    _, questions, size = rewards_BPG.shape
    group_N = torch.arange(questions).repeat_interleave(size)
    graded_PG = torch.ones(questions, size, dtype=torch.bool)
    chunk_BN = _chunks(objective, lengths_BPG.flatten(1))

    def share(rewards_PG: Tensor, lengths_PG: Tensor, chunk_N: Tensor) -> tuple[Tensor, Tensor]:
        advantages_PG = objective.audited_advantages(rewards_PG, graded_PG, lengths_PG)
        live_N = advantages_PG.flatten() != 0
        step = weights.Step(lengths_PG.flatten(), live_N, group_N, chunk_N, objective.constant, torch.float64)
        return advantages_PG, objective.weigh(step).view(questions, size)

    shared_cut = objective.chunking == "equal"  # one index for all batches, which is much faster
    over = (0, 0, None if shared_cut else 0)
    advantages_BPG, weights_BPG = torch.func.vmap(share, in_dims=over)(
        rewards_BPG, lengths_BPG, chunk_BN[0] if shared_cut else chunk_BN
    )
    if objective.chunking == "by_tokens":
        alike_BPGG = (lengths_BPG[..., None] == lengths_BPG[..., None, :]).double()
        weights_BPG = (alike_BPGG @ weights_BPG[..., None])[..., 0] / alike_BPGG.sum(dim=-1)
    return advantages_BPG * weights_BPG


def _chunks(objective: Objective, lengths_BN: Tensor) -> Tensor:
    """Return the micro-batch of every response: once for each row of lengths that occurs."""
    if objective.chunking == "equal":
        return CHUNKS["equal"](lengths_BN[0], objective.chunks).expand_as(lengths_BN)
    rows, index_B = torch.unique(lengths_BN, dim=0, return_inverse=True)
    return torch.stack([CHUNKS[objective.chunking](row, objective.chunks) for row in rows])[index_B]


def _cuts_groups(objective: Objective, questions: int, group_size: int) -> bool:
    """Tell whether a micro-batch of the peer may hold a part of a group, chosen by position."""
    if not objective.cut_equally:
        return False
    count = questions * group_size
    size = -(-count // max(1, min(objective.chunks, count)))
    return bool(size % group_size) and size < count


def _groups(classes: int, size: int, *, ordered: bool, questions: int) -> tuple[Tensor, Tensor]:
    """Return every group of `size` responses as classes, and in how many orders it may be drawn."""
    count = classes**size if ordered else prod(range(classes, classes + size)) // factorial(size)
    if count**questions > MOST_BATCHES:
        raise TooManyError(f"{count**questions:,} batches could happen with groups of {size}")
    if ordered:
        members = torch.tensor(list(product(range(classes), repeat=size)))
        return members, torch.ones(count, dtype=torch.float64)
    members = torch.tensor(list(combinations_with_replacement(range(classes), size)))
    counts = torch.nn.functional.one_hot(members, classes).sum(dim=1)
    ways = [factorial(size) // prod(map(factorial, row)) for row in counts.tolist()]
    return members, torch.tensor(ways, dtype=torch.float64)
