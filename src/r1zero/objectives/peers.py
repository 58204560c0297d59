"""What other projects compute under their option names, to be measured beside the presets and trained with.

As read: TRL 1.16, its PPO trainer at 1.10.0.dev0 (f2cd577); Liger-Kernel 0.8.2 (ead96b6); verl 0.9.1; OpenRLHF 0.11.0
(3c3be62); SkyRL a956457; open-instruct e6c3044; SimpleRL-Zero 2702a87 (branch v0) and cf1c785 (v1); Open-Reasoner-Zero
3fdd9a0; the others in May to August 2026. What a project computed before stands under a name with `@`.

A row is the policy term alone, with the constants that are the project's defaults where it has them. Losses that depend
on how a step is cut into micro-batches or ranks state a cut (`chunks`, `chunking`): the same responses cut otherwise
give another objective, which is the point.
"""

from __future__ import annotations

from typing import Any

from r1zero.objectives.objective import Objective


def _trl(
    option: str, weights: str, *, surrogate: str = "clipped", advantage: str = "standardised_1e-4", **more: Any
) -> Objective:
    return Objective(f"trl/{option}", advantage, surrogate, weights, **more)


def _verl(
    option: str, weights: str, *, advantage: str = "standardised_1e-6", dual_clip: float | None = 3.0, **more: Any
) -> Objective:
    return Objective(f"verl/{option}", advantage, "clipped", weights, dual_clip=dual_clip, **more)


_TRL = (
    _trl("grpo", "per_response"),
    _trl("bnpo", "chunk_token_mean"),
    _trl("dr_grpo", "constant", note="`loss_type` alone: rewards are still divided by their std."),
    _trl("dr_grpo+scale_rewards=none", "constant", advantage="centred"),
    _trl("dr_grpo+scale_rewards=batch", "constant", advantage="batch_standardised"),
    _trl(
        "dapo",
        "token_mean",
        note="The default. T is that of the generation batch, per accumulation window; before 1.16 the loss was scaled "
        "by GA / steps_per_generation as well.",
    ),
    _trl(
        "cispo",
        "token_mean",
        surrogate="cispo",
        clip_low=1.0,
        clip_high=-0.8,
        note="ε_high is an absolute cap and defaults to 0.2: every on-policy token weighs 0.2.",
    ),
    _trl("cispo+epsilon_high=5", "token_mean", surrogate="cispo", clip_low=1.0, clip_high=4.0),
    _trl("sapo", "per_response", surrogate="soft_gated"),
    _trl("luspo", "response_sum", ratio="sequence"),
    _trl(
        "sequence+dr_grpo",
        "constant",
        ratio="sequence",
        note="`importance_sampling_level=sequence`: a token sum of sequence ratios is weighted by length off-policy.",
    ),
    Objective(
        "trl/ppo",
        "gae",
        "clipped",
        "chunk_token_mean",
        lam=0.95,
        whiten="sample",
        note="The PPO trainer of TRL 1.10, no longer in 1.16: means over the tokens of micro-batches. Audited as if "
        "λ = 1.",
    ),
    Objective(
        "liger/dapo",
        "standardised_1e-4",
        "clipped",
        "token_mean",
        note="From Liger-Kernel 0.8.1 on, where the trainer passes the token count of the step (`num_items_in_batch`).",
    ),
    Objective(
        "liger/dapo@0.8.0",
        "standardised_1e-4",
        "clipped",
        "chunk_token_mean",
        note="Liger-Kernel before 0.8.1, or a trainer that passes no token count: means of micro-batches.",
    ),
)
_VERL = (
    _verl("token-mean", "token_mean", note="The default."),
    _verl(
        "token-mean@legacy",
        "chunk_token_mean",
        note="The FSDP actor of verl 0.8 (b178a3c) and before, gone in 0.9: means of micro-batches.",
    ),
    _verl(
        "token-mean@legacy+micro_batch=1",
        "per_response",
        note="The same with micro-batches of one response: GRPO's 1/|o|.",
    ),
    _verl("seq-mean-token-sum", "response_sum"),
    _verl("seq-mean-token-mean", "per_response"),
    _verl("seq-mean-token-sum-norm", "mean_width", note="`loss_scale_factor` defaults to the padded width."),
    _verl("seq-mean-token-sum-norm@0.8", "width", note="verl 0.8 (b178a3c) and before: not divided by N."),
    _verl(
        "seq-mean-token-sum-norm@legacy+dynamic",
        "chunk_width",
        chunking="by_tokens",
        note="The FSDP actor of verl 0.8 (b178a3c) and before, gone in 0.9: micro-batches filled by tokens and weighed "
        "by their size, so that short responses weigh more.",
    ),
    Objective(
        "verl/gae", "gae", "clipped", "token_mean", dual_clip=3.0, whiten="sample", note="The default estimator."
    ),
    _verl("rloo", "token_mean", advantage="leave_one_out"),
    _verl(
        "dr_grpo",
        "constant",
        advantage="centred",
        note="`norm_adv_by_std_in_grpo=False`, `seq-mean-token-sum-norm` and a `loss_scale_factor` of C (of N·C up to "
        "verl 0.8).",
    ),
)
_OTHERS = (
    Objective("openrlhf/group_norm", "standardised", "clipped", "token_mean"),
    Objective("openrlhf/dr_grpo", "centred", "clipped", "token_mean", note="Changes the advantage only."),
    Objective("openrlhf/rloo", "leave_one_out", "clipped", "token_mean"),
    Objective("openrlhf/reinforce_baseline", "whitened", "clipped", "token_mean"),
    Objective("openrlhf/gspo", "standardised", "clipped", "per_response", ratio="sequence"),
    Objective("openrlhf/gae", "gae", "clipped", "token_mean", whiten="population", note="The default estimator."),
    Objective("simplerl-zero/ppo", "gae", "clipped", "per_response", lam=0.95, whiten="population",
              note="The PPO of SimpleRL-Zero (v0), on OpenRLHF of January 2025. Audited as if λ = 1."),
    Objective("simplerl-zero/grpo", "standardised_1e-6", "clipped", "chunk_token_mean",
              note="The GRPO of its second version (v1), on verl of 2025: means of micro-batches, of two responses."),
    Objective("open-reasoner-zero/ppo", "gae", "clipped", "chunk_token_mean", whiten="population",
              note="A mean over the tokens of each pack of 16,384; here of packs of equally many responses."),
    Objective("prime-rl/grpo", "centred", "importance", "live_token_mean",
              note="Without its probability masks, which do nothing on the first step."),
    Objective("prime-rl/max_rl", "mean_divided", "importance", "live_token_mean",
              note="Without its probability masks, which do nothing on the first step."),
    Objective("skyrl/token_mean", "standardised_1e-6", "clipped", "token_mean"),
    Objective("skyrl/token_mean_legacy", "standardised_1e-6", "clipped", "chunk_token_mean"),
    Objective("skyrl/sequence_mean", "standardised_1e-6", "clipped", "per_response"),
    Objective("skyrl/prompt_mean", "standardised_1e-6", "clipped", "question_token_mean"),
    Objective("skyrl/seq_mean_token_sum_norm", "standardised_1e-6", "clipped", "constant"),
    Objective("skyrl/seq_mean_token_sum_norm+grpo_norm_by_std=False", "centred", "clipped", "constant",
              note="The policy term; its KL term, on by default, is still a mean over 1/|o|."),
    Objective("skyrl/gae", "gae", "clipped", "token_mean", whiten="sample"),
    Objective("skyrl/rloo", "leave_one_out", "clipped", "token_mean"),
    Objective("skyrl/maxrl", "mean_divided", "clipped", "token_mean"),
    Objective("skyrl/cispo", "standardised_1e-6", "cispo", "token_mean", clip_low=1.0, clip_high=4.0),
    Objective("areal/token-mean", "batch_standardised", "clipped", "token_mean"),
    Objective("areal/gsm8k_drgrpo", "whitened", "clipped", "token_mean",
              note="The shipped recipe of that name still whitens over the batch."),
    Objective("slime/default", "standardised_1e-6", "clipped", "per_response"),
    Objective("slime/calculate-per-token-loss", "standardised_1e-6", "clipped", "token_mean"),
    Objective("slime/disable-grpo-std-normalization", "centred", "clipped", "per_response"),
    Objective("slime/ppo", "gae", "clipped", "per_response"),
    Objective("slime/gspo", "standardised_1e-6", "clipped", "per_response", ratio="sequence"),
    Objective("slime/cispo", "standardised_1e-6", "cispo", "per_response"),
    Objective("open-instruct/token", "centred", "clipped", "token_mean", clip_high=0.272),
    Objective("open-instruct/standard", "standardised_population", "clipped", "token_mean", clip_high=0.272),
    Objective("open-instruct/loss_denominator=C", "centred", "clipped", "constant_total", clip_high=0.272,
              note="Dr. GRPO where the user's C is N·L."),
    Objective("open-instruct/cispo", "centred", "cispo", "token_mean", clip_low=1.0, clip_high=0.272),
)  # fmt: skip

PEERS = {row.name: row for row in (*_TRL, *_VERL, *_OTHERS)}
