from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from src.errors import UserError
from src.eval.generative.membership import membership, nearest_similarities


def vectors(count: int, seed: int) -> Tensor:
    return torch.randn(count, 64, generator=torch.Generator().manual_seed(seed))


def test_nearest_of_all() -> None:
    queries, references = 5 * vectors(30, 0), vectors(2000, 1)
    expected = torch.nn.functional.cosine_similarity(queries[:, None], references[None], dim=2).max(dim=1).values
    np.testing.assert_allclose(nearest_similarities(queries, references), expected, atol=1e-6)


def test_a_generator_that_knows_nobody_gives_nobody_away() -> None:
    metrics = membership(vectors(400, 0), vectors(300, 1), vectors(300, 2), threshold=0.6).metrics
    assert metrics["breached"] == 0
    assert metrics["membership_auc"] == pytest.approx(0.5, abs=0.07)
    assert abs(metrics["nearest_gap"]) < 0.02
    assert metrics["membership_advantage"] < 0.15


def test_a_generator_that_copies_is_found_out() -> None:
    training = vectors(300, 1)
    copies = training[:100] + 0.3 * vectors(100, 3)
    metrics = membership(torch.cat([copies, vectors(300, 0)]), training, vectors(300, 2), threshold=0.6).metrics
    assert metrics["breached"] == pytest.approx(0.25)
    assert metrics["nearest_training_max"] > 0.9
    assert metrics["nearest_gap"] > 0.1
    assert metrics["membership_auc"] > 0.6
    assert metrics["membership_advantage"] == pytest.approx(1 / 3, abs=0.1)


@pytest.mark.parametrize("sizes", [(1000, 100), (100, 1000)])
def test_populations_of_other_sizes_are_compared_fairly(sizes: tuple[int, int]) -> None:
    synthetic, training, held_out = vectors(400, 0), vectors(sizes[0], 1), vectors(sizes[1], 2)
    found = membership(synthetic, training, held_out, threshold=0.6)
    assert abs(found.metrics["nearest_gap"]) < 0.02
    assert (found.nearest_training >= found.compared_training).all()
    assert (len(found.attack.genuine), len(found.attack.impostor)) == sizes
    assert found.metrics["membership_auc"] == pytest.approx(0.5, abs=0.1)
    again = membership(synthetic, training, held_out, threshold=0.6)
    assert again.metrics == found.metrics


def test_refuses_empty_populations() -> None:
    with pytest.raises(UserError, match=r"one or more of each population, found .*'held_out': \[0, 64\]"):
        membership(vectors(4, 0), vectors(4, 1), vectors(0, 2), threshold=0.5)
    with pytest.raises(UserError, match="training: 1 of 4 rows hold NaN"):
        membership(vectors(4, 0), vectors(4, 1).index_fill(0, torch.tensor([2]), torch.nan), vectors(4, 2), 0.5)
