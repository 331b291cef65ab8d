from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.errors import UserError
from src.eval.kfold import check_folds, fold_accuracy, val_at_far
from src.eval.unit_vectors import l2_normalise, squared_distances

GOLDEN = json.loads((Path(__file__).parents[1] / "parity" / "face_recognition_golden.json").read_text())["kfold"]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"P{case['P']}-k{case['k']}")
def test_golden_kfold(case: dict) -> None:
    distances = (np.array(case["sqrt_dist_x64"]) / 64) ** 2
    same = np.array(case["same"], dtype=bool)
    folds = fold_accuracy(distances, same, case["k"])
    assert folds.accuracies.tolist() == case["acc"]
    assert folds.accuracies.mean() == case["acc_mean"]
    assert folds.accuracies.std() == case["acc_std"]
    assert folds.tpr.sum() == pytest.approx(case["tpr_sum"], rel=1e-14)
    assert folds.fpr.sum() == pytest.approx(case["fpr_sum"], rel=1e-14)
    for expected in case["val"]:
        result = val_at_far(distances, same, expected["far_target"], case["k"])
        assert result.val == pytest.approx(expected["val"], rel=1e-14)
        assert result.val_std == pytest.approx(expected["val_std"], rel=1e-14)
        assert result.far == pytest.approx(expected["far"], rel=1e-14)


def brute_force(
    distances: np.ndarray, same: np.ndarray, k: int
) -> tuple[list[float], list[float], np.ndarray, np.ndarray]:
    """The definition, threshold by threshold and fold by fold."""
    thresholds = np.arange(0, 4, 0.01)
    folds = np.array_split(np.arange(len(distances)), k)
    accuracies, chosen, tpr, fpr = [], [], np.zeros((k, 400)), np.zeros((k, 400))
    for i, test in enumerate(folds):
        train = test if k == 1 else np.setdiff1d(np.arange(len(distances)), test)
        right = [np.count_nonzero((distances[train] < t) == same[train]) for t in thresholds]
        best = thresholds[right.index(max(right))]
        accuracies.append(np.count_nonzero((distances[test] < best) == same[test]) / len(test))
        chosen.append(best)
        for j, t in enumerate(thresholds):
            accepted = distances[test] < t
            tpr[i, j] = np.count_nonzero(accepted & same[test]) / np.count_nonzero(same[test])
            fpr[i, j] = np.count_nonzero(accepted & ~same[test]) / np.count_nonzero(~same[test])
    return accuracies, chosen, tpr.mean(axis=0), fpr.mean(axis=0)


@pytest.mark.parametrize("n_pairs", [6000, 6003, 7000])
@pytest.mark.parametrize("k", [1, 5, 10])
@pytest.mark.parametrize("tied", [False, True], ids=["random", "tied"])
def test_equals_brute_force_at_full_size(n_pairs: int, k: int, tied: bool) -> None:
    rng = np.random.default_rng(n_pairs + k)
    same = rng.random(n_pairs) < 0.5
    distances = np.clip(np.where(same, 1.0, 1.6) + 0.4 * rng.standard_normal(n_pairs), 0, 4)
    if tied:
        distances = np.round(distances, 2)  # on the thresholds themselves
    accuracies, thresholds, tpr, fpr = brute_force(distances, same, k)
    folds = fold_accuracy(distances, same, k)
    assert folds.accuracies.tolist() == accuracies
    assert folds.thresholds.tolist() == thresholds
    np.testing.assert_array_equal(folds.tpr, tpr)
    np.testing.assert_array_equal(folds.fpr, fpr)


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(st.integers(0, 400), min_size=6, max_size=40),
    offset=st.sampled_from([0.0, 0.003]),
    k=st.integers(1, 3),
    data=st.data(),
)
def test_equals_brute_force_on_any_distances(steps: list[int], offset: float, k: int, data: st.DataObject) -> None:
    # 0.01 * n and arange's n-th value differ in the last bit for some n: both sides of a threshold occur.
    distances = np.array(steps) * 0.01 + offset
    same = np.array(data.draw(st.lists(st.booleans(), min_size=len(steps), max_size=len(steps))))
    for fold in np.array_split(np.arange(len(steps)), k):
        same[fold[0]], same[fold[-1]] = True, False
    accuracies, thresholds, *_ = brute_force(distances, same, k)
    folds = fold_accuracy(distances, same, k)
    assert folds.accuracies.tolist() == accuracies
    assert folds.thresholds.tolist() == thresholds


def pairs(genuine: list[float], impostor: list[float]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(genuine + impostor), np.array([True] * len(genuine) + [False] * len(impostor))


def test_val_takes_the_last_threshold_of_an_exactly_met_rate() -> None:
    # Half of the impostors lie below 1, the others above 3: the rate is 0.5 between, up to threshold 3.0.
    distances, same = pairs([0.5, 2.9995, 3.5], [0.9, 3.0005])
    result = val_at_far(distances, same, far=0.5, n_folds=1)
    assert result.far == 0.5
    assert result.val == pytest.approx(2 / 3)


def test_val_interpolates_between_thresholds() -> None:
    # The rate jumps from 0 to 1 between 1.000 and 1.001, so 0.25 is met at 1.00025.
    distances, same = pairs([1.0002, 1.0003], [1.0005, 1.0005])
    result = val_at_far(distances, same, far=0.25, n_folds=1)
    assert (result.val, result.far) == (0.5, 0.0)


def test_val_is_zero_if_the_rate_is_never_reached() -> None:
    distances, same = pairs([0.0, 0.1], [4.0, 4.0])
    result = val_at_far(distances, same, far=1e-3, n_folds=1)
    assert (result.val, result.far) == (0.0, 0.0)


def test_val_when_the_first_bin_already_exceeds_the_rate() -> None:
    distances, same = pairs([0.0, 1e-7, 0.5], [0.0, 2.0])
    result = val_at_far(distances, same, far=1e-3, n_folds=1)
    # Threshold 0.001 * 1e-3 / 0.5 = 2e-6.
    assert (result.val, result.far) == (pytest.approx(2 / 3), 0.5)


def test_val_at_the_end_of_the_grid() -> None:
    distances, same = pairs([0.5, 3.9985], [1.0, 2.0])
    result = val_at_far(distances, same, far=1.0, n_folds=1)
    assert (result.val, result.far) == (1.0, 1.0)


@pytest.mark.parametrize("n_folds", [0, -1, 7])
def test_refuses_impossible_number_of_folds(n_folds: int) -> None:
    with pytest.raises(UserError, match=f"from 1 to the number of pairs, 6, but is {n_folds}"):
        check_folds(np.array([True, False] * 3), n_folds)


def test_names_the_fold_that_lacks_a_kind() -> None:
    same = np.array([True, False, True, True, False, False])
    with pytest.raises(UserError, match=r"fold 2 of 3 \(2 pairs\) holds no impostor pair"):
        check_folds(same, 3)
    with pytest.raises(UserError, match=r"fold 3 of 3 \(2 pairs\) holds no genuine pair"):
        check_folds(np.array([True, False, True, False, False, False]), 3)


def test_golden_of_hash_distances() -> None:
    """Section 7.1 of the DRH specification: shares of unequal symbols, thresholds from -1 to 4."""
    k = np.arange(600)
    same = k % 20 < 10
    share = np.modf(k * 0.6180339887498949)[0]
    distances = np.where(same, 0.35 + 0.4 * share, 0.6 + 0.3 * share)
    folds = fold_accuracy(distances, same, thresholds=np.arange(-1, 4, 0.001))
    assert len(folds.tpr) == 5000
    assert folds.accuracies.mean() == pytest.approx(0.81, abs=1e-12)
    assert folds.thresholds.mean() == pytest.approx(0.6008, abs=1e-12)
    assert folds.auc == pytest.approx(0.9077611111, abs=1e-10)
    assert folds.eer == pytest.approx(0.2133333333, abs=1e-10)


@pytest.mark.parametrize(
    ("noise", "accuracy", "deviation", "eer", "val", "val_deviation"),
    [
        (0.9, 0.9833333333, 0.0105409255, 0.0133333333, 0.8933333333, 0.0573488351),
        (2.0, 0.9016666667, 0.0328718048, 0.1, 0.0966666667, 0.0690410506),
    ],
)
def test_golden_of_gender_angular(
    noise: float, accuracy: float, deviation: float, eer: float, val: float, val_deviation: float
) -> None:
    """Section 5.2 of the gender-angular specification."""
    i, j = np.arange(600)[:, None], np.arange(1, 17)
    same = (np.arange(600) // 30) % 2 == 0
    added = np.sin(0.71 * (i**2 + 7) * j)
    first = np.sin(0.37 * (i + 1) * j) + np.cos(1.13 * (i + 3) * j)
    second = np.where(same[:, None], first + noise * added, np.sin(0.91 * (i + 11) * j) + added)
    distances = squared_distances(l2_normalise(first), l2_normalise(second))
    folds = fold_accuracy(distances, same)
    assert folds.accuracies.mean() == pytest.approx(accuracy, abs=1e-10)
    assert folds.accuracies.std() == pytest.approx(deviation, abs=1e-10)
    assert folds.eer == pytest.approx(eer, abs=1e-10)
    result = val_at_far(distances, same)
    assert result.val == pytest.approx(val, abs=1e-10)
    assert result.val_std == pytest.approx(val_deviation, abs=1e-10)
    assert result.far == pytest.approx(0.0033333333, abs=1e-10)


def test_separated_folds_have_no_error() -> None:
    folds = fold_accuracy(*pairs([0.1, 0.2], [2.0, 2.5]), n_folds=1)
    assert (folds.eer, folds.auc) == (0.0, 1.0)


def test_error_rate_where_no_threshold_accepts_all() -> None:
    # Distances of 3.99 and more are never accepted; the curve ends at (0, 0.5) and goes on level.
    folds = fold_accuracy(*pairs([0.5, 3.995], [3.995, 4.0]), n_folds=1)
    assert folds.fpr.max() == 0
    assert folds.eer == pytest.approx(0.5)
