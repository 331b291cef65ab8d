"""Where hair grows on the head, as a function of azimuth and height."""

from __future__ import annotations

import torch
from torch import Tensor

from src.datamodules.procfaces.fields import Factors, bell

__all__ = ["hair_mask", "hair_volume_mask"]

# Heights that the hair line reaches on the sides and on the back of the head.
_EAR, _NAPE = 0.22, 1.35


def _hairline(p: Factors, azimuth: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the height of the hair line [B, P], and how far a point lies on the side and on the back."""
    beside = azimuth.abs()
    line = (
        -p["hairline"]
        + p["widows_peak"] * bell(azimuth, 0.11314)
        - p["temple_recession"] * bell(beside - 0.55, 0.15556)
        - 0.05 * p["parting"] * torch.sin(1.3 * azimuth)
    )
    side = ((beside - p["sideburn_azimuth"] + 0.10 * y) / 0.30 + 0.5).clamp_(0, 1)
    side = side * side * (3 - 2 * side)
    back = ((beside - 1.85) / 0.3 + 0.5).clamp_(0, 1)
    lower_line = _EAR + (_NAPE - _EAR) * back
    line = line + side * (lower_line - line) * (1 - 0.25 * p["bald"])
    return line, side, back


def hair_mask(p: Factors, azimuth: Tensor, y: Tensor, edge: Tensor) -> Tensor:
    """Return the opacity of scalp hair.

    The edge widens at the sideburns: a sharp one turns into a dashed line under strand noise.

    Args:
        p: Derived factors.
        azimuth: Azimuth [B, P] or [1, P], radians, 0 at the front.
        y: Height [B, P] or [1, P].
        edge: Width of the soft edge at the forehead, [B, 1].

    Returns:
        Opacity [B, P].
    """
    line, side, back = _hairline(p, azimuth, y)
    return ((line - y) / (edge + 0.38 * side * (1 - back)) + 0.5).clamp_(0, 1)


def hair_volume_mask(p: Factors, azimuth: Tensor, y: Tensor) -> Tensor:
    """Return the part of the full hair volume [B, P], which grows with the distance from the hair line."""
    line, side, _ = _hairline(p, azimuth, y)
    rise = torch.where(p["bangs"] > 0, 0.10, 0.42) + 0.25 * side
    return ((line - y) / rise + 0.1).clamp_(0, 1)
