from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support_protection import coded_faces, pairs_of_cosine, projection

from src.eval.operating_points import RocCurve
from src.eval.protection.faces import ImagePairs, draw_non_mated, mated_pairs
from src.eval.protection.operating import operating_scores

COUNT = 6000


def test_thresholds_accept_what_they_promise() -> None:
    faces = coded_faces(cosine=0.4)
    generator = np.random.default_rng(0)
    found = operating_scores(faces.codes, mated_pairs(faces.labels), draw_non_mated(faces.labels, 5000, generator))
    assert len(found.genuine) == 40 * 10
    assert found.false_accepts == pytest.approx((found.impostor >= found.far - 1e-9).mean())
    assert 0 < found.false_accepts <= 1e-3
    assert (found.impostor >= found.far - 1 / 64 - 1e-9).mean() > 1e-3
    missed = (found.genuine < found.eer - 1e-9).mean()
    assert found.false_accepts_eer == pytest.approx(missed, abs=0.05)


def test_few_impostors_set_no_threshold() -> None:
    faces = coded_faces()
    pairs = mated_pairs(faces.labels)
    found = operating_scores(faces.codes, pairs, draw_non_mated(faces.labels, 999, np.random.default_rng(0)))
    assert math.isnan(found.far)
    assert math.isnan(found.false_accepts)
    assert 0 < found.eer < 1


@pytest.mark.parametrize(
    ("cosine", "eers"),
    [(0.3, (0.288, 0.211, 0.136, 0.057)), (0.4, (0.231, 0.139, 0.061, 0.016)), (0.6, (0.106, 0.038, 0.0065, 0.0001))],
)
def test_equal_error_rates_of_random_projections(cosine: float, eers: tuple[float, ...]) -> None:
    """Section 8.6 of the specification, where all genuine pairs are equally alike and all impostors orthogonal."""
    face, noise = pairs_of_cosine(COUNT, 0.0)
    face, noise = F.normalize(face), F.normalize(noise - F.normalize(face) * (noise * F.normalize(face)).sum(1, True))
    rank_hash = projection(128, 8, 512)
    embeddings = torch.cat([face, cosine * face + math.sqrt(1 - cosine**2) * noise, noise])
    codes = rank_hash.codes(embeddings).numpy()
    first = np.arange(COUNT)
    pairs = ImagePairs(first, first + COUNT), ImagePairs(first, first + 2 * COUNT)
    for m, eer in zip((16, 32, 64, 128), eers, strict=True):
        found = operating_scores(codes[:, :m], *pairs)
        curve = RocCurve(np.sort(found.genuine), np.sort(found.impostor))
        assert curve.eer == pytest.approx(eer, abs=0.01)


def test_embeddings_that_are_only_nearly_as_alike_err_more() -> None:
    """As independent ones of 512 numbers are: 0.077 instead of 0.057."""
    rank_hash = projection(128, 8, 512)
    codes = np.concatenate([rank_hash.codes(x).numpy() for x in pairs_of_cosine(COUNT, 0.3)])
    first, second = np.arange(COUNT), np.arange(COUNT, 2 * COUNT)
    found = operating_scores(codes, ImagePairs(first, second), ImagePairs(first, np.roll(second, 1)))
    curve = RocCurve(np.sort(found.genuine), np.sort(found.impostor))
    assert curve.eer == pytest.approx(0.077, abs=0.008)
