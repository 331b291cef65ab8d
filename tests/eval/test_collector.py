from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from src.datamodules.evaluation_images import FILLER
from src.errors import UserError
from src.eval.collector import EmbeddingCollector


class TwoProcesses:
    """Joins this process with another one whose tensors are known."""

    def __init__(self, other: list[torch.Tensor]) -> None:
        self.other = other

    def rows(self, share: torch.Tensor) -> torch.Tensor:
        other = self.other.pop(0)
        assert other.shape == share.shape
        return torch.cat([share, other])

    def sum(self, share: torch.Tensor) -> torch.Tensor:
        raise AssertionError("embeddings are not summed")


@given(st.permutations(range(7)), st.integers(1, 4), st.booleans())
def test_rows_come_out_in_order(order: list[int], batch_size: int, mirrored: bool) -> None:
    collector = EmbeddingCollector(7, "toy")
    for index in torch.tensor(order).split(batch_size):
        original = index[:, None].double() * torch.ones(1, 3)
        collector.add(index, original, -original if mirrored else None)
    collected = collector.collect()
    expected = torch.arange(7.0)[:, None].expand(7, 3)
    assert torch.equal(collected["original"], expected)
    assert collected["original"].dtype == torch.float32
    assert ("flipped" in collected) == mirrored
    if mirrored:
        assert torch.equal(collected["flipped"], -expected)


def test_shares_of_processes_are_joined_without_fillers() -> None:
    collector = EmbeddingCollector(3, "toy")
    collector.add(torch.tensor([1, -1]), torch.tensor([[1.0], [9.0]]), None)
    other = [torch.tensor([0, 2]), torch.tensor([[0.0], [2.0]])]
    assert collector.collect(TwoProcesses(other))["original"].flatten().tolist() == [0, 1, 2]


def test_missing_images_and_broken_embeddings_are_refused() -> None:
    with pytest.raises(UserError, match="toy: no image was embedded"):
        EmbeddingCollector(3, "toy").collect()
    collector = EmbeddingCollector(3, "toy")
    collector.add(torch.arange(2), torch.ones(2, 1), None)
    with pytest.raises(UserError, match="toy: 2 embeddings for 3 images"):
        collector.collect()
    collector.add(torch.tensor([2]), torch.tensor([[float("nan")]]), None)
    with pytest.raises(UserError, match=r"toy: embeddings: 1 of 3 rows hold NaN or infinity \(first rows: 2\)"):
        collector.collect()


def test_codes_stay_codes() -> None:
    collector = EmbeddingCollector(3, "toy", alphabet=4)
    codes = torch.tensor([[0, 3], [1, 2], [3, 3]], dtype=torch.uint8)
    collector.add(torch.tensor([2, 0, FILLER]), codes[[2, 0, 0]], codes[[0, 1, 0]])
    other = [torch.tensor([1, FILLER, FILLER]), codes[[1, 1, 1]], codes[[2, 2, 2]]]
    collected = collector.collect(TwoProcesses(other))
    assert torch.equal(collected["original"], codes)
    assert collected["flipped"].tolist() == [[1, 2], [3, 3], [0, 3]]
    assert collected["flipped"].dtype == torch.uint8


def test_what_are_no_codes_is_refused() -> None:
    for broken in (torch.zeros(1, 2), torch.full((1, 2), 4, dtype=torch.uint8)):
        with pytest.raises(UserError, match="toy: expected codes of uint8 with values below 4, found"):
            EmbeddingCollector(3, "toy", alphabet=4).add(torch.tensor([0]), broken, None)


def test_copies_take_the_embedding_of_their_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch, "empty", lambda shape, dtype: torch.full(shape, torch.nan, dtype=dtype)
    )  # what memory may hold
    copy_of = np.array([0, 1, 0, 3, 1])
    collector = EmbeddingCollector(5, "toy", copy_of)
    collector.add(torch.tensor([3, 0, FILLER]), torch.tensor([[3.0], [0.0], [9.0]]), None)
    with pytest.raises(UserError, match="2 embeddings for 3 images"):
        collector.collect()
    collector.add(torch.tensor([1]), torch.tensor([[1.0]]), None)
    assert collector.collect()["original"].flatten().tolist() == [0, 1, 0, 3, 1]


def test_embeddings_of_all_images_stay_as_they_are() -> None:
    collector = EmbeddingCollector(3, "toy", np.array([0, 1, 0]))
    collector.add(torch.tensor([0, 1, 2]), torch.tensor([[0.0], [1.0], [2.0]]), None)
    assert collector.collect()["original"].flatten().tolist() == [0, 1, 2]
