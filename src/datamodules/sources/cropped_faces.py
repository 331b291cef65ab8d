"""A collection of photographs as one of square crops around its faces."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from src.datamodules.decode import decode
from src.datamodules.sources.source import FaceSource
from src.datamodules.sources.view import SourceView
from src.errors import UserError

__all__ = ["CroppedFaces", "box_square", "crop_square", "cropped_faces", "reflected"]

_SIDE = 2
"""Widths of a box in the side of its crop."""


class CroppedFaces(SourceView):
    """Every photograph cut to a square with its box in the middle, twice as wide as the box.

    Beyond the photograph its mirror image goes on, so that crops are square and faces keep their shape. Crops are PNG
    files, made when they are read.

    Args:
        source: The collection; its metadata have a ``box`` [left, top, right, bottom] in pixels.

    Raises:
        UserError: It has no boxes.
    """

    def __init__(self, source: FaceSource) -> None:
        super().__init__(source)
        self.resolution = None
        if len(source) and "box" not in source.metadata(0):
            raise UserError(f"{source.name}: has no boxes to crop by; give its list of boxes, boxes=lfw_detection.txt")

    def _digest(self, fingerprint: str) -> str:
        return super()._digest(f"{fingerprint} cropped")

    def content(self, row: int, modality: str = "image") -> bytes:
        """The crop, a PNG file."""
        image = decode(super().content(row, modality)).numpy()
        file = io.BytesIO()
        Image.fromarray(crop_square(image, *self._square(row))).save(file, format="PNG", compress_level=1)
        return file.getvalue()

    def landmarks(self, row: int) -> np.ndarray:
        """Five points in pixels of the crop."""
        left, top, _ = self._square(row)
        return (super().landmarks(row) - np.array([left, top])).astype(np.float32)

    def metadata(self, row: int) -> dict[str, Any]:
        """With the box and the landmarks in pixels of the crop."""
        found = dict(super().metadata(row))
        left, top, _ = self._square(row)
        found["box"] = [value - shift for value, shift in zip(found["box"], (left, top) * 2, strict=True)]
        if "landmarks" in found:
            found["landmarks"] = self.landmarks(row).tolist()
        return found

    def _square(self, row: int) -> tuple[int, int, int]:
        return box_square(super().metadata(row)["box"])


def cropped_faces(source: Callable[[], FaceSource]) -> FaceSource:
    """Open a collection as `CroppedFaces`."""
    return CroppedFaces(source())


def box_square(box: list[float]) -> tuple[int, int, int]:
    """The square around a box.

    Args:
        box: Left, top, right and bottom in pixels.

    Returns:
        Left, top and side in pixels; it may lie partly beyond the image.
    """
    left, top, right, bottom = box
    side = _SIDE * (right - left)
    return int(left - (side - (right - left)) / 2), int(top - (side - (bottom - top)) / 2), max(int(side), 1)


def crop_square(image: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    """Cut a square out of an image, uint8 [H, W, C], that goes on as its mirror image beyond its edges.

    Args:
        image: uint8 [H, W, C].
        left: First column, negative beyond the left edge.
        top: First row.
        side: Of the square.

    Returns:
        uint8 [side, side, C].
    """
    rows, columns = (reflected(start, side, extent) for start, extent in zip((top, left), image.shape[:2], strict=True))
    return np.ascontiguousarray(image[rows[:, None], columns])


def reflected(start: int, count: int, extent: int) -> np.ndarray:
    """Where a row or column of places lies on an axis that goes on as its mirror image, the end ones not repeated.

    Args:
        start: The first place, negative before the axis.
        count: Of the places.
        extent: Of the axis.

    Returns:
        int64 [count], 0..extent - 1.
    """
    period = max(2 * (extent - 1), 1)
    places = np.arange(start, start + count) % period
    return np.minimum(places, period - places)
