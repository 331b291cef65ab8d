from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.eval.operating_points import RocCurve, roc_curve
from src.eval.score_curves import hardest, score_histogram, thin_curve


def noisy_curve(count: int) -> RocCurve:
    rng = np.random.default_rng(0)
    same = rng.random(count) < 0.2
    return roc_curve((same + rng.standard_normal(count)).astype(np.float32), same)


def test_short_curves_are_kept_whole() -> None:
    assert thin_curve(np.array([0.0, 0.5, 1.0]), np.array([0.0, 0.75, 1.0])) == ([0.0, 0.5, 1.0], [0.0, 0.75, 1.0])


def test_long_curves_are_thinned_evenly_over_the_logarithm() -> None:
    curve = noisy_curve(200_000)
    assert len(curve.fpr) > 10_000
    rates, values = (np.array(line) for line in thin_curve(curve.fpr, curve.tpr))
    assert 250 < len(rates) <= 400
    assert (rates[0], values[0], rates[-1], values[-1]) == (0, 0, 1, 1)
    assert (np.diff(rates) >= 0).all()
    corners = set(zip(curve.fpr.tolist(), curve.tpr.tolist(), strict=True))
    assert corners.issuperset(zip(rates.tolist(), values.tolist(), strict=True))
    for decade in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1):
        assert np.abs(rates - decade).min() == np.abs(curve.fpr - decade).min()
    upper = rates[rates > 1e-2]
    assert np.diff(np.log(upper)).max() < 3 * np.log(1 / 1e-2) / len(upper)


def test_histogram_counts_every_score_once() -> None:
    curve = noisy_curve(5000)
    histogram = score_histogram(curve, threshold=0.5)
    edges = np.array(histogram.edges)
    assert len(edges) == 61
    assert (edges[0], edges[-1]) == pytest.approx((min(curve.impostor), max(curve.genuine[-1], curve.impostor[-1])))
    assert histogram.genuine == np.histogram(curve.genuine, edges)[0].tolist()
    assert histogram.impostor == np.histogram(curve.impostor, edges)[0].tolist()
    assert sum(histogram.genuine) + sum(histogram.impostor) == 5000
    assert histogram.threshold == 0.5


def test_histogram_of_equal_scores() -> None:
    histogram = score_histogram(RocCurve(np.full(3, 0.25), np.full(2, 0.25)))
    assert (histogram.edges[0], histogram.edges[-1]) == (-0.25, 0.75)
    assert (sum(histogram.genuine), sum(histogram.impostor)) == (3, 2)
    assert histogram.genuine[30] == 3


@given(
    scores=st.lists(st.integers(0, 50), min_size=1, max_size=60),
    count=st.integers(1, 15),
    data=st.data(),
)
def test_hardest_comparisons(scores: list[int], count: int, data: st.DataObject) -> None:
    same = np.array(data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))))
    values = np.array(scores, np.float32)
    false_matches, false_non_matches = hardest(values, same, count)
    assert values[false_matches].tolist() == sorted(values[~same], reverse=True)[:count]
    assert values[false_non_matches].tolist() == sorted(values[same])[:count]
    assert not same[false_matches].any()
    assert same[false_non_matches].all()
    assert len(set(false_matches)) == len(false_matches)
