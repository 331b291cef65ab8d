from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support_protection import coded_faces

from src.eval.protection import renewal as module
from src.eval.protection.faces import CodedFaces, draw_mated, draw_non_mated, joined, mated_pairs
from src.eval.protection.operating import operating_scores
from src.eval.protection.renewal import RENEWAL_METRICS, RenewalResult, renewal
from src.eval.unlinkability import d_sys, null_bias


def renewed(faces: CodedFaces, count: int = 12_000) -> RenewalResult:
    generator = np.random.default_rng(0)
    pairs = mated_pairs(faces.labels)
    mated = draw_mated(joined(pairs, pairs.swapped), count, generator)
    non_mated = draw_non_mated(faces.labels, count, generator)
    return renewal(faces, operating_scores(faces.codes, mated, non_mated), mated, non_mated, 0)


def test_an_old_template_matches_nobody_and_a_new_one_as_before() -> None:
    found = renewed(coded_faces(people=60, images=8, m=512, d=512))
    assert tuple(found.metrics) == RENEWAL_METRICS
    assert abs(found.metrics["renewed_gap"]) < 0.003
    assert found.metrics["dsys_renewed"] < 0.04
    assert found.metrics["renewed_equal"] == 1
    assert found.metrics["renewed_passes"] == 1
    middle = np.convolve(found.curves.edges, (0.5, 0.5), "valid")
    means = [
        np.dot(middle, counts) / sum(counts)
        for counts in vars(found.curves).values()
        if counts is not found.curves.edges
    ]
    assert means == pytest.approx([0.39, 0.125, 0.125], abs=0.01)


def test_bins_hold_equally_many_scores() -> None:
    for m in (32, 64, 300, 512):
        edges = renewed(coded_faces(m=m), 2000).curves.edges
        held = np.histogram(np.arange(m + 1) / m, edges)[0]
        assert held.sum() == m + 1
        assert len(set(held[:-1].tolist())) == 1
        assert len(held) <= 81


def test_an_identifier_that_is_not_renewed_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = module.identifiers
    monkeypatch.setattr(module, "identifiers", lambda faces, seed: drawn(faces, 0))
    metrics = renewed(coded_faces()).metrics
    assert metrics["renewed_gap"] > 0.1
    assert metrics["renewed_passes"] == 0


def test_impostors_spread_more_than_stale_templates() -> None:
    """Why stale templates of others, not impostors, are what stale templates are told from."""
    faces = coded_faces(people=120, images=4, m=512, d=512)
    non_mated = draw_non_mated(faces.labels, 20_000, np.random.default_rng(0))
    impostor = operating_scores(faces.codes, mated_pairs(faces.labels), non_mated).impostor
    perfect = np.random.default_rng(1).binomial(512, 1 / 8, 20_000) / 512
    assert impostor.std() > 1.2 * perfect.std()
    assert d_sys(perfect, impostor).d_sys > null_bias(perfect, impostor) + 0.03


def test_faces_that_are_all_alike_may_renew_too() -> None:
    faces = coded_faces(mean=0.5)
    alike = renewed(faces)
    assert alike.metrics["renewed_gap"] < -0.05
    assert alike.metrics["renewed_passes"] == 1
    assert renewed(replace(faces)).metrics == alike.metrics
