"""Who is enrolled and who searches: the split of a collection of faces for identification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.errors import UserError

__all__ = ["IdentificationSplit", "split_by_count"]

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class IdentificationSplit:
    """Numbers of images, ascending; together all of a collection.

    Attributes:
        gallery: int64 [G], enrolled.
        mated: int64 [S], other images of enrolled people.
        non_mated: int64 [U], all images of the others.
    """

    gallery: Integers
    mated: Integers
    non_mated: Integers

    @property
    def probes(self) -> Integers:
        """int64 [S + U], images to search for: the mated ones, then the others."""
        return np.concatenate([self.mated, self.non_mated])


def split_by_count(
    labels: Sequence[int] | Integers, minimum_images: int = 4, gallery_images: int = 3, enrolled: int | None = None
) -> IdentificationSplit:
    """Enrol the first images of everyone who has enough of them.

    With the defaults LFW gives 610 people with 1,830 images in the gallery, 4,903 mated probes and 6,500 others (DRH
    specification, section 7.3).

    Args:
        labels: [N] identity of each image; images of one identity count in the order given.
        minimum_images: From how many images on a person is enrolled.
        gallery_images: How many of them are.
        enrolled: At most so many people are, those with the smallest labels; None for everyone who can be.

    Returns:
        The split; nobody need be left over, so that there may be no non-mated probes.

    Raises:
        UserError: No image would be left to search for, or fewer than two people have enough images.
    """
    if not 1 <= gallery_images < minimum_images:
        raise UserError(
            f"gallery_images={gallery_images} must be at least 1 and less than minimum_images={minimum_images}, "
            "so that everyone enrolled has an image left to search for"
        )
    _, identity, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    if enrolled is not None and enrolled < 2:
        raise UserError(f"enrolled={enrolled}: a gallery needs two people")
    has_enough = counts >= minimum_images
    if (found := np.count_nonzero(has_enough)) < 2:
        raise UserError(
            f"{found} of {len(counts)} people have {minimum_images} images or more, but a gallery needs two; "
            "lower minimum_images and gallery_images"
        )
    order = np.argsort(identity, kind="stable")
    number = np.empty(len(identity), np.int64)  # of an image among those of its identity
    number[order] = np.arange(len(identity)) - (np.cumsum(counts) - counts)[identity[order]]
    known = (has_enough & (np.cumsum(has_enough) <= (enrolled or len(counts))))[identity]
    return IdentificationSplit(
        gallery=np.flatnonzero(known & (number < gallery_images)),
        mated=np.flatnonzero(known & (number >= gallery_images)),
        non_mated=np.flatnonzero(~known),
    )
