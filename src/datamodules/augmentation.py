"""Random changes of training images, drawn and applied per batch on the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import kornia.augmentation as K
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from src.datamodules.sample import Sample

__all__ = ["FaceAugmentation"]

_RESIZE_MODES = ("nearest", "bilinear", "bicubic", "area")
_MIRRORED_LANDMARKS = [1, 0, 2, 4, 3]


class FaceAugmentation(nn.Module):
    """Augmentation of aligned faces, each step with its own probability per image.

    In order: crop in place and low resolution (Kim et al. 2022, AdaFace, section 4.1), colour jitter, greyscale, blur,
    mirroring. Crop and mirroring also apply to the infrared image, mirroring to the landmarks.

    The random numbers of a call are a pure function of (seed, step, rank); the global generators are left as
    they were. So a resumed run repeats them, and the model's dropout does not depend on them.

    Args:
        flip: Probability of mirroring.
        crop: Probability of blackening all but a random box (area 0.2 to 1, aspect ratio 3/4 to 4/3).
        low_resolution: Probability of scaling down by 0.2 to 1 and up again, each by a random kernel.
        color_jitter: Probability of changing brightness, contrast and saturation by factors 0.5 to 1.5.
        grayscale: Probability of dropping the colours.
        blur: Probability of a 3 x 3 Gaussian blur with a standard deviation of 0.1 to 2 pixels.
    """

    def __init__(
        self,
        *,
        flip: float = 0.5,
        crop: float = 0.0,
        low_resolution: float = 0.0,
        color_jitter: float = 0.0,
        grayscale: float = 0.0,
        blur: float = 0.0,
    ) -> None:
        super().__init__()
        steps = {
            "crop": crop,
            "low_resolution": low_resolution,
            "color_jitter": color_jitter,
            "grayscale": grayscale,
            "blur": blur,
        }
        self.steps = tuple(name for name, probability in steps.items() if probability)
        """Names of those that are used, mirroring apart."""
        self.flip = flip
        self.crop = crop
        self.low_resolution = low_resolution
        self.color = nn.Sequential()
        if color_jitter:
            self.color.append(K.ColorJitter(0.5, 0.5, 0.5, p=color_jitter))
        if grayscale:
            self.color.append(K.RandomGrayscale(p=grayscale))
        if blur:
            self.color.append(K.RandomGaussianBlur((3, 3), (0.1, 2.0), p=blur))

    @torch.no_grad()
    def forward(self, sample: Sample, *, seed: int, step: int, rank: int = 0) -> Sample:
        """Change a batch.

        Args:
            sample: With `image`, optionally `nir` and `landmarks`.
            seed: Of the run.
            step: Number of the batch since the start of the run.
            rank: Of this process.

        Returns:
            A new sample; the given one keeps its tensors.
        """
        result = sample.copy()
        with _seeded(sample["image"].device, seed, step, rank):
            if self.crop:
                self._crop(result)
            if self.low_resolution:
                result["image"] = self._lower_resolution(result["image"])
            if self.color:
                result["image"] = self.color(result["image"] / 2 + 0.5) * 2 - 1
            if self.flip:
                self._flip(result)
        return result

    @torch.no_grad()
    def choose_views(self, sample: Sample, *, seed: int, step: int, rank: int = 0) -> Sample:
        """Take the embedding of the mirror image where `forward` would mirror the image, were there no other step.

        Args:
            sample: With `feature` [B, 2, D], of image and mirror image.
            seed: Of the run.
            step: Number of the batch since the start of the run.
            rank: Of this process.

        Returns:
            A new sample with `feature` [B, D].
        """
        result = sample.copy()
        features = sample["feature"]
        generator = torch.Generator(features.device).manual_seed(_number(seed, step, rank))
        mirrored = self._draw_mirrored(features, generator)
        result["feature"] = torch.where(mirrored[:, None], features[:, 1], features[:, 0])
        return result

    def _draw_mirrored(self, batch: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        return torch.rand(len(batch), device=batch.device, generator=generator) < self.flip

    def _crop(self, sample: Sample) -> None:
        batch, _, height, width = sample["image"].shape
        device = sample["image"].device
        area = torch.empty(batch, device=device).uniform_(0.2, 1.0) * height * width
        ratio = torch.empty(batch, device=device).uniform_(np.log(3 / 4), np.log(4 / 3)).exp()
        boxes = [((area * ratio).sqrt(), width), ((area / ratio).sqrt(), height)]
        inside = []
        for length, extent in boxes:
            length = length.clamp(max=extent).round()
            start = (torch.rand(batch, device=device) * (extent - length + 1)).floor()
            position = torch.arange(extent, device=device)
            inside.append((position >= start[:, None]) & (position < (start + length)[:, None]))
        keep = inside[1][:, None, :, None] & inside[0][:, None, None, :]
        keep |= torch.rand(batch, 1, 1, 1, device=device) >= self.crop
        for name in ("image", "nir"):
            if name in sample:
                sample[name] = torch.where(keep, sample[name], -1.0)

    def _lower_resolution(self, images: torch.Tensor) -> torch.Tensor:
        images = images.clone()
        height, width = images.shape[-2:]
        for index in (torch.rand(len(images)) < self.low_resolution).nonzero()[:, 0].tolist():
            ratio = float(torch.empty(()).uniform_(0.2, 1.0))
            down, up = (_RESIZE_MODES[i] for i in torch.randint(len(_RESIZE_MODES), (2,)).tolist())
            small = F.interpolate(images[None, index], (round(height * ratio), round(width * ratio)), mode=down)
            images[index] = F.interpolate(small, (height, width), mode=up)[0].clamp(-1, 1)
        return images

    def _flip(self, sample: Sample) -> None:
        mirrored = self._draw_mirrored(sample["image"])
        for name in ("image", "nir"):
            if name in sample:
                sample[name] = torch.where(mirrored[:, None, None, None], sample[name].flip(-1), sample[name])
        if "landmarks" in sample:
            points = sample["landmarks"][:, _MIRRORED_LANDMARKS]
            points = torch.stack([sample["image"].shape[-1] - 1 - points[..., 0], points[..., 1]], -1)
            sample["landmarks"] = torch.where(mirrored[:, None, None], points, sample["landmarks"])


@contextmanager
def _seeded(device: torch.device, seed: int, step: int, rank: int) -> Iterator[None]:
    """Start the global generators anew; afterwards they are as they were."""
    on_gpu = device.type == "cuda"
    number = _number(seed, step, rank)
    with torch.random.fork_rng([device] if on_gpu else []):
        # Not torch.manual_seed: where there is no GPU it remembers every call, with its stack, until there is one.
        torch.default_generator.manual_seed(number)
        if on_gpu:
            torch.cuda.manual_seed(number)
        yield


def _number(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0])
