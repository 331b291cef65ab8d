"""Images of whole collections."""

from __future__ import annotations

import pytest
import torch
from support_source import ComputedSource

from src.datamodules.alignment import centre_crop
from src.datamodules.decode import BadImage, decode
from src.datamodules.sources.source_images import SourceImages


def test_one_collection_after_the_other() -> None:
    first, second = ComputedSource(images=3, infrared=True), ComputedSource(images=2, width=40, height=30)
    images = SourceImages([first, second], size=16)
    assert len(images) == 5
    assert images.to_embed.tolist() == [0, 1, 2, 3, 4]
    for index, (source, row) in enumerate([(first, 0), (first, 1), (first, 2), (second, 0), (second, 1)]):
        found = images[index]
        assert found["index"] == index
        assert torch.equal(found["image"], centre_crop(decode(source.content(row)), 16))


def test_unreadable_images_are_named() -> None:
    images = SourceImages([ComputedSource(images=3), ComputedSource(images=2, bad=[1])], size=16)
    with pytest.raises(BadImage, match=r"computed: p01/1\.jpg: burnt"):
        images[4]
