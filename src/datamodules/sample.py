"""The sample: the one dictionary that every datamodule yields and every model reads."""

from __future__ import annotations

from typing import TypedDict

import torch

__all__ = ["UNKNOWN", "Sample", "to_float", "to_float_images"]

UNKNOWN = -1
"""The attribute of a face of unknown gender."""


class Sample(TypedDict, total=False):
    """A batch of faces; a datamodule yields the subset of the keys that its config asks for.

    Between decoder and device the images are uint8 [B, H, W, C] in [0, 255], a quarter of the size; `to_float_images`
    makes them what stands here.
    """

    image: torch.Tensor
    """float32 [B, 3, H, W], RGB in [-1, 1]."""
    nir: torch.Tensor
    """float32 [B, 1, H, W], near infrared in [-1, 1]."""
    label: torch.Tensor
    """int64 [B], class number in 0 .. num_classes - 1."""
    attribute: torch.Tensor
    """int64 [B], 0 female, 1 male, -1 unknown."""
    feature: torch.Tensor
    """float32 [B, 512], embedding of a fixed recogniser."""
    landmarks: torch.Tensor
    """float32 [B, 5, 2], (x, y) pixels of `image`: left eye, right eye, nose, left and right mouth corner."""
    key: list[str]
    """B names, unique within the dataset."""


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Turn decoded images into network input.

    Args:
        images: uint8 [..., H, W, C] in [0, 255].

    Returns:
        float32 [..., C, H, W] in [-1, 1], `x / 127.5 - 1`.
    """
    return images.movedim(-1, -3).to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1)


def to_float_images(sample: Sample) -> Sample:
    """Turn the decoded images of a batch into network input; all else stays.

    Args:
        sample: A batch whose images are uint8 [B, H, W, C]; those that are floats already are left alone.

    Returns:
        A new batch, images float32 [B, C, H, W] in [-1, 1].
    """
    result = sample.copy()
    for name in ("image", "nir"):
        if name in sample and sample[name].dtype == torch.uint8:
            result[name] = to_float(sample[name])
    return result
