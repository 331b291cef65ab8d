"""The protocols as they are defined, in plain loops over folds, thresholds, templates, batches of pairs, and probes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from sklearn.metrics import roc_curve

from benchmarks.evaluating.measure import Measured
from benchmarks.evaluating.sets import FOLDS, PAIRS, IjbLike, read_features

__all__ = ["identify", "k_fold", "read_pairs", "verify"]

Array = NDArray[Any]

_BATCH = 100_000  # pairs


def k_fold(embeddings: Array, same: Array, far: float) -> tuple[float, float, float, float]:
    """Accuracy, its deviation, validation rate and its false accept rate."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    distances = np.sum(np.square(unit[0::2] - unit[1::2]), axis=1)
    indices = np.arange(PAIRS)
    accuracies, vals, fars = [], [], []
    for test in np.array_split(indices, FOLDS):
        train = np.setdiff1d(indices, test)
        grid = np.arange(0, 4, 0.01)
        right = [_rates(t, distances[train], same[train])[0] for t in grid]
        curve = [_rates(t, distances[test], same[test]) for t in grid]
        accuracies.append(curve[int(np.argmax(right))][0])

        grid = np.arange(0, 4, 0.001)
        train_far = np.array([_rates(t, distances[train], same[train])[2] for t in grid])
        threshold = 0.0
        if train_far.max() >= far:
            j = int(np.flatnonzero(train_far <= far)[-1])
            share = (far - train_far[j]) / (train_far[j + 1] - train_far[j])
            threshold = grid[j] + share * (grid[j + 1] - grid[j])
        _, val, test_far = _rates(threshold, distances[test], same[test])
        vals.append(val)
        fars.append(test_far)
    return float(np.mean(accuracies)), float(np.std(accuracies)), float(np.mean(vals)), float(np.mean(fars))


def _rates(threshold: float, distances: Array, same: Array) -> tuple[float, float, float]:
    """Accuracy, true and false accept rate at one threshold."""
    accepted = np.less(distances, threshold)
    true_accepts = np.sum(np.logical_and(accepted, same))
    false_accepts = np.sum(np.logical_and(accepted, np.logical_not(same)))
    true_rejects = np.sum(np.logical_and(np.logical_not(accepted), np.logical_not(same)))
    accuracy = (true_accepts + true_rejects) / len(distances)
    return accuracy, true_accepts / np.sum(same), false_accepts / np.sum(~same)


def read_pairs(folder: Path) -> Measured:
    """The file of pairs."""
    measured = Measured()
    with measured.step("read the pairs"), open(folder / "pairs.txt") as file:
        rows = []
        for line in file:
            first, second, label = line.split()
            rows.append((int(first), int(second), int(label)))
        np.array(rows)
    return measured


def verify(folder: Path, fars: Sequence[float]) -> Measured:
    """1:1; the result is scores and true accept rates."""
    measured, ijb, features = Measured(), IjbLike.load(folder), read_features(folder / "features")
    with measured.step("pool templates"):
        templates = _pool(features, ijb)
    with measured.step("score pairs"):
        scores = np.zeros(len(ijb.same), dtype=np.float32)
        for start in track(range(0, len(scores), _BATCH), "loops: scoring pairs", transient=True):
            batch = slice(start, start + _BATCH)
            scores[batch] = np.sum(templates[ijb.first[batch]] * templates[ijb.second[batch]], axis=1)
    with measured.step("TAR at FAR"):
        fpr, tpr, _ = roc_curve(ijb.same, scores)
        fpr, tpr = np.flipud(fpr), np.flipud(tpr)
        rates = [float(tpr[np.argmin(np.abs(fpr - far))]) for far in fars]
    measured.result = scores, rates
    return measured


def _pool(features: Array, ijb: IjbLike) -> Array:
    """float32 [T, D] sums over media of the means over a medium's images, scaled to length 1."""
    weighted = features * ijb.weight[:, None]
    templates = np.zeros((len(ijb.subject), features.shape[1]), dtype=np.float32)
    for number in track(range(len(templates)), "loops: pooling templates", transient=True):
        (images,) = np.where(ijb.template == number)
        media = []
        for medium in np.unique(ijb.medium[images]):
            mine = images[ijb.medium[images] == medium]
            media.append(np.mean(weighted[mine], axis=0, dtype=np.float64))
        total = np.sum(media, axis=0)
        templates[number] = total / np.linalg.norm(total)
    return templates


def identify(folder: Path, ranks: Iterable[int], fpirs: Sequence[float]) -> Measured:
    """1:N of the templates that ours wrote; the result is identification rates."""
    measured, ijb, templates = Measured(), IjbLike.load(folder), np.load(folder / "templates.npy").astype(np.float64)
    hits = dict.fromkeys(ranks, 0)
    rates = []
    with measured.step("1:N"):
        probes = np.where(ijb.gallery == 0)[0]
        for half in (1, 2):
            enrolled = np.where(ijb.gallery == half)[0]
            ids = ijb.subject[enrolled].tolist()
            mates, tops = [], []
            searches = zip(templates[probes] @ templates[enrolled].T, ijb.subject[probes].tolist(), strict=True)
            for row, subject in track(searches, "loops: searching", total=len(probes), transient=True):
                order = np.argsort(-row)
                if subject not in ids:
                    tops.append(row[order[0]])
                    continue
                place = order.tolist().index(ids.index(subject))
                for rank in hits:
                    hits[rank] += place < rank
                mates.append(row[order[0]] if place == 0 else -np.inf)
            tops.sort(reverse=True)
            thresholds = [tops[max(int(len(tops) * fpir) - 1, 0)] for fpir in fpirs]
            rates.append([np.mean(np.array(mates) > threshold) for threshold in thresholds])
    measured.result = [*(count / len(probes) for count in hits.values()), *np.mean(rates, axis=0)]
    return measured
