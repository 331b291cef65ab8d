from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest

from src.eval.bootstrap import (
    interval,
    resample_accuracy,
    resample_eer_and_auc,
    resample_mean,
    resample_tar,
    verification_intervals,
)
from src.eval.operating_points import RocCurve, far_operating_points

DISTANCE = 2.0  # of the means of genuine and impostor scores, which are normal with deviation 1


def normal_curve(n_genuine: int, n_impostor: int, seed: int = 0, decimals: int | None = None) -> RocCurve:
    rng = np.random.default_rng(seed)
    scores = DISTANCE + rng.standard_normal(n_genuine), rng.standard_normal(n_impostor)
    return RocCurve(*(np.sort(values if decimals is None else values.round(decimals)) for values in scores))


def with_loop(curve: RocCurve, metric: Callable[[RocCurve], float], resamples: int = 1500) -> np.ndarray:
    """The definition: draw the scores anew and compute the metric."""
    rng = np.random.default_rng(1)
    drawn = (
        [np.sort(rng.choice(scores, len(scores))) for scores in (curve.genuine, curve.impostor)]
        for _ in range(resamples)
    )
    return np.array([metric(RocCurve(*scores)) for scores in drawn])


def assert_same_distribution(actual: np.ndarray, expected: np.ndarray) -> None:
    deviation = expected.std()
    assert actual.mean() == pytest.approx(expected.mean(), abs=0.15 * deviation)
    assert actual.std() == pytest.approx(deviation, rel=0.12)
    assert interval(actual) == pytest.approx(interval(expected), abs=0.4 * deviation)


@pytest.mark.parametrize("decimals", [None, 1], ids=["distinct", "tied"])
@pytest.mark.parametrize("far", [0.005, 0.1])
def test_tar_agrees_with_the_loop(far: float, decimals: int | None) -> None:
    curve = normal_curve(150, 400, decimals=decimals)
    expected = with_loop(curve, lambda resample: far_operating_points(resample, [far])[0].tar_strict)
    actual = resample_tar(curve, int(far * 400), 4000, np.random.default_rng(0))
    assert_same_distribution(actual, expected)


@pytest.mark.parametrize("decimals", [None, 1], ids=["distinct", "tied"])
def test_eer_and_auc_agree_with_the_loop(decimals: int | None) -> None:
    curve = normal_curve(150, 250, decimals=decimals)
    eer, auc = resample_eer_and_auc(curve, 4000, np.random.default_rng(0))
    assert_same_distribution(eer, with_loop(curve, lambda resample: resample.eer))
    assert_same_distribution(auc, with_loop(curve, lambda resample: resample.auc))


def test_passing_over_corners_changes_little() -> None:
    curve = normal_curve(2000, 5000)
    assert len(curve.fpr) > 1300
    eer, auc = resample_eer_and_auc(curve, 3000, np.random.default_rng(0))
    assert_same_distribution(eer, with_loop(curve, lambda resample: resample.eer, 400))
    assert_same_distribution(auc, with_loop(curve, lambda resample: resample.auc, 400))


def test_intervals_cover_the_truth() -> None:
    normal = NormalDist()
    truth = {
        "eer": normal.cdf(-DISTANCE / 2),
        "auc": normal.cdf(DISTANCE / 2**0.5),
        "tar_strict@1e-1": normal.cdf(DISTANCE - normal.inv_cdf(0.9)),
        "tar_strict@1e-2": normal.cdf(DISTANCE - normal.inv_cdf(0.99)),
        "tar@1e-2": normal.cdf(DISTANCE - normal.inv_cdf(0.99)),
    }
    covered = dict.fromkeys(truth, 0)
    sets = 200
    for seed in range(sets):
        curve = normal_curve(300, 1500, seed)
        points = far_operating_points(curve, [1e-2, 1e-1])
        intervals = verification_intervals(curve, points, 300, np.random.default_rng(seed))
        for name, value in truth.items():
            low, high = intervals[name]
            covered[name] += low <= value <= high
    for name, count in covered.items():
        assert 0.89 <= count / sets <= 0.99, name


def test_perfect_scores_leave_no_doubt() -> None:
    curve = RocCurve(np.array([2.0, 3.0, 4.0]), np.array([0.0, 1.0]))
    points = far_operating_points(curve, [0.5, 1e-3])
    assert verification_intervals(curve, points, 100, np.random.default_rng(0)) == {
        "eer": (0.0, 0.0),
        "auc": (1.0, 1.0),
        "tar@5e-1": (1.0, 1.0),
        "tar_strict@5e-1": (1.0, 1.0),
    }


def test_all_impostors_may_be_accepted() -> None:
    assert (resample_tar(normal_curve(10, 20), 20, 50, np.random.default_rng(0)) == 1).all()


def test_same_seed_same_intervals() -> None:
    curve = normal_curve(200, 300)
    points = far_operating_points(curve, [1e-1])
    first, second, other = (
        verification_intervals(curve, points, 200, np.random.default_rng(seed)) for seed in (5, 5, 6)
    )
    assert first == second != other


def test_millions_of_comparisons() -> None:
    rng = np.random.default_rng(0)
    genuine = np.sort(rng.standard_normal(20_000, np.float32) + 3)
    curve = RocCurve(genuine, np.sort(rng.standard_normal(2_000_000, np.float32)))
    points = far_operating_points(curve, [1e-6, 1e-4])
    intervals = verification_intervals(curve, points, 1000, np.random.default_rng(0))
    for name, value in {"eer": curve.eer, "auc": curve.auc, **points[0].metrics, **points[1].metrics}.items():
        if not name.startswith("far"):
            low, high = intervals[name]
            assert low < value < high
    # Two impostors decide at 1e-6, two hundred at 1e-4.
    widths = [np.ptp(intervals[f"tar_strict@{far}"]) for far in ("1e-6", "1e-4")]
    assert widths[0] > 2 * widths[1] > 0.02


def test_accuracy_of_folds() -> None:
    accuracies, sizes = np.array([0.9, 1.0, 0.8]), [50, 60, 70]
    samples = resample_accuracy(accuracies, sizes, 5000, np.random.default_rng(0))
    assert samples.mean() == pytest.approx(0.9, abs=1e-3)
    deviation = np.sqrt(0.9 * 0.1 / 50 + 0.8 * 0.2 / 70) / 3
    assert samples.std() == pytest.approx(deviation, rel=0.05)


def test_means() -> None:
    rng = np.random.default_rng(0)
    values = rng.choice([0.0, 1 / 3, 1.0], 300)
    samples = resample_mean(values, 5000, rng)
    assert samples.mean() == pytest.approx(values.mean(), abs=2e-3)
    assert samples.std() == pytest.approx(values.std() / np.sqrt(300), rel=0.05)
    found = resample_mean(np.array([True, True, False, True]), 4000, rng)
    assert set(np.unique(found)) <= {0, 0.25, 0.5, 0.75, 1}
    assert found.mean() == pytest.approx(0.75, abs=0.02)


def test_interval_is_central() -> None:
    assert interval(np.arange(1001.0)) == (25.0, 975.0)
