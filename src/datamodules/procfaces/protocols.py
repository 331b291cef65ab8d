"""Who is drawn for which split, and which images are compared: the protocols of the procedural faces.

Training and each benchmark take their people from disjoint ranges of identity numbers, so no benchmark can
share a person with training. Pairs and templates come from the same counter-based random numbers as the faces
(a Fisher-Yates shuffle keyed by them), hence they are a function of the configuration alone.

The pair protocols follow LFW (Huang et al. 2007), AgeDB-30 (Moschoglou et al. 2017) and CFP-FP
(Sengupta et al. 2016).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from src.datamodules.procfaces.faces_config import FOLDS, FacesConfig
from src.datamodules.procfaces.hashing import normal, uniform
from src.errors import UserError

__all__ = [
    "FIRST_IDENTITY",
    "PairProtocol",
    "Shots",
    "age_pairs",
    "gender_pairs",
    "people",
    "photo_pairs",
    "pose_pairs",
    "training_shots",
]

FIRST_IDENTITY = {
    "train": 0,
    "lfw": 100_000,
    "agedb_30": 101_000,
    "cfp_fp": 102_000,
    "ijbc": 103_000,
    "gender": 104_000,
    "gender_shifted": 105_000,
}
_PEOPLE_FOR_DISJOINT_FOLDS = 12 * FOLDS


@dataclass(frozen=True)
class Shots:
    """Images to draw, one row each.

    Attributes:
        ids: Identity of each image, int64 ``[N]``.
        samples: Number of the image within its identity, int64 ``[N]``.
        media: Images of one person with the same medium share light, background, hair and age, int64 ``[N]``.
        yaw: Head rotation in degrees, float64 ``[N]``; None draws it from the profile.
        age: Age in years, float64 ``[N]``; None draws it from the profile.
    """

    ids: np.ndarray
    samples: np.ndarray
    media: np.ndarray
    yaw: np.ndarray | None = None
    age: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> Shots:
        """The given rows, in the given order."""
        return Shots(
            ids=self.ids[rows],
            samples=self.samples[rows],
            media=self.media[rows],
            yaw=None if self.yaw is None else self.yaw[rows],
            age=None if self.age is None else self.age[rows],
        )


@dataclass(frozen=True)
class PairProtocol:
    """Images and the pairs made of them.

    Attributes:
        shots: The images that occur in a pair, and perhaps others.
        pairs: Rows of ``shots``, int64 ``[P, 2]``; ten folds of equal length, each its genuine pairs first.
        same: Whether both images show one person, bool ``[P]``.
    """

    shots: Shots
    pairs: np.ndarray
    same: np.ndarray


def people(split: str, count: int) -> np.ndarray:
    """Identity numbers of the first ``count`` people of a split, int64 ``[count]``."""
    return np.arange(count) + FIRST_IDENTITY[split]


def training_shots(config: FacesConfig) -> Shots:
    """All training images in one shuffled order, so that a sequential reader meets mixed identities."""
    shots = _grid(people("train", config.identities), config.per_identity)
    return shots.take(_shuffled(config.seed, "train/order", 0, len(shots), len(shots)))


def photo_pairs(config: FacesConfig) -> PairProtocol:
    """LFW-like pairs: any two images of the default profile."""
    shots = _evaluation_grid(config, "lfw")
    return _protocol(config, "lfw", shots, _any_two)


def age_pairs(config: FacesConfig) -> PairProtocol:
    """AgeDB-30-like pairs: ages at least 30 years apart, in genuine and in impostor pairs.

    Even samples are 16 to 30 years old, odd ones 54 to 78. Impostor pairs keep the same gap, so age tells nothing
    about the answer.
    """
    shots = _evaluation_grid(config, "agedb_30")
    draw = uniform(config.seed, "agedb_30/age", shots.ids, shots.samples)
    age = np.where(shots.samples % 2 == 0, 16 + 14 * draw, 54 + 24 * draw)
    shots = replace(shots, age=age)
    return _protocol(config, "agedb_30", shots, lambda a, b: np.abs(age[a] - age[b]) >= 30)


def pose_pairs(config: FacesConfig) -> PairProtocol:
    """CFP-FP-like pairs: one frontal image (even samples) and one profile (odd samples, 62 to 82 degrees)."""
    shots = _evaluation_grid(config, "cfp_fp")
    frontal = 5 * normal(config.seed, "cfp_fp/frontal", shots.ids, shots.samples)
    side = np.where(uniform(config.seed, "cfp_fp/side", shots.ids, shots.samples) < 0.5, -1, 1)
    turned = side * (62 + 20 * uniform(config.seed, "cfp_fp/profile", shots.ids, shots.samples))
    is_profile = shots.samples % 2 == 1
    shots = replace(shots, yaw=np.where(is_profile, turned, frontal))
    return _protocol(config, "cfp_fp", shots, lambda a, b: is_profile[a] != is_profile[b])


def gender_pairs(config: FacesConfig, split: str) -> PairProtocol:
    """LFW-like pairs of ``gender`` or ``gender_shifted``; the images are all of them, for each is attacked."""
    shots = _evaluation_grid(config, split)
    pairs, same = _draw_pairs(config, split, shots, _any_two)
    return PairProtocol(shots, pairs, same)


def _any_two(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.ones(len(first), dtype=bool)


def _grid(ids: np.ndarray, per_identity: int) -> Shots:
    samples = np.tile(np.arange(per_identity), len(ids))
    return Shots(ids=np.repeat(ids, per_identity), samples=samples, media=samples)


def _evaluation_grid(config: FacesConfig, split: str) -> Shots:
    return _grid(people(split, config.evaluation_identities), config.evaluation_images)


def _protocol(
    config: FacesConfig, name: str, shots: Shots, compatible: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> PairProtocol:
    """Draw the folds of a pair protocol, and keep the images that occur in them."""
    pairs, same = _draw_pairs(config, name, shots, compatible)
    used, flat = np.unique(pairs, return_inverse=True)
    return PairProtocol(shots=shots.take(used), pairs=flat.reshape(-1, 2), same=same)


def _draw_pairs(
    config: FacesConfig, name: str, shots: Shots, compatible: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Draw ten folds of pairs, int64 ``[P, 2]`` and bool ``[P]``; no pair occurs twice.

    With at least twelve people per fold, no person occurs in two folds, so the threshold chosen on nine folds is
    tested on strangers, as in LFW.
    """
    ids = np.unique(shots.ids)
    disjoint = len(ids) >= _PEOPLE_FOR_DISJOINT_FOLDS
    groups = np.array_split(ids, FOLDS) if disjoint else [ids]
    count = config.pairs_per_fold * FOLDS // len(groups)
    genuine: list[np.ndarray] = []
    impostor: list[np.ndarray] = []
    for number, group in enumerate(groups):
        rows = np.flatnonzero(np.isin(shots.ids, group))
        first, second = (rows[i] for i in np.triu_indices(len(rows), k=1))
        keep = compatible(first, second)
        candidates = np.stack([first[keep], second[keep]], axis=1)
        same = shots.ids[candidates[:, 0]] == shots.ids[candidates[:, 1]]
        for kind, chosen, among in (("genuine", genuine, same), ("impostor", impostor, ~same)):
            available = candidates[among]
            if len(available) < count:
                raise UserError(
                    f"{name}: {count} {kind} pairs wanted of {len(group)} people, but there are only {len(available)}; "
                    "lower pairs_per_fold or raise evaluation_images or evaluation_identities"
                )
            chosen.append(available[_shuffled(config.seed, f"{name}/{kind}", number, len(available), count)])
    folds = [np.concatenate(chosen).reshape(FOLDS, -1, 2) for chosen in (genuine, impostor)]
    same = np.tile(np.repeat([True, False], config.pairs_per_fold), FOLDS)
    return np.concatenate(folds, axis=1).reshape(-1, 2), same


def _shuffled(seed: int, name: str, number: int, size: int, count: int) -> np.ndarray:
    """The first ``count`` entries of a random permutation of ``range(size)`` (Fisher-Yates)."""
    order = np.arange(size)
    for i, draw in enumerate(uniform(seed, name, number, np.arange(count))):
        j = i + int(draw * (size - i))
        order[i], order[j] = order[j], order[i]
    return order[:count]
