"""Boxes around faces.

A box is (left, top, right, bottom) in the pixels of an image, which are counted from 1 as in the MATLAB program of
Zhang et al. 2016. `regress` and `suppress_contained` take both its ends to be inside.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["clip_to_pixels", "pyramid_scales", "regress", "squares_of_grid", "suppress_contained", "to_squares"]


def pyramid_scales(height: int, width: int, min_face: float, factor: float, side: int) -> list[float]:
    """Scales at which an image is searched, from the largest, at which the smallest face fills a square.

    Args:
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        min_face: Side of the smallest face to find, in pixels.
        factor: From one scale to the next, less than 1.
        side: Of the square that the network sees, in pixels.

    Returns:
        All scales at which the image still holds a square; none if it is smaller than ``min_face``.
    """
    scales = []
    scale = side / min_face
    while min(height, width) * scale >= side:
        scales.append(scale)
        scale *= factor
    return scales


def squares_of_grid(places: Tensor, scale: float, stride: int, side: int) -> Tensor:
    """The squares that a network saw in its search, on the image before it was scaled.

    Args:
        places: int64 [K, 2], (row, column) in the grid of squares.
        scale: Of the image.
        stride: Between squares, in scaled pixels.
        side: Of squares, in scaled pixels.

    Returns:
        float32 [K, 4] of whole numbers.
    """
    corners = places.flip(1).float() * stride
    return torch.cat([(corners + 1) / scale, (corners + side) / scale], dim=1).floor()


def regress(boxes: Tensor, offsets: Tensor, *, inclusive: bool = True) -> Tensor:
    """Move the edges of boxes by fractions of their width and height.

    Args:
        boxes: float [K, 4].
        offsets: float [K, 4], of left, top, right and bottom.
        inclusive: Count the last pixel in width and height, as the published program does behind R-Net and O-Net.
    """
    sides = boxes[:, 2:] - boxes[:, :2] + int(inclusive)
    return boxes + offsets * sides.repeat(1, 2)


def to_squares(boxes: Tensor) -> Tensor:
    """Squares with the longer side of boxes float [K, 4] around the same centres."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True) / 2
    return torch.cat([centres - half, centres + half], dim=1)


def clip_to_pixels(boxes: Tensor, height: int, width: int) -> Tensor:
    """The pixels of an image that boxes cover.

    Args:
        boxes: float [K, 4].
        height: Of the image.
        width: Of the image.

    Returns:
        int64 [K, 4]: left, top, right and bottom as of slices, from 0 and without the end. Of a box that lies beside
        the image an end is not after its start.
    """
    whole = boxes.trunc()
    limits = boxes.new_tensor([width, height])
    starts = whole[:, :2].clamp(min=1).minimum(limits + 1) - 1
    ends = whole[:, 2:].clamp(min=0).minimum(limits)
    return torch.cat([starts, ends], dim=1).long()


def suppress_contained(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Non-maximum suppression by the overlap over the smaller of two boxes, so that none lies within another.

    Args:
        boxes: float [K, 4].
        scores: float [K].
        threshold: Largest overlap of two boxes that are both kept.

    Returns:
        int64 [M]: what is kept, from the highest score.
    """
    areas = (boxes[:, 2:] - boxes[:, :2] + 1).prod(1)
    kept: list[Tensor] = []
    rest = scores.argsort(descending=True, stable=True)
    while len(rest):
        best, rest = rest[0], rest[1:]
        kept.append(best)
        starts = boxes[rest, :2].maximum(boxes[best, :2])
        ends = boxes[rest, 2:].minimum(boxes[best, 2:])
        shared = (ends - starts + 1).clamp(min=0).prod(1)
        rest = rest[shared <= threshold * areas[rest].minimum(areas[best])]
    return torch.stack(kept) if kept else rest
