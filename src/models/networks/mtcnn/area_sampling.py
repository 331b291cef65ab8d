"""Means over parts of images, through sums that are computed once."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["AreaSampler"]


class AreaSampler:
    """Resizes images, and parts of them, in the way of ``torch.nn.functional.interpolate(mode="area")``.

    A pixel of the result is the mean of all pixels that it covers, those at its edges included. It comes out of
    cumulative sums (Crow 1984), so that parts of any size cost the same. The sums are exact and take 12 bytes a pixel.

    Args:
        images: uint8 [N, C, H, W].

    Attributes:
        count: N.
        height: H.
        width: W.
    """

    def __init__(self, images: Tensor) -> None:
        self.count, channels, self.height, self.width = images.shape
        # Channels come last, which convolutions on a CPU are fastest with. In 32 bits the sums of large images wrap
        # around, but the differences of sums are right all the same.
        self._sums = images.new_zeros(self.count, self.height + 1, self.width + 1, channels, dtype=torch.int32)
        inside = self._sums[:, 1:, 1:]
        inside.copy_(images.permute(0, 2, 3, 1))
        inside.cumsum_(1)
        inside.cumsum_(2)

    def resize(self, height: int, width: int, rows: slice) -> Tensor:
        """Rows of the images as they are at another size.

        Args:
            height: To resize to.
            width: To resize to.
            rows: Of the result, with start and end.

        Returns:
            float32 [N, C, rows, width] in [0, 255], channels last in memory.
        """
        sizes = torch.tensor([self.height, self.width], device=self._sums.device)
        tops, bottoms = (ends[0, rows] for ends in _ranges(sizes[:1], height))
        lefts, rights = (ends[0] for ends in _ranges(sizes[1:], width))
        bands = self._sums[:, bottoms] - self._sums[:, tops]
        sums = (bands[:, :, rights] - bands[:, :, lefts]).permute(0, 3, 1, 2)
        return sums / ((bottoms - tops)[:, None] * (rights - lefts))

    def crop(self, numbers: Tensor, parts: Tensor, side: int) -> Tensor:
        """Parts of the images as squares.

        Args:
            numbers: int64 [K], of the image that each is cut out of.
            parts: int64 [K, 4]: left, top, right and bottom as of slices; not empty.
            side: Of the squares.

        Returns:
            float32 [K, C, side, side] in [0, 255], channels last in memory.
        """
        lefts, rights = (parts[:, :1] + ends for ends in _ranges(parts[:, 2] - parts[:, 0], side))
        tops, bottoms = (parts[:, 1:2] + ends for ends in _ranges(parts[:, 3] - parts[:, 1], side))

        def until(rows: Tensor, columns: Tensor) -> Tensor:
            return self._sums[numbers[:, None, None], rows[:, :, None], columns[:, None, :]]

        sums = until(bottoms, rights) - until(tops, rights) - until(bottoms, lefts) + until(tops, lefts)
        areas = (bottoms - tops)[:, :, None] * (rights - lefts)[:, None, :]
        return sums.permute(0, 3, 1, 2) / areas[:, None]


def _ranges(lengths: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Starts and ends [K, count] of what each of ``count`` pixels covers of int64 ``lengths`` [K]."""
    numbers = torch.arange(count, device=lengths.device) * lengths[:, None]
    return numbers // count, -((-numbers - lengths[:, None]) // count)
