"""What camera and storage do to an image: blur, low resolution, sensor noise, rounding and JPEG."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from src.datamodules.procfaces.hashing import normal

__all__ = ["degrade", "encode_jpeg"]

_BANK_SIZE = 512
_BANK_SEED = 0
# Channels read the bank at places that no face reaches from one another.
_CHANNEL_STRIDE = 131
_INFRARED_CHANNEL = 3
_INFRARED_NOISE = 1.3
_SMALLEST_SIDE = 8
_KERNEL_REACH = 2.5


@cache
def _noise_bank() -> Tensor:
    """Return the [512, 512] tile of hashed normal noise that every image reads at its own offset."""
    axis = np.arange(_BANK_SIZE)
    return torch.from_numpy(normal(_BANK_SEED, "noise_bank", axis[:, None], axis)).float()


def _blur(image: Tensor, sigma: Tensor) -> Tensor:
    """Blur every image [B, C, S, S] with its own Gaussian of ``sigma`` pixels [B]."""
    batch, channels, height, width = image.shape
    sigma = sigma.clamp_min(0.15)[:, None]
    reach = (_KERNEL_REACH * sigma).ceil()
    longest = int(reach.max())
    offsets = torch.arange(-longest, longest + 1)
    # Cut each kernel at its own reach: the other images of the batch must not matter.
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2) * (offsets.abs() <= reach)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None, None]
    planes = image.reshape(1, -1, height, width)
    for weights, padding in ((kernel, (longest, longest, 0, 0)), (kernel.mT, (0, 0, longest, longest))):
        planes = functional.pad(planes, padding, mode="replicate")
        planes = functional.conv2d(planes, weights, groups=batch * channels)
    return planes.view(image.shape)


def _lower_resolution(image: Tensor, factor: Tensor) -> Tensor:
    size = image.shape[-1]
    image = image.clone()
    for row in (factor < 0.99).nonzero()[:, 0].tolist():
        side = max(_SMALLEST_SIDE, int(size * float(factor[row])))
        small = functional.interpolate(image[row : row + 1], size=(side, side), mode="area")
        image[row] = functional.interpolate(small, size=(size, size), mode="bilinear", align_corners=False)[0]
    return image


def _read_noise(offset: Tensor, channels: int, first_channel: int, size: int) -> Tensor:
    """Return noise [B, C, S, S] from the bank at the offset [B, 2] of each image."""
    corner = (offset * _BANK_SIZE).long()
    axis = torch.arange(size)
    shift = _CHANNEL_STRIDE * torch.arange(first_channel, first_channel + channels)
    rows = (corner[:, :1, None] + shift[:, None] + axis) % _BANK_SIZE
    columns = (corner[:, 1:, None] + shift[:, None] + axis) % _BANK_SIZE
    return _noise_bank()[rows[..., :, None], columns[..., None, :]]


@torch.no_grad()
def degrade(image: Tensor, parameters: Mapping[str, Tensor], *, infrared: bool = False) -> Tensor:
    """Blur, lower the resolution, add noise and round, as the parameters of each image say.

    Args:
        image: float32 [B, C, S, S] in [0, 1].
        parameters: Parameters of the batch; ``blur`` (pixels at 112), ``low_resolution``, ``noise`` and
            ``noise_offset`` are read.
        infrared: Use the stronger noise of the infrared sensor.

    Returns:
        uint8 [B, S, S, C].
    """
    size = image.shape[-1]
    image = _blur(image, parameters["blur"] * (size / 112))
    image = _lower_resolution(image, parameters["low_resolution"])
    first_channel = _INFRARED_CHANNEL if infrared else 0
    noise = _read_noise(parameters["noise_offset"], image.shape[1], first_channel, size)
    strength = parameters["noise"] * (_INFRARED_NOISE if infrared else 1.0)
    image = image + noise * strength.view(-1, 1, 1, 1)
    return image.clamp_(0, 1).mul_(255).add_(0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def encode_jpeg(image: Tensor | npt.NDArray[np.uint8], quality: int) -> bytes:
    """Encode one image as baseline JPEG.

    Args:
        image: uint8 [S, S, 3] RGB or [S, S, 1] grey.
        quality: 1..100.
    """
    pixels = np.asarray(image)
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
