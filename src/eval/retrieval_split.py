"""Who searches for whom in retrieval: a random split of everyone's images, the same for the same seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.errors import UserError

__all__ = ["RetrievalSplit", "split_at_random"]

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class RetrievalSplit:
    """Numbers of images, ascending.

    Attributes:
        gallery: int64 [G], searched.
        probes: int64 [S], searched for; everyone whom they show is in the gallery, too.
    """

    gallery: Integers
    probes: Integers


def split_at_random(labels: Integers, gallery_images: int, probe_images: int, seed: int = 0) -> RetrievalSplit:
    """Draw everyone's probes and gallery (DRH specification, section 7.2).

    People with no more than ``probe_images`` images are left out; who has too few for a full gallery is in it with all
    that are not probes.

    Args:
        labels: int64 [N] identity of each image.
        gallery_images: Images of a person in the gallery, at most.
        probe_images: Images of a person that are probes.
        seed: Of the draw, at least 0. A person's depends on nothing but it, the label and how many images there are.

    Raises:
        UserError: A number is too small, or fewer than two people have enough images.
    """
    if gallery_images < 1 or probe_images < 1 or seed < 0:
        raise UserError(
            "expected gallery_images and probe_images of at least 1 and a seed of at least 0; found "
            f"{gallery_images}, {probe_images} and {seed}"
        )
    people, counts = np.unique(labels, return_counts=True)
    kept = counts > probe_images
    if np.count_nonzero(kept) < 2:
        raise UserError(
            f"{np.count_nonzero(kept)} of {len(people)} people have more than {probe_images} images, but a gallery "
            "needs two; lower probe_images"
        )
    by_person = np.split(np.argsort(labels, kind="stable"), counts.cumsum()[:-1])
    gallery, probes = [], []
    for person, images in zip(people[kept].tolist(), (by_person[i] for i in np.flatnonzero(kept)), strict=True):
        # NumPy promises that raw numbers stay what they are in all its versions, and shuffles not.
        order = np.random.PCG64([seed, person]).random_raw(len(images)).argsort(kind="stable")
        probes.append(images[order[:probe_images]])
        gallery.append(images[order[probe_images : probe_images + gallery_images]])
    return RetrievalSplit(np.sort(np.concatenate(gallery)), np.sort(np.concatenate(probes)))
