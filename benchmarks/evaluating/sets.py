"""Synthetic embeddings in the numbers of LFW and of IJB-C."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

__all__ = ["DIMENSIONS", "FOLDS", "PAIRS", "IjbLike", "lfw_like", "make_ijb_like", "read_features"]

Array = NDArray[Any]

PAIRS, FOLDS, DIMENSIONS = 6000, 10, 512
_IMAGES, _TEMPLATES, _GALLERIES, _PAIRS, _GENUINE = 469_375, 23_124, (1_772, 1_759), 15_658_489, 19_557
_BLOCK = 1 << 14  # images drawn at once
_LINES = 1 << 19  # pairs written at once


def lfw_like() -> tuple[Array, Array]:
    """float64 [2 PAIRS, DIMENSIONS] raw embeddings and bool [PAIRS], hard enough that errors occur."""
    rng = np.random.default_rng(0)
    same = np.tile(np.repeat([True, False], PAIRS // (2 * FOLDS)), FOLDS)
    faces = rng.standard_normal((PAIRS, 2, DIMENSIONS))
    faces[same, 1] = faces[same, 0]
    faces += rng.uniform(0.5, 4, (PAIRS, 1, 1)) * rng.standard_normal(faces.shape)
    return faces.reshape(2 * PAIRS, DIMENSIONS), same


@dataclass(frozen=True)
class IjbLike:
    """Templates in the numbers of IJB-C; the images of a template follow each other.

    Attributes:
        template: int32 [N] template of each image.
        medium: int32 [N] still or video of each image.
        weight: float32 [N] detector scores.
        first: int32 [P] template of each pair.
        second: int32 [P] template to compare it to.
        same: bool [P].
        subject: int32 [T] whom each template shows.
        gallery: int32 [T], 1 or 2 for templates that are enrolled, 0 for probes.
    """

    template: Array
    medium: Array
    weight: Array
    first: Array
    second: Array
    same: Array
    subject: Array
    gallery: Array

    def save(self, folder: Path) -> None:
        """Write all arrays and, as the release has them, the pairs as text."""
        np.savez(folder / "set.npz", **{field.name: getattr(self, field.name) for field in fields(self)})
        with open(folder / "pairs.txt", "w") as file:
            for start in track(range(0, len(self.same), _LINES), "writing pairs", transient=True):
                block = slice(start, start + _LINES)
                rows = zip(
                    self.first[block].tolist(), self.second[block].tolist(), self.same[block].tolist(), strict=True
                )
                file.write("".join(f"{first} {second} {same:d}\n" for first, second, same in rows))

    @classmethod
    def load(cls, folder: Path) -> IjbLike:
        """Read what `save` wrote."""
        with np.load(folder / "set.npz") as arrays:
            return cls(**arrays)


def make_ijb_like(folder: Path, scale: float) -> None:
    """Write a set and the raw file ``features``, float32 [N, DIMENSIONS]: image and mirror image added.

    Args:
        folder: To fill.
        scale: Share of the templates and images of IJB-C; pairs are as dense as there.
    """
    rng = np.random.default_rng(0)
    galleries = [round(scale * size) for size in _GALLERIES]
    n_templates, n_images, n_subjects = round(scale * _TEMPLATES), round(scale * _IMAGES), sum(galleries)
    gallery = np.zeros(n_templates, dtype=np.int32)
    gallery[: galleries[0]], gallery[galleries[0] : n_subjects] = 1, 2
    subject = np.concatenate([np.arange(n_subjects), rng.integers(0, n_subjects, n_templates - n_subjects)])
    template = np.repeat(np.arange(n_templates), _heavy_tailed(rng, n_templates, n_images))
    first, second, same = _pairs(rng, subject, n_subjects)
    ijb = IjbLike(
        template=template.astype(np.int32),
        medium=rng.integers(0, 5, n_images).astype(np.int32),
        weight=rng.uniform(0.1, 1, n_images).astype(np.float32),
        first=first,
        second=second,
        same=same,
        subject=subject.astype(np.int32),
        gallery=gallery,
    )
    ijb.save(folder)
    with open(folder / "features", "wb") as file:
        for vectors in _features(rng, ijb):
            vectors.tofile(file)


def read_features(file: Path | IO[bytes], count: int = -1) -> Array:
    """The next `count` rows of the file ``features``, by default all."""
    return np.fromfile(file, np.float32, count if count < 0 else count * DIMENSIONS).reshape(-1, DIMENSIONS)


def _heavy_tailed(rng: np.random.Generator, groups: int, total: int) -> Array:
    """Sizes of groups, at least 1, that add up to a total."""
    share = rng.pareto(1.1, groups) + 1
    sizes = 1 + np.floor(share / share.sum() * (total - groups)).astype(np.int64)
    sizes[0] += total - sizes.sum()
    return sizes


def _pairs(rng: np.random.Generator, subject: Array, n_subjects: int) -> tuple[Array, Array, Array]:
    """Some cells of the grid of enrolled templates and probes, without repetition."""
    n_probes = len(subject) - n_subjects
    cells = n_subjects * n_probes
    share = _PAIRS / (sum(_GALLERIES) * (_TEMPLATES - sum(_GALLERIES)))
    genuine = subject[n_subjects:] * n_probes + np.arange(n_probes)
    genuine = rng.choice(genuine, round(n_probes * _GENUINE / (_TEMPLATES - sum(_GALLERIES))), replace=False)
    drawn = rng.random(cells, dtype=np.float32)
    drawn[subject[n_subjects:] * n_probes + np.arange(n_probes)] = 2
    impostor = np.argpartition(drawn, round(share * cells) - len(genuine))[: round(share * cells) - len(genuine)]
    cell = np.sort(np.concatenate([genuine, impostor]))
    first, second = np.divmod(cell, n_probes)
    second += n_subjects
    return first.astype(np.int32), second.astype(np.int32), subject[first] == subject[second]


def _features(rng: np.random.Generator, ijb: IjbLike) -> Iterator[Array]:
    """Vectors around one centre per subject; how far away depends on template and image."""
    centre = rng.standard_normal((ijb.subject.max() + 1, DIMENSIONS), dtype=np.float32)
    spread = rng.lognormal(0.6, 0.6, len(ijb.subject)).astype(np.float32)
    for start in track(range(0, len(ijb.template), _BLOCK), "drawing embeddings", transient=True):
        template = ijb.template[start : start + _BLOCK]
        noise = rng.standard_normal((len(template), DIMENSIONS), dtype=np.float32)
        quality = rng.uniform(0.5, 2, (len(template), 1)).astype(np.float32)
        yield quality * (centre[ijb.subject[template]] + spread[template, None] * noise)
