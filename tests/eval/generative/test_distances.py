from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg
from support_arcbifacegan import GOLDEN
from torch import Tensor

from src.errors import UserError
from src.eval.generative.distances import frechet_distance, kernel_distance


def reference_features() -> tuple[Tensor, Tensor]:
    real = np.random.RandomState(30).randn(200, 16)
    generated = np.random.RandomState(31).randn(150, 16) * 1.1 + 0.1
    return torch.from_numpy(real), torch.from_numpy(generated)


def features(count: int, size: int, seed: int = 0) -> Tensor:
    return torch.randn(count, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_reference_values() -> None:
    real, generated = reference_features()
    assert frechet_distance(real, generated) == pytest.approx(GOLDEN["metric.fid"], rel=1e-10)
    found = kernel_distance(real, generated, subsets=10, subset_size=50, seed=0)
    assert found == pytest.approx(GOLDEN["metric.kid"], rel=1e-10)


@pytest.mark.parametrize(("counts", "size"), [((300, 200), 20), ((30, 25), 60), ((40, 300), 60)])
def test_frechet_equals_the_textbook_formula(counts: tuple[int, int], size: int) -> None:
    real, generated = (
        features(counts[0], size),
        0.3 + features(counts[1], size, 1) @ features(size, size, 2) / size**0.5,
    )
    first, second = (np.cov(rows.numpy(), rowvar=False, bias=True) for rows in (real, generated))
    mean = (real.mean(0) - generated.mean(0)).square().sum()
    root = linalg.sqrtm(first @ second).real
    expected = float(mean) + np.trace(first + second - 2 * root)
    assert frechet_distance(real, generated) == pytest.approx(expected, rel=1e-5)


def test_kernel_equals_the_textbook_formula() -> None:
    real, generated = features(40, 8), 1.2 * features(30, 8, 1)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / 8 + 1) ** 3

    m, n = len(real), 30
    chosen = real[torch.from_numpy(subset(40, 30))]
    own = sum(float(kernel(x, x).sum() - kernel(x, x).diag().sum()) / (n * (n - 1)) for x in (chosen, generated))
    expected = own - 2 * float(kernel(chosen, generated).mean())
    assert kernel_distance(real, generated, subsets=1, subset_size=m) == pytest.approx(expected, rel=1e-9)


def subset(count: int, size: int) -> np.ndarray:
    random = np.random.RandomState(0)
    random.choice(size, size, replace=False)
    return random.choice(count, size, replace=False)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), shift=st.floats(-3, 3))
def test_frechet_invariants(seed: int, shift: float) -> None:
    real, generated = features(50, 6, seed), 1.5 * features(40, 6, seed + 1)
    rotation = torch.linalg.qr(features(6, 6, seed + 2)).Q
    distance = frechet_distance(real, generated)
    assert distance >= 0
    assert frechet_distance(generated, real) == pytest.approx(distance, abs=1e-9)
    assert frechet_distance(real @ rotation + shift, generated @ rotation + shift) == pytest.approx(distance, abs=1e-7)
    assert frechet_distance(real, real + shift) == pytest.approx(6 * shift**2, abs=1e-9)


def test_same_features_are_no_distance_apart() -> None:
    real = features(300, 16).float()
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-9)
    assert abs(kernel_distance(real, features(300, 16, 1), subsets=5, subset_size=300)) < 0.02


def test_seed_fixes_the_subsets() -> None:
    real, generated = reference_features()
    values = [kernel_distance(real, generated, subsets=3, subset_size=20, seed=seed) for seed in (1, 1, 2)]
    assert values[0] == values[1] != values[2]


def test_refuses_what_cannot_be_compared() -> None:
    with pytest.raises(UserError, match=r"fid: expected 2 or more images of each kind, found 20 real, 1 generated"):
        frechet_distance(features(20, 4), features(1, 4))
    with pytest.raises(UserError, match=r"kid: expected features \[N, D\] of the same D"):
        kernel_distance(features(20, 4), features(20, 5))
    broken = features(20, 4)
    broken[3, 1] = float("nan")
    with pytest.raises(UserError, match=r"fid: generated features: 1 of 20 rows hold NaN"):
        frechet_distance(features(20, 4), broken)
