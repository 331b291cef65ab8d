"""The sample: the one dictionary that every datamodule yields and every model reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import torch

__all__ = ["UNKNOWN", "Sample", "collate", "to_float"]

UNKNOWN = -1
"""The attribute of a face of unknown gender."""


class Sample(TypedDict, total=False):
    """A batch of faces; a datamodule yields the subset of the keys that its config asks for.

    A dataset's single sample has the same keys without the batch axis, and its images are still uint8
    [H, W, C] in [0, 255]: `collate` turns them into floats once per batch.
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


def collate(samples: Sequence[Sample | None]) -> Sample:
    """Stack single samples into a batch.

    Args:
        samples: Samples of one dataset, images uint8 [H, W, C]; None stands for an unreadable image and is dropped.

    Returns:
        The batch, images float32 in [-1, 1]; empty if every entry is None.
    """
    readable = [sample for sample in samples if sample is not None]
    batch = Sample()
    if not readable:
        return batch
    for name in readable[0]:
        values = [sample[name] for sample in readable]  # type: ignore[literal-required]
        if name in ("image", "nir"):
            batch[name] = to_float(torch.stack(values))  # type: ignore[literal-required]
        else:
            batch[name] = values if name == "key" else torch.stack(values)  # type: ignore[literal-required]
    return batch
