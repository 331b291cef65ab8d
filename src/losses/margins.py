"""Margins on cosine logits, as pure functions.

Every margin takes the cosines between embeddings and class centres, ``cosine`` float [B,C], and the class of each
row, ``target`` int64 [B], and returns the changed cosines [B,C], still to be multiplied by a scale. Inputs are never
changed in place. A target of -1 says that the row's class is not among these C columns (it lives in another shard of
the classifier): such a row has no target to change.

The gradient through a margin is either ``"exact"``, or ``"straight_through"``: the margin shifts the value of the
target's cosine, but its derivative counts as 1. Straight-through is what arcface_torch computes, because it changes
the logits outside the autograd graph; it never turns the sign of a gradient, while the exact one of ArcFace does for
angles beyond pi minus the margin.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from src.ops.margin_softmax import Gradient, Guard

__all__ = [
    "Gradient",
    "Guard",
    "adaface",
    "arcface",
    "combined",
    "cosface",
    "curricularface",
    "filter_interclass",
    "rank_margins",
    "sphereface",
    "sphereface_r",
    "target_cosine",
]


def target_cosine(cosine: Tensor, target: Tensor) -> Tensor:
    """Cosine of each row with its own class, [B]; that with column 0 where the target is -1."""
    return cosine.gather(1, target.clamp(min=0)[:, None]).squeeze(1)


def cosface(cosine: Tensor, target: Tensor, margin: float | Tensor = 0.4) -> Tensor:
    """Subtract a margin from the target's cosine (Wang et al. 2018, "CosFace", eq. 4).

    Args:
        cosine: Float [B,C] in [-1, 1].
        target: int64 [B], -1 where absent.
        margin: One for all rows, or one per row [B].
    """
    return _replace_target(cosine, target, target_cosine(cosine, target) - margin)


def arcface(
    cosine: Tensor,
    target: Tensor,
    margin: float | Tensor = 0.5,
    gradient: Gradient = "straight_through",
    guard: Guard = "none",
) -> Tensor:
    """Add a margin to the target's angle (Deng et al. 2019, "ArcFace", eq. 3).

    Args:
        cosine: Float [B,C] in [-1, 1].
        target: int64 [B], -1 where absent.
        margin: In radians; one for all rows, or one per row [B].
        gradient: How to differentiate the target's entry.
        guard: What replaces ``cos(angle + margin)`` where it is no use. ``"linear"``: beyond ``pi - margin``, where
            it would rise again, ``cos(angle) - margin * sin(margin)``. ``"easy"``: beyond ``pi / 2``, the cosine
            itself. ``"none"``: nothing.
    """
    value = _arcface_value(target_cosine(cosine, target), margin, guard)
    return _replace_target(cosine, target, value, gradient)


def combined(
    cosine: Tensor,
    target: Tensor,
    m1: float = 1.0,
    m2: float = 0.5,
    m3: float = 0.0,
    gradient: Gradient = "straight_through",
) -> Tensor:
    """Combined margin ``cos(m1 * angle + m2) - m3`` on the target (Deng et al. 2019, "ArcFace", eq. 4).

    Args:
        cosine: Float [B,C] in [-1, 1].
        target: int64 [B], -1 where absent.
        m1: Factor on the angle, as in SphereFace.
        m2: Radians added to the angle, as in ArcFace.
        m3: Subtracted from the cosine, as in CosFace.
        gradient: How to differentiate the target's entry.
    """
    source = target_cosine(cosine, target)
    shifted = _add_angle(source, m2) if m1 == 1 else (m1 * _angle(source) + m2).cos()
    return _replace_target(cosine, target, shifted - m3, gradient)


def rank_margins(cosine: Tensor, draws: Tensor, *, compat_permutation: bool = False) -> Tensor:
    """Give the harder samples the larger of the drawn margins (Boutros et al. 2022, "ElasticFace", ElasticFace+).

    Args:
        cosine: Cosine of each row with its own class, float [B].
        draws: Margins, float [B] in any order.
        compat_permutation: Use the sorting permutation in place of the ranks, as the authors' code does. The margins
            are then shuffled without regard to difficulty.

    Returns:
        The same margins, float [B], rearranged.
    """
    ascending = draws.sort().values
    easiest_first = cosine.detach().argsort(descending=True)
    if compat_permutation:
        return ascending[easiest_first]
    return torch.empty_like(ascending).scatter(0, easiest_first, ascending)


def adaface(
    cosine: Tensor,
    target: Tensor,
    quality: Tensor,
    margin: float = 0.4,
    gradient: Gradient = "straight_through",
) -> Tensor:
    """Margin that follows image quality (Kim et al. 2022, "AdaFace", section 3).

    The target becomes ``cos(angle - margin * quality) - margin * (1 + quality)``: like CosFace's for average
    quality, like ArcFace's for the lowest.

    Args:
        cosine: Float [B,C] in [-1, 1].
        target: int64 [B], -1 where absent.
        quality: Normalised embedding norm, float [B] in [-1, 1].
        margin: Greatest shift of the angle, in radians.
        gradient: How to differentiate the target's entry.
    """
    epsilon = 1e-3
    source = target_cosine(cosine, target)
    angle = source.clamp(epsilon - 1, 1 - epsilon).acos() - margin * quality
    value = angle.clamp(epsilon, math.pi - epsilon).cos() - margin * (1 + quality)
    return _replace_target(cosine, target, value, gradient)


def sphereface(cosine: Tensor, target: Tensor, margin: float = 4.0, annealing: float | Tensor = 0.0) -> Tensor:
    """Multiply the target's angle, made monotonic (Liu et al. 2017, "SphereFace", eq. 7).

    Args:
        cosine: Float [B,C] in [-1, 1].
        target: int64 [B], -1 where absent.
        margin: Factor on the angle.
        annealing: Weight of the plain cosine against the margin's value, 0 for none. The authors let it fall during
            training, since the loss does not converge from scratch.
    """
    source = target_cosine(cosine, target)
    value = (annealing * source + _monotonic_multiple(source, margin)) / (1 + annealing)
    return _replace_target(cosine, target, value)


def sphereface_r(cosine: Tensor, target: Tensor, margin: float = 1.5, version: Literal["v0", "v1"] = "v1") -> Tensor:
    """Multiply the target's angle, differentiated straight through (Liu et al. 2022, "SphereFace Revived").

    Args:
        cosine: Float [B,C] in [-1, 1].
        target: int64 [B], -1 where absent.
        margin: Factor on the angle.
        version: ``"v0"`` continues beyond pi as SphereFace does, ``"v1"`` stops at pi.
    """
    source = target_cosine(cosine, target)
    if version == "v0":
        value = _monotonic_multiple(source, margin)
    else:
        value = (margin * _angle(source)).clamp(max=math.pi).cos()
    return _replace_target(cosine, target, value, "straight_through")


def curricularface(cosine: Tensor, target: Tensor, stage: float | Tensor, margin: float = 0.5) -> Tensor:
    """ArcFace that weighs hard negatives by the stage of training (Huang et al. 2020, "CurricularFace").

    A negative is hard if its cosine exceeds the target's after the margin; it becomes ``cosine * (stage + cosine)``.
    It is the one margin here that changes other columns than the target's.

    Args:
        cosine: Float [B,C] in [-1, 1].
        target: int64 [B], -1 where absent.
        stage: Running mean of the target's cosine, near 0 early in training.
        margin: In radians.
    """
    source = target_cosine(cosine, target)
    hard = (cosine > _add_angle(source, margin)[:, None]) & (target >= 0)[:, None]
    weighted = torch.where(hard, cosine * (stage + cosine), cosine)
    return _replace_target(weighted, target, _arcface_value(source, margin, guard="linear"))


def filter_interclass(cosine: Tensor, target: Tensor, threshold: float) -> Tensor:
    """Set the cosines of suspiciously close other classes to zero (An et al. 2022, "Killing Two Birds...").

    In noisy data such a class is likely the same person under another name. Its logit stays in the softmax as
    ``exp(0)`` but passes no gradient.

    Args:
        cosine: Float [B,C] in [-1, 1].
        target: int64 [B], -1 where absent.
        threshold: Cosines above it are set to zero, other than the target's.
    """
    filtered = cosine.masked_fill(cosine > threshold, 0.0)
    return _replace_target(filtered, target, target_cosine(cosine, target))


def _replace_target(cosine: Tensor, target: Tensor, value: Tensor, gradient: Gradient = "exact") -> Tensor:
    """Copy ``cosine`` with the target's entries replaced by ``value`` [B]; no B x C mask, no sync with the GPU."""
    index = target.clamp(min=0)[:, None]
    present = cosine.gather(1, index)
    value = value[:, None]
    if gradient == "straight_through":
        value = present + (value - present).detach()
    return cosine.scatter(1, index, torch.where(target[:, None] >= 0, value, present))


def _arcface_value(cosine: Tensor, margin: float | Tensor, guard: Guard) -> Tensor:
    value = _add_angle(cosine, margin)
    if guard == "linear":
        cos_margin, sin_margin = _cos_sin(margin)
        return torch.where(cosine > -cos_margin, value, cosine - margin * sin_margin)
    if guard == "easy":
        return torch.where(cosine > 0, value, cosine)
    return value


def _cos_sin(angle: float | Tensor) -> tuple[float | Tensor, float | Tensor]:
    return (angle.cos(), angle.sin()) if isinstance(angle, Tensor) else (math.cos(angle), math.sin(angle))


def _add_angle(cosine: Tensor, angle: float | Tensor) -> Tensor:
    """Cosine of the angle plus ``angle``, without acos, whose derivative is infinite at both ends."""
    sine = (1 - cosine.square()).clamp(min=1e-7).sqrt()
    cos_angle, sin_angle = _cos_sin(angle)
    return cosine * cos_angle - sine * sin_angle


def _angle(cosine: Tensor) -> Tensor:
    """Angle in radians, kept off both ends so that its derivative is finite."""
    limit = 1 - torch.finfo(cosine.dtype).eps
    return cosine.clamp(-limit, limit).acos()


def _monotonic_multiple(cosine: Tensor, factor: float) -> Tensor:
    """``(-1)^k cos(factor * angle) - 2 k`` with ``k = floor(factor * angle / pi)``."""
    multiple = factor * _angle(cosine)
    half_turns = (multiple.detach() / math.pi).floor()
    return (1 - 2 * (half_turns % 2)) * multiple.cos() - 2 * half_turns
