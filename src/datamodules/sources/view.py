"""A collection as another one shows it: some of its rows, its near-infrared images too, or features computed later."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from src.datamodules.sources.source import FaceSource
from src.errors import UserError

__all__ = ["InfraredSamples", "SourceView", "WithFeatures", "infrared_samples", "random_subset", "shuffled_rows"]


class SourceView(FaceSource):
    """Some rows of a collection; its classes keep their numbers.

    Args:
        source: The collection.
        rows: int64 [n], of `source`, in the order that they have here; all by default.
    """

    def __init__(self, source: FaceSource, rows: np.ndarray | None = None) -> None:
        self.source = source
        self.rows = np.arange(len(source)) if rows is None else rows
        self.has_landmarks, self.has_features = source.has_landmarks, source.has_features
        super().__init__(
            source.name,
            source.labels[self.rows],
            source.classes,
            self._digest(source.fingerprint),
            attributes=source.attributes[self.rows],
            modalities=source.modalities,
            resolution=source.resolution,
            left_out=source.left_out,
        )
        self.facts = source.facts

    def _digest(self, fingerprint: str) -> str:
        return hashlib.sha256(fingerprint.encode() + self.rows.astype("<i8").tobytes()).hexdigest()

    @property
    def content_fingerprint(self) -> str:
        """That of the collection, and the rows."""
        return self._digest(self.source.content_fingerprint)

    def key(self, row: int) -> str:
        """Name of the row in the collection."""
        return self.source.key(int(self.rows[row]))

    def content(self, row: int, modality: str = "image") -> bytes:
        """Encoded image of the row in the collection."""
        return self.source.content(int(self.rows[row]), modality)

    def landmarks(self, row: int) -> np.ndarray:
        """Five points of the row in the collection."""
        return self.source.landmarks(int(self.rows[row]))

    def feature(self, row: int) -> np.ndarray:
        """Feature of the row in the collection."""
        return self.source.feature(int(self.rows[row]))

    def metadata(self, row: int) -> dict[str, Any]:
        """What the collection knows of the row."""
        return self.source.metadata(int(self.rows[row]))


class WithFeatures(SourceView):
    """A collection with features of its own in the place of those that it may have.

    Args:
        source: The collection.
        origin: What the features come from; anything JSON can hold. Becomes part of the fingerprint and of `facts`.
        features: float32 [N, D]; may be set later, before they are asked for.
    """

    def __init__(self, source: FaceSource, origin: Mapping[str, Any], features: np.ndarray | None = None) -> None:
        self.origin = dict(origin)
        super().__init__(source)
        self.has_features = True
        self.features = features
        self.facts = {**source.facts, "features": self.origin}

    def _digest(self, fingerprint: str) -> str:
        return super()._digest(f"{fingerprint} {sorted(self.origin.items())}")

    def feature(self, row: int) -> np.ndarray:
        """Feature of a row, float32 [D]."""
        assert self.features is not None
        return self.features[row]


class InfraredSamples(SourceView):
    """A collection of pairs as one of single images: first the visible ones, then the near-infrared ones.

    A near-infrared image becomes a sample like any other of its person; decoded in colour, its channels are equal.

    Args:
        source: A collection of N pairs; here it has 2 N rows.

    Raises:
        UserError: It has no near-infrared images.
    """

    def __init__(self, source: FaceSource) -> None:
        if "nir" not in source.modalities:
            raise UserError(
                f"{source.name}: has no near-infrared images to train on; choose near_infrared=none, or a collection "
                "of pairs"
            )
        super().__init__(source, np.tile(np.arange(len(source)), 2))
        self.modalities = ("image",)

    def _digest(self, fingerprint: str) -> str:
        return super()._digest(f"{fingerprint} near infrared")

    def key(self, row: int) -> str:
        """Name of the pair, with a suffix for its near-infrared image."""
        return f"{super().key(row)}.nir" if self._is_infrared(row) else super().key(row)

    def content(self, row: int, modality: str = "image") -> bytes:
        """Encoded image of the row, visible or near-infrared."""
        return super().content(row, "nir" if self._is_infrared(row) else modality)

    def _is_infrared(self, row: int) -> bool:
        return row >= len(self.source)


def infrared_samples(source: Callable[[], FaceSource]) -> FaceSource:
    """Open a collection of pairs as `InfraredSamples`."""
    return InfraredSamples(source())


def shuffled_rows(count: int, seed: int) -> np.ndarray:
    """The numbers 0 .. count - 1 as NumPy's `RandomState(seed)` shuffles them, int64 [count].

    This order of StyleGAN2-ADA (Karras et al. 2020, public code) stays the same with every version of NumPy.
    """
    rows = np.arange(count)
    np.random.RandomState(seed).shuffle(rows)
    return rows


def random_subset(source: FaceSource, count: int, seed: int) -> FaceSource:
    """Show `count` rows that a seed chooses, in the order of the collection; all where it has no more.

    The choice is that of StyleGAN2-ADA's `max_size`: the first of `shuffled_rows`.
    """
    return SourceView(source, np.sort(shuffled_rows(len(source), seed)[:count]))
