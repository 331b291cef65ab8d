"""What becomes of each image on its way into a data set: nothing, a centre crop, or an alignment."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from src.datamodules.alignment import (
    centre_crop,
    centre_crop_matrix,
    similarity_from_landmarks,
    transform_points,
    warp_image,
)
from src.datamodules.decode import BadImage, decode, encode_jpeg
from src.datamodules.sources.source import FaceSource
from src.errors import UserError

__all__ = ["FaceTransform", "PreparedFace"]


@dataclass(frozen=True)
class PreparedFace:
    """A sample as it is stored.

    Attributes:
        row: In its source.
        key: Its name in its source.
        images: Encoded image per modality.
        metadata: See `FaceSource.metadata`; landmarks and box are pixels of `images`.
        feature: Embedding, float32 [D], if the source has any.
        side: Of the square images in pixels; 0 if one is not square, or they differ.
        degenerate: The landmarks determine no alignment, so that the centre was taken.
    """

    row: int
    key: str
    images: dict[str, bytes]
    metadata: dict[str, Any]
    feature: np.ndarray | None
    side: int
    degenerate: bool


@dataclass(frozen=True)
class FaceTransform:
    """Prepares single samples; every image is decoded, so that none that cannot be read gets into a data set.

    Without `size` the files stay as they are, byte for byte. With it the largest square in the middle is cut out and
    resized, and images of that size stay as they are. With `align` all images are warped to the five-point template.

    Args:
        size: Side of the images in pixels; None keeps the files.
        align: Warp by the landmarks.
        quality: Of the JPEGs that are written anew, 1 to 100.

    Raises:
        UserError: A value out of its range, or `align` without `size`.
    """

    size: int | None = None
    align: bool = False
    quality: int = 95

    def __post_init__(self) -> None:
        if self.size is not None and not (isinstance(self.size, int) and 8 <= self.size <= 4096):
            raise UserError(f"size: expected null or 8 to 4096 pixels, found {self.size!r}")
        if not 1 <= self.quality <= 100:
            raise UserError(f"quality: expected 1 to 100, found {self.quality}")
        if self.align and self.size is None:
            raise UserError("align=true needs the side of the crops; add size=112, for example")

    def __str__(self) -> str:
        if self.size is None:
            return "none, the files are kept byte for byte"
        pixels, jpeg = f"{self.size} x {self.size}", f"JPEG of quality {self.quality}"
        if self.align:
            return f"aligned to {pixels} by the landmarks, {jpeg}"
        return f"centre crop to {pixels}, {jpeg}; images of that size are kept byte for byte"

    def check(self, source: FaceSource) -> None:
        """Raise UserError if the source lacks what is needed."""
        if self.align and not source.has_landmarks:
            raise UserError(
                f"{source.name}: has no landmarks, so align=true is impossible; give the source its landmarks, "
                "or leave align=false for images that are aligned already"
            )

    def apply(self, source: FaceSource, row: int) -> PreparedFace:
        """Read and prepare one sample.

        Args:
            source: The collection.
            row: In `source`.

        Raises:
            BadImage: It cannot be read.
        """
        metadata = source.metadata(row)
        contents = {modality: source.content(row, modality) for modality in source.modalities}
        pixels = {modality: decode(content, grey=modality == "nir") for modality, content in contents.items()}
        shapes = {(image.shape[0], image.shape[1]) for image in pixels.values()}
        height, width = pixels["image"].shape[:2]
        degenerate = False
        if self.size is None:
            images, side = contents, height if shapes == {(height, height)} else 0
        elif self.align:
            matrix, valid = _alignment(metadata, self.size, (height, width))
            images, side, degenerate = self._warp(pixels, matrix), self.size, not valid
            _move_points(metadata, matrix)
        else:
            images, side = self._crop(contents, pixels, self.size), self.size
            if (height, width) != (side, side):
                _move_points(metadata, centre_crop_matrix(height, width, side))
        feature = source.feature(row) if source.has_features else None
        return PreparedFace(row, source.key(row), images, metadata, feature, side, degenerate)

    def _warp(self, pixels: dict[str, torch.Tensor], matrix: torch.Tensor) -> dict[str, bytes]:
        assert self.size is not None
        if len({image.shape[:2] for image in pixels.values()}) > 1:
            raise BadImage("visible and near-infrared image differ in size, so one alignment cannot serve both")
        return {m: encode_jpeg(warp_image(image, matrix, self.size), self.quality) for m, image in pixels.items()}

    def _crop(self, contents: dict[str, bytes], pixels: dict[str, torch.Tensor], size: int) -> dict[str, bytes]:
        if len({Fraction(image.shape[1], image.shape[0]) for image in pixels.values()}) > 1:
            raise BadImage("visible and near-infrared image differ in shape, so one crop cannot serve both")
        return {
            modality: contents[modality]
            if image.shape[:2] == (size, size)
            else encode_jpeg(centre_crop(image, size), self.quality)
            for modality, image in pixels.items()
        }


def _alignment(metadata: dict[str, Any], size: int, image_size: tuple[int, int]) -> tuple[torch.Tensor, bool]:
    landmarks = torch.tensor(metadata["landmarks"], dtype=torch.float64)
    matrices, valid = similarity_from_landmarks(landmarks[None], size, image_size=image_size)
    return matrices[0], bool(valid)


def _move_points(metadata: dict[str, Any], matrix: torch.Tensor) -> None:
    """Bring landmarks and box, if there are any, to the pixels that `matrix` leads to."""
    if "landmarks" in metadata:
        points = torch.tensor(metadata["landmarks"], dtype=torch.float64)
        metadata["landmarks"] = _rounded(transform_points(points, matrix))
    if "box" in metadata:
        left, top, right, bottom = metadata["box"]
        corners = torch.tensor([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=torch.float64)
        moved = transform_points(corners, matrix)
        metadata["box"] = _rounded(torch.cat([moved.amin(0), moved.amax(0)]))


def _rounded(points: torch.Tensor) -> list:
    return points.mul(1000).round().div(1000).tolist()
