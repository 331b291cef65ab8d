"""Squares around faces: cut out for the network, and pasted back without a seam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from src.datamodules.sources.cropped_faces import reflected

__all__ = ["Crop", "Face"]

_ENLARGEMENT = 2
"""Side of the square over the width of the face's box."""
_FEATHER = 1 / 16
"""Width of the ramp at the borders over the side of the square: the face's box begins at a quarter of it."""


class Crop(NamedTuple):
    """A square on an image, in whole pixels; it may reach beyond the image.

    Attributes:
        left: Of its first column.
        top: Of its first row.
        side: Width and height.
    """

    left: int
    top: int
    side: int

    @classmethod
    def around(cls, box: Sequence[float]) -> Self:
        """The square of twice the width of a box (left, top, right, bottom) around the same centre."""
        left, top, right, bottom = box
        side = max(2, round(_ENLARGEMENT * (right - left)))
        return cls(round((left + right - side) / 2), round((top + bottom - side) / 2), side)

    @classmethod
    def whole(cls, height: int, width: int) -> Self:
        """The smallest square that holds a whole image."""
        side = max(height, width)
        return cls((width - side) // 2, (height - side) // 2, side)

    def visible(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of an image that the square covers."""
        top, bottom, left, right = (
            min(max(edge, 0), limit)
            for edge, limit in (
                (self.top, height),
                (self.top + self.side, height),
                (self.left, width),
                (self.left + self.side, width),
            )
        )
        return slice(top, bottom), slice(left, right)

    def cut(self, image: np.ndarray, size: int) -> Tensor:
        """Cut the square out, what lies beyond the image by reflection, and resize it bicubically without aliasing.

        Args:
            image: uint8 [H, W, C], C at least 3.
            size: Of the result.

        Returns:
            float32 [3, size, size] in [-1, 1].
        """
        rows = reflected(self.top, self.side, image.shape[0])
        columns = reflected(self.left, self.side, image.shape[1])
        pixels = torch.from_numpy(image[rows[:, None], columns, :3]).movedim(-1, 0).float()
        return _resized(pixels, size).clamp(0, 255) / 127.5 - 1

    def paste(self, image: np.ndarray, face: Tensor) -> None:
        """Replace the square by what the network made of it.

        Towards those of its borders that lie within the image it fades into what was there, outside of the face's box.
        Recovery does the same: what the network adds there and takes away again is weighted alike both times.

        Args:
            image: uint8 [H, W, C], changed in place; nothing outside of the square is.
            face: Float [3, S, S] in [-1, 1].
        """
        height, width = image.shape[:2]
        rows, columns = self.visible(height, width)
        inner = (
            slice(rows.start - self.top, rows.stop - self.top),
            slice(columns.start - self.left, columns.stop - self.left),
        )
        made = _resized((face.float().cpu() + 1) * 127.5, self.side).clamp(0, 255).movedim(0, -1).numpy()[inner]
        down = self._ramp(self.top, height)
        across = self._ramp(self.left, width)
        share = (down[:, None] * across)[inner][..., None]
        before = image[rows, columns, :3]
        image[rows, columns, :3] = np.rint(share * made + (1 - share) * before).astype(np.uint8)

    def _ramp(self, start: int, limit: int) -> np.ndarray:
        """Share of the new pixels along one axis, float32 [side], in (0, 1]."""
        steps = np.arange(1, self.side + 1, dtype=np.float32) / (_FEATHER * self.side + 1)
        full = np.ones_like(steps)
        rising = steps if start > 0 else full
        falling = steps[::-1] if start + self.side < limit else full
        return np.minimum(full, rising) * np.minimum(full, falling)


class Face(NamedTuple):
    """A face on an image.

    Attributes:
        crop: Where it is.
        salt: With which its password is derived from the passphrase; not secret.
    """

    crop: Crop
    salt: bytes


def _resized(image: Tensor, size: int) -> Tensor:
    if image.shape[-1] == size:
        return image
    return F.interpolate(image[None], (size, size), mode="bicubic", antialias=True, align_corners=False)[0]
