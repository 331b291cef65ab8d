"""What a StyleGAN2 network looks like at each of its resolutions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from src.errors import UserError, check_choice

__all__ = ["PRECISIONS", "ResolutionPlan"]

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class ResolutionPlan:
    """Channels and precision at the resolutions 4, 8, ... up to that of the images.

    Attributes:
        resolution: Height and width of the images, a power of two from 8.
        channel_base: Channels at a resolution are this divided by the resolution,
        channel_max: but no more than this.
        precision: ``"fp32"``, or ``"bf16"`` or ``"fp16"`` for the highest resolutions. Parameters, images, styles and
            the resolution 4 are always in float32.
        num_reduced_resolutions: How many resolutions run in a reduced ``precision``, from the highest on.
        conv_clamp: Outputs of convolutions are clamped to plus and minus this times their gain; float16 needs it.
        channels_last: Images and weights lie in memory with the channels last: what convolutions in half precision
            want, and all of them on a CPU.

    Raises:
        UserError: If the resolution is none, leaves no channels, or the precision is unknown.
    """

    resolution: int
    channel_base: int = 32768
    channel_max: int = 512
    precision: str = "fp32"
    num_reduced_resolutions: int = 4
    conv_clamp: float | None = None
    channels_last: bool = True

    def __post_init__(self) -> None:
        if self.resolution < 8 or self.resolution & (self.resolution - 1):
            raise UserError(f"resolution: expected a power of two from 8, found {self.resolution}")
        if self.channel_base < self.resolution:
            raise UserError(
                f"channel_base: expected {self.resolution} or more, the resolution, found {self.channel_base}"
            )
        check_choice("precision", self.precision, tuple(PRECISIONS))

    @property
    def resolutions(self) -> list[int]:
        """4, 8, ... up to the resolution of the images."""
        return [2**exponent for exponent in range(2, self.resolution.bit_length())]

    def channels(self, resolution: int) -> int:
        """Channels of the feature maps at a resolution."""
        return min(self.channel_base // resolution, self.channel_max)

    def converted(self, x: Tensor, resolution: int, full: torch.dtype, force_fp32: bool) -> Tensor:
        """A feature map in the type and layout in which a resolution computes.

        Args:
            x: [N, C, H, W].
            resolution: Of the block that will read it.
            full: Type of the parameters, in which resolutions compute that are not reduced.
            force_fp32: None is, and all are contiguous: that is the faster layout for second derivatives.
        """
        if force_fp32:
            return x.to(dtype=full, memory_format=torch.contiguous_format)
        lowest = max(2 * self.resolution >> self.num_reduced_resolutions, 8)
        reduced = PRECISIONS[self.precision] if resolution >= lowest else None
        return x.to(
            dtype=reduced or full,
            memory_format=torch.channels_last if self.channels_last else torch.contiguous_format,
        )
