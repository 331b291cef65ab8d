"""The automatic settings at every resolution and number of devices, as their formulas give them."""

from __future__ import annotations

import pytest

from src.models.gan_presets import find_preset

DEVICES = (1, 2, 4, 8)
BATCHES = {
    32: (32, 64, 64, 64),
    64: (32, 64, 64, 64),
    128: (32, 64, 64, 64),
    256: (16, 32, 64, 64),
    512: (8, 16, 32, 64),
    1024: (4, 8, 16, 32),
}


@pytest.mark.parametrize("resolution", BATCHES)
@pytest.mark.parametrize("name", ["auto", "auto_512"])
def test_every_resolution_and_number_of_devices(name: str, resolution: int) -> None:
    for devices, automatic in zip(DEVICES, BATCHES[resolution], strict=True):
        batch = automatic // 2 if name == "auto_512" else automatic
        found = find_preset(name, resolution, devices)
        assert (found.batch, found.micro_batch) == (batch, batch // devices)
        assert found.group_size == min(batch // devices, 4)
        assert found.r1_gamma == pytest.approx(0.0002 * resolution**2 / batch)
        assert (found.average_kimg, found.average_ramp) == (pytest.approx(batch * 10 / 32), 0.05)
        assert found.channel_base == (32_768 if resolution >= 512 else 16_384)
        assert found.lr == (0.002 if resolution >= 1024 else 0.0025)
        assert (found.kimg, found.mapping_layers) == (10_000, 8)
