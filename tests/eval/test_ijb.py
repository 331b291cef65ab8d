from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.datamodules.template_sets import TemplateSearch
from src.errors import UserError
from src.eval import ijb
from src.eval.ijb import score_pairs, search_templates, verify_templates
from src.eval.template_pooling import pool_templates

PARITY = json.loads((Path(__file__).parents[1] / "parity/face_recognition_golden.json").read_text())
POOL, SEARCH = PARITY["ijb_pool"], PARITY["identification"]


def unit_vectors(seed: int, count: int, dimensions: int = 32) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(
    "case", POOL["cases"], ids=lambda case: f"N{case['keep_norm']:d}D{case['det']:d}F{case['flip']:d}"
)
def test_golden_pairs(case: dict) -> None:
    features = np.array(POOL["x"]) + (np.array(POOL["x_flip"]) if case["flip"] else 0)
    ids, templates = pool_templates(
        features, POOL["tid"], POOL["mid"], POOL["score"] if case["det"] else None, keep_norm=case["keep_norm"]
    )
    scores = score_pairs(templates, *(np.searchsorted(ids, POOL[pair]) for pair in ("p1", "p2")))
    np.testing.assert_allclose(scores, case["scores"], rtol=0, atol=3e-7)


@settings(max_examples=60)
@given(data=st.data(), seed=st.integers(0, 99))
def test_scores_are_dot_products(data: st.DataObject, seed: int) -> None:
    """Dense lists of pairs, sparse ones, and dense ones that are too large for one product."""
    rng = np.random.default_rng(seed)
    templates = unit_vectors(seed, 60)
    count = data.draw(st.integers(0, 300))
    n_first, n_second = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 60))
    first, second = rng.integers(0, n_first, count), rng.integers(60 - n_second, 60, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ijb, "_DENSE", data.draw(st.sampled_from([0, 0.05, 2])))
        patch.setattr(ijb, "_GRID", data.draw(st.sampled_from([60, 400, 1 << 27])))
        patch.setattr(ijb, "_PAIRS", 37)
        patch.setattr(ijb, "_GATHERED", 41)
        scores = score_pairs(templates, first.astype(np.int32), second.astype(np.int32))
    exact = templates.astype(np.float64)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, (exact[first] * exact[second]).sum(axis=1), rtol=0, atol=3e-7)


def test_verification() -> None:
    templates = np.array([[1, 0], [0, 1], [0.6, 0.8], [0.8, 0.6]], dtype=np.float32)
    first, second = np.array([0, 0, 1, 1, 2]), np.array([2, 3, 2, 3, 3])
    same = np.array([False, True, True, False, False])
    result = verify_templates(templates, first, second, same, fars=[1 / 3, 2 / 3, 0.1])
    np.testing.assert_allclose(result.scores, [0.6, 0.8, 0.8, 0.6, 0.96], atol=1e-7)
    assert [point.tar for point in result.operating_points[:2]] == [1, 1]
    assert [point.tar_strict for point in result.operating_points[:2]] == [1, 1]
    assert result.operating_points[0].threshold == pytest.approx(0.8)
    assert np.isnan(result.operating_points[2].tar)
    assert result.roc.auc == pytest.approx(2 / 3)
    assert result.roc.eer == pytest.approx(1 / 3)


def test_what_verification_refuses() -> None:
    templates, pair = unit_vectors(0, 3), np.array([0, 2])
    with pytest.raises(UserError, match=r"got 2, 2, 1"):
        verify_templates(templates, pair, pair, np.array([True]))
    for wrong in (np.array([0, 3]), np.array([-1, 2])):
        with pytest.raises(UserError, match=r"numbers of templates go from .* there are 3"):
            verify_templates(templates, pair, wrong, np.array([True, False]))
    with pytest.raises(UserError, match="none of the 2 comparisons is impostor"):
        verify_templates(templates, pair, pair, np.array([True, True]))


def golden_search() -> tuple[np.ndarray, TemplateSearch]:
    vectors = np.array(SEARCH["gallery"] + SEARCH["probes"])
    templates = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    numbers, n_gallery = np.arange(len(vectors)), len(SEARCH["gallery"])
    ids = np.array(SEARCH["gallery_ids"]), np.array(SEARCH["probe_ids"])
    return templates, TemplateSearch(numbers[:n_gallery], ids[0], numbers[n_gallery:], ids[1])


@pytest.mark.parametrize("searched", [1 << 24, 100, 1])
def test_golden_search(searched: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ijb, "_SEARCHED", searched)
    templates, task = golden_search()
    result = search_templates(templates, [task])
    cmc = result.cmc(20) * SEARCH["n_mated"]
    np.testing.assert_allclose(cmc[[0, 4, 9]], [SEARCH["top1"], SEARCH["top5"], SEARCH["top10"]], atol=1e-9)
    np.testing.assert_allclose(result.tpir(SEARCH["fpir"]), SEARCH["tpir"], rtol=0, atol=1e-12)


def test_two_galleries() -> None:
    """Each subject is in one of them; ranks count over both, rates of identification are averaged."""
    templates = np.eye(4, dtype=np.float32)[[0, 1, 0, 1, 2, 0]]
    templates[5] = [0.6, 0.8, 0, 0]
    probe, subject = np.array([2, 3, 5]), np.array([10, 20, 10])
    galleries = [(np.array([0, 4]), np.array([10, 30])), (np.array([1, 4]), np.array([20, 30]))]
    result = search_templates(templates, [TemplateSearch(*gallery, probe, subject) for gallery in galleries])
    assert result.ranks.tolist() == [1, 1, 1]
    assert result.cmc(2).tolist() == [1, 1]
    # Non-mated searches end with 0 in the first gallery, and with 0 and 0.8 in the second.
    assert result.tpir([0.5, 1]).tolist() == [1, 1]
    swapped = [TemplateSearch(galleries[0][0], np.array([30, 10]), probe, subject)]
    assert search_templates(templates, swapped).ranks.tolist() == [2, 2]
    assert search_templates(templates, swapped).cmc(3).tolist() == [0, 1, 1]


def test_a_subject_with_several_templates_counts_by_the_best() -> None:
    templates = unit_vectors(1, 4)
    templates[3] = templates[1]
    task = TemplateSearch(np.array([0, 1, 2]), np.array([5, 5, 6]), np.array([3]), np.array([5]))
    assert search_templates(templates, [task]).ranks.tolist() == [1]


def test_what_searching_refuses() -> None:
    _, task = golden_search()
    with pytest.raises(UserError, match=r"numbers of templates go from 0 to 11; there are 5"):
        search_templates(unit_vectors(0, 5), [task])
