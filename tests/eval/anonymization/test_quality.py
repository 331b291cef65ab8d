"""Values that can be computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from src.eval.anonymization.quality import STORED, background_change, reconstruction, stored_as


def test_reconstruction_on_a_scale_from_0_to_1() -> None:
    originals = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) - 0.5
    recovered = originals.clone()
    recovered[1] += 0.2
    found = reconstruction(originals, recovered)
    assert found["l1"].tolist() == pytest.approx([0, 0.1], abs=1e-6)
    assert found["psnr"].tolist() == pytest.approx([100, 20], abs=1e-3)
    assert found["ssim"][0] == pytest.approx(1)
    assert found["ssim"][1] < 0.99


def test_background_is_what_lies_outside_of_the_enlarged_box() -> None:
    originals = torch.zeros(1, 3, 40, 40)
    landmarks = torch.tensor([[[15.0, 15], [25, 15], [20, 20], [15, 25], [25, 25]]])
    inside, outside = originals.clone(), originals.clone()
    inside[..., 10:31, 10:31] = 1  # the box from 15 to 25, and half of its size on each side
    outside[..., 10:31, 9] = 1
    assert background_change(originals, inside, landmarks).tolist() == [0]
    assert background_change(originals, outside, landmarks).item() == pytest.approx(0.5 * 21 / (40 * 40 - 21 * 21))
    assert math.isnan(background_change(originals, outside, landmarks * 4 - 60).item())


@pytest.mark.parametrize("storage", STORED)
def test_storage(storage: str) -> None:
    smooth = torch.linspace(-1, 1, 32).expand(2, 3, 32, 32)
    stored = stored_as(smooth, storage)  # type: ignore[arg-type]
    error = (stored - smooth).abs().max()
    assert 0 < error < {"png8": 0.5 / 127.5 + 1e-6, "jpeg95": 0.05, "jpeg75": 0.2}[storage]
    torch.testing.assert_close(stored * 127.5 + 127.5, (stored * 127.5 + 127.5).round())
