from __future__ import annotations

import torch

from src.datamodules.sample import collate, to_float


def _single(value: int, key: str) -> dict:
    return {"image": torch.full((4, 5, 3), value, dtype=torch.uint8), "label": torch.tensor(value), "key": key}


def test_collate_gives_floats_in_channel_first_order() -> None:
    batch = collate([_single(0, "a"), None, _single(255, "b")])
    assert batch["image"].shape == (2, 3, 4, 5)
    assert batch["image"].dtype == torch.float32
    assert batch["image"].is_contiguous()
    assert batch["image"].unique().tolist() == [-1, 1]
    assert batch["label"].tolist() == [0, 255]
    assert batch["label"].dtype == torch.int64
    assert batch["key"] == ["a", "b"]


def test_collate_of_unreadable_images_is_empty() -> None:
    assert collate([None, None]) == {}


def test_to_float_moves_channels() -> None:
    image = torch.arange(24, dtype=torch.uint8).view(2, 4, 3)
    assert torch.equal(to_float(image)[1], image[..., 1] / 127.5 - 1)
