from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.errors import UserError
from src.eval.unlinkability import RELIABLE, d_sys, null_bias

K = np.arange(1, 20001)
U, V = (K * 0.6180339887498949) % 1, (K * 0.7548776662466927) % 1
SETS = {
    "overlapping": (0.5 + 0.2 * U, 0.4 + 0.2 * V),
    "skewed": (0.4 + 0.2 * np.sqrt(U), 0.4 + 0.2 * V),
    "disjoint": (0.8 + 0.1 * U, 0.4 + 0.1 * V),
    "alike": (0.4 + 0.2 * U, 0.4 + 0.2 * V),
}


@pytest.mark.parametrize(
    ("name", "trapezoid", "total", "double"),
    [
        ("overlapping", 0.4909764585, 0.4984764585, 0.6564360454),
        ("skewed", 0.1521773147, 0.1554496854, 0.4106498401),
        ("disjoint", 0.975, 1.0, 0.975),
        ("alike", 0.00128, 0.00128, 0.3300086827),
    ],
)
def test_golden_values(name: str, trapezoid: float, total: float, double: float) -> None:
    scores = SETS[name]
    digits = 1e-5 if name == "alike" else 1e-10
    assert d_sys(*scores, bins=100, integral="trapz").d_sys == pytest.approx(trapezoid, abs=digits)
    assert d_sys(*scores, bins=100).d_sys == pytest.approx(total, abs=digits)
    assert d_sys(*scores, omega=2, bins=100, integral="trapz").d_sys == pytest.approx(double, abs=1e-10)


def test_the_exact_integral() -> None:
    assert d_sys(*SETS["skewed"]).d_sys == pytest.approx(0.155465, abs=5e-5)


def test_a_score_that_only_mated_templates_have_links_them() -> None:
    found = d_sys(*SETS["disjoint"])
    assert set(found.local[found.mated > 0]) == {1.0}
    assert set(found.local[found.mated == 0]) == {0.0}
    assert d_sys(*SETS["disjoint"][::-1]).d_sys == pytest.approx(1)


def test_local_linkability_follows_the_likelihood_ratio() -> None:
    found = d_sys(*SETS["skewed"], bins=20)
    ratio = found.mated / found.non_mated
    assert found.local == pytest.approx(np.maximum((ratio - 1) / (ratio + 1), 0))
    assert found.d_sys == pytest.approx(found.mated @ found.local / found.mated.sum())


def test_the_number_of_bins() -> None:
    assert len(d_sys(U[:250], V).local) == 25
    assert len(d_sys(U, V).local) == 100
    assert d_sys(U, V).is_reliable
    assert not d_sys(U[: RELIABLE - 1], V).is_reliable


def test_identical_and_constant_scores() -> None:
    assert d_sys(U, U).d_sys == 0
    assert d_sys(np.ones(200), np.ones(300)).d_sys == 0
    assert d_sys(np.ones(200), np.zeros(300)).d_sys == pytest.approx(1)


@pytest.mark.parametrize(
    ("count", "biases"), [(500, (0.052, 0.093, 0.160)), (1000, (0.035, 0.063, 0.091)), (10_000, (0.012, 0.015, 0.025))]
)
def test_bias_of_scores_that_are_alike(count: int, biases: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    for bins, bias in zip((20, 50, 100), biases, strict=True):
        drawn = [d_sys(*rng.standard_normal((2, count)), bins=bins).d_sys for _ in range(20)]
        assert np.mean(drawn) == pytest.approx(bias, rel=0.25)
        assert null_bias(*rng.standard_normal((2, count)), bins=bins) == pytest.approx(np.mean(drawn), rel=0.5)


def test_shuffled_labels_link_nobody() -> None:
    assert null_bias(*SETS["disjoint"]) < 0.03
    assert null_bias(*SETS["overlapping"], seed=1) != null_bias(*SETS["overlapping"])
    assert null_bias(*SETS["overlapping"]) == null_bias(*SETS["overlapping"])


SCORES = st.lists(st.floats(-1, 1), min_size=100, max_size=120)


@given(SCORES, SCORES, st.floats(0.1, 10), st.integers(2, 40), st.sampled_from(["sum", "trapz"]))
def test_lies_between_0_and_1(mated: list[float], others: list[float], omega: float, bins: int, how: str) -> None:
    found = d_sys(mated, others, omega, bins, how)
    assert 0 <= found.d_sys <= 1 + 1e-9
    assert (found.mated.sum(), found.non_mated.sum()) == (len(mated), len(others))
    assert ((found.local >= 0) & (found.local <= 1)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((U[:99], V), r"mated: expected 100 finite scores or more .* shape \[99\]"),
        ((U, V[:99]), "non_mated: expected 100 finite scores"),
        ((U, np.append(V, np.nan)), "with NaN or infinity"),
        ((U[None], V), r"shape \[1, 20000\]"),
        ((U, V, 0.0), "omega=0.0: expected a ratio"),
        ((U, V, 1.0, 1), "bins=1: expected two or more"),
        ((U, V, 1.0, 10, "simpson"), "integral: expected sum or trapz, found 'simpson'"),
    ],
)
def test_refuses(arguments: tuple, message: str) -> None:
    with pytest.raises(UserError, match=message):
        d_sys(*arguments)
