"""Hair on the scalp and the shade inside the ears."""

from __future__ import annotations

import torch
from torch import Tensor

from src.datamodules.procfaces.albedo.canvas import Canvas
from src.datamodules.procfaces.albedo.palette import Palette
from src.datamodules.procfaces.fields import Factors, bell, value_noise
from src.datamodules.procfaces.hairline import hair_mask
from src.datamodules.procfaces.visibility import Surface

__all__ = ["HAIR_GLOSS", "paint_hair", "strand_brightness", "strands"]

HAIR_GLOSS = 0.10


def strands(p: Factors, azimuth: Tensor, y: Tensor, coarse: float, fine: float) -> tuple[Tensor, Tensor]:
    """Return coarse and fine noise [B, P] drawn out along the hair; the numbers are frequencies along y."""
    phase = 2 * p["texture_phase"]
    return (
        value_noise(phase[:, 4:6], 2.6 * azimuth, coarse * y),
        value_noise(phase[:, 0:2], 6.0 * azimuth, fine * y),
    )


def strand_brightness(p: Factors, coarse: Tensor, fine: Tensor) -> Tensor:
    """Return the relative brightness [B, P] of strands; grey hair has less contrast."""
    return 1 + (0.26 - 0.10 * p["greying"]) * (coarse + 0.7 * fine)


def paint_hair(canvas: Canvas, surface: Surface, p: Factors, palette: Palette) -> None:
    """Paint scalp hair with a ragged hair line, and the shade of ears that it leaves bare."""
    azimuth, y = surface.azimuth, surface.y
    coarse, fine = strands(p, azimuth, y, 0.45, 0.8)
    has_bangs = (p["bangs"] > 0).float()
    ragged_y = y + (0.022 + 0.025 * has_bangs) * coarse + 0.02 * fine
    edge = 1.2 * surface.pixel + 0.14 - 0.09 * has_bangs
    opacity = hair_mask(p, azimuth + 0.008 * fine, ragged_y, edge) * torch.where(p["bald"] > 0.5, 0.55, 0.97)
    canvas.paint(palette.hair * strand_brightness(p, coarse, fine).clamp_(0.35, 1.9)[:, None], opacity)
    canvas.polish(HAIR_GLOSS, opacity)
    inside_ear = bell(azimuth.abs() - 1.62, 0.09) * bell(y - 0.28, 0.26)
    canvas.darken(0.35 * inside_ear * (1 - opacity))
