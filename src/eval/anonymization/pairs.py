"""The faces of a verification benchmark as a password transformer sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from src.datamodules.alignment import ARCFACE_TEMPLATE, resize
from src.datamodules.decode import BadImage, decode
from src.datamodules.evaluation_images import ImageFile, ImageSource, first_copies
from src.datamodules.sample import to_float
from src.datamodules.verification_sets import VerificationSet
from src.errors import UserError, check_choice
from src.eval.anonymization.interfaces import Faces

__all__ = ["FacePairs", "Framing"]

Framing = Literal["aligned", "photograph"]

Integers = NDArray[np.int64]

_CROP = 112
"""Pixels that the template is given for."""


@dataclass(frozen=True)
class FacePairs:
    """Pairs of faces, of which the second ones are anonymised, recovered and wrongly recovered.

    Attributes:
        name: Of the set.
        images: Of all faces.
        size: Side of the images that the transformer takes, in pixels.
        framing: ``"aligned"`` by the landmarks to the template of recognisers, or the whole ``"photograph"``, a square
            whose landmarks the set has to tell.
        first: int64 [P], number of the first image of each pair.
        second: int64 [P], of the second.
        same: bool [P].
        folds: Number of contiguous folds.
        identity: int64 by number of an image, whom it shows as far as pairs tell: images that are joined by pairs of
            the same person have the same number.
    """

    name: str
    images: Sequence[ImageSource]
    size: int
    framing: Framing
    first: Integers
    second: Integers
    same: NDArray[np.bool_]
    folds: int
    identity: Integers

    @classmethod
    def of(cls, pairs: VerificationSet, size: int, framing: str = "aligned", limit: int | None = None) -> FacePairs:
        """The pairs of a benchmark.

        Args:
            pairs: The benchmark's.
            size: Side of the images that the transformer takes, in pixels.
            framing: See the attribute.
            limit: Pairs of each fold and kind that are used, the first ones; None: all.

        Raises:
            UserError: There is no such framing, or it needs landmarks that the set has not.
        """
        check_choice("anonymization.framing", framing, get_args(Framing))
        if limit is not None and limit < 1:
            raise UserError(f"anonymization.pairs: expected at least 1 of each fold and kind, or null; found {limit}")
        has_landmarks = all(isinstance(image, ImageFile) and image.landmarks is not None for image in pairs.images)
        if framing == "photograph" and not has_landmarks:
            raise UserError(
                f"anonymization.framing=photograph: {pairs.name} has no landmarks to align its photographs by; give a "
                "landmarks.csv (docs/benchmarks.md), or anonymization.framing=aligned for a set of aligned faces"
            )
        numbers = first_copies(pairs.images)
        same = np.asarray(pairs.same, np.bool_)
        kept = np.concatenate([_first(fold, same, limit) for fold in np.array_split(np.arange(len(same)), pairs.folds)])
        first, second = numbers[0::2], numbers[1::2]
        count = len(pairs.images)
        joined = coo_array((np.ones(int(same.sum())), (first[same], second[same])), shape=(count, count))
        identity = connected_components(joined, directed=False)[1].astype(np.int64)
        return cls(
            pairs.name, pairs.images, size, framing,  # type: ignore[arg-type]
            first[kept], second[kept], same[kept], pairs.folds, identity,
        )  # fmt: skip

    @property
    def changed(self) -> Integers:
        """Numbers of the images to anonymise, ascending: every second image of a pair once."""
        return np.unique(self.second)

    @property
    def clean(self) -> Integers:
        """Numbers of all images, ascending."""
        return np.unique([self.first, self.second])

    @property
    def gallery(self) -> Integers:
        """Number of one image, which stays as it is, of every person who has several."""
        numbers = self.clean
        _, first, count = np.unique(self.identity[numbers], return_index=True, return_counts=True)
        return numbers[first[count > 1]]

    def load(self, numbers: Integers) -> Faces:
        """Read images by their numbers.

        Raises:
            BadImage: One cannot be read; the message names it.
        """
        loaded = [self._load(self.images[int(number)]) for number in numbers]
        images = to_float(torch.stack([image for image, _ in loaded]))
        return Faces(images, torch.stack([landmarks for _, landmarks in loaded]).float())

    def _load(self, image: ImageSource) -> tuple[Tensor, Tensor]:
        if self.framing == "aligned":
            return image.load(self.size), ARCFACE_TEMPLATE * (self.size / _CROP)
        assert isinstance(image, ImageFile)
        assert image.landmarks is not None
        try:
            pixels = decode(image.path.read_bytes())
        except (OSError, BadImage) as error:
            raise BadImage(f"{image.path}: {error}") from error
        height, width = pixels.shape[:2]
        scale = torch.tensor([self.size / width, self.size / height])
        return resize(pixels, self.size), (image.landmarks + 0.5) * scale - 0.5


def _first(fold: Integers, same: NDArray[np.bool_], limit: int | None) -> Integers:
    """The first pairs of both kinds in a fold, in their order."""
    return np.sort(np.concatenate([fold[same[fold]][:limit], fold[~same[fold]][:limit]]))
