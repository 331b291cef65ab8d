"""Gender sets in memory, and embeddings whose gender can be told or not."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from src.datamodules.gender_sets import GenderFaces, GenderSet
from src.datamodules.verification_sets import VerificationSet
from src.eval.gender_benchmark import GenderBenchmark
from tests.support import unread_images

PAIRS, PEOPLE, FACES_EACH = 60, 12, 5


def gender_set(*, faces: bool = True, pair_genders: bool = False) -> GenderSet:
    """60 pairs, and five faces each of twelve people of whom every third is female; no images."""
    same = np.tile([True, False], PAIRS // 2)
    subjects, attributes = people()
    return GenderSet(
        "toy",
        VerificationSet("toy", unread_images(2 * PAIRS), same, 3),
        GenderFaces(unread_images(len(subjects)), subjects, attributes) if faces else None,
        np.zeros((PAIRS, 2), np.int8) if pair_genders else None,
    )


def people() -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Subjects and attributes of the faces."""
    subjects = np.repeat(np.arange(PEOPLE), FACES_EACH)
    return subjects, (subjects % 3 > 0).astype(np.int8)


def benchmark(**options: object) -> GenderBenchmark:
    """Of `gender_set`; options are those of the benchmark."""
    return GenderBenchmark(gender_set, **options)  # type: ignore[arg-type]


def embeddings(gender: float = 1.0, *, noise: float = 0.7, seed: int = 0, size: int = 16) -> dict[str, torch.Tensor]:
    """What is collected of `gender_set`, of image and mirror image: ``gender`` says how far apart the genders are."""
    rng = np.random.default_rng(seed)
    pairs = rng.standard_normal((PAIRS, 2, size))
    pairs[::2, 1] = 0.4 * pairs[::2, 1] + pairs[::2, 0]
    pairs += 2 * noise * rng.standard_normal(pairs.shape)
    subjects, attributes = people()
    faces = rng.standard_normal((PEOPLE, size))[subjects]
    faces[:, 0] += 3 * gender * (2.0 * attributes - 1)
    together = np.concatenate([pairs.reshape(-1, size), faces])
    return {
        view: torch.tensor(together + noise * rng.standard_normal(together.shape), dtype=torch.float32)
        for view in ("original", "flipped")
    }
