from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from src.errors import UserError
from src.eval.generative.identities import identity_scores
from src.eval.verification import verify


def people(identities: int, images: int, noise: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(identities, 16, generator=generator).repeat_interleave(images, dim=0)
    embeddings = centres + noise * torch.randn(identities * images, 16, generator=generator)
    order = torch.randperm(len(embeddings), generator=generator)
    return embeddings[order], torch.arange(identities).repeat_interleave(images)[order]


def test_equals_verification_of_all_pairs() -> None:
    embeddings, labels = people(8, 5, 0.8)
    first, second = torch.triu_indices(40, 40, 1)
    same = labels[first] == labels[second]
    expected = verify(embeddings[first], embeddings[second], same, n_folds=1)
    found = identity_scores(embeddings, labels)
    assert len(found.curve.genuine) == 8 * 10
    assert len(found.curve.impostor) == 40 * 39 // 2 - 80
    assert (found.metrics["eer"], found.metrics["auc"]) == pytest.approx((expected.eer, expected.auc))
    assert found.metrics["tar@1e-2"] == pytest.approx(expected.tar_at_far[1e-2])
    np.testing.assert_allclose(found.curve.genuine, np.sort(expected.scores[expected.same]), atol=1e-12)


def test_many_impostors_are_drawn() -> None:
    embeddings, labels = people(30, 6, 0.8)
    all_pairs = identity_scores(embeddings, labels)
    drawn = [identity_scores(embeddings, labels, max_impostors=4000, seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0].curve.impostor, drawn[1].curve.impostor)
    assert not np.array_equal(drawn[0].curve.impostor[:50], drawn[2].curve.impostor[:50])
    np.testing.assert_array_equal(drawn[0].curve.genuine, all_pairs.curve.genuine)
    assert len(drawn[0].curve.impostor) == pytest.approx(4000 * 29 / 30, rel=0.02)
    assert drawn[0].metrics["eer"] == pytest.approx(all_pairs.metrics["eer"], abs=0.03)


def test_separability() -> None:
    metrics = identity_scores(*people(10, 6, 0.5)).metrics
    difference = metrics["genuine_mean"] - metrics["impostor_mean"]
    squares = metrics["genuine_std"] ** 2 + metrics["impostor_std"] ** 2
    assert metrics["fdr"] == pytest.approx(difference**2 / squares)
    assert metrics["decidability"] == pytest.approx(difference / (squares / 2) ** 0.5)
    assert metrics["impostor_mean"] < metrics["eer_threshold"] < metrics["genuine_mean"]


def test_threshold_is_where_the_errors_meet() -> None:
    found = identity_scores(*people(20, 6, 1.1))
    missed = (found.curve.genuine < found.eer_threshold).mean()
    accepted = (found.curve.impostor >= found.eer_threshold).mean()
    assert 0.02 < found.metrics["eer"] < 0.3
    assert (missed, accepted) == pytest.approx((found.metrics["eer"],) * 2, abs=0.01)


def test_score_of_a_benchmark() -> None:
    found = identity_scores(*people(5, 4, 0.5))
    score = found.score
    assert score.metrics == pytest.approx(found.metrics, nan_ok=True)
    assert score.curves.histogram is not None
    assert sum(score.curves.histogram.genuine) == 5 * 6
    assert score.curves.histogram.threshold == found.eer_threshold


def test_refuses_labels_without_both_kinds_of_pairs() -> None:
    embeddings = torch.randn(6, 4)
    with pytest.raises(UserError, match="6 images of 6 identities make no genuine pair"):
        identity_scores(embeddings, torch.arange(6))
    with pytest.raises(UserError, match="6 images of 1 identities make no impostor pair"):
        identity_scores(embeddings, torch.zeros(6, dtype=torch.int64))
    with pytest.raises(UserError, match=r"labels \[N\], found \[6, 4\] and \[5\]"):
        identity_scores(embeddings, torch.arange(5))
