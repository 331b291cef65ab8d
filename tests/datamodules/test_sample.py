from __future__ import annotations

import torch

from src.datamodules.sample import Sample, to_float, to_float_images


def test_images_become_floats_in_channel_first_order() -> None:
    image = torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8)
    assert torch.allclose(to_float(image), torch.tensor([-1.0, -0.6, 1.0]).view(1, 3, 1, 1))
    assert to_float(image).is_contiguous()


def test_only_decoded_images_change() -> None:
    sample = Sample(
        image=torch.zeros(2, 4, 5, 3, dtype=torch.uint8),
        nir=torch.ones(2, 1, 4, 5),
        label=torch.arange(2),
        key=["a", "b"],
    )
    batch = to_float_images(sample)
    assert batch["image"].shape == (2, 3, 4, 5)
    assert batch["image"].unique().tolist() == [-1]
    assert batch["nir"] is sample["nir"]
    assert (batch["label"] is sample["label"], batch["key"]) == (True, ["a", "b"])
    assert sample["image"].dtype == torch.uint8
