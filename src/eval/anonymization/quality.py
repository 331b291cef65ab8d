"""What becomes of the pixels: how well faces are recovered, and what changes around them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Literal, cast, get_args

import torch
from PIL import Image
from torch import Tensor, nn
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
from torchvision.models import AlexNet_Weights
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

from src.eval.anonymization.interfaces import as_bytes

__all__ = ["STORED", "Storage", "background_change", "perceptual_distance", "reconstruction", "stored_as"]

Storage = Literal["png8", "jpeg95", "jpeg75"]
STORED: tuple[Storage, ...] = get_args(Storage)
"""How an anonymised face may be stored before it is recovered."""

HIGHEST_PSNR = 100.0
"""That identical images get in the place of infinity, in decibels."""


def reconstruction(originals: Tensor, recovered: Tensor) -> dict[str, Tensor]:
    """How far images are from others, on a scale of pixels from 0 to 1.

    Args:
        originals: Float [N, 3, S, S] in [-1, 1], S at least 11.
        recovered: The same shape.

    Returns:
        By name [N]: ``l1`` mean absolute difference; ``psnr`` in decibels, 100 at most; ``ssim`` (Wang et al. 2004).
    """
    first, second = ((images.float() + 1) / 2 for images in (originals, recovered))
    noise = peak_signal_noise_ratio(second, first, data_range=1.0, reduction="none", dim=(1, 2, 3))
    likeness = structural_similarity_index_measure(second, first, data_range=1.0, reduction="none")
    return {
        "l1": (first - second).abs().mean((1, 2, 3)),
        "psnr": noise.clamp(max=HIGHEST_PSNR),
        "ssim": cast(Tensor, likeness),
    }


def perceptual_distance() -> nn.Module | None:
    """LPIPS of AlexNet (Zhang et al. 2018), from a batch of images in [-1, 1] and another to the mean distance.

    Returns:
        None unless torchvision's weights of AlexNet lie in the cache of torch.hub; nothing is downloaded.
    """
    name = Path(AlexNet_Weights.IMAGENET1K_V1.url).name
    if not (Path(torch.hub.get_dir()) / "checkpoints" / name).is_file():
        return None
    return LearnedPerceptualImagePatchSimilarity("alex").eval()


def background_change(originals: Tensor, changed: Tensor, landmarks: Tensor) -> Tensor:
    """Mean absolute difference outside of the face, on a scale of pixels from 0 to 1.

    The face is the box around its five points, enlarged by its own size.

    Args:
        originals: Float [N, 3, H, W] in [-1, 1].
        changed: The same shape.
        landmarks: [N, 5, 2], (x, y) pixels.

    Returns:
        [N], NaN where the face fills the image.
    """
    height, width = originals.shape[-2:]
    low, high = landmarks.amin(1), landmarks.amax(1)
    centre, half = (low + high) / 2, high - low
    pixels = torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), -1)
    inside = ((pixels - centre[:, None, None]).abs() <= half[:, None, None]).all(-1)
    difference = (originals - changed).abs().mean(1) / 2
    return (difference * ~inside).sum((1, 2)) / (~inside).sum((1, 2))


def stored_as(images: Tensor, storage: Storage) -> Tensor:
    """What is left of images [N, 3, H, W] in [-1, 1] after they were stored: 8 bits, or JPEG of quality 95 or 75."""
    pixels = as_bytes(images)
    if storage != "png8":
        quality = int(storage.removeprefix("jpeg"))
        pixels = torch.stack([_through_jpeg(image, quality) for image in pixels])
    return pixels.to(images.dtype) / 127.5 - 1


def _through_jpeg(image: Tensor, quality: int) -> Tensor:
    file = BytesIO()
    to_pil_image(image).save(file, "JPEG", quality=quality)
    return pil_to_tensor(Image.open(file))
