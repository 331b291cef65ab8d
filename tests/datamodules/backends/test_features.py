from __future__ import annotations

import numpy as np
import pytest
import torch
from memory_source import MemorySource

from src.datamodules.backends.features import FeatureBackend
from src.datamodules.face_dataset import FaceDataset
from src.datamodules.loader import ResumableLoader
from src.datamodules.sampling import Shuffled
from src.errors import UserError

COUNT = 21
FEATURES = torch.arange(COUNT * 2 * 3, dtype=torch.float32).view(COUNT, 2, 3)


@pytest.fixture
def dataset() -> FaceDataset:
    source = MemorySource(
        {"image": [None] * COUNT}, np.arange(COUNT) % 5, attributes=[row % 3 - 1 for row in range(COUNT)]
    )
    return FaceDataset(source, fields=("image", "label", "attribute"), max_bad_fraction=0.2)


def test_rows_without_images(dataset: FaceDataset) -> None:
    batches = iter([np.array([7, 0, 7]), np.array([20])])
    first, second = FeatureBackend(dataset, FEATURES).read(batches)
    assert torch.equal(first["feature"], FEATURES[[7, 0, 7]])
    assert first["label"].tolist() == [2, 0, 2]
    assert first["attribute"].tolist() == [0, -1, 0]
    assert first["attribute"].dtype == torch.int64
    assert first["key"] == ["00007", "00000", "00007"]
    assert "image" not in first
    assert second["feature"].shape == (1, 2, 3)


def test_missing_embeddings_are_left_out(dataset: FaceDataset) -> None:
    features = FEATURES.clone()
    features[[3, 4]] = torch.nan
    dataset.unreadable[4] = "burnt"
    whole, none = FeatureBackend(dataset, features).read(iter([np.array([2, 3, 5]), np.array([3, 4])]))
    assert torch.equal(whole["feature"], FEATURES[[2, 5]])
    assert whole["label"].tolist() == [2, 0]
    assert not none
    assert dataset.unreadable == {3: "it has no embedding", 4: "burnt"}


def _loader(dataset: FaceDataset, features: torch.Tensor, rank: int = 0, world_size: int = 1) -> ResumableLoader:
    backend = FeatureBackend(dataset, features)
    return ResumableLoader(dataset, Shuffled(dataset.source, 4), backend, rank=rank, world_size=world_size)


def test_ranks_share_the_rows(dataset: FaceDataset) -> None:
    keys = [[key for batch in _loader(dataset, FEATURES, rank, 2) for key in batch["key"]] for rank in range(2)]
    assert [len(share) for share in keys] == [8, 8]
    assert len({*keys[0], *keys[1]}) == 16


def test_missing_embeddings_do_not_change_the_number_of_batches(dataset: FaceDataset) -> None:
    features = FEATURES.clone()
    features[[0, 5, 9]] = torch.nan
    batches = list(_loader(dataset, features))
    assert len(batches) == 5
    kept = {key for batch in batches for key in batch["key"]}
    assert not kept & {"00000", "00005", "00009"}
    assert all(torch.equal(batch["feature"], FEATURES[[int(key) for key in batch["key"]]]) for batch in batches)
    features[[1, 2]] = torch.nan
    with pytest.raises(UserError, match=r"5 of 21 images so far cannot be read.*it has no embedding"):
        list(_loader(dataset, features))


def test_tables_of_other_images_are_refused(dataset: FaceDataset) -> None:
    for shape in ((20, 2, 3), (21, 3), (21, 1, 3)):
        with pytest.raises(UserError, match=r"memory: expected embeddings \[21, 2, D\]"):
            FeatureBackend(dataset, torch.zeros(shape))
