"""How long k-fold verification takes, against the plain loops over thresholds and folds.

Run as ``python -m benchmarks.verification``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from src.eval.kfold import fold_accuracy, val_at_far
from src.eval.verification import l2_normalise, squared_distances, verify

PAIRS, DIMENSIONS, FOLDS, FAR = 6000, 512, 10, 1e-3
REPEATS = 5

Array = NDArray[Any]


def main() -> None:
    """Measure, check that the results agree, and print a table."""
    embeddings, same = lfw_like_embeddings()
    expected, actual = with_loops(embeddings, same), vectorised(embeddings, same)
    if expected != actual:
        raise SystemExit(f"results differ: loops {expected}, ours {actual}")
    steps: dict[str, Callable[[], object]] = {
        "loops: k-fold + val": lambda: with_loops(embeddings, same),
        "ours: k-fold + val": lambda: vectorised(embeddings, same),
        "ours: verify (+ ROC, EER, AUC, TAR)": lambda: verify(embeddings[0::2], embeddings[1::2], same, FOLDS),
    }
    seconds = {name: cpu_seconds(step) for name, step in track(steps.items(), description="measuring", transient=True)}
    reference = next(iter(seconds.values()))
    table = Table("step", "CPU seconds", "ratio", title=f"{PAIRS} pairs of {DIMENSIONS}, {FOLDS} folds")
    for name, value in seconds.items():
        table.add_row(name, f"{value:.4f}", f"{reference / value:.1f}x")
    Console().print(table)


def lfw_like_embeddings() -> tuple[Array, Array]:
    """float64 [2 PAIRS, DIMENSIONS] raw embeddings and bool [PAIRS], hard enough that errors occur."""
    rng = np.random.default_rng(0)
    same = np.tile(np.repeat([True, False], PAIRS // (2 * FOLDS)), FOLDS)
    faces = rng.standard_normal((PAIRS, 2, DIMENSIONS))
    faces[same, 1] = faces[same, 0]
    faces += rng.uniform(0.5, 4, (PAIRS, 1, 1)) * rng.standard_normal(faces.shape)
    return faces.reshape(2 * PAIRS, DIMENSIONS), same


def vectorised(embeddings: Array, same: Array) -> tuple[float, float, float, float]:
    """Accuracy, its deviation, validation rate and its false accept rate, as this project computes them."""
    unit = l2_normalise(embeddings)
    distances = squared_distances(unit[0::2], unit[1::2])
    accuracies = fold_accuracy(distances, same, FOLDS).accuracies
    val = val_at_far(distances, same, FAR, FOLDS)
    return float(accuracies.mean()), float(accuracies.std()), val.val, val.far


def with_loops(embeddings: Array, same: Array) -> tuple[float, float, float, float]:
    """The same numbers, threshold by threshold and fold by fold."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    distances = np.sum(np.square(unit[0::2] - unit[1::2]), axis=1)
    indices = np.arange(PAIRS)
    accuracies, vals, fars = [], [], []
    for test in np.array_split(indices, FOLDS):
        train = np.setdiff1d(indices, test)
        grid = np.arange(0, 4, 0.01)
        right = [rates(t, distances[train], same[train])[0] for t in grid]
        curve = [rates(t, distances[test], same[test]) for t in grid]
        accuracies.append(curve[int(np.argmax(right))][0])

        grid = np.arange(0, 4, 0.001)
        train_far = np.array([rates(t, distances[train], same[train])[2] for t in grid])
        threshold = 0.0
        if train_far.max() >= FAR:
            j = int(np.flatnonzero(train_far <= FAR)[-1])
            share = (FAR - train_far[j]) / (train_far[j + 1] - train_far[j])
            threshold = grid[j] + share * (grid[j + 1] - grid[j])
        _, val, far = rates(threshold, distances[test], same[test])
        vals.append(val)
        fars.append(far)
    return float(np.mean(accuracies)), float(np.std(accuracies)), float(np.mean(vals)), float(np.mean(fars))


def rates(threshold: float, distances: Array, same: Array) -> tuple[float, float, float]:
    """Accuracy, true and false accept rate at one threshold."""
    accepted = np.less(distances, threshold)
    true_accepts = np.sum(np.logical_and(accepted, same))
    false_accepts = np.sum(np.logical_and(accepted, np.logical_not(same)))
    true_rejects = np.sum(np.logical_and(np.logical_not(accepted), np.logical_not(same)))
    accuracy = (true_accepts + true_rejects) / len(distances)
    return accuracy, true_accepts / np.sum(same), false_accepts / np.sum(~same)


def cpu_seconds(step: Callable[[], object]) -> float:
    """Median CPU seconds of `REPEATS` runs."""
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        step()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
