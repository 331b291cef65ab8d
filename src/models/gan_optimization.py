"""Rules of StyleGAN2's training: lazy regularisation, gradients, and the moving average of the generator.

Karras et al. 2020, Analyzing and improving the image quality of StyleGAN, section 3.1 and appendix B.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

__all__ = ["average_decay", "lazy_adam", "replace_non_finite_gradients", "update_average"]

_LARGEST_GRADIENT = 1e5


def lazy_adam(
    lr: float, betas: tuple[float, float] = (0.0, 0.99), interval: int | None = None
) -> tuple[float, tuple[float, float]]:
    """Hyperparameters of Adam where one step in every ``interval`` is followed by one of the regularisation.

    Args:
        lr: Learning rate without regularisation.
        betas: Those without regularisation.
        interval: Iterations between regularisations; None if there are none.

    Returns:
        Learning rate, and betas: ``interval + 1`` steps do what ``interval`` would do.
    """
    if interval is None:
        return lr, betas
    ratio = interval / (interval + 1)
    return lr * ratio, (betas[0] ** ratio, betas[1] ** ratio)


def replace_non_finite_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Set gradients that are no number to 0, and infinite ones to plus and minus 1e5, in place."""
    for parameter in parameters:
        if parameter.grad is not None:
            gradient = parameter.grad
            torch.nan_to_num(gradient, nan=0.0, posinf=_LARGEST_GRADIENT, neginf=-_LARGEST_GRADIENT, out=gradient)


def average_decay(batch: int, images: int, half_life: float, ramp: float | None = None) -> float:
    """Decay of the moving average of the generator's parameters in one iteration.

    Args:
        batch: Images of an iteration, of all processes together.
        images: Training images seen before this iteration.
        half_life: In so many images the weight of old parameters halves.
        ramp: The half life is no more than this share of ``images``, so that a young generator is soon forgotten; None
            for no such limit.

    Returns:
        In [0, 1]; 0 copies the parameters.
    """
    if ramp is not None:
        half_life = min(half_life, images * ramp)
    return 0.5 ** (batch / max(half_life, 1e-8))


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move averaged parameters towards those of the network, and copy its buffers.

    Args:
        average: What holds the average, with the parameters and buffers of ``network``.
        network: What is trained.
        decay: Weight of the average so far, as from `average_decay`.
    """
    get_ema_multi_avg_fn(decay)(list(average.parameters()), list(network.parameters()), 0)
    for averaged, buffer in zip(average.buffers(), network.buffers(), strict=True):
        averaged.copy_(buffer)
