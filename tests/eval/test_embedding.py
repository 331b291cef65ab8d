from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from src.errors import UserError
from src.eval.embedding import Embeddings, assemble


def batch_of(indices: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Embedding i is [i, i + 0.5], its mirror image the negative of that."""
    index = torch.tensor(indices)
    embedding = torch.stack([index, index + 0.5], dim=1).float()
    return index, embedding, -embedding


@given(order=st.permutations(range(12)), repeats=st.lists(st.integers(0, 11), max_size=5), size=st.integers(1, 5))
def test_sorts_and_drops_repeats(order: list[int], repeats: list[int], size: int) -> None:
    indices = [*order, *repeats]
    embeddings = assemble([batch_of(indices[i : i + size]) for i in range(0, len(indices), size)])
    assert embeddings.original[:, 0].tolist() == list(range(12))
    assert embeddings.flipped is not None
    assert torch.equal(embeddings.flipped, -embeddings.original)
    assert embeddings.original.dtype == torch.float32


def test_without_mirror_images() -> None:
    index, embedding, _ = batch_of([1, 0])
    embeddings = assemble([(index, embedding, None)])
    assert embeddings.flipped is None
    assert len(embeddings) == 2


def test_refuses_missing_images() -> None:
    with pytest.raises(RuntimeError, match=r"2 of 6 images were not embedded \(first: 2, 4\)"):
        assemble([batch_of([0, 1]), batch_of([3, 5])])


def test_refuses_nothing() -> None:
    with pytest.raises(UserError, match="no image was embedded"):
        assemble([])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_refuses_values_that_are_not_finite(value: float) -> None:
    flipped = torch.zeros(4, 2)
    flipped[2, 1] = value
    with pytest.raises(UserError, match=r"1 of 4 embeddings hold NaN or infinity \(first rows: 2\)"):
        Embeddings(torch.zeros(4, 2), flipped)
