"""The recipe's sections and settings, with their bounds and defaults.

Every setting speaks in one unit only: `prompts` (P) questions per rollout batch, `samples` (G) responses per question,
optimiser steps, tokens. Nothing is derived twice: what follows from other settings is a property.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from r1zero.config.question_sections import BenchmarkSettings
from r1zero.config.section import Keeps, Section
from r1zero.types import AnswerFormat

Beta = Annotated[float, Field(ge=0, lt=1)]


class ModelSettings(Section):
    """The policy: an ordinary Hugging Face causal language model."""

    path: Annotated[str, Keeps.PLACE]
    """A local folder or a Hub name."""
    revision: Annotated[str | None, Keeps.PLACE] = None
    """A branch, tag or commit of a Hub name; None takes its main branch."""
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    """How the model computes attention; some have `eager` alone, and `flash_attention_2` needs its own package."""
    device: Annotated[str, Keeps.RUN] = "auto"
    """`auto` takes a GPU when there is one."""


class LoraSettings(Section):
    """Low-rank adapters beside frozen weights (Hu et al. 2021): W x + (alpha / rank)·B A x."""

    rank: int = Field(ge=1)
    """r: rows of A. The section without it is refused."""
    alpha: float = Field(default=32.0, gt=0)
    """What the adapters weigh, over the rank."""
    targets: tuple[str, ...] = ()
    """Names of the layers that have them, such as "q_proj"; none: all linear layers but the head."""


class TemplateSettings(Section):
    """How a question becomes a prompt, and where in a response the answer stands."""

    name: Annotated[str, Keeps.PLACE] = "qwen_math"
    """`qwen_math`, `r1`, `no`, `few_shot`, `chat` (the tokenizer's own) or a Jinja file."""
    answer_format: AnswerFormat | None = None
    """Overrides the template's own."""
    instruction: str = ""
    """Added to the question by `chat`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What the tokenizer's own chat template reads beside the messages, such as `{ enable_thinking = false }`."""


class SamplingSettings(Section):
    """How responses are drawn in training."""

    max_new_tokens: int = Field(default=3000, ge=1)
    """The token budget of a response; what is longer is truncated (`objective.truncation`)."""
    temperature: float = Field(default=1.0, gt=0)
    """What logits are divided by before a token is drawn; log-probs are those of this distribution."""
    batch_rows: int = Field(default=256, ge=1)
    """The most rows decoded side by side; waiting questions enter as rows finish."""
    engine: Literal["torch", "vllm"] = "torch"
    """`torch` is the embedded sampler; `vllm` an engine with weights of its own, brought up to date before it samples
    (`pip install "r1zero[vllm]"`, docs/scaling.md)."""
    check_every: Annotated[int, Keeps.BOTH] = Field(default=16, ge=1)
    """After the first sync of an engine's weights, and after every Nth, its log-probs are held against the learner's
    on the same tokens; `train.max_logprob_gap` is the tolerance."""
    memory: Annotated[float, Keeps.BOTH] = Field(default=0.5, gt=0, lt=1)
    """The share of a device's memory that vLLM takes for its weights and its cache."""
    tensor_parallel: Annotated[int, Keeps.BOTH] = Field(default=1, ge=1)
    """GPUs that one vLLM engine is spread over."""


class RolloutSettings(Section):
    """One rollout batch: P questions with G samples each, graded."""

    prompts: int = Field(default=128, ge=1)
    """P: questions in a rollout batch."""
    samples: int = Field(default=8, ge=1)
    """G, the group size: responses to each question, whose rewards are each other's baseline."""
    dynamic: bool = False
    """Dynamic sampling (DAPO): draw further questions until P groups are live, in at most `rounds` rounds of P."""
    rounds: int = Field(default=4, ge=1)
    """The most rounds of dynamic sampling, the first one included."""
    max_staleness: int = Field(default=0, ge=0, le=1)
    """1: the next rollout batch is drawn while this one is learnt from, so that its weights are one step old and
    samplers and learners work at the same time. Needs an engine with weights of its own, and
    `objective.importance_cap`."""


class ObjectiveSettings(Section):
    """A row of the objectives' table (`r1zero objectives`), and what is changed in it; None keeps the row's own."""

    name: str = "dr_grpo"
    """The row: `dr_grpo`, `grpo`, `ppo`, `rloo`, `dapo`, …, or another project's, such as `trl/grpo`."""
    clip_low: Annotated[float | None, Keeps.PAST] = Field(default=None, ge=0, le=1)
    """ε below: the ratio ρ is clipped at 1 − this."""
    clip_high: Annotated[float | None, Keeps.PAST] = Field(default=None, ge=0)
    """ε above: the ratio ρ is clipped at 1 + this."""
    dual_clip: Annotated[float | None, Keeps.PAST] = Field(default=None, gt=1)
    """The most a token of negative advantage weighs, as a multiple of its advantage."""
    constant: float | None = Field(default=None, gt=0)
    """C, the constant that divides each response's sum; None takes `sampling.max_new_tokens`."""
    kl: Literal["none", "k1_reward", "k2", "k3", "k3_corrected"] = "none"
    """Estimator of KL(π ‖ π_ref): in the reward, or in the loss. Without one no reference model is loaded."""
    kl_coefficient: float = Field(default=0.0, ge=0)
    """β, the price of a nat of KL."""
    reference: Annotated[str | None, Keeps.PLACE] = None
    """The reference model; None takes `model.path`."""
    entropy: float = 0.0
    """Coefficient of the entropy bonus."""
    importance_cap: float | None = Field(default=None, gt=0)
    """Truncated importance sampling: gains times min(π_old / π_sampler, cap), for samplers that are not quite the
    learner's policy."""
    gamma: float | None = Field(default=None, gt=0, le=1)
    """γ, the discount of generalised advantage estimation, where the objective has a critic."""
    lam: float | None = Field(default=None, ge=0, le=1)
    """λ of generalised advantage estimation, where the objective has a critic."""
    chunks: int | None = Field(default=None, ge=1)
    """Micro-batches of a peer's loss that depends on their number."""
    truncation: Literal["reward_zero", "mask_out", "keep", "penalise"] = "reward_zero"
    """What a truncated response earns: nothing even where its answer is right (the paper); `mask_out` takes it out of
    baseline and gradient but not out of N; `keep` its reward; `penalise` minus `truncation_penalty`."""
    truncation_penalty: float | None = Field(default=None, gt=0)
    """What a truncated response loses under `penalise`."""


class CriticSettings(Section):
    """The value head of objectives with a critic (`ppo`)."""

    learning_rate: Annotated[float, Keeps.PAST] = Field(default=1e-3, gt=0)
    """Step size of the value head."""
    clip: Annotated[float, Keeps.PAST] = Field(default=0.2, gt=0)
    """Values may move this far from the old ones before their loss stops pulling (Schulman's clipped value loss)."""


class OptimiserSettings(Section):
    """AdamW and its schedule."""

    learning_rate: Annotated[float, Keeps.PAST] = Field(default=1e-6, gt=0)
    """Step size of AdamW, at its highest."""
    schedule: Annotated[Literal["constant", "linear", "cosine"], Keeps.PAST] = "constant"
    """The learning rate after its warm-up: as it is, or down to zero at the last step, in a line or a half cosine."""
    warmup_steps: Annotated[int, Keeps.PAST] = Field(default=0, ge=0)
    """Optimiser steps over which the learning rate rises linearly from zero."""
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    """Decay of AdamW's first and second moments."""
    eps: float = Field(default=1e-8, gt=0)
    """What AdamW adds to the root of the second moment."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""
    max_grad_norm: Annotated[float, Keeps.PAST] = Field(default=1.0, gt=0)
    """Gradients of a larger norm are scaled down to it."""
    autocast: Literal["auto", "off", "bfloat16"] = "auto"
    """`auto`: bfloat16 where the device is fast at it: on GPUs, and on CPUs where a few products of the model's own
    shapes are, measured as the run begins and recorded; off for models under 34 M parameters on a CPU, and on a cluster
    of CPUs. `off` is exact: the same bits however it is interrupted or laid out."""
    gradient_checkpointing: bool = False
    """Compute activations anew in the backward pass: less memory, about a third more time."""


class LearnerSettings(OptimiserSettings):
    """How a rollout batch becomes optimiser steps."""

    updates: int = Field(default=1, ge=1)
    """Optimiser steps per rollout batch; each sees P·G / updates responses. 1 is the on-policy step."""
    micro_tokens: int = Field(default=16384, ge=1)
    """Token budget of one forward and backward pass. Changes speed and memory, never the gradient."""
    layout: Literal["padded", "packed", "shared"] = "padded"
    """How responses are laid out for the model; never changes the gradient. `shared` runs each prompt once for all its
    responses: the fastest where responses of a question train together, but without gradient checkpointing."""

    @model_validator(mode="after")
    def _shared_keeps_a_cache(self) -> LearnerSettings:
        if self.layout == "shared" and self.gradient_checkpointing:
            raise ValueError(
                'learner.layout = "shared" keeps the prompts\' keys and values, which learner.gradient_checkpointing '
                'throws away; set one of them to something else (layout "padded", say)'
            )
        return self


class ClusterSettings(Section):
    """Learner ranks and sampler replicas on a Ray cluster (`pip install "r1zero[ray]"`, docs/scaling.md)."""

    address: str = "local"
    """`local` starts Ray on this machine and ends it with the run; `auto` is the cluster this machine belongs to;
    `ray://HOST:PORT` a cluster elsewhere."""
    learners: int = Field(default=1, ge=1)
    """Ranks that the weights, gradients and moments are sharded over (FSDP2), one GPU each where there are GPUs."""
    samplers: int = Field(default=1, ge=1)
    """Sampler replicas, `sampling.tensor_parallel` GPUs each."""
    share_gpus: bool = False
    """Learners and samplers take turns on the same GPUs, instead of having their own."""
    verifiers: int = Field(default=1, ge=1)
    """Pools of `verifier.workers` grading processes, spread over the nodes."""

    @model_validator(mode="after")
    def _has_an_address(self) -> ClusterSettings:
        if self.address not in ("local", "auto") and not re.fullmatch(r"ray://[^/:]+:\d+", self.address):
            raise ValueError(
                f'cluster.address = "{self.address}" is not a valid address: write "local", "auto" or '
                '"ray://HOST:10001" (other clusters: set RAY_ADDRESS and write "auto")'
            )
        return self


class VerifierSettings(Section):
    """The pool of grading processes; `reward` names a user's own function or command (docs/verification.md)."""

    reward: Annotated[str | None, Keeps.PLACE] = None
    """`FILE.py:NAME`, `MODULE:NAME` or `cmd: WORDS` grades every response; None takes the verifier's own rules."""
    workers: Annotated[int, Keeps.BOTH] = Field(default=2, ge=1)
    """Grading processes side by side."""
    timeout_s: float = Field(default=2.0, gt=0, le=86_400)
    """Seconds after which grading an answer is killed; it counts as timed out, not as wrong."""
    memory_mb: int = Field(default=2048, ge=256)
    """The most memory of a grading process, in MiB."""


class EvaluationSettings(Section):
    """What is evaluated, when, and how. Always at step 0 and at the end."""

    benchmarks: Annotated[tuple[BenchmarkSettings, ...], Keeps.PAST | Keeps.PLACE] = ()
    """The benchmarks: a list such as `[{ name = "math500" }, { name = "amc", limit = 40 }]`."""
    every: Annotated[int, Keeps.RUN] = Field(default=16, ge=1)
    """Rollout batches between evaluations."""
    samples: Annotated[int, Keeps.PAST] = Field(default=1, ge=1)
    """Responses to each question."""
    temperature: Annotated[float, Keeps.PAST] = Field(default=0.0, ge=0)
    """0 takes the likeliest token each time."""
    top_p: Annotated[float, Keeps.PAST] = Field(default=1.0, gt=0, le=1)
    """Draw from the likeliest tokens that have this probability together; 1 draws from all."""
    top_k: Annotated[int, Keeps.PAST] = Field(default=0, ge=0)
    """Draw from so many likeliest tokens; 0 draws from all."""
    max_new_tokens: Annotated[int | None, Keeps.PAST] = Field(default=None, ge=1)
    """None takes `sampling.max_new_tokens`."""

    @model_validator(mode="after")
    def _greedy_once(self) -> EvaluationSettings:
        if self.temperature == 0 and self.samples > 1:
            raise ValueError(
                f"evaluation.samples = {self.samples} with evaluation.temperature = 0 would draw the same greedy "
                "answer again; set evaluation.temperature above 0 or evaluation.samples = 1"
            )
        return self


class CheckpointSettings(Section):
    """When the run is saved, and what is kept."""

    every: int = Field(default=16, ge=1)
    """Rollout batches between checkpoints; the last one is always saved."""
    keep_last: int = Field(default=2, ge=1)
    """The newest checkpoints that are kept."""
    keep_best: bool = True
    """Keep the checkpoint with the best evaluation average too."""


class TrackersSettings(Section):
    """Who else is told the numbers of a run."""

    sinks: tuple[str, ...] = ()
    """Any of `tensorboard`, `wandb`, `trackio`."""
    project: str = "r1zero"
    """The project's name there."""


class LogSettings(TrackersSettings):
    """What is written beside the run directory's own files."""

    rollouts_every: int = Field(default=1, ge=0)
    """Save every Nth rollout batch as Parquet; 0 saves none."""


class TrainSettings(Section):
    """The length and the seed of the run."""

    steps: Annotated[int, Keeps.RUN] = Field(ge=0)
    """Rollout batches (the paper's policy iterations)."""
    seed: Annotated[int, Keeps.EXPERIMENT] = Field(default=0, ge=0, lt=2**32)
    """All randomness is a function of it: sampling, the order of the questions, new weights."""
    threads: Annotated[int | None, Keeps.EXPERIMENT] = Field(default=None, ge=1)
    """CPU threads of torch, on a cluster of each actor; None takes what is free, and on a cluster 1. Recorded, for bits
    depend on it."""
    max_logprob_gap: float | None = Field(default=None, gt=0)
    """Stop when the sampler's and the learner's log-probs of the same tokens differ by more than this (nats, mean
    absolute): then they are not the same policy. None takes 1e-4 in fp32 and 0.1 under autocast."""
