"""How often to augment, from how sure the discriminator is of real images (Karras et al. 2020, NeurIPS, section 3)."""

from __future__ import annotations

from torch import Tensor

__all__ = ["adapted_probability"]


def adapted_probability(
    p: Tensor,
    statistic: Tensor,
    images: int,
    *,
    target: float = 0.6,
    speed: int = 500_000,
    maximum: float | None = 1.0,
) -> Tensor:
    """One step towards the probability at which the discriminator overfits just so much.

    Args:
        p: Probability so far, a scalar.
        statistic: Mean of the signs of the logits of real images since the last step, a scalar.
        images: How many training images were seen since the last step.
        target: Value of the statistic to hold.
        speed: In so many images the probability changes by 1.
        maximum: What the probability does not exceed; ArcBiFaceGAN has None.

    Returns:
        The new probability, a scalar of at least 0.
    """
    step = (statistic - target).sign() * (images / speed)
    return (p + step).clamp(min=0, max=maximum)
