from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from src.errors import UserError
from src.eval.operating_points import (
    RocCurve,
    area_under_curve,
    equal_error_rate,
    exponent,
    far_operating_points,
    nearest_corner,
    roc_curve,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "parity" / "face_recognition_golden.json").read_text())["tar"]


def formula_scores(case: dict) -> tuple[np.ndarray, np.ndarray]:
    i, j = np.arange(case["N"]), np.arange(case["P"])
    scores = np.concatenate([((j * 101) % 307) / 307 * 0.9 + 0.05, ((i * 7919) % 20011) / 20011 * 0.8 - 0.3])
    if case["quantise"]:
        scores = np.round(scores * case["quantise"]) / case["quantise"]
    return scores, np.arange(len(scores)) < case["P"]


def both(genuine: list[float], impostor: list[float]) -> RocCurve:
    return roc_curve(np.array(genuine + impostor, float), np.arange(len(genuine) + len(impostor)) < len(genuine))


def assert_equals_scikit_learn(scores: np.ndarray, same: np.ndarray) -> None:
    curve = roc_curve(scores, same)
    fpr, tpr, thresholds = sklearn.metrics.roc_curve(same, scores)
    np.testing.assert_array_equal(curve.fpr, fpr)
    np.testing.assert_array_equal(curve.tpr, tpr)
    np.testing.assert_array_equal(curve.corners[0], thresholds)
    assert curve.corners[0].dtype == scores.dtype
    for point in far_operating_points(curve, [1e-4, 1e-3, 1e-2, 1e-1]):
        if not math.isnan(point.tar):
            nearest = np.abs(fpr[::-1] - point.far_target).argmin()
            assert (point.far, point.tar) == (fpr[::-1][nearest], tpr[::-1][nearest])


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"])
def test_golden_tar(case: dict) -> None:
    curve = roc_curve(*formula_scores(case))
    assert curve.auc == pytest.approx(case["auc"], rel=1e-12)
    points = far_operating_points(curve, [row["far"] for row in case["rows"]])
    for point, row in zip(points, case["rows"], strict=True):
        assert point.far_target == row["far"]
        assert point.tar == row["tar_nearest"]
        assert point.far == pytest.approx(row["far_eff"], rel=1e-12)
        assert point.threshold == pytest.approx(row["thr"], rel=1e-12)
        assert point.tar_strict == row["tar_strict"]
        assert point.threshold_strict == pytest.approx(row["thr_strict"], rel=1e-12)
        assert point.far_strict <= point.far_target


@settings(max_examples=300, deadline=None)
@given(
    genuine=st.lists(st.integers(0, 12), min_size=1, max_size=30),
    impostor=st.lists(st.integers(0, 12), min_size=1, max_size=30),
)
def test_tied_scores_equal_scikit_learn(genuine: list[int], impostor: list[int]) -> None:
    assert_equals_scikit_learn(np.array(genuine + impostor, float), np.arange(len(genuine + impostor)) < len(genuine))


@settings(max_examples=300, deadline=None)
@given(scores=st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=60, unique=True), data=st.data())
def test_distinct_scores_equal_scikit_learn(scores: list[float], data: st.DataObject) -> None:
    same = np.array(data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))))
    same[0], same[1] = True, False
    assert_equals_scikit_learn(np.array(scores, np.float32), same)


@pytest.mark.parametrize("decimals", [None, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_scores_equal_scikit_learn(decimals: int | None, dtype: type) -> None:
    rng = np.random.default_rng(0)
    same = rng.random(200_000) < 0.01
    scores = (np.where(same, 0.4, 0.0) + 0.15 * rng.standard_normal(len(same))).astype(dtype)
    assert_equals_scikit_learn(scores if decimals is None else scores.round(decimals), same)


def test_input_is_left_alone() -> None:
    scores, same = np.array([0.3, 0.1, 0.2], np.float32), np.array([True, False, True])
    roc_curve(scores, same)
    assert scores.tolist() == np.array([0.3, 0.1, 0.2], np.float32).tolist()


@pytest.mark.parametrize(("same", "kind"), [([True, True], "impostor"), ([False, False], "genuine")])
def test_needs_both_kinds(same: list[bool], kind: str) -> None:
    with pytest.raises(UserError, match=f"none of the 2 comparisons is {kind}"):
        roc_curve(np.array([0.1, 0.2]), np.array(same))


def test_too_few_impostors_give_nan() -> None:
    curve = roc_curve(np.linspace(0, 1, 1000), np.arange(1000) >= 500)
    rare, resolved = far_operating_points(curve, [1e-3, 2e-3])
    assert math.isnan(rare.tar)
    assert math.isnan(rare.tar_strict)
    assert math.isnan(rare.far)
    assert (resolved.tar, resolved.tar_strict, resolved.far_strict) == (1.0, 1.0, 1 / 500)


@pytest.mark.parametrize(("far", "impostors"), [(1e-3, 1000), (1e-5, 100_000), (0.29, 100)])
def test_rate_that_the_impostors_resolve_exactly(far: float, impostors: int) -> None:
    curve = RocCurve(np.array([impostors + 1.0]), np.arange(impostors, dtype=float))
    (point,) = far_operating_points(curve, [far])
    assert point.far_strict == pytest.approx(far)


def test_accepting_everything_is_allowed_at_rate_one() -> None:
    (point,) = far_operating_points(both([0], [1, 2]), [1.0])
    assert (point.tar, point.tar_strict, point.far_strict) == (1.0, 1.0, 1.0)


def test_rates_by_their_names() -> None:
    (point,) = far_operating_points(both([3, 4], [float(i) / 10 for i in range(10)]), [0.1])
    assert point.metrics == {"tar@1e-1": 1.0, "far@1e-1": point.far, "tar_strict@1e-1": 1.0}
    assert [exponent(rate) for rate in (1e-6, 1e-3, 1e-12)] == ["1e-6", "1e-3", "1e-12"]


def test_nearest_corner_prefers_the_larger_of_two_and_the_last_of_equal_ones() -> None:
    rates = np.array([0.0, 0.0, 0.25, 0.25, 0.75, 1.0])
    assert [nearest_corner(rates, target) for target in (0.0, 0.1, 0.125, 0.25, 0.5, 0.6, 1.0)] == [1, 1, 3, 3, 4, 4, 5]


def test_equal_error_rate_lies_on_the_straight_piece() -> None:
    # ROC corners (0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1): the antidiagonal is met at (0.5, 0.5).
    assert both([4, 2], [3, 1]).eer == pytest.approx(0.5)
    # All scores tied: one straight line from (0, 0) to (1, 1).
    assert both([0, 0], [0, 0]).eer == pytest.approx(0.5)
    assert both([4, 3], [2, 1]).eer == 0.0


def test_equal_error_rate_of_a_curve_that_ends_early() -> None:
    # Level beyond its ends: 1 - x = 0.75 at x = 0.25.
    assert equal_error_rate(np.array([0.0, 0.125]), np.array([0.0, 0.75])) == pytest.approx(0.25)
    assert equal_error_rate(np.array([0.5, 1.0]), np.array([0.875, 1.0])) == pytest.approx(0.125)


@given(
    steps=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=20).filter(
        lambda steps: all(sum(kind) for kind in zip(*steps, strict=True))
    )
)
def test_equal_error_rate_is_the_root(steps: list[tuple[int, int]]) -> None:
    counts = np.concatenate([[[0, 0]], np.cumsum(steps, axis=0)])
    fpr, tpr = (counts / counts[-1]).T
    eer = equal_error_rate(fpr, tpr)
    # 1 - x falls and TPR(x) rises; where TPR jumps, the last of its values at x counts.
    assert 1 - (eer - 1e-9) - np.interp(eer - 1e-9, fpr, tpr) > -1e-7
    assert 1 - (eer + 1e-9) - np.interp(eer + 1e-9, fpr, tpr) < 1e-7
    assert area_under_curve(fpr, tpr) == pytest.approx(sklearn.metrics.auc(fpr, tpr))


@given(
    genuine=st.lists(st.integers(0, 12), min_size=1, max_size=30),
    impostor=st.lists(st.integers(0, 12), min_size=1, max_size=30),
    far=st.integers(10, 999).map(lambda permille: permille / 1000),
)
def test_strict_rule_is_the_best_that_keeps_the_rate(genuine: list[int], impostor: list[int], far: float) -> None:
    (point,) = far_operating_points(both(genuine, impostor), [far])
    if far * len(impostor) < 1 - 1e-6:
        assert math.isnan(point.tar_strict)
    elif far * len(impostor) > 1 + 1e-6:
        candidates = [-1.0, *genuine, *impostor]
        allowed = [t for t in candidates if np.mean(np.array(impostor) > t) <= far]
        assert point.tar_strict == max(np.mean(np.array(genuine) > t) for t in allowed)
        assert point.far_strict <= far


def test_area_counts_ordered_pairs() -> None:
    rng = np.random.default_rng(0)
    genuine, impostor = rng.integers(0, 20, 50) + 4, rng.integers(0, 20, 70)
    wins = (genuine[:, None] > impostor).mean() + 0.5 * (genuine[:, None] == impostor).mean()
    assert both(genuine.tolist(), impostor.tolist()).auc == pytest.approx(wins)
