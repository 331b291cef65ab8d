"""Learning-rate schedules in closed form per optimiser step, and parameter groups.

Every schedule warms up linearly, ``lr(k) = base * (k + 1) / w`` in step ``k < w`` of ``w`` warm-up steps, and then
decays from the base rate, which is the optimiser's learning rate when the schedule is made. Call ``step`` after each
optimiser step (in Lightning ``interval: step``).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import lightning as L
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from src.errors import UserError

__all__ = ["cosine", "parameter_groups", "polynomial", "schedule", "step"]

logger = logging.getLogger(__name__)


def polynomial(
    optimizer: Optimizer, total_steps: int, epoch_steps: int, warmup_epochs: float = 0.0, power: float = 1.0
) -> LambdaLR:
    """Decay to zero as ``(1 - progress) ** power``; arcface_torch uses power 1, its older releases 2.

    Args:
        optimizer: Its learning rates are the base rates.
        total_steps: Optimiser steps of the whole run, warm-up included.
        epoch_steps: Optimiser steps of one epoch.
        warmup_epochs: Length of the linear warm-up.
        power: Exponent of the remaining share of the steps.

    Raises:
        UserError: If the warm-up is negative.
    """

    def decay(progress: float) -> float:
        return (1 - progress) ** power

    return _warmup_then_decay(optimizer, total_steps, _warmup_steps(total_steps, epoch_steps, warmup_epochs), decay)


def cosine(
    optimizer: Optimizer,
    total_steps: int,
    epoch_steps: int,
    warmup_epochs: float = 0.0,
    final_factor: float = 0.0,
) -> LambdaLR:
    """Decay along half a cosine (Loshchilov and Hutter 2017, eq. 5, without restarts).

    Args:
        optimizer: Its learning rates are the base rates.
        total_steps: Optimiser steps of the whole run, warm-up included.
        epoch_steps: Optimiser steps of one epoch.
        warmup_epochs: Length of the linear warm-up.
        final_factor: Last learning rate as a share of the base rate.

    Raises:
        UserError: If the warm-up is negative.
    """

    def decay(progress: float) -> float:
        return final_factor + (1 - final_factor) * (1 + math.cos(math.pi * progress)) / 2

    return _warmup_then_decay(optimizer, total_steps, _warmup_steps(total_steps, epoch_steps, warmup_epochs), decay)


def step(
    optimizer: Optimizer,
    total_steps: int,
    epoch_steps: int,
    milestones: Sequence[float],
    warmup_epochs: float = 0.0,
    gamma: float = 0.1,
) -> LambdaLR:
    """Multiply by ``gamma`` after each milestone; ElasticFace has them after 8, 14, 20 and 25 of 26 epochs.

    Args:
        optimizer: Its learning rates are the base rates.
        total_steps: Optimiser steps of the whole run, warm-up included.
        epoch_steps: Optimiser steps of one epoch.
        milestones: In epochs.
        warmup_epochs: Length of the linear warm-up.
        gamma: Factor at each milestone.

    Raises:
        UserError: If the warm-up is negative.
    """
    warmup_steps = _warmup_steps(total_steps, epoch_steps, warmup_epochs)

    def factor(k: int) -> float:
        warmup = min(1.0, (k + 1) / max(warmup_steps, 1))
        return warmup * gamma ** sum(k >= milestone * epoch_steps for milestone in milestones)

    return LambdaLR(optimizer, factor)


def parameter_groups(module: nn.Module, *, decay_norm_and_bias: bool = True) -> list[dict[str, Any]]:
    """Split the trainable parameters by whether weight decay applies to them.

    Args:
        module: The network, with its head.
        decay_norm_and_bias: Whether the parameters of one dimension decay too: biases, normalisation layers and
            slopes of PReLU. They do in arcface_torch; they do not in CVLface.

    Returns:
        Groups for an optimiser, none of them empty. Those that do not decay have ``weight_decay`` 0; the others take
        the optimiser's own.
    """
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trainable if decay_norm_and_bias or parameter.ndim > 1]
    exempt = [parameter for parameter in trainable if not decay_norm_and_bias and parameter.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": exempt, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def schedule(optimizer: Optimizer, scheduler: Callable[..., LRScheduler], trainer: L.Trainer) -> Any:
    """What ``configure_optimizers`` returns for an optimiser with a schedule that is stepped after each of its steps.

    Args:
        optimizer: With the base rates.
        scheduler: Called with the optimiser, ``total_steps`` (optimiser steps of the whole run) and ``epoch_steps``
            (optimiser steps of one epoch).
        trainer: Tells both.
    """
    trainer.fit_loop.setup_data()  # where max_steps alone ends the run, the batches are not counted yet
    total_steps = int(trainer.estimated_stepping_batches)
    epoch_steps = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
    made = scheduler(optimizer, total_steps=total_steps, epoch_steps=epoch_steps)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": made, "interval": "step"}}


def _warmup_then_decay(
    optimizer: Optimizer, total_steps: int, warmup_steps: int, decay: Callable[[float], float]
) -> LambdaLR:
    def factor(k: int) -> float:
        if k < warmup_steps:
            return (k + 1) / warmup_steps
        return decay(min(1.0, (k - warmup_steps) / max(total_steps - warmup_steps, 1)))

    return LambdaLR(optimizer, factor)


def _warmup_steps(total_steps: int, epoch_steps: int, warmup_epochs: float) -> int:
    if warmup_epochs < 0:
        raise UserError(f"warmup_epochs={warmup_epochs}: expected 0 or more epochs")
    steps = round(warmup_epochs * epoch_steps)
    if steps > total_steps:
        logger.warning("the run ends within its %g warm-up epochs: the learning rate only rises", warmup_epochs)
    return steps
