"""Which faces a gender attack uses, and how they are split so that no person is both learnt and guessed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from src.datamodules.genders import GENDERS
from src.errors import UserError

__all__ = ["choose_faces", "subject_folds"]

Indices = NDArray[np.intp]


def choose_faces(subjects: NDArray[Any], attributes: NDArray[np.int8], max_samples: int | None, folds: int) -> Indices:
    """Some of the faces, the share of each gender as it is: whole people, chosen by chance but always the same.

    Somebody with so many faces that fewer than ``folds`` people of a gender would fit gives the first of them only.

    Args:
        subjects: [N] number of the person on each face.
        attributes: [N], 0 female, 1 male.
        max_samples: At most so many faces; None for all.
        folds: Number of folds that the faces will be split into.

    Returns:
        Indices of the faces, ascending.
    """
    if max_samples is None or max_samples >= len(subjects):
        return np.arange(len(subjects))
    chosen = [
        _choose(subjects, np.flatnonzero(attributes == gender), max_samples, folds) for gender in np.unique(attributes)
    ]
    return np.sort(np.concatenate(chosen))


def _choose(subjects: NDArray[Any], faces: Indices, max_samples: int, folds: int) -> Indices:
    """Of ``faces``, all of one gender, as many as are their share."""
    budget = max_samples * len(faces) // len(subjects)
    limit = max(budget // folds, 1)
    people, person, counts = np.unique(subjects[faces], return_inverse=True, return_counts=True)
    order = np.random.default_rng(0).permutation(len(people))
    fits = np.minimum(counts[order], limit).cumsum() <= max(budget, folds)
    is_taken = np.zeros(len(people), np.bool_)
    is_taken[order[fits]] = True
    by_person = np.argsort(person, kind="stable")
    place = np.empty(len(faces), np.intp)  # of a face among its person's
    place[by_person] = np.arange(len(faces)) - np.repeat(counts.cumsum() - counts, counts)
    return faces[is_taken[person] & (place < limit)]


def subject_folds(subjects: NDArray[Any], attributes: NDArray[np.int8], folds: int) -> list[tuple[Indices, Indices]]:
    """Indices to train on and to test on, for each fold; all faces of a person are on the same side.

    Args:
        subjects: [n] number of the person on each face.
        attributes: [n], 0 female, 1 male.
        folds: At least 2; not shuffled, both genders in about the same shares (scikit-learn's StratifiedGroupKFold).

    Raises:
        UserError: A gender is missing or unknown, or has too few people.
    """
    if folds < 2:
        raise UserError(
            f"folds: expected at least 2, since attackers never meet whom they are tested on; found {folds}"
        )
    if not np.isin(attributes, (0, 1)).all():
        raise UserError("a gender attack needs faces of known gender, 0 (female) or 1 (male); leave the others out")
    for gender, word in enumerate(GENDERS):
        people = len(np.unique(subjects[attributes == gender]))
        if people < folds:
            raise UserError(
                f"a gender attack in {folds} folds needs at least {folds} people of each gender, found {people} "
                f"{word}; add faces or lower the folds"
            )
    rows = np.empty((len(subjects), 1))
    splits = list(StratifiedGroupKFold(folds).split(rows, attributes, subjects))
    if any(len(np.unique(attributes[part])) < 2 for split in splits for part in split):
        raise UserError(
            f"the people cannot be split into {folds} folds with both genders each: a few of them have most of the "
            "faces; lower the folds or give less faces of those people"
        )
    return splits
