"""Augmentations of what a discriminator sees, differentiable twice and applied with a probability that may change."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from src.errors import UserError, check_choice
from src.models.networks.adaptive_augmentation import color, geometric
from src.models.networks.adaptive_augmentation.bands import amplify_bands, filter_bank
from src.models.networks.adaptive_augmentation.corruptions import add_noise, cut_out
from src.models.networks.adaptive_augmentation.draws import Draws
from src.ops.fir import setup_filter

__all__ = ["PRESETS", "AugmentPipe"]

_BLIT = ("xflip", "rotate90", "xint")
_GEOM = ("scale", "rotate", "aniso", "xfrac")
_COLOR = ("brightness", "contrast", "lumaflip", "hue", "saturation")

PRESETS: dict[str, frozenset[str]] = {
    "blit": frozenset(_BLIT),
    "geom": frozenset(_GEOM),
    "color": frozenset(_COLOR),
    "filter": frozenset(["imgfilter"]),
    "noise": frozenset(["noise"]),
    "cutout": frozenset(["cutout"]),
    "bg": frozenset([*_BLIT, *_GEOM]),
    "bgc": frozenset([*_BLIT, *_GEOM, *_COLOR]),
    "bgcf": frozenset([*_BLIT, *_GEOM, *_COLOR, "imgfilter"]),
    "bgcfn": frozenset([*_BLIT, *_GEOM, *_COLOR, "imgfilter", "noise"]),
    "bgcfnc": frozenset([*_BLIT, *_GEOM, *_COLOR, "imgfilter", "noise", "cutout"]),
}
"""Operations by the name of their choice; letters stand for blit, geometric, colour, filter, noise and cutout."""


class AugmentPipe(nn.Module):
    """Transforms every image by itself, each operation with probability ``p`` (Karras et al. 2020, appendix B).

    Images in visible light and in the near infrared go through it in separate calls, and are transformed differently.
    Names and shapes in the state dict are those of the published weights.

    Args:
        preset: One of `PRESETS`.

    Attributes:
        p: Probability, a float32 scalar, at first 0.

    Raises:
        UserError: There is no such preset.
    """

    p: Tensor
    Hz_geom: Tensor
    Hz_fbank: Tensor

    def __init__(self, preset: str = "bgc") -> None:
        super().__init__()
        check_choice("preset", preset, list(PRESETS))
        self.operations = PRESETS[preset]
        self.register_buffer("p", torch.zeros(()))
        self.register_buffer("Hz_geom", setup_filter(geometric.LOW_PASS_TAPS))
        self.register_buffer("Hz_fbank", filter_bank())

    def forward(self, images: Tensor, draws: Draws | None = None) -> Tensor:
        """Transform images.

        Args:
            images: float32 or float64 [N, 3, H, W] or [N, 1, H, W], nominally in [-1, 1].
            draws: Where the strengths come from; None draws them at random.

        Returns:
            [N, C, H, W]. Where nothing is applied, geometric resampling still rounds: 3e-6 at 32 pixels, 2e-4 at 256.

        Raises:
            UserError: Images have another shape, or are too small for a filter.
        """
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise UserError(f"images: expected [N, 3, H, W] or [N, 1, H, W], found {list(images.shape)}")
        draws = draws or Draws(self.p, len(images))
        if self.operations & geometric.OPERATIONS:
            transforms = geometric.geometric_transforms(draws, self.operations, *images.shape[2:])
            images = geometric.warp(images, transforms, self.Hz_geom)
        if self.operations & color.OPERATIONS:
            colors = color.color_transforms(draws, self.operations, images.shape[1])
            images = color.transform_colors(images, colors)
        if "imgfilter" in self.operations:
            images = amplify_bands(images, draws, self.Hz_fbank)
        if "noise" in self.operations:
            images = add_noise(images, draws)
        if "cutout" in self.operations:
            images = cut_out(images, draws)
        return images
