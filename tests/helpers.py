"""What the tests of the numerical core share: tiny models with lively weights, policies of them, and random batches."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from r1zero import config
from r1zero.errors import UserError
from r1zero.learner.experience import Experience
from r1zero.learner.learner import Learner
from r1zero.metrics import Tally
from r1zero.objectives.table import Objective, make_objective
from r1zero.policy.batch import Trajectory
from r1zero.policy.load import Policy, check_peft
from r1zero.policy.tiny import character_tokenizer
from regime import THREADS, seeded

torch.set_num_threads(THREADS)  # one, but for regimes: models so small leave threads waiting for one another

TOKENIZER = character_tokenizer()
EOS = 1
VOCABULARY = len(TOKENIZER)


def _lacking_peft() -> str:
    try:
        check_peft("adapters need")
    except UserError as error:
        return str(error)
    return ""


needs_peft = pytest.mark.skipif(bool(_lacking_peft()), reason=_lacking_peft() or "peft is here")
needs_vllm = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason="no vLLM: `make setup-cluster` installs it"
)
WIDE_OPEN = 1e9  # a gradient-norm bound that never binds
C = 10.0  # the constant of every objective that has one


def lively(model: PreTrainedModel, std: float = 0.25, seed: int = 0) -> PreTrainedModel:
    """Weights large enough that what a model says depends on every token before it; norms and biases moved as well."""
    generator = torch.Generator().manual_seed(seeded(seed))
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                parameter.copy_(noise * std)
            else:
                parameter.add_(noise * 0.1)
    return model.eval()


_SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "bos_token_id": None,
    "eos_token_id": EOS,
    "pad_token_id": 0,
}


def qwen(seed: int = 0) -> PreTrainedModel:
    """Qwen2, whose attention has biases, with tied embeddings."""
    shape = {name: value for name, value in _SHAPE.items() if name != "head_dim"}
    shape |= {"intermediate_size": 128, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = Qwen2Config(**shape, max_position_embeddings=4096, tie_word_embeddings=True)
    return lively(Qwen2ForCausalLM(config), seed=seed)


def llama() -> PreTrainedModel:
    """Llama with grouped-query attention (4 heads, 2 of keys and values) and an output head of its own."""
    return lively(LlamaForCausalLM(LlamaConfig(**_SHAPE, tie_word_embeddings=False)))


def mistral() -> PreTrainedModel:
    """Mistral whose every layer sees 6 tokens back: fewer than prompts and responses hold."""
    return lively(MistralForCausalLM(MistralConfig(**_SHAPE, sliding_window=6, tie_word_embeddings=False)))


def gemma2() -> PreTrainedModel:
    """Gemma 2: sliding and full layers in turn, and final logits capped at ±2, where the cap bends them all."""
    # tied embeddings would have so small a model say its last token again and again
    shape = {**_SHAPE, "query_pre_attn_scalar": 8, "tie_word_embeddings": False}
    model = Gemma2ForCausalLM(
        Gemma2Config(**shape, sliding_window=6, final_logit_softcapping=2.0, attn_implementation="eager")
    )
    return lively(model)


MODELS = {"qwen": qwen, "llama": llama, "mistral": mistral, "gemma2": gemma2}


def policy_of(model: PreTrainedModel) -> Policy:
    """A policy on the CPU in float32, ending at `<eos>`."""
    return Policy(model, TOKENIZER, (EOS,), nullcontext)


def encode(text: str) -> tuple[int, ...]:
    """Token ids of a text, one per character."""
    return tuple(TOKENIZER.encode(text, add_special_tokens=False))


def full_logprobs(
    model: PreTrainedModel, prompt_ids: Sequence[int], response_ids: Sequence[int], temperature: float = 1.0
) -> Tensor:
    """log π(o_t | q, o_<t) by one plain forward pass of one sequence: no cache, no padding, every logit."""
    logits = model(input_ids=torch.tensor([[*prompt_ids, *response_ids]]), use_cache=False).logits[0] / temperature
    table = torch.log_softmax(logits.float(), dim=-1)
    first = len(prompt_ids) - 1
    return torch.stack([table[first + t, token] for t, token in enumerate(response_ids)])


def trajectory(
    model: PreTrainedModel, prompt: Sequence[int], response: Sequence[int], advantage: float, temperature: float = 1.0
) -> Trajectory:
    """A trajectory with the log-probs that an exact sampler would have reported."""
    with torch.no_grad():
        logprobs = full_logprobs(model, prompt, response, temperature).tolist()
    return Trajectory(tuple(prompt), tuple(response), tuple(logprobs), advantage)


def random_trajectories(
    model: PreTrainedModel, seed: int, count: int = 6, *, longest: int = 9, temperature: float = 1.0
) -> list[Trajectory]:
    """`count` trajectories of random lengths and ids, some with the prompt of the one before.

    About a third have advantage zero, the first never.
    """
    generator = torch.Generator().manual_seed(seeded(seed))

    def integer(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    rows: list[Trajectory] = []
    prompt: list[int] = []
    for i in range(count):
        if i == 0 or integer(0, 1):
            prompt = [integer(3, VOCABULARY - 1) for _ in range(integer(1, 7))]
        response = [integer(3, VOCABULARY - 1) for _ in range(integer(1, longest) - 1)] + [EOS]
        advantage = 0.0 if i and integer(0, 2) == 0 else float(torch.randn((), generator=generator))
        rows.append(trajectory(model, prompt, response, advantage, temperature))
    return rows


def learner_of(
    model: PreTrainedModel,
    objective: Objective | None = None,
    *,
    temperature: float = 1.0,
    seed: int = 0,
    total_updates: int = 100,
    max_logprob_gap: float | None = None,
    reference: Policy | None = None,
    **settings: object,
) -> Learner:
    """A learner with the given settings, Dr. GRPO with C = 10 by default."""
    return Learner(
        policy_of(model),
        objective or make_objective("dr_grpo", constant=C),
        config.LearnerSettings(**{"learning_rate": 1e-2, "max_grad_norm": WIDE_OPEN, **settings}),
        temperature=temperature,
        seed=seed,
        total_updates=total_updates,
        max_logprob_gap=max_logprob_gap,
        reference=reference,
    )


def flat_gradient(model: PreTrainedModel) -> Tensor:
    """Every parameter's gradient in one vector; none at all counts as zeros."""
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in model.parameters()])


def flat_weights(model: PreTrainedModel) -> Tensor:
    """A copy of every parameter in one vector."""
    return torch.cat([p.detach().flatten() for p in model.parameters()]).clone()


def gradient_of(
    learner: Learner,
    trajectories: Sequence[Trajectory],
    old: Sequence[Tensor | None] | Experience | None = None,
    share: Sequence[int] | None = None,
) -> Tensor:
    """The learner's gradient of one optimiser step, in one vector."""
    model = learner.policy.model
    model.zero_grad(set_to_none=True)
    experience = old if isinstance(old, Experience) else Experience(old=old)
    learner.gradient(trajectories, experience, Tally(), share)
    return flat_gradient(model)


def weight(objective: Objective, rows: Sequence[Trajectory], i: int) -> float:
    """w_i, from the definition."""
    n, lengths = len(rows), [row.length for row in rows]
    live = [row.length for row in rows if row.advantage]
    questions = list(dict.fromkeys(row.prompt_ids for row in rows))
    mine = [row.length for row in rows if row.prompt_ids == rows[i].prompt_ids]
    size = math.ceil(n / min(objective.chunks, n))
    chunks = [lengths[at : at + size] for at in range(0, n, size)]
    if objective.chunking == "by_tokens":
        chunks = [[]]
        for length in sorted(lengths):
            if chunks[-1] and sum(chunks[-1]) + length > max(lengths):
                chunks.append([])
            chunks[-1].append(length)
        place, count = sorted(range(n), key=lambda k: lengths[k]).index(i), 0
        chunk = next(c for c in chunks if (count := count + len(c)) > place)
    else:
        chunk = chunks[i // size]
    return {
        "constant": 1 / (n * C),
        "constant_total": 1 / C,
        "per_response": 1 / (n * lengths[i]),
        "token_mean": 1 / sum(lengths),
        "live_token_mean": 1 / max(sum(live), 1),
        "chunk_token_mean": 1 / (len(chunks) * sum(chunk)),
        "chunk_width": len(chunk) / (n * max(lengths)),
        "width": 1 / max(lengths),
        "mean_width": 1 / (n * max(lengths)),
        "question_token_mean": 1 / (len(questions) * sum(mine)),
        "response_sum": 1 / n,
    }[objective.weights]


def gain(objective: Objective, ratio: Tensor, advantage: float) -> Tensor:
    """The surrogate of one token, from the definition."""
    low, high = 1 - objective.clip_low, 1 + objective.clip_high
    clamped = min(max(ratio, torch.tensor(low)), torch.tensor(high))
    tau = 1.05 if advantage < 0 else 1.0
    value = {
        "clipped": lambda: min(ratio * advantage, clamped * advantage),
        "importance": lambda: ratio * advantage,
        "policy_gradient": lambda: ratio.log() * advantage,
        "cispo": lambda: clamped.detach() * ratio.log() * advantage,
        "soft_gated": lambda: 4 / tau / (1 + (-tau * (ratio - 1)).exp()) * advantage,
    }[objective.surrogate]()
    if objective.dual_clip is not None and advantage < 0:
        value = max(value, torch.tensor(objective.dual_clip * advantage))
    return value


def reference_gradient(
    model: PreTrainedModel,
    objective: Objective,
    rows: Sequence[Trajectory],
    old: Sequence[Tensor] | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """The gradient by the objective's formula, without the project's maths: plain loops over full logits."""
    loss = torch.zeros(())
    for i, row in enumerate(rows):
        logprobs = full_logprobs(model, row.prompt_ids, row.response_ids, temperature)
        log_ratios = logprobs - (logprobs.detach() if old is None else old[i])
        if objective.ratio == "sequence":
            log_ratios = log_ratios.mean().expand(row.length)
        for t in range(row.length):
            loss = loss - weight(objective, rows, i) * gain(objective, log_ratios[t].exp(), row.advantage)
    model.zero_grad(set_to_none=True)
    loss.backward()
    gradient = flat_gradient(model)
    model.zero_grad(set_to_none=True)
    return gradient


def relative_error(one: Tensor, other: Tensor) -> float:
    """‖one − other‖ / ‖other‖."""
    return float((one - other).norm() / other.norm())


def rank_gradient(rank: int, ranks: int, port: int, path: str) -> None:
    """What one process of a data-parallel step does: the gradient of its share, summed over the processes."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=ranks)
    try:
        model = qwen()
        trajectories = random_trajectories(model, seed=3, count=9)
        learner = learner_of(model, make_objective("grpo"))
        gradient = gradient_of(learner, trajectories, share=range(rank, len(trajectories), ranks))
        torch.distributed.all_reduce(gradient, op=torch.distributed.ReduceOp.SUM)
        torch.save(gradient, f"{path}/gradient-{rank}.pt")
    finally:
        torch.distributed.destroy_process_group()
