"""From the images of this platform to those that a network of someone else was trained on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from src.errors import UserError, check_choice

__all__ = ["COLORS", "Preprocessing"]

COLORS = ("rgb", "bgr")
_CENTRE = 127.5  # of pixel values 0..255; images in [-1, 1] have this mean and deviation


class Preprocessing(nn.Module):
    """Colour order and normalisation of the images that a network takes.

    The pixel values p in 0..255 become (p - mean) / std. By default that is what the images already are, and they are
    passed on as they come. In use elsewhere: ``mean=127.5, std=128`` (SphereFace, ``* 0.0078125``), ``mean=0, std=255``
    (``x / 255`` alone) and ``mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]`` (ImageNet, rgb).

    Args:
        size: Height and width S in pixels that the network takes; None if it takes any.
        color: Order of the channels, ``"rgb"`` or ``"bgr"`` (the published AdaFace weights).
        mean: One value, or one for each channel in the order of ``color``, in units of 0..255.
        std: Likewise; above 0.

    Raises:
        UserError: An argument is out of its range.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        size: int | None = None,
        color: str = "rgb",
        mean: float | Sequence[float] = _CENTRE,
        std: float | Sequence[float] = _CENTRE,
    ) -> None:
        super().__init__()
        check_choice("color", color, COLORS)
        if size is not None and (not isinstance(size, int) or size < 1):
            raise UserError(f"size: expected a number of pixels, such as 112; found {size!r}")
        self.size = size
        self.color = color
        self.mean = _per_channel("mean", mean)
        self.std = _per_channel("std", std)
        if min(self.std) <= 0:
            raise UserError(f"std: expected values above 0, found {std}")
        means, deviations = torch.tensor(self.mean), torch.tensor(self.std)
        self.register_buffer("scale", (_CENTRE / deviations).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("shift", ((_CENTRE - means) / deviations).view(1, -1, 1, 1), persistent=False)
        self._is_centred = set(self.mean) == set(self.std) == {_CENTRE}

    def forward(self, images: Tensor) -> Tensor:
        """Prepare a batch.

        Args:
            images: float32 [B, 3, S, S], RGB in [-1, 1].

        Returns:
            float32 [B, 3, S, S] as the network takes them; ``images`` itself if they are that already.

        Raises:
            UserError: The images are not S pixels high and wide.
        """
        height, width = images.shape[-2:]
        if self.size is not None and (height, width) != (self.size, self.size):
            raise UserError(
                f"the network takes {self.size}x{self.size} images and was given {height}x{width}: set "
                f"datamodule.size={self.size}, or model.backbone.size if that is not what the network takes"
            )
        if self.color == "bgr":
            images = images.flip(1)
        return images if self._is_centred else images * self.scale + self.shift

    def extra_repr(self) -> str:
        """The arguments."""
        return f"size={self.size}, color={self.color}, mean={list(self.mean)}, std={list(self.std)}"


def _per_channel(name: str, value: float | Sequence[float]) -> tuple[float, ...]:
    try:
        values = (float(value),) if isinstance(value, int | float) else tuple(map(float, value))
    except (TypeError, ValueError):
        values = ()
    if len(values) not in (1, 3):
        raise UserError(f"{name}: expected a number in units of 0..255, or three, one for each channel; found {value}")
    return values
