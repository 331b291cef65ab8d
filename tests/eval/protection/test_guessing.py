from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from support_protection import coded_faces

from src.eval.protection.faces import draw_non_mated, mated_pairs
from src.eval.protection.guessing import GUESSING_METRICS, degrees_of_freedom, guess_bits, guessing, symbol_entropy
from src.eval.protection.operating import OperatingScores, operating_scores


@pytest.mark.parametrize(
    ("m", "bits"),
    [(64, (7.7, 13.9, 19.5)), (128, (13.5, 23.8, 34.6)), (256, (24.6, 43.3, 66.3)), (512, (46.4, 83.4, 129.3))],
)
def test_random_codes(m: int, bits: tuple[float, ...]) -> None:
    """Section 8.3 of the specification: 25, 30 and 35 % of the symbols must match."""
    assert [guess_bits(m, 1 / 8, share) for share in (0.25, 0.30, 0.35)] == pytest.approx(bits, abs=0.05)


@given(st.integers(1, 60), st.floats(0.05, 0.95), st.floats(0, 1))
def test_is_the_tail_of_a_binomial(m: int, p: float, threshold: float) -> None:
    expected = binom.sf(math.ceil(threshold * m - 1e-9) - 1, m, p)
    assert 2.0 ** -guess_bits(m, p, threshold) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_the_whole_code() -> None:
    assert guess_bits(512, 1 / 8, 1.0) == pytest.approx(1536)
    assert guess_bits(512, 1 / 8, 1.01) == math.inf
    assert guess_bits(512, 1 / 8, 0.0) == pytest.approx(0, abs=1e-9)


def test_entropy_is_corrected_for_few_samples() -> None:
    uniform = np.random.default_rng(0).integers(8, size=(100, 400), dtype=np.uint8)
    assert symbol_entropy(uniform, 8) == pytest.approx(3, abs=0.01)
    skewed = (np.random.default_rng(0).random((5000, 20)) < 0.1).astype(np.uint8)
    assert symbol_entropy(skewed, 8) == pytest.approx(-0.1 * math.log2(0.1) - 0.9 * math.log2(0.9), abs=0.01)
    assert symbol_entropy(np.zeros((10, 4), np.uint8), 8) == 0
    assert symbol_entropy(uniform[:2], 256) < 8


def test_degrees_of_freedom_of_independent_symbols() -> None:
    scores = np.random.default_rng(0).binomial(512, 1 / 8, 20_000) / 512
    assert degrees_of_freedom(scores) == pytest.approx(512, rel=0.05)
    assert math.isnan(degrees_of_freedom(np.full(100, 0.125)))


def plain(impostors: int = 20_000, **faces: float) -> tuple[OperatingScores, dict[str, float]]:
    coded = coded_faces(**faces)
    pairs = mated_pairs(coded.labels), draw_non_mated(coded.labels, impostors, np.random.default_rng(0))
    scores = operating_scores(coded.codes, *pairs)
    return scores, guessing(coded, scores)


def test_efforts() -> None:
    scores, found = plain(people=100, m=512, d=512, cosine=0.4)
    assert tuple(found) == GUESSING_METRICS
    assert found["threshold_far"] == scores.far
    assert found["symbol_entropy"] == pytest.approx(3, abs=0.02)
    assert found["guess_bits"] == pytest.approx(guess_bits(512, 1 / 8, scores.far))
    assert found["guess_bits_entropy"] <= found["guess_bits"]
    # Symbols of faces hang together: what counts is how their scores spread, which the false accepts show.
    assert found["freedom"] < 400
    assert found["guess_bits_freedom"] == pytest.approx(found["false_accept_bits"], abs=1)
    assert found["false_accept_bits"] == pytest.approx(-math.log2(scores.false_accepts))
    assert 9.9 < found["false_accept_bits"] < 12


def test_what_is_not_known() -> None:
    found = plain(impostors=999)[1]
    unknown = {name for name, value in found.items() if math.isnan(value)}
    assert {"threshold_far", "guess_bits", "guess_bits_entropy", "guess_bits_freedom", "false_accept_bits"} <= unknown
    assert "symbol_entropy" not in unknown
