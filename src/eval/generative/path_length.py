"""How smoothly images change with the style they are made of (Karras et al. 2019, section 4.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from src.errors import UserError
from src.eval.generative.features import three_channels

__all__ = ["PathLength", "StyleGenerator", "feature_distance", "perceptual_path_length"]

Distance = Callable[[Tensor, Tensor], Tensor]

_LOWEST, _HIGHEST = 1, 99  # percentiles between which distances count


class StyleGenerator(Protocol):
    """A generator of pairs of images, see `src.models.networks.stylegan2.Generator`."""

    z_dim: int
    mapping: nn.Module
    synthesis: nn.Module


class PathLength(NamedTuple):
    """Mean perceptual path length by spectrum.

    Attributes:
        vis: Of the images in visible light.
        nir: Of those in near infrared.
    """

    vis: float
    nir: float


def feature_distance(extractor: nn.Module) -> Distance:
    """Perceptual distance: squared Euclidean distance of features of unit length, as LPIPS has it of each layer.

    Args:
        extractor: From float32 [N, 3, H, W] in [-1, 1] to features [N, D].

    Returns:
        From two batches of images to distances [N].
    """
    return lambda first, second: (F.normalize(extractor(first)) - F.normalize(extractor(second))).square().sum(dim=1)


@torch.no_grad()
def perceptual_path_length(
    generator: StyleGenerator,
    distance: Distance,
    conditions: Tensor,
    *,
    epsilon: float = 1e-4,
    side: int = 256,
    batch_size: int = 16,
    seed: int = 0,
) -> PathLength:
    """Mean distance of images whose styles w are a small step apart, divided by the square of the step ("ppl2_wend").

    The steps begin at the end of the path between two random styles of one condition. Both images get the same noise,
    new for every batch; they are made in float32. Distances outside of their first to 99th percentile do not count.

    Args:
        generator: In evaluation mode, on the device of ``conditions``; not changed.
        distance: Of two batches float32 [N, 3, H, W], see `feature_distance`.
        conditions: float [S, C], one for each step; C is 0 for a generator without conditions.
        epsilon: Length of a step, as a share of the path.
        side: Images that are larger by a whole factor are averaged down to this.
        batch_size: Steps computed at once.
        seed: Of styles and noise.

    Raises:
        UserError: There are no conditions.
    """
    if not len(conditions):
        raise UserError("conditions: expected one for each step of the path length, found none")
    random = torch.Generator().manual_seed(seed)
    spectra: tuple[list[Tensor], list[Tensor]] = [], []
    for condition in conditions.split(batch_size):
        starts, ends = _styles(generator, condition, random)
        pairs = _synthesize(generator.synthesis, torch.cat([starts, starts.lerp(ends, epsilon)]), random)
        for distances, images in zip(spectra, pairs, strict=True):
            first, second = three_channels(_averaged(images, side)).chunk(2)
            distances.append(distance(first, second) / epsilon**2)
    return PathLength(*(_trimmed_mean(torch.cat(distances)) for distances in spectra))


def _styles(generator: StyleGenerator, condition: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    codes = torch.randn(2 * len(condition), generator.z_dim, generator=random).to(condition.device)
    starts, ends = generator.mapping(codes, condition.repeat(2, 1)).chunk(2)
    return starts, ends


def _synthesize(synthesis: nn.Module, ws: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    noise = {
        name: torch.randn(buffer.shape, generator=random).to(buffer)
        for name, buffer in synthesis.named_buffers()
        if name.endswith("noise_const")
    }
    return functional_call(synthesis, noise, (ws,), {"noise_mode": "const", "force_fp32": True})


def _averaged(images: Tensor, side: int) -> Tensor:
    factor = images.shape[-1] // side
    return F.avg_pool2d(images, factor) if factor > 1 else images


def _trimmed_mean(distances: Tensor) -> float:
    values = distances.double().cpu().numpy()
    low = np.percentile(values, _LOWEST, method="lower")
    high = np.percentile(values, _HIGHEST, method="higher")
    return float(values[(values >= low) & (values <= high)].mean())
