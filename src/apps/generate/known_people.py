"""Embeddings of the real people whom no synthetic person may resemble."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from src.apps.embedding import Recogniser
from src.datamodules.identity_features import feature_name, medoids, read_identity_features
from src.datamodules.sources.file_source import natural_key
from src.datamodules.sources.source import FaceSource
from src.datamodules.storage import Location
from src.errors import UserError

__all__ = ["GalleryRows", "KnownPeople", "choose_rows"]

GalleryRows = Literal["all", "medoid", "first"]


@dataclass(frozen=True)
class KnownPeople:
    """Where the embeddings of the real people come from.

    Attributes:
        source: Collection of their images; None if there is a ``file``.
        file: Their identity features, made by the recogniser that judges the synthetic people.

    Raises:
        UserError: Both are given, or none.
    """

    source: FaceSource | None
    file: Path | None

    @classmethod
    def of(cls, source: Callable[[], FaceSource] | None, file: Path | str | None) -> KnownPeople:
        """Open a collection or name a file."""
        if (source is None) == (file is None):
            raise UserError(
                "source, known: expected one of them, the images of the people that the generator was trained on "
                "(source=vis_nir source.root=DIR) or their features (known=identity_features.json); found "
                + ("none" if source is None else "both")
            )
        return cls(None if source is None else source(), None if file is None else Path(file))

    @property
    def fingerprint(self) -> str:
        """Hex digest that changes when the people do."""
        if self.source is not None:
            return self.source.content_fingerprint
        return hashlib.sha256(self._read()).hexdigest()

    def embeddings(self, recogniser: Recogniser, rows: GalleryRows, batch_size: int) -> np.ndarray:
        """Embed the people, or read their features; float32 [K, D], those that `choose_rows` chooses.

        Raises:
            UserError: An image or the file cannot be read.
        """
        if self.source is not None:
            features = recogniser.embed(self.source, batch_size)
            names = [feature_name(self.source.key(row)) for row in range(len(self.source))]
            return features[choose_rows(rows, features, self.source.labels, names)]
        assert self.file is not None
        names = self._names()
        features = read_identity_features(Location(self.file), names)
        people = [name.rpartition("/")[2].partition("_")[0] for name in names]
        labels = np.unique(np.array(people), return_inverse=True)[1]
        return features[choose_rows(rows, features, labels, names)]

    def _names(self) -> list[str]:
        try:
            names = [name.replace("\\", "/") for name in dict(json.loads(self._read()))]
        except (TypeError, ValueError, AttributeError, RecursionError) as error:
            raise UserError(f"known={self.file}: expected a JSON object of file name -> numbers ({error})") from error
        if not names:
            raise UserError(f"known={self.file}: names nobody; expected the features of the training people")
        return names

    def _read(self) -> bytes:
        assert self.file is not None
        try:
            return self.file.read_bytes()
        except OSError as error:
            raise UserError(f"known={self.file}: cannot be read ({error.strerror})") from error


def choose_rows(choice: GalleryRows, features: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Rows that stand for the real people.

    Args:
        choice: ``"all"``: all images; ``"medoid"``: the most typical one of each person; ``"first"``: the first one, in
            the natural order of the names, as ArcBiFaceGAN's published program does.
        features: float32 [N, D].
        labels: int [N], class numbers.
        names: N names.

    Returns:
        int64 [K], ascending.
    """
    if choice == "all":
        return np.arange(len(features))
    if choice == "medoid":
        return np.unique(medoids(features, labels, names))
    order = np.array(sorted(range(len(names)), key=lambda row: natural_key(names[row])))
    return np.sort(order[np.unique(labels[order], return_index=True)[1]])
