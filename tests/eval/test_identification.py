from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from src.eval.gallery_search import search
from src.eval.identification import (
    closed_set,
    comparisons,
    open_set,
    pooled_tpir,
    thresholds_at_far,
    tpir_at_fpir,
    verification_rates,
)
from src.eval.operating_points import RocCurve

GOLDEN = json.loads((Path(__file__).parents[1] / "parity" / "face_recognition_golden.json").read_text())[
    "identification"
]
SIMILARITY = np.array(GOLDEN["probes"]) @ np.array(GOLDEN["gallery"]).T
PROBES, GALLERY = np.array(GOLDEN["probe_ids"]), np.array(GOLDEN["gallery_ids"])
MATED = np.isin(PROBES, GALLERY)


def formula_problem() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The golden of section 7.3 of the DRH specification: 20 probes, 12 gallery images of 4 people."""
    i, j = np.arange(12)[:, None], np.arange(20)
    scores = np.round(0.5 + 0.3 * np.sin(1.7 * i + 0.9 * j + 0.37 * i * j), 3)
    gallery, probes = np.arange(12) // 3, np.array([0, 1, 2, 3] * 3 + [9] * 8)
    return (scores + 0.06 * (gallery[:, None] == probes)).T, probes, gallery


def random_problem(decimals: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """1,000 searches of a gallery of 200, a third of them for others."""
    rng = np.random.default_rng(3)
    probes, gallery = rng.integers(0, 300, 1000), rng.permutation(300)[:200]
    similarity = rng.standard_normal((1000, 200)) + 2.5 * (probes[:, None] == gallery)
    return (similarity if decimals is None else similarity.round(decimals)), probes, gallery


def test_golden_closed_set() -> None:
    result = closed_set(SIMILARITY, PROBES, GALLERY)
    assert len(result.ranks) == GOLDEN["n_mated"]
    counts = [np.count_nonzero(result.ranks <= rank) for rank in (1, 5, 10)]
    assert counts == [GOLDEN["top1"], GOLDEN["top5"], GOLDEN["top10"]]
    np.testing.assert_allclose(result.cmc[[0, 4, 9]] * 24, counts)


def test_golden_tpir() -> None:
    result = open_set(SIMILARITY, PROBES, GALLERY, GOLDEN["fpir"])
    np.testing.assert_allclose(result.fpir_thresholds, GOLDEN["thr"], rtol=1e-12)
    np.testing.assert_allclose(result.tpir, GOLDEN["tpir"], rtol=1e-12)


def test_golden_of_older_scripts() -> None:
    printed = [list(map(float, re.findall(r"= ([\d.]+)", line))) for line in GOLDEN["ijb_1n_on_mated_only"]]
    similarity, probes = SIMILARITY[MATED], PROBES[MATED]
    cmc = closed_set(similarity, probes, GALLERY).cmc
    np.testing.assert_allclose(cmc[[0, 4, 9]], np.ravel(printed[:3]))
    thresholds, rates = pooled_tpir(similarity, probes, GALLERY, [row[0] for row in printed[3:]])
    np.testing.assert_allclose(rates, [row[1] for row in printed[3:]], atol=1e-10)
    np.testing.assert_allclose(thresholds, [row[2] for row in printed[3:]], atol=1e-10)


def test_golden_dir() -> None:
    result = open_set(*formula_problem(), rates=(0, 0.125, 0.25, 0.5, 1), ranks=(1, 2, 5))
    np.testing.assert_allclose(result.far_thresholds[:4], [0.802, 0.8, 0.799, 0.797], atol=1e-12)
    assert result.far_thresholds[4] == pytest.approx(0.307 - np.sqrt(np.finfo(float).eps), abs=1e-12)
    at_rank_1 = [0.41667, 0.5, 0.5, 0.58333, 0.66667]
    np.testing.assert_allclose(result.dir[:, 0], at_rank_1, atol=1e-5)
    np.testing.assert_allclose(result.dir[:, 1], at_rank_1, atol=1e-5)
    np.testing.assert_allclose(result.dir[:, 2], [*at_rank_1[:4], 0.91667], atol=1e-5)


@pytest.mark.parametrize(
    ("fusion", "rates"), [("median", [0.16667, 0.41667, 0.75, 1]), ("max", [0.66667, 0.75, 0.75, 1])]
)
def test_golden_cmc(fusion: str, rates: list[float]) -> None:
    np.testing.assert_allclose(closed_set(*formula_problem(), fusion).cmc, rates, atol=1e-5)


@pytest.mark.parametrize("decimals", [None, 1], ids=["distinct", "tied"])
def test_tpir_equals_the_definition(decimals: int | None) -> None:
    similarity, probes, gallery = random_problem(decimals)
    fpirs = np.geomspace(1e-4, 1, 100)
    thresholds, rates = tpir_at_fpir(search(similarity, probes, gallery).open_set, fpirs)
    non_mated = [row for row, probe in zip(similarity, probes, strict=True) if probe not in gallery]
    highest = sorted((row.max() for row in non_mated), reverse=True)
    for fpir, threshold, rate in zip(fpirs, thresholds, rates, strict=True):
        assert threshold == highest[max(int(len(highest) * fpir) - 1, 0)]
        hits = [
            row[gallery == probe][0] > max(threshold, row[gallery != probe].max())
            for row, probe in zip(similarity, probes, strict=True)
            if probe in gallery
        ]
        assert rate == pytest.approx(np.mean(hits), abs=1e-15)


def test_average_precision_equals_the_definition() -> None:
    rng = np.random.default_rng(0)
    gallery, probes = np.repeat(np.arange(8), [1, 2, 3, 4, 5, 3, 3, 4]), rng.integers(0, 10, 60)
    similarity = rng.integers(0, 12, (60, 25)).astype(float)
    result = closed_set(similarity, probes, gallery)
    for depth in (1, 2, 5, None):
        expected = []
        for row, probe in zip(similarity, probes, strict=True):
            if probe not in gallery:
                continue
            relevant = (gallery == probe)[np.argsort(-row, kind="stable")]
            precision = relevant.cumsum() / np.arange(1, 26)
            expected.append((precision * relevant)[:depth].sum() / relevant.sum())
        np.testing.assert_allclose(result.average_precision(depth), expected)


def test_non_mated_probes_do_not_count_in_the_closed_set() -> None:
    similarity, probes, gallery = random_problem()
    known = np.isin(probes, gallery)
    alone, together = closed_set(similarity[known], probes[known], gallery), closed_set(similarity, probes, gallery)
    assert together.cmc.tolist() == alone.cmc.tolist()
    assert together.average_precision().tolist() == alone.average_precision().tolist()
    # With one image each, the precision at a mate's place is one over it.
    np.testing.assert_allclose(together.average_precision(), 1 / together.ranks)


def test_thresholds_at_the_ends() -> None:
    curve = RocCurve(np.array([0.25, 0.5]), np.array([0.125, 0.75]))
    hair = np.sqrt(np.finfo(float).eps)
    assert thresholds_at_far(curve, [0, 0.5, 1]).tolist() == [0.75 + hair, 0.75, 0.125 - hair]
    above = RocCurve(np.array([0.0, 0.875, 1.0]), np.array([0.125, 0.75]))
    assert thresholds_at_far(above, [0.24, 0.25, 1]).tolist() == [0.8125, 0.75, -hair]


def test_verification_rates_accept_the_threshold_itself() -> None:
    similarity = np.array([[0.9, 0.5, 0.1], [0.5, 0.5, 0.3], [0.7, 0.2, 0.05]])
    curve = comparisons(similarity, [0, 1, 9], [0, 1, 2])
    assert curve.genuine.tolist() == [0.5, 0.9]
    assert curve.impostor.tolist() == [0.05, 0.1, 0.2, 0.3, 0.5, 0.5, 0.7]
    assert verification_rates(curve, [1 / 7, 2 / 7, 0]).tolist() == [0.5, 1.0, 0.5]


def test_float32_impostors_at_rate_zero_are_kept_out() -> None:
    curve = RocCurve(np.array([0.5, 0.75], np.float32), np.array([0.25, 0.75], np.float32))
    assert verification_rates(curve, [0.0]).tolist() == [0.0]


@pytest.mark.parametrize("duplicates", [False, True])
def test_older_scripts_equal_their_definition(duplicates: bool) -> None:
    similarity, probes, gallery = random_problem(2)
    if duplicates:
        gallery = gallery // 2
    known = np.isin(probes, gallery)
    similarity, probes = similarity[known], probes[known]
    same = probes[:, None] == gallery
    others = np.sort(similarity[~same])[::-1]
    best = np.where(same, similarity, -np.inf).max(axis=1)
    thresholds, rates = pooled_tpir(similarity, probes, gallery, [0.01, 0.1])
    for rate, threshold, share in zip((0.01, 0.1), thresholds, rates, strict=True):
        assert threshold == others[int(np.ceil(len(probes) * rate)) - 1]
        assert share == np.mean(best > threshold)
