"""AdamW with its schedule and gradient clipping: one for reinforcement learning and for pretraining."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim.lr_scheduler import LambdaLR

from r1zero import config
from r1zero.errors import UserError


class Optimiser:
    """Moves `parameters` by their gradients; `total` is the length of a decaying schedule, in steps."""

    def __init__(self, parameters: Sequence[Tensor], settings: config.OptimiserSettings, total: int):
        self.parameters, self.settings, self.total = parameters, settings, total
        self.adam = torch.optim.AdamW(
            parameters,
            lr=settings.learning_rate,
            betas=settings.betas,
            eps=settings.eps,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.schedule = LambdaLR(self.adam, lambda step: learning_rate_factor(step, settings, total))

    def zero_grad(self) -> None:
        """Forget all gradients."""
        self.adam.zero_grad(set_to_none=True)

    def step(self, number: int, cause: str = "") -> tuple[float, float]:
        """Clip and step; returns (the learning rate, the gradient's norm before clipping).

        Raises:
            UserError: the gradient of this step (the `number`-th) is not finite; nothing was moved. `cause` says why
                and what to do, where it is not the learning rate.
        """
        total = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.max_grad_norm)
        # of several ranks each has the norm of its shards, and all take part in adding them up
        norm = (total.full_tensor() if isinstance(total, DTensor) else total).item()
        if not math.isfinite(norm):
            half = f"--learner.learning_rate {self.settings.learning_rate / 2:g}"
            remedy = (
                f"lower learner.learning_rate and continue from the newest checkpoint (--resume {half}), or, if it "
                f"comes again, from an older one (--resume STEP {half})."
            )
            raise UserError(
                f"The gradient of update {number} is not finite, so the weights were left as they are; "
                f"{cause or remedy}"
            )
        rate = float(self.schedule.get_last_lr()[0])
        self.adam.step()
        self.schedule.step()
        return rate, norm

    def state(self) -> dict[str, Any]:
        """Return moments, and where the schedule stands."""
        return {"optimiser": self.adam.state_dict(), "schedule": self.schedule.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`, with the learning rate and the schedule that the settings now ask for."""
        if "optimiser" in state:  # else it came with the shards
            self.adam.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.schedule.base_lrs = [self.settings.learning_rate] * len(self.adam.param_groups)
        factor = learning_rate_factor(self.schedule.last_epoch, self.settings, self.total)
        for group in self.adam.param_groups:
            group["initial_lr"] = self.settings.learning_rate
            group["lr"] = self.settings.learning_rate * factor
        self.schedule._last_lr = [group["lr"] for group in self.adam.param_groups]


def learning_rate_factor(update: int, settings: config.OptimiserSettings, total: int) -> float:
    """Return what the learning rate of the `update`-th optimiser step (from 0) is multiplied with.

    Rises linearly over `warmup_steps`, its last step at full rate; then stays, or falls to 0 at `total`.
    """
    if update < settings.warmup_steps:
        return (update + 1) / settings.warmup_steps
    progress = min(1.0, (update - settings.warmup_steps) / max(1, total - settings.warmup_steps))
    match settings.schedule:
        case "linear":
            return 1.0 - progress
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * progress))
        case _:
            return 1.0
