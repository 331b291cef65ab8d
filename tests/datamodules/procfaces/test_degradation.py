from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from src.datamodules.procfaces import degrade, encode_jpeg


def parameters_of(blur: list[float], low_resolution: float = 1.0, noise: float = 0.0) -> dict[str, torch.Tensor]:
    count = len(blur)
    return {
        "blur": torch.tensor(blur),
        "low_resolution": torch.full((count,), low_resolution),
        "noise": torch.full((count,), noise),
        "noise_offset": torch.arange(2 * count).view(count, 2) / (2 * count),
    }


def impulse(count: int, size: int = 112) -> torch.Tensor:
    image = torch.zeros(count, 1, size, size)
    image[:, :, size // 2, size // 2] = 1
    return image


def test_without_degradation_only_rounding_remains() -> None:
    image = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    expected = (255 * image + 0.5).byte().permute(0, 2, 3, 1)
    assert torch.equal(degrade(image, parameters_of([0.0, 0.0])), expected)


def test_blur_has_the_standard_deviation_it_names() -> None:
    blurred = degrade(impulse(1), parameters_of([1.5]))[0, :, :, 0].double()
    rows = torch.arange(112) - 56
    spread = ((blurred.sum(1) * rows**2).sum() / blurred.sum()).sqrt()
    assert spread == pytest.approx(1.5, rel=0.1)


def test_an_image_does_not_depend_on_its_batch() -> None:
    image = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    parameters = parameters_of([0.1, 3.0, 0.8], low_resolution=0.5, noise=0.02)
    together = degrade(image, parameters)
    for i in range(3):
        alone = degrade(image[i : i + 1], {name: value[i : i + 1] for name, value in parameters.items()})
        assert torch.equal(alone[0], together[i])


def test_low_resolution_removes_fine_detail_and_keeps_the_mean() -> None:
    board = (torch.arange(64)[:, None] + torch.arange(64)) % 2
    degraded = degrade(board.float()[None, None], parameters_of([0.0], low_resolution=0.5)).double()
    assert degraded.mean() == pytest.approx(127.5, abs=1.5)
    assert degraded.std() < 10


def test_noise_has_the_strength_it_names_and_differs_between_channels_and_sensors() -> None:
    grey = torch.full((2, 3, 112, 112), 0.5)
    parameters = parameters_of([0.0, 0.0], noise=0.04)
    visible = degrade(grey, parameters).double() - 128
    infrared = degrade(grey[:, :1], parameters, infrared=True).double() - 128
    assert visible.std() == pytest.approx(0.04 * 255, rel=0.05)
    assert infrared.std() == pytest.approx(1.3 * 0.04 * 255, rel=0.05)
    planes = torch.cat([visible, infrared], dim=-1).permute(0, 3, 1, 2).reshape(8, -1)
    correlation = torch.corrcoef(planes) - torch.eye(8)
    assert correlation.abs().max() < 0.05


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_keeps_a_smooth_image(channels: int) -> None:
    ramp = torch.arange(64, dtype=torch.uint8)[:, None, None].expand(64, 64, channels).contiguous()
    decoded = np.asarray(Image.open(io.BytesIO(encode_jpeg(ramp, 95))))
    assert decoded.shape == ((64, 64) if channels == 1 else (64, 64, 3))
    assert np.abs(decoded.reshape(64, 64, channels).astype(int) - ramp.numpy()).max() <= 3


def test_jpeg_quality_changes_the_size() -> None:
    noise = torch.randint(0, 256, (64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    assert len(encode_jpeg(noise, 30)) < len(encode_jpeg(noise.numpy(), 90))
