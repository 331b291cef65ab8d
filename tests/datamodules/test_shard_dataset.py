from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from src.datamodules.alignment import ARCFACE_TEMPLATE
from src.datamodules.decode import decode
from src.datamodules.sample import collate
from src.datamodules.shard_dataset import ShardDataset
from src.datamodules.shards import ShardWriter
from src.errors import UserError

MakeImage = Callable[..., bytes]
ALL = ("image", "nir", "label", "attribute", "feature", "landmarks")


@pytest.fixture
def shards(tmp_path: Path, make_image: MakeImage) -> Path:
    with ShardWriter(tmp_path / "shards", samples_per_shard=4, resolution=32) as writer:
        for i in range(10):
            writer.add(
                f"{i:03d}",
                visible=make_image(i, 32, 32),
                infrared=make_image(i, 32, 32, grey=True),
                metadata={"label": i % 3, "attribute": i % 2, "landmarks": (ARCFACE_TEMPLATE * 32 / 112).tolist()},
                feature=np.full(512, i),
            )
    return tmp_path / "shards"


def test_all_fields(shards: Path, make_image: MakeImage) -> None:
    dataset = ShardDataset(shards, size=32, fields=ALL)
    batch = collate([dataset[i] for i in (7, 2)])
    assert batch["key"] == ["007", "002"]
    assert batch["label"].tolist() == [1, 2]
    assert batch["attribute"].tolist() == [1, 0]
    assert torch.equal(batch["feature"], torch.tensor([[7.0], [2.0]]).expand(2, 512))
    assert torch.allclose(batch["landmarks"], (ARCFACE_TEMPLATE * 32 / 112).float().expand(2, 5, 2))
    assert torch.equal(batch["image"][0], decode(make_image(7, 32, 32)).permute(2, 0, 1) / 127.5 - 1)
    assert batch["nir"].shape == (2, 1, 32, 32)


def test_only_the_wanted_fields(shards: Path) -> None:
    assert set(ShardDataset(shards, fields=("feature", "label"))[0]) == {"key", "feature", "label"}


def test_resizing_moves_the_landmarks(shards: Path) -> None:
    sample = ShardDataset(shards, size=64, fields=("image", "landmarks"))[0]
    assert sample["image"].shape == (64, 64, 3)
    assert torch.allclose(sample["landmarks"], (ARCFACE_TEMPLATE.float() * 32 / 112 + 0.5) * 2 - 0.5, atol=1e-4)


def test_alignment(shards: Path) -> None:
    sample = ShardDataset(shards, size=112, fields=("image", "nir", "landmarks"), align=True)[0]
    assert sample["image"].shape == (112, 112, 3)
    assert sample["nir"].shape == (112, 112, 1)
    assert torch.allclose(sample["landmarks"], ARCFACE_TEMPLATE.float(), atol=1e-3)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_loader_processes_read_the_same(shards: Path, method: str) -> None:
    dataset = ShardDataset(shards, size=32)
    expected = collate([dataset[i] for i in range(10)])
    loader = DataLoader(dataset, 5, num_workers=2, collate_fn=collate, multiprocessing_context=method)
    batches = list(loader)
    assert [key for batch in batches for key in batch["key"]] == expected["key"]
    assert torch.equal(torch.cat([batch["image"] for batch in batches]), expected["image"])


def test_pickling_drops_open_files(shards: Path) -> None:
    dataset = ShardDataset(shards, size=32)
    first = dataset[0]
    copy = pickle.loads(pickle.dumps(dataset))
    assert not copy._files
    assert torch.equal(copy[0]["image"], first["image"])


def test_missing_and_unknown_fields(tmp_path: Path, make_image: MakeImage) -> None:
    with ShardWriter(tmp_path, resolution=16) as writer:
        writer.add("a", visible=make_image(0), metadata={"label": 0})
    with pytest.raises(UserError, match=r"1 of 1 samples have no nir \(first: 'a'\)"):
        ShardDataset(tmp_path, fields=("image", "nir"))
    with pytest.raises(UserError, match="unknown field 'img'"):
        ShardDataset(tmp_path, fields=("img",))
    with pytest.raises(UserError, match="'landmarks' needs 'image'"):
        ShardDataset(tmp_path, fields=("landmarks",))


def test_unreadable_samples_are_skipped_and_counted(tmp_path: Path, make_image: MakeImage) -> None:
    with ShardWriter(tmp_path, resolution=16) as writer:
        for i in range(20):
            writer.add(f"{i:02d}", visible=b"\xff\xd8 broken" if i == 4 else make_image(i), metadata={"label": i % 2})
    dataset = ShardDataset(tmp_path, size=16, max_bad_fraction=0.05)
    assert dataset[4] is None
    assert dataset.unreadable.nonzero().tolist() == [[4]]
    dataset.check_readable()
    dataset.max_bad_fraction = 0.04
    with pytest.raises(UserError, match=r"1 of 20 images so far .* First: 04: not a readable JPEG.*max_bad_fraction"):
        dataset.check_readable()


def test_a_tar_cut_while_in_use(shards: Path) -> None:
    dataset = ShardDataset(shards, size=32)
    os.truncate(shards / "train-000000.tar", 600)
    assert dataset[3] is None
    assert dataset[5] is not None


def test_bad_landmarks_and_features_count_as_unreadable(tmp_path: Path, make_image: MakeImage) -> None:
    with ShardWriter(tmp_path, resolution=16) as writer:
        writer.add("a", visible=make_image(0), metadata={"label": 0, "landmarks": [[1, 2]]}, feature=np.ones(512))
    assert ShardDataset(tmp_path, fields=("image", "landmarks"))[0] is None
    assert ShardDataset(tmp_path, fields=("feature",))[0] is not None
