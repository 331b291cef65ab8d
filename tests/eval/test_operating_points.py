from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.eval.operating_points import far_operating_points, roc_curves

GOLDEN = json.loads((Path(__file__).parents[1] / "parity" / "face_recognition_golden.json").read_text())["tar"]


def formula_scores(case: dict) -> tuple[np.ndarray, np.ndarray]:
    i, j = np.arange(case["N"]), np.arange(case["P"])
    scores = np.concatenate([((j * 101) % 307) / 307 * 0.9 + 0.05, ((i * 7919) % 20011) / 20011 * 0.8 - 0.3])
    if case["quantise"]:
        scores = np.round(scores * case["quantise"]) / case["quantise"]
    return scores, np.arange(len(scores)) < case["P"]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"])
def test_golden_tar(case: dict) -> None:
    scores, same = formula_scores(case)
    assert roc_curves(scores, same).auc == pytest.approx(case["auc"], rel=1e-12)
    points = far_operating_points(scores, same, [row["far"] for row in case["rows"]])
    for point, row in zip(points, case["rows"], strict=True):
        assert point.far_target == row["far"]
        assert point.tar == row["tar_nearest"]
        assert point.far == pytest.approx(row["far_eff"], rel=1e-12)
        assert point.threshold == pytest.approx(row["thr"], rel=1e-12)
        assert point.tar_strict == row["tar_strict"]
        assert point.threshold_strict == pytest.approx(row["thr_strict"], rel=1e-12)
        assert point.far_strict <= point.far_target


def test_too_few_impostors_give_nan() -> None:
    scores, same = np.linspace(0, 1, 1000), np.arange(1000) >= 500
    rare, resolved = far_operating_points(scores, same, [1e-3, 2e-3])
    assert math.isnan(rare.tar)
    assert math.isnan(rare.tar_strict)
    assert math.isnan(rare.far)
    assert (resolved.tar, resolved.tar_strict, resolved.far_strict) == (1.0, 1.0, 1 / 500)


@pytest.mark.parametrize(("far", "impostors"), [(1e-3, 1000), (1e-5, 100_000), (0.29, 100)])
def test_rate_that_the_impostors_resolve_exactly(far: float, impostors: int) -> None:
    scores = np.concatenate([np.arange(impostors), [impostors + 1.0]])
    (point,) = far_operating_points(scores, np.arange(impostors + 1) == impostors, [far])
    assert point.far_strict == pytest.approx(far)


def test_accepting_everything_is_allowed_at_rate_one() -> None:
    (point,) = far_operating_points(np.array([0.0, 1.0, 2.0]), np.array([True, False, False]), [1.0])
    assert (point.tar, point.tar_strict, point.far_strict) == (1.0, 1.0, 1.0)


def test_equal_error_rate_lies_on_the_straight_piece() -> None:
    # ROC corners (0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1): the antidiagonal is met at (0.5, 0.5).
    scores = np.array([4.0, 3.0, 2.0, 1.0])
    assert roc_curves(scores, np.array([True, False, True, False])).eer == pytest.approx(0.5)
    # All scores tied: one straight line from (0, 0) to (1, 1).
    assert roc_curves(np.zeros(4), np.array([True, False, True, False])).eer == pytest.approx(0.5)
    assert roc_curves(scores, np.array([True, True, False, False])).eer == 0.0


@given(
    genuine=st.lists(st.integers(0, 12), min_size=1, max_size=30),
    impostor=st.lists(st.integers(0, 12), min_size=1, max_size=30),
    far=st.integers(10, 999).map(lambda permille: permille / 1000),
)
def test_strict_rule_is_the_best_that_keeps_the_rate(genuine: list[int], impostor: list[int], far: float) -> None:
    scores = np.array(genuine + impostor, dtype=float)
    same = np.arange(len(scores)) < len(genuine)
    (point,) = far_operating_points(scores, same, [far])
    if far * len(impostor) < 1 - 1e-6:
        assert math.isnan(point.tar_strict)
    elif far * len(impostor) > 1 + 1e-6:
        candidates = [-1.0, *scores]
        allowed = [t for t in candidates if np.mean(np.array(impostor) > t) <= far]
        assert point.tar_strict == max(np.mean(np.array(genuine) > t) for t in allowed)
        assert point.far_strict <= far


def test_area_counts_ordered_pairs() -> None:
    rng = np.random.default_rng(0)
    genuine, impostor = rng.integers(0, 20, 50) + 4, rng.integers(0, 20, 70)
    scores = np.concatenate([genuine, impostor]).astype(float)
    wins = (genuine[:, None] > impostor).mean() + 0.5 * (genuine[:, None] == impostor).mean()
    assert roc_curves(scores, np.arange(120) < 50).auc == pytest.approx(wins)
