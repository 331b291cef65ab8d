from __future__ import annotations

import numpy as np
import pytest
import torch

from src.errors import UserError
from src.eval.embedding_matching import CosineMatcher, PairMatcher, combine_views
from src.eval.unit_vectors import l2_normalise, squared_distances

GENERATOR = torch.Generator().manual_seed(0)
FIRST, SECOND = (scale * torch.randn(30, 8, generator=GENERATOR) for scale in (3, 0.1))


def test_cosines() -> None:
    matcher = CosineMatcher()
    expected = torch.nn.functional.cosine_similarity(FIRST.double(), SECOND.double()).numpy()
    pairs = matcher.pairs(FIRST, SECOND)
    assert pairs == pytest.approx(expected, abs=1e-12)
    matrix = matcher.matrix(FIRST, SECOND)
    assert matrix.dtype == np.float32
    assert matrix.diagonal() == pytest.approx(expected, abs=1e-6)
    search = matcher.enrol(SECOND)
    assert np.array_equal(np.concatenate([search(block) for block in FIRST.split(7)]), matrix)


def test_distances_are_those_of_unit_vectors() -> None:
    matcher = CosineMatcher()
    distances = matcher.distances(FIRST, SECOND, matcher.pairs(FIRST, SECOND))
    assert np.array_equal(distances, squared_distances(*(l2_normalise(x.double().numpy()) for x in (FIRST, SECOND))))
    assert distances == pytest.approx(2 - 2 * matcher.pairs(FIRST, SECOND), abs=1e-12)


def test_views_are_added_joined_or_left() -> None:
    views = {"original": FIRST, "flipped": SECOND}
    assert torch.equal(combine_views(views, "sum", 30, "toy"), FIRST.double() + SECOND.double())
    assert torch.equal(combine_views(views, "concat", 30, "toy"), torch.cat([FIRST, SECOND], dim=1).double())
    assert torch.equal(combine_views(views, "none", 30, "toy"), FIRST.double())


def test_a_rule_for_pairs() -> None:
    matcher = PairMatcher(lambda a, b: -(a - b).abs().mean(dim=1).clamp(max=1))
    assert matcher.pairs(FIRST, FIRST).tolist() == [0.0] * 30
    assert matcher.distances(FIRST, FIRST, matcher.pairs(FIRST, FIRST)).tolist() == [2.0] * 30
    assert matcher.pairs_only
    with pytest.raises(UserError, match="can only be compared one by one"):
        matcher.matrix(FIRST, SECOND)
