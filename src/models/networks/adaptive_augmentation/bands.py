"""Augmentation by amplifying bands of spatial frequency (Karras et al. 2020, appendix B)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from src.errors import UserError
from src.models.networks.adaptive_augmentation.draws import Draws

__all__ = ["amplify_bands", "filter_bank"]

_LOW_PASS_TAPS = (-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025)
"""Low-pass filter of the wavelet sym2."""
_BANDS = 4
_POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)
"""Share of the bands, from the lowest, in the power of a natural image."""


def filter_bank() -> Tensor:
    """Filters that divide an image into four bands, octaves from the lowest up: float32 [4, 43]; their sum is 1."""
    low = np.array(_LOW_PASS_TAPS)
    high = low * (-1.0) ** np.arange(len(low))
    low, high = np.convolve(low, low[::-1]) / 2, np.convolve(high, high[::-1]) / 2
    bank = np.eye(_BANDS, 1)
    for band in range(1, _BANDS):
        spread = np.zeros((_BANDS, 2 * bank.shape[1] - 1))
        spread[:, ::2] = bank
        bank = np.stack([np.convolve(filter, low) for filter in spread])
        start = (bank.shape[1] - len(high)) // 2
        bank[band, start : start + len(high)] += high
    return torch.from_numpy(bank).float()


def amplify_bands(images: Tensor, draws: Draws, bank: Tensor) -> Tensor:
    """Amplify each band of each image by a factor of its own, and keep the expected power.

    Args:
        images: Floating [N, C, H, W].
        draws: Where the logarithms of the factors to base 2 come from.
        bank: As `filter_bank` makes it.

    Raises:
        UserError: The images are not larger than half a filter.
    """
    samples, channels, height, width = images.shape
    half = bank.shape[1] // 2
    if min(height, width) <= half:
        raise UserError(
            f"imgfilter: expected images of at least {half + 1} x {half + 1} pixels, found {height} x {width}; choose "
            "a preset without it, such as bgc"
        )
    filters = (_amplification(draws, bank) @ bank).to(images.dtype).repeat_interleave(channels, dim=0)
    x = F.pad(images.reshape(1, -1, height, width), [half] * 4, mode="reflect")
    x = F.conv2d(x, filters[:, None, None, :], groups=samples * channels)
    x = F.conv2d(x, filters[:, None, :, None], groups=samples * channels)
    return x.reshape(images.shape)


def _amplification(draws: Draws, bank: Tensor) -> Tensor:
    """Amplitude of every band, float32 [N, 4]: each band in turn is amplified, and then all together are normalised."""
    power = bank.new_tensor(_POWER)
    total = bank.new_ones(draws.samples, _BANDS)
    for band in torch.eye(_BANDS, device=bank.device):
        amplitude = torch.exp2(draws.normal("imgfilter")[:, None] * band)
        total = total * amplitude / (power * amplitude.square()).sum(dim=1, keepdim=True).sqrt()
    return total
