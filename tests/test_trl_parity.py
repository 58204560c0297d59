"""TRL's own loss beside our row of the same name: `GRPOTrainer._compute_loss` of 1.16, on the same log-probs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from helpers import TOKENIZER, qwen
from r1zero.objectives.table import PEERS, Objective
from regime import seeded

trl = pytest.importorskip("trl", reason="TRL is not installed (pip install 'trl==1.16.*')")
if not trl.__version__.startswith("1.16."):
    pytest.skip(f"the rows are those of TRL 1.16, and here is {trl.__version__}", allow_module_level=True)

LENGTHS = torch.tensor([1, 9, 4, 6, 2, 3, 9, 5])
WIDTH, BUDGET = 9, 12
CAP = {"epsilon": 0.2, "epsilon_high": 5.0}  # of CISPO: absolute
ROWS = {
    "trl/grpo": {"loss_type": "grpo"},
    "trl/bnpo": {"loss_type": "bnpo"},
    "trl/dr_grpo": {"loss_type": "dr_grpo"},
    "trl/dapo": {"loss_type": "dapo"},
    "trl/cispo": {"loss_type": "cispo"},
    "trl/cispo+epsilon_high=5": {"loss_type": "cispo", **CAP},
    "trl/sapo": {"loss_type": "sapo"},
    "trl/luspo": {"loss_type": "luspo", "importance_sampling_level": "sequence"},
    "trl/sequence+dr_grpo": {"loss_type": "dr_grpo", "importance_sampling_level": "sequence"},
}


def trainer_of(folder: Path, **options: Any) -> Any:
    from datasets import Dataset

    args = trl.GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=BUDGET,
        report_to=[],
        use_cpu=True,
        bf16=False,
        **options,
    )
    return trl.GRPOTrainer(
        model=qwen(),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=args,
        train_dataset=Dataset.from_list([{"prompt": "1 + 1 ="}] * 8),
        processing_class=TOKENIZER,
    )


@pytest.fixture(scope="module", params=ROWS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Objective, Any]:
    return (
        replace(PEERS[request.param], constant=float(BUDGET)),
        trainer_of(tmp_path_factory.mktemp("trl"), **ROWS[request.param]),
    )


def a_batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(new log-probs, old ones, mask, advantages) of two groups of four; ratios from 0.3 to 7."""
    generator = torch.Generator().manual_seed(seeded())
    old = -3 * torch.rand(8, WIDTH, generator=generator, dtype=torch.float64) - 0.1
    new = old + 0.8 * torch.randn(8, WIDTH, generator=generator, dtype=torch.float64)
    mask = (torch.arange(WIDTH) < LENGTHS[:, None]).double()
    rewards = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    advantages = PEERS["trl/grpo"].advantages(rewards, torch.ones(2, 4, dtype=torch.bool)).flatten()
    return new, old, mask, advantages


def theirs(trainer: Any, chunks: int = 1, *, on_policy: bool = False) -> tuple[Tensor, Tensor]:
    """(loss, its gradient on the log-probs), as `chunks` micro-batches of one optimiser step."""
    new, old, mask, advantages = a_batch()
    leaf = new.clone().requires_grad_()
    trainer.current_gradient_accumulation_steps = trainer.args.steps_per_generation = chunks
    trainer.model.train()
    total = torch.zeros((), dtype=torch.float64)
    for rows in torch.arange(8).chunk(chunks):
        part = leaf[rows]
        trainer._get_per_token_logps_and_entropies = lambda *_, part=part, **__: (part, torch.zeros_like(part), None)
        ids = torch.zeros(len(rows), WIDTH, dtype=torch.int64)
        inputs = {
            "prompt_ids": ids[:, :1],
            "prompt_mask": torch.ones_like(ids[:, :1]),
            "completion_ids": ids,
            "completion_mask": mask[rows],
            "advantages": advantages[rows],
            "num_items_in_batch": mask.sum(),
        } | ({} if on_policy else {"old_per_token_logps": old[rows]})
        total = total + trainer._compute_loss(trainer.model, inputs)
    return total.detach(), torch.autograd.grad(total, leaf)[0]


def ours(row: Objective, *, on_policy: bool = False) -> tuple[Tensor, Tensor]:
    """The same by the row. CISPO's value is of log ρ where TRL's is of log π: that constant is added."""
    new, old, mask, advantages = a_batch()
    leaf = new.clone().requires_grad_()
    response_N = torch.arange(8)[:, None].expand(8, WIDTH)[mask.bool()]
    old_N = leaf.detach()[mask.bool()] if on_policy else old[mask.bool()]
    ratios_N = row.ratios(leaf[mask.bool()] - old_N, response_N)
    weights = row.response_weights(LENGTHS, advantages != 0, torch.arange(8) // 4)
    loss = -(weights[response_N] * row.gains(ratios_N, advantages[response_N])).sum()
    (gradient,) = torch.autograd.grad(loss, leaf)
    value = loss.detach()
    if row.surrogate == "cispo":
        held_N = ratios_N.detach().clamp(1 - row.clip_low, 1 + row.clip_high)
        value = value - (weights[response_N] * held_N * advantages[response_N] * old_N).sum()
    return value, gradient


@pytest.mark.parametrize(("chunks", "on_policy"), [(1, False), (1, True), (2, False), (4, False)])
def test_loss_and_gradient_under_every_accumulation(pair: tuple[Objective, Any], chunks: int, on_policy: bool) -> None:
    row, trainer = pair
    loss, gradient = theirs(trainer, chunks, on_policy=on_policy)
    value, slope = ours(replace(row, chunks=chunks), on_policy=on_policy)
    torch.testing.assert_close(value, loss, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(slope, gradient, rtol=1e-6, atol=1e-8)
    assert gradient.abs().sum() > 0


def test_only_bnpo_depends_on_the_cut(pair: tuple[Objective, Any]) -> None:
    row, trainer = pair
    (_, whole), (_, cut) = theirs(trainer), theirs(trainer, 4)
    assert (float((whole - cut).norm() / whole.norm()) > 1e-2) is (row.weights == "chunk_token_mean")


def test_advantages_are_divided_as_trl_divides_them(pair: tuple[Objective, Any]) -> None:
    _, trainer = pair
    assert trainer.scale_rewards == "group"  # the default, whatever the loss type
    _, _, _, advantages = a_batch()
    group = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(advantages[:4], (group - group.mean()) / (group.std() + 1e-4))
