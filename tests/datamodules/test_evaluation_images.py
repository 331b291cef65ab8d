from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from src.datamodules.decode import BadImage, decode
from src.datamodules.evaluation_images import (
    EncodedImage,
    EvaluationImages,
    ImageFile,
    ImageShare,
    NumberedImage,
    first_copies,
)
from src.errors import UserError

MakeImage = Callable[..., bytes]


class Numbers(Dataset[NumberedImage]):
    def __init__(self, count: int) -> None:
        self.count = count
        self.to_embed = np.arange(count)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> NumberedImage:
        assert 0 <= index < self.count
        return NumberedImage(image=torch.full((1, 1, 3), index), index=index)


def test_images_for_a_loader(make_image: MakeImage) -> None:
    contents = [make_image(i, 112, 112) for i in range(20)]
    images = EvaluationImages([EncodedImage(content, "a") for content in contents], size=112)
    batches = list(DataLoader(images, batch_size=16))
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(20))
    assert batches[1]["image"].shape == (4, 112, 112, 3)
    assert torch.equal(batches[0]["image"][3], decode(contents[3]))


def test_encoded_images_must_be_square(make_image: MakeImage) -> None:
    assert EncodedImage(make_image(0, 64, 64), "a").load(112).shape == (112, 112, 3)
    with pytest.raises(BadImage, match="a: 112 x 96 pixels, expected a square"):
        EncodedImage(make_image(0, 112, 96), "a").load(112)
    with pytest.raises(BadImage, match="a: not a readable"):
        EncodedImage(b"", "a").load(112)


def test_photographs_without_landmarks(tmp_path: Path, make_image: MakeImage) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(make_image(0, 250, 250))
    crop = ImageFile(path, lfw_crop=True).load(130)
    assert torch.equal(crop, decode(path.read_bytes())[52:182, 61:191])
    assert torch.equal(ImageFile(path).load(250), decode(path.read_bytes()))
    path.write_bytes(make_image(0, 178, 218))
    with pytest.raises(BadImage, match="178 x 218 pixels; without landmarks a square is expected"):
        ImageFile(path).load(112)
    with pytest.raises(BadImage, match=r"b\.jpg: .*No such file"):
        ImageFile(tmp_path / "b.jpg").load(112)


def test_digests_change_with_the_image(tmp_path: Path, make_image: MakeImage) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(make_image(0, 64, 64))
    before = ImageFile(path).digest()
    assert ImageFile(path, torch.zeros(5, 2)).digest() != before
    os.utime(path, (0, 0))
    assert ImageFile(path).digest() != before
    assert EncodedImage(b"x", "a").digest() == EncodedImage(b"x", "b").digest() != EncodedImage(b"y", "a").digest()
    with pytest.raises(UserError, match=r"b\.jpg: cannot be read"):
        ImageFile(tmp_path / "b.jpg").digest()


@given(count=st.integers(1, 40), world_size=st.integers(1, 9))
def test_shares_hold_every_image_once_and_have_one_length(count: int, world_size: int) -> None:
    shares = [ImageShare(Numbers(count), rank, world_size) for rank in range(world_size)]
    assert len({len(share) for share in shares}) == 1
    indices = [share[position]["index"] for share in shares for position in range(len(share))]
    assert sorted(index for index in indices if index >= 0) == list(range(count))
    assert sum(index < 0 for index in indices) < world_size


def test_images_that_repeat_are_embedded_once(tmp_path: Path) -> None:
    first, second = EncodedImage(b"x", "a"), EncodedImage(b"y", "b")
    images = [first, second, EncodedImage(b"x", "c"), second, ImageFile(tmp_path / "a.jpg")]
    assert first_copies(images).tolist() == [0, 1, 0, 1, 4]
    cropped = ImageFile(tmp_path / "a.jpg", lfw_crop=True)
    aligned = ImageFile(tmp_path / "a.jpg", torch.zeros(5, 2))
    elsewhere = ImageFile(tmp_path / "other" / "a.jpg")
    again = ImageFile(tmp_path / "a.jpg", torch.zeros(5, 2))
    assert first_copies([images[-1], cropped, aligned, elsewhere, again]).tolist() == [0, 1, 2, 3, 2]
    assert EvaluationImages(images, 8, first_copies(images)).to_embed.tolist() == [0, 1, 4]
    assert EvaluationImages(images, 8).to_embed.tolist() == [0, 1, 2, 3, 4]
