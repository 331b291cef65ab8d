from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.errors import UserError
from src.eval.unit_vectors import l2_normalise, squared_distances
from src.eval.verification import verify


def noisy_pairs(n_pairs: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    same = np.arange(n_pairs) % 2 == 0
    a = rng.standard_normal((n_pairs, 16))
    b = np.where(same[:, None], a, rng.standard_normal((n_pairs, 16)))
    return a + noise * rng.standard_normal(a.shape), b + noise * rng.standard_normal(b.shape), same


def test_perfect_embeddings() -> None:
    a, b, same = noisy_pairs(2000, 0.0)
    result = verify(a, b, same)
    assert result.accuracy > 0.99
    assert result.auc == 1.0
    assert result.eer == 0.0
    assert result.tar_at_far == {1e-3: 1.0, 1e-2: 1.0, 1e-1: 1.0}


def test_equals_the_textbook_formulas() -> None:
    a, b, same = noisy_pairs(600, 0.8)
    result = verify(a, b, same)
    distance = [np.sum((x / np.linalg.norm(x) - y / np.linalg.norm(y)) ** 2) for x, y in zip(a, b, strict=True)]
    accuracies = []
    thresholds = []
    for fold in range(10):
        test = np.arange(600) // 60 == fold
        right = [np.mean((np.array(distance)[~test] < t) == same[~test]) for t in np.arange(0, 4, 0.01)]
        thresholds.append(np.arange(0, 4, 0.01)[int(np.argmax(right))])
        accuracies.append(np.mean((np.array(distance)[test] < thresholds[-1]) == same[test]))
    assert result.accuracy == pytest.approx(np.mean(accuracies), abs=1e-15)
    assert result.accuracy_std == pytest.approx(np.std(accuracies), abs=1e-15)
    assert result.accuracy_stderr == pytest.approx(np.std(accuracies, ddof=1) / math.sqrt(10), abs=1e-15)
    assert result.threshold == pytest.approx(np.mean(thresholds))
    assert 0 < result.eer < 0.5
    assert 0 < result.val.val < 1


def test_tensors_and_arrays_agree() -> None:
    a, b, same = noisy_pairs(200, 0.5)
    from_arrays = verify(a.astype(np.float32), b.astype(np.float32), same)
    tensors = torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32)
    from_tensors = verify(*tensors, torch.tensor(same))
    assert from_arrays.folds.accuracies.tolist() == from_tensors.folds.accuracies.tolist()
    assert from_arrays.auc == from_tensors.auc
    assert verify(tensors[0].bfloat16(), tensors[1].bfloat16(), same).accuracy > 0.8


@settings(max_examples=10, deadline=None)
@given(scale=st.floats(1e-3, 1e3), power=st.integers(-8, 8))
def test_scale_of_embeddings_does_not_matter(scale: float, power: int) -> None:
    a, b, same = noisy_pairs(100, 0.6)
    # Powers of two scale exactly, so nothing may change at all.
    assert verify(2.0**power * a, b, same).folds.accuracies.tolist() == verify(a, b, same).folds.accuracies.tolist()
    assert verify(scale * a, b, same).auc == pytest.approx(verify(a, b, same).auc, abs=1e-3)


def test_zero_rows_stay_zero() -> None:
    rows = l2_normalise(np.array([[0.0, 0.0], [3.0, 4.0]]))
    assert rows.tolist() == [[0.0, 0.0], [0.6, 0.8]]
    assert squared_distances(rows[:1], rows[1:]).tolist() == pytest.approx([1.0])


def test_one_fold_has_no_standard_error() -> None:
    a, b, same = noisy_pairs(40, 0.5)
    result = verify(a, b, same, n_folds=1)
    assert result.accuracy_std == 0.0
    assert math.isnan(result.accuracy_stderr)


def test_refuses_values_that_are_not_finite() -> None:
    a, b, same = noisy_pairs(40, 0.5)
    b[7, 3], b[12, 0] = np.nan, np.inf
    with pytest.raises(UserError, match=r"b: 2 of 40 rows hold NaN or infinity \(first rows: 7, 12\)"):
        verify(a, b, same)


def test_refuses_shapes_that_disagree() -> None:
    a, b, same = noisy_pairs(40, 0.5)
    with pytest.raises(UserError, match=r"\[40, 16\], \[39, 16\] and \[40\]"):
        verify(a, b[1:], same)
    with pytest.raises(UserError, match=r"same \[P\]"):
        verify(a, b, same[1:])


def test_refuses_folds_of_one_kind() -> None:
    a, b, same = noisy_pairs(40, 0.5)
    with pytest.raises(UserError, match="fold 1 of 2"):
        verify(a, b, np.sort(same), n_folds=2)


def test_keeps_the_scores_behind_the_rates() -> None:
    a, b, same = noisy_pairs(200, 0.5)
    result = verify(a, b, same)
    cosines = np.sum(a * b, axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    np.testing.assert_allclose(result.scores, cosines)
    assert result.same.tolist() == same.tolist()
    np.testing.assert_allclose(result.roc.genuine, np.sort(cosines[same]))
    assert (result.roc.eer, result.roc.auc) == (result.eer, result.auc)


@pytest.mark.parametrize("noise", [0.9, 2.0])
def test_reference_values_of_the_gender_angular_method(noise: float) -> None:
    golden = json.loads((Path(__file__).parents[1] / "parity" / "gender_angular_golden.json").read_text())
    expected = golden["verification"][f"z{noise}"]
    i, j = np.arange(600)[:, None], np.arange(1, 17)
    same = (i[:, 0] // 30) % 2 == 0
    first = np.sin(0.37 * (i + 1) * j) + np.cos(1.13 * (i + 3) * j)
    difference = np.sin(0.71 * (i**2 + 7) * j)
    second = np.where(same[:, None], first + noise * difference, np.sin(0.91 * (i + 11) * j) + difference)
    result = verify(first, second, same)
    found = (result.accuracy, result.accuracy_std, result.folds.eer, result.val.val, result.val.val_std, result.val.far)
    names = ("acc", "acc_std", "eer", "tar", "tar_std", "far")
    assert found == pytest.approx([expected[name] for name in names], abs=1e-9)
    right = [fold.mean() for fold in np.array_split(result.folds.accepted == same, 10)]
    assert right == pytest.approx(result.folds.accuracies)
