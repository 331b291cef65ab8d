"""Alignment of faces inside the graph, so that a recogniser's gradient reaches the image it was cropped from."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from src.datamodules.alignment import ARCFACE_TEMPLATE, similarity_from_landmarks
from src.errors import UserError, check_choice

__all__ = ["AlignmentMode", "FaceAlignment"]

AlignmentMode = Literal["normalized", "pixel"]

_HEIGHT = 112
"""Of the crop that the template's coordinates are of."""


class FaceAlignment:
    """Crops faces by their landmarks as a recogniser wants them.

    Args:
        height: Of the crop in pixels.
        width: Of the crop; the template of a square crop is cut evenly on both sides.
        mode: ``"normalized"`` as published: the similarity is fitted with both images' coordinates scaled to [-1, 1],
            which stretches a face in a crop that is not of its image's shape; ``"pixel"``: a similarity of pixels, as
            recognisers are trained with.
        color: Order of the crop's channels, ``"rgb"`` or ``"bgr"``.

    Raises:
        UserError: There is no such ``mode`` or ``color``.
    """

    def __init__(self, height: int = 112, width: int = 112, mode: str = "pixel", color: str = "rgb") -> None:
        check_choice("model.recogniser.align", mode, get_args(AlignmentMode))
        check_choice("model.recogniser.color", color, ("rgb", "bgr"))
        self.height, self.width, self.mode, self.color = height, width, mode, color

    def transforms(self, landmarks: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Least squares similarity over the five points, from the crop to the image.

        Args:
            landmarks: [B, 5, 2], (x, y) pixels of the images: left eye, right eye, nose, left and right mouth corner.
            image_size: Height and width of the images.

        Returns:
            float64 [B, 2, 3]: coordinates of the crop to those of the image, both in [-1, 1] between the centres of
            the outermost pixels, as `torch.nn.functional.affine_grid` wants them with ``align_corners=True``.

        Raises:
            UserError: The points of some face determine no similarity, as where all are zero.
        """
        height, width = image_size
        points = landmarks.double().cpu()
        if self.mode == "pixel":
            similarity, valid = similarity_from_landmarks(points, self.height)
            similarity[:, 0, 2] -= (self.height - self.width) / 2
            matrices = _unit(self.width, self.height) @ _square(similarity) @ _unit(width, height).inverse()
        else:
            matrices, valid = _fit(2 * points / torch.tensor([width, height]) - 1, self._target())
        if not bool(valid.all()):
            worst = int((~valid).nonzero()[0])
            raise UserError(
                f"landmarks: expected five points of a face, found {landmarks[worst].tolist()}; faces without "
                "landmarks cannot be aligned: leave them out"
            )
        return torch.linalg.inv(matrices)[:, :2].to(landmarks.device)

    def grid(self, landmarks: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Where in the images the pixels of the crops are.

        Args:
            landmarks: See `transforms`.
            image_size: Height and width of the images.

        Returns:
            float32 [B, height, width, 2] for `crop`; one does for all images made of the same faces.

        Raises:
            UserError: See `transforms`.
        """
        theta = self.transforms(landmarks, image_size).float()
        return F.affine_grid(theta, [len(theta), 3, self.height, self.width], align_corners=True)

    def crop(self, images: Tensor, grid: Tensor) -> Tensor:
        """Crop faces by bilinear interpolation, zero outside of the image.

        Args:
            images: Float [B, 3, H, W] RGB.
            grid: Of `grid`.

        Returns:
            [B, 3, height, width], float32 at least, channels in the order of ``color``.
        """
        exact = torch.promote_types(images.dtype, grid.dtype)
        crops = F.grid_sample(images.to(exact), grid.to(exact), mode="bilinear", align_corners=True)
        return crops.flip(1) if self.color == "bgr" else crops

    def _target(self) -> Tensor:
        """The template in [-1, 1] as published, where a crop ends one pixel beyond the last pixel's centre."""
        points = ARCFACE_TEMPLATE * (self.height / _HEIGHT)
        points = points - torch.tensor([(self.height - self.width) / 2, 0])
        return 2 * points / torch.tensor([self.width, self.height]) - 1


def _fit(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Similarity from points float64 [B, 5, 2] to [5, 2]: [B, 3, 3], and where there is one, bool [B]."""
    source_mean, target_mean = source.mean(1, keepdim=True), target.mean(0)
    s, r = source - source_mean, target - target_mean
    spread = s.square().sum((1, 2))
    c = (s * r).sum((1, 2)) / spread
    d = (s[..., 1] * r[:, 0] - s[..., 0] * r[:, 1]).sum(1) / spread
    linear = torch.stack([c, d, -d, c], -1).view(-1, 2, 2)
    shift = target_mean[:, None] - linear @ source_mean.mT
    valid = (spread > 1e-8) & (c.hypot(d) > 1e-4) & shift.isfinite().all(-1).all(-1)
    return _square(torch.cat([linear, shift], -1)), valid


def _square(matrices: Tensor) -> Tensor:
    """Affine maps [B, 2, 3] as [B, 3, 3]."""
    last = torch.tensor([0.0, 0.0, 1.0], dtype=matrices.dtype)
    return torch.cat([matrices, last.expand(len(matrices), 1, 3)], 1)


def _unit(width: int, height: int) -> Tensor:
    """The map from pixels to [-1, 1] between the centres of the outermost ones; float64 [3, 3]."""
    return torch.tensor([[2 / (width - 1), 0, -1], [0, 2 / (height - 1), -1], [0, 0, 1]], dtype=torch.float64)
