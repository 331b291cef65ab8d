from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from memory_source import MemorySource

from src.datamodules.alignment import ARCFACE_TEMPLATE, align, centre_crop
from src.datamodules.decode import decode
from src.datamodules.face_dataset import FaceDataset
from src.errors import UserError

MakeImage = Callable[..., bytes]
ALL = ("image", "nir", "label", "attribute", "feature", "landmarks")


@pytest.fixture
def source(make_image: MakeImage) -> MemorySource:
    """Six pairs of 40 x 32 pixels."""
    return MemorySource(
        {
            "image": [make_image(i, 40, 32) for i in range(6)],
            "nir": [make_image(i, 40, 32, grey=True) for i in range(6)],
        },
        [0, 0, 1, 1, 2, 2],
        attributes=[0, 0, 1, 1, -1, -1],
        landmarks=np.stack([ARCFACE_TEMPLATE.numpy() * 0.25 + i for i in range(6)]),
        features=np.arange(24).reshape(6, 4),
    )


def test_all_fields_of_a_batch(source: MemorySource) -> None:
    batch = FaceDataset(source, size=16, fields=ALL).read([5, 1])
    assert set(batch) == {"key", *ALL}
    assert batch["key"] == ["00005", "00001"]
    assert (batch["label"].tolist(), batch["attribute"].tolist()) == ([2, 0], [-1, 0])
    assert batch["label"].dtype == batch["attribute"].dtype == torch.int64
    assert batch["feature"].tolist() == [[20, 21, 22, 23], [4, 5, 6, 7]]
    assert torch.equal(batch["image"][0], centre_crop(decode(source.content(5)), 16))
    assert torch.equal(batch["nir"][1], centre_crop(decode(source.content(1, "nir"), grey=True), 16))
    # 4 pixels are cut off on either side, then 32 become 16.
    points = (torch.from_numpy(source.landmarks(5)) - torch.tensor([4.0, 0.0]) + 0.5) / 2 - 0.5
    assert torch.allclose(batch["landmarks"][0], points, atol=1e-5)


def test_alignment_brings_the_landmarks_to_the_template(source: MemorySource) -> None:
    batch = FaceDataset(source, size=56, fields=("image", "nir", "landmarks"), align=True).read([3])
    points = torch.from_numpy(source.landmarks(3))
    assert torch.equal(batch["image"][0], align(decode(source.content(3)), points, 56))
    assert torch.equal(batch["nir"][0], align(decode(source.content(3, "nir"), grey=True), points, 56))
    assert torch.allclose(batch["landmarks"][0].double(), ARCFACE_TEMPLATE / 2, atol=1e-4)


def test_degenerate_landmarks_take_the_centre(source: MemorySource, caplog: pytest.LogCaptureFixture) -> None:
    source.points[2] = 7.0  # type: ignore[index]
    dataset = FaceDataset(source, size=32, align=True)
    batch = dataset.read(range(6))
    assert torch.equal(batch["image"][2], centre_crop(decode(source.content(2)), 32))
    dataset.report_unreadable()
    assert "took the centre of 1 of 6 images, their landmarks are degenerate, such as those of 00002" in caplog.text


def test_images_of_the_wanted_size_are_left_as_they_are(make_image: MakeImage) -> None:
    source = MemorySource({"image": [make_image(i, 24, 24) for i in range(3)]}, resolution=24)
    dataset = FaceDataset(source, size=24)
    assert dataset.is_cropped
    assert not FaceDataset(source, size=23).is_cropped
    assert torch.equal(dataset.read([2])["image"][0], decode(source.content(2)))


def test_unreadable_images_are_left_out_with_their_reasons(make_image: MakeImage) -> None:
    contents = [make_image(i, 16, 16) for i in range(8)]
    damaged = contents[3][:300] + b"\xff\xd9"
    source = MemorySource({"image": [*contents[:2], None, damaged, b"GIF89a", *contents[5:]]}, range(8))
    dataset = FaceDataset(source, size=16, max_bad_fraction=0.375)
    batch = dataset.read(range(8))
    assert batch["label"].tolist() == [0, 1, 5, 6, 7]
    assert torch.equal(batch["image"][2], decode(contents[5]))
    assert sorted(dataset.unreadable) == [2, 3, 4]
    dataset.check_readable()
    dataset.max_bad_fraction = 0.3
    with pytest.raises(UserError, match=r"3 of 8 images so far.*First: 00002: gone; 00003: .*; 00004: not a readable"):
        dataset.check_readable()
    assert dataset.read([2, 4]) == {}


def test_skipped_images_are_reported(make_image: MakeImage, caplog: pytest.LogCaptureFixture) -> None:
    dataset = FaceDataset(MemorySource({"image": [make_image(0), None]}), size=16)
    dataset.report_unreadable()
    assert not caplog.records
    dataset.read([0, 1])
    dataset.report_unreadable()
    assert "memory: skipped 1 of 2 images that cannot be read: 00001: gone" in caplog.text


def test_fields_that_the_source_lacks(make_image: MakeImage) -> None:
    source = MemorySource({"image": [make_image(0)]})
    with pytest.raises(UserError, match="unknown field 'img'; choose from image, nir"):
        FaceDataset(source, fields=("img",))
    with pytest.raises(UserError, match="do not all have the field 'nir'; they have image, label, attribute"):
        FaceDataset(source, fields=("image", "nir"))
    with pytest.raises(UserError, match=r"no landmarks to align by; set datamodule\.align=false"):
        FaceDataset(source, align=True)
    source = MemorySource({"image": [make_image(0)]}, landmarks=np.zeros((1, 5, 2)))
    with pytest.raises(UserError, match="'landmarks' needs 'image' beside it"):
        FaceDataset(source, fields=("landmarks",))


@pytest.mark.parametrize(
    ("labels", "message"),
    [([0, 0, 0], r"only one class \('person 0'\)"), ([0, 1, 2], "each of the 3 classes has a single")],
)
def test_classes_that_teach_nothing(labels: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FaceDataset(MemorySource({"image": [b""] * 3}, labels)).check_classes()


def test_a_few_single_images_are_only_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    FaceDataset(MemorySource({"image": [b""] * 3}, [0, 0, 3])).check_classes()
    assert "1 of 2 classes have a single image" in caplog.text
