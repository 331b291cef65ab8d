"""Objectives of StyleGAN2 for pairs of images in visible light and near infrared.

Karras et al. 2020, Analyzing and improving the image quality of StyleGAN; the pairs are those of ArcBiFaceGAN.

Logits are float [N, 1] or [N], higher for images that look real.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from src.errors import UserError

__all__ = [
    "fake_loss",
    "generator_loss",
    "nir_weight_at",
    "path_length_penalties",
    "path_length_samples",
    "path_lengths",
    "projection_noise",
    "r1_penalties",
    "real_loss",
]


def generator_loss(vis_logits: Tensor, nir_logits: Tensor, nir_weight: float) -> Tensor:
    """Non-saturating loss of the generator (Goodfellow et al. 2014, section 3) before both discriminators.

    Args:
        vis_logits: Of generated visible images.
        nir_logits: Of the near-infrared images generated with them.
        nir_weight: Weight of the near infrared; visible light has 1.

    Returns:
        Mean over the batch, a scalar.
    """
    return (F.softplus(-vis_logits) + nir_weight * F.softplus(-nir_logits)).mean()


def fake_loss(logits: Tensor) -> Tensor:
    """Of a discriminator, for generated images: the mean of ``log(1 + exp(logits))``, a scalar."""
    return F.softplus(logits).mean()


def real_loss(logits: Tensor) -> Tensor:
    """Of a discriminator, for real images: the mean of ``log(1 + exp(-logits))``, a scalar.

    The discriminator's loss is the sum of both. They have functions of their own because the graph of one can be freed
    by a backward pass before the other's is built.
    """
    return F.softplus(-logits).mean()


def nir_weight_at(schedule: Mapping[int, float], kimg: float) -> float:
    """Weight of the near infrared at some time of a training run.

    Args:
        schedule: Weights by the number of thousand training images from which on they hold.
        kimg: Thousand images trained on so far.

    Raises:
        UserError: No weight holds so early.
    """
    begun = [start for start in schedule if start <= kimg]
    if not begun:
        raise UserError(
            f"nir_weight: expected a weight from 0 thousand images on, such as {{0: 0.1}}, found {dict(schedule)}; at "
            f"{kimg:g} none holds"
        )
    return schedule[max(begun)]


def r1_penalties(logits: Tensor, images: Tensor) -> Tensor:
    """Squared gradient of the discriminator at every real image (Mescheder et al. 2018, eq. 9).

    The loss is their mean, times gamma / 2, and times the interval at which it is computed.

    Args:
        logits: Computed from ``images``, augmentation included.
        images: Real images before augmentation, [N, C, H, W], that require a gradient.

    Returns:
        Summed over pixels and channels, [N], differentiable with respect to the discriminator.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3))


def projection_noise(images: Tensor) -> Tensor:
    """Draw the directions in which path lengths are measured: N(0, 1 / (H W)) of the shape of images [N, C, H, W]."""
    return torch.randn_like(images) / math.sqrt(images.shape[2] * images.shape[3])


def path_lengths(ws: Tensor, images: Sequence[Tensor], noises: Sequence[Tensor]) -> Tensor:
    """How far the images move with w (section 3.2, eq. 4).

    The gradients of all modalities are added before the length is taken, as in ArcBiFaceGAN: one joint length.

    Args:
        ws: float [N, num_ws, w_dim] that requires a gradient.
        images: Of every modality, each [N, C, H, W], computed from ``ws``.
        noises: Of every modality, as `projection_noise` draws them.

    Returns:
        [N], differentiable with respect to the generator.
    """
    (gradient,) = torch.autograd.grad(images, ws, grad_outputs=noises, create_graph=True)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()


def path_length_penalties(lengths: Tensor, mean: Tensor, decay: float = 0.01) -> tuple[Tensor, Tensor]:
    """Squared deviation of path lengths from their moving average, which these lengths already count for.

    The loss is their mean, times its weight (StyleGAN2 has 2), and times the interval at which it is computed.

    Args:
        lengths: As `path_lengths` measures them, [N].
        mean: Moving average so far, a scalar, at first 0.
        decay: Weight of the mean of ``lengths``.

    Returns:
        Penalties [N], differentiable through the average too, and the average to remember, a scalar without gradient.
    """
    updated = mean.lerp(lengths.mean(), decay)
    return (lengths - updated).square(), updated.detach()


def path_length_samples(batch: int, shrink: int = 2) -> int:
    """How many samples of a batch path lengths are measured on: one in ``shrink``, but at least one."""
    return max(batch // shrink, 1)
