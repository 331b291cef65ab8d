"""Losses of deep rank hashing that compare the codes of a batch with each other (Dong et al. 2022).

Anchors a, positives p (another face of the anchor's identity) and negatives n (a face of somebody else) are all taken
from one batch. In all functions ``code`` is float [B, m], soft-argmax codes with values 0 to q - 1, and is computed on
in double precision; ``label`` is an integer [B]. Every function returns a scalar and raises UserError for a batch of
one identity, in which no face is a negative.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from src.errors import UserError, check_choice

__all__ = [
    "LOSSES",
    "Angle",
    "batch_all_arc_triplet",
    "batch_all_triplet",
    "batch_hard_arc_triplet",
    "batch_hard_triplet",
    "hardest",
    "ms_loss",
    "pairwise_angle",
    "semihard_triplet",
]

Angle = Literal["fixed", "parity"]

_TINY = 1e-16
_CLIP = 1 - 1e-7
"""Largest cosine of which an angle is taken; the gradient of the arc cosine is infinite at 1."""
_ENTRIES = 256**3
"""Of an array over all triplets, 128 MiB; anchors of larger batches are taken in portions."""


def batch_hard_triplet(code: Tensor, label: Tensor, margin: float) -> Tensor:
    """Euclidean distance to the farthest positive, less that to the nearest negative, plus a margin in code units.

    Mean over the anchors of what is above 0 (Hermans, Beyer and Leibe 2017).
    """
    positive, negative = hardest(_distances(code), label)
    return (positive - negative + margin).clamp(min=0).mean()


def batch_all_triplet(code: Tensor, label: Tensor, margin: float, factor: float = 100.0) -> Tensor:
    """``factor`` times the mean of ``distance to p - distance to n + margin`` over all triplets where it is above 0."""
    return factor * _mean_of_violations(_distances(code), label, margin)


def semihard_triplet(code: Tensor, label: Tensor, margin: float) -> Tensor:
    """As `batch_all_triplet` on squared distances, without factor: the reference's name, nothing is semi-hard."""
    return _mean_of_violations(_squared_distances(code), label, margin)


def batch_all_arc_triplet(
    code: Tensor, label: Tensor, margin: float = 0.0, scale: float = 32.0, angle: Angle = "fixed"
) -> Tensor:
    """``scale`` times the mean over all triplets of the two terms of `batch_hard_arc_triplet`, for any p and n."""
    theta = pairwise_angle(code, angle)
    positive, negative = _pairs(label)
    near, far = (positive * _pull(theta, margin)).sum(1), (negative * _push(theta, margin)).sum(1)
    positives, negatives = positive.double().sum(1), negative.double().sum(1)
    # Each triplet adds a term of its positive and one of its negative, so no array over triplets is needed.
    return scale * (positives @ far + negatives @ near) / (positives @ negatives + _TINY)


def batch_hard_arc_triplet(
    code: Tensor,
    label: Tensor,
    margin: float = 0.0,
    scale: float = 32.0,
    minimize_dist: bool = True,
    angle: Angle = "fixed",
    shares: int = 1,
) -> Tensor:
    """The method's angular loss, from each anchor's widest angle to a positive and narrowest to a negative.

    ``scale * sum_a [sigmoid(cos(n_a + margin) - sin n_a) + sigmoid(sin(p_a + margin) - cos p_a)] + mean_a p_a``.
    It is a sum over anchors, about ``scale * B``: learning rates are tuned to that.

    Args:
        code: See above.
        label: See above.
        margin: In radians.
        scale: Weight of the sum.
        minimize_dist: Whether to add the mean of the angles p_a.
        angle: See `pairwise_angle`.
        shares: Number of processes that the batch was gathered from; the sum is divided by it.
    """
    positive, negative = hardest(pairwise_angle(code, angle), label)
    loss = scale / shares * (_push(negative, margin) + _pull(positive, margin)).sum()
    return loss + positive.mean() if minimize_dist else loss


def ms_loss(
    code: Tensor,
    label: Tensor,
    angle: Angle = "fixed",
    alpha: float = 2.0,
    beta: float = 50.0,
    threshold: float = 1.0,
    epsilon: float = 0.1,
    factor: float = 100.0,
) -> Tensor:
    """``factor`` times the multi-similarity loss over cosines (Wang et al. 2019, eqs. 6, 7 and 10).

    Args:
        code: See above.
        label: See above.
        angle: See `pairwise_angle`.
        alpha: Sharpness of the positives' term.
        beta: Sharpness of the negatives' term.
        threshold: Cosine that positives should be above and negatives below, the paper's lambda.
        epsilon: Pairs that are easier than the hardest of the other kind by more than this are left out.
        factor: Of the whole loss.
    """
    cosine = _cosines(code, angle)
    positive, negative = _pairs(label)
    hardest_positive = cosine.masked_fill(~positive, torch.inf).amin(1, keepdim=True)
    hardest_negative = cosine.masked_fill(~negative, -torch.inf).amax(1, keepdim=True)
    positive = positive & (cosine - epsilon < hardest_negative)
    negative = negative & (cosine + epsilon > hardest_positive)
    near = _log_one_plus_sum(-alpha * (cosine - threshold), positive) / alpha
    far = _log_one_plus_sum(beta * (cosine - threshold), negative) / beta
    return factor * (near + far).mean()


def pairwise_angle(code: Tensor, angle: Angle = "fixed") -> Tensor:
    """Angles between the codes of a batch in radians.

    Args:
        code: Float [B, m].
        angle: ``"fixed"`` the angle; ``"parity"`` as the reference computes it: it divides column j by the squared
            length of code j, so that the angles of a pair differ and those to short codes are cut to the smallest.

    Returns:
        float64 [B, B], 4.47e-4 to pi.
    """
    return torch.arccos(_cosines(code, angle).clamp(-_CLIP, _CLIP))


def hardest(measure: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """The largest value of a positive and the smallest of a negative, for every anchor.

    Args:
        measure: Float [B, B], distances or angles, not negative.
        label: int [B].

    Returns:
        Two [B]; the first is 0 for an anchor without positives.
    """
    positive, negative = _pairs(label)
    return (measure * positive).amax(1), measure.masked_fill(~negative, torch.inf).amin(1)


def _pairs(label: Tensor) -> tuple[Tensor, Tensor]:
    """Which pairs are positive and which negative, bool [B, B]."""
    same = label[:, None] == label
    if same.all():
        raise UserError(
            "a batch holds faces of one identity only, and none to tell them from; set "
            "datamodule/sampling=identity_balanced and datamodule.batch_size to at least twice images_per_class"
        )
    return same & ~torch.eye(len(label), dtype=torch.bool, device=label.device), ~same


def _push(theta: Tensor, margin: float) -> Tensor:
    """Falls as the angle to a negative grows."""
    return torch.sigmoid(torch.cos(theta + margin) - torch.sin(theta))


def _pull(theta: Tensor, margin: float) -> Tensor:
    """Falls as the angle to a positive shrinks."""
    return torch.sigmoid(torch.sin(theta + margin) - torch.cos(theta))


def _cosines(code: Tensor, angle: Angle) -> Tensor:
    check_choice("loss.angle", angle, get_args(Angle))
    code = code.double()
    if angle == "fixed":
        unit = F.normalize(code)
        return unit @ unit.T
    return code @ code.T / code.square().sum(1).clamp(min=_TINY)


def _squared_distances(code: Tensor) -> Tensor:
    """float64 [B, B]; exactly 0 on the diagonal."""
    code = code.double()
    products = code @ code.T
    squares = products.diagonal()
    return (squares[:, None] - 2 * products + squares).clamp(min=0)


def _distances(code: Tensor) -> Tensor:
    squared = _squared_distances(code)
    zero = squared == 0
    # The gradient of the root is infinite at 0.
    return torch.where(zero, 0.0, (squared + zero * _TINY).sqrt())


def _mean_of_violations(measure: Tensor, label: Tensor, margin: float) -> Tensor:
    """Mean of ``measure[a, p] - measure[a, n] + margin`` over all triplets where it is above 0."""
    positive, negative = _pairs(label)
    portion = max(1, _ENTRIES // len(label) ** 2)

    def violations(measure: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        excess = (measure[:, :, None] - measure[:, None, :] + margin).clamp(min=0)
        excess = excess * (positive[:, :, None] & negative[:, None, :])
        return excess.sum(), (excess > _TINY).sum()

    if portion >= len(label):
        total, count = violations(measure, positive, negative)
        return total / (count + _TINY)
    # Computed again in the backward pass, so that the arrays of one portion are all that memory has to hold.
    portions = zip(measure.split(portion), positive.split(portion), negative.split(portion), strict=True)
    totals, counts = zip(*(checkpoint(violations, *rows, use_reentrant=False) for rows in portions), strict=True)
    return torch.stack(totals).sum() / (torch.stack(counts).sum() + _TINY)


def _log_one_plus_sum(exponent: Tensor, kept: Tensor) -> Tensor:
    """``log(1 + sum of exp(exponent))`` over the kept entries of every row."""
    return F.pad(exponent.masked_fill(~kept, -torch.inf), (1, 0)).logsumexp(1)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "batch_hard_triplet": batch_hard_triplet,
    "batch_all_triplet_loss": batch_all_triplet,
    "semihard_triplet_loss": semihard_triplet,
    "batch_all_arc_triplet_loss": batch_all_arc_triplet,
    "batch_hard_arc_triplet_loss": batch_hard_arc_triplet,
    "ms_loss": ms_loss,
}
"""By the name that the reference gives them."""
