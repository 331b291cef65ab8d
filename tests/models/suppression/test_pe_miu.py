from __future__ import annotations

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support_toy import toy
from torch.nn import functional

from src.errors import UserError
from src.models.suppression.pe_miu import PeMiu

DATA = toy(40, 2)
EMBEDDINGS = DATA.embeddings


def shuffled(embeddings: torch.Tensor, block_size: int, seed: int) -> torch.Tensor:
    order = torch.randperm(embeddings.shape[1] // block_size, generator=torch.Generator().manual_seed(seed))
    return embeddings.unflatten(1, (-1, block_size))[:, order].flatten(1)


@given(block_size=st.sampled_from([2, 4, 8, 16, 32]), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_blocks_does_not_matter(block_size: int, seed: int) -> None:
    method = PeMiu(block_size)
    similarity = method.compare(EMBEDDINGS, shuffled(EMBEDDINGS, block_size, seed))
    assert torch.allclose(similarity, torch.ones(len(EMBEDDINGS)), atol=1e-6)


def test_templates_hold_the_same_blocks_in_another_order() -> None:
    templates = PeMiu(8).transform(EMBEDDINGS)
    assert not torch.equal(templates, EMBEDDINGS)
    before = {tuple(block.tolist()) for block in EMBEDDINGS[3].view(8, 8)}
    assert {tuple(block.tolist()) for block in templates[3].view(8, 8)} == before
    assert len({tuple(row.argsort().tolist()) for row in templates[:, ::8]}) > 1


def test_aligned_templates_of_a_person_agree_more_than_stored_ones() -> None:
    method = PeMiu(8)
    first, second = method.transform(EMBEDDINGS[0::2]), method.transform(EMBEDDINGS[1::2])
    aligned = method.compare(first, second)
    assert aligned.mean() > functional.cosine_similarity(first, second).mean() + 0.3
    unshuffled = functional.cosine_similarity(EMBEDDINGS[0::2], EMBEDDINGS[1::2])
    assert aligned.mean() == pytest.approx(float(unshuffled.mean()), abs=0.05)


def test_the_assignment_is_the_best_of_all() -> None:
    method, first, second = PeMiu(16), EMBEDDINGS[:10], EMBEDDINGS[10:20]

    def best(a: torch.Tensor, b: torch.Tensor) -> float:
        blocks = b.view(4, 16)
        orders = [blocks[list(order)] for order in permutations(range(4))]
        closest = min(orders, key=lambda order: float((a.view(4, 16) - order).norm(dim=1).sum()))
        return float(functional.cosine_similarity(a, closest.flatten(), dim=0))

    expected = [best(a, b) for a, b in zip(first, second, strict=True)]
    assert torch.allclose(method.compare(first, second), torch.tensor(expected), atol=1e-6)


def test_blocks_that_do_not_fit_are_refused_before_use() -> None:
    with pytest.raises(UserError, match="block_size=24: expected a divisor of the embeddings' 64 values"):
        PeMiu(24).check(80, 64)
    with pytest.raises(UserError, match="block_size=0"):
        PeMiu(0)
