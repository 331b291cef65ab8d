"""The gender attack as plain scikit-learn, on synthetic templates in the numbers of LFW."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.svm import SVC

__all__ = ["FACES", "gender_like", "plain_attack"]

Array = NDArray[Any]

FACES = 10_000
_EACH = 5
_DIMENSIONS = 512


def gender_like(scale: float) -> tuple[Array, Array, Array]:
    """float64 [N, 512] unit templates, subjects [N] and genders [N]: told apart well, but not perfectly."""
    rng = np.random.default_rng(0)
    subjects = np.arange(round(scale * FACES)) // _EACH
    genders = rng.integers(0, 2, subjects.max() + 1)[subjects]
    spread = np.arange(1, _DIMENSIONS + 1) ** -0.5
    people = rng.standard_normal((subjects.max() + 1, _DIMENSIONS))
    templates = (people[subjects] + 0.7 * rng.standard_normal((len(subjects), _DIMENSIONS))) * spread
    templates[:, 8:40] += 0.02 * (2 * genders - 1)[:, None]
    return templates / np.linalg.norm(templates, axis=1, keepdims=True), subjects, genders


def plain_attack(templates: Array, subjects: Array, genders: Array) -> list[float]:
    """Mean balanced accuracy over three subject-disjoint folds of each of three classifiers."""
    scores = []
    splits = list(StratifiedGroupKFold(3).split(templates, genders, subjects))
    for train, test in track(splits, "loops: guessing gender", transient=True):
        classifiers = LogisticRegression(), SVC(kernel="linear"), SVC(kernel="rbf")
        fitted = [classifier.fit(templates[train], genders[train]) for classifier in classifiers]
        scores.append([balanced_accuracy_score(genders[test], each.predict(templates[test])) for each in fitted])
    return [float(value) for value in np.mean(scores, axis=0)]
