"""Beards, stubble and the shadow of shaved ones."""

from __future__ import annotations

import torch
from torch import Tensor

from src.datamodules.procfaces.albedo.canvas import Canvas
from src.datamodules.procfaces.albedo.palette import Palette
from src.datamodules.procfaces.appearance import Beard
from src.datamodules.procfaces.fields import Factors, bell, smoothstep, value_noise
from src.datamodules.procfaces.visibility import Surface

__all__ = ["paint_beard"]


def _regions(surface: Surface, p: Factors) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the weights [B, P] of moustache, chin, jaw and sideburns."""
    y, beside, mouth = surface.y, surface.beside, p["mouth_height"]
    moustache = bell(y - (mouth - 0.20) - 0.12 * beside, 0.075) * (1 - smoothstep(beside, 0.40, 0.55))
    chin = bell(beside, 0.26) * smoothstep(y, mouth + 0.20, mouth + 0.34)
    jaw = smoothstep(y + 0.42 * beside, 0.98, 1.22)
    sideburns = smoothstep(beside, 0.70, 0.86) * smoothstep(y, 0.1, 0.5)
    return moustache, chin, jaw, sideburns


def paint_beard(canvas: Canvas, surface: Surface, p: Factors, palette: Palette) -> None:
    """Paint the beard, and the shaved beard of every masculine-like face; beards are matt."""
    moustache, chin, jaw, sideburns = _regions(surface, p)
    lips = bell(surface.beside / (1.1 * p["mouth_half_width"]), 0.62)
    around_mouth = 1 - lips * bell(surface.y - p["mouth_height"] - 0.03, 0.085)
    before_ears = 1 - smoothstep(surface.azimuth.abs(), 1.2, 1.5)

    shaved = torch.maximum(jaw, moustache)
    kind = p["beard"]
    beard = torch.where(kind == Beard.GOATEE, torch.maximum(moustache, chin), torch.maximum(shaved, sideburns))
    beard = torch.where(kind == Beard.MOUSTACHE, moustache, beard)
    density = torch.where(kind == Beard.STUBBLE, 0.35, 0.85) * (kind != Beard.NONE)
    grain = value_noise(2 * p["texture_phase"][:, 2:4], 9.1 * surface.u, 7.7 * surface.v)
    opacity = (beard * around_mouth * before_ears * density * (1 + 0.16 * grain)).clamp_(0, 0.95)

    darkness = p["masculine"] * (0.13 + 0.10 * p["hair_eumelanin"]) * (1 - 0.6 * p["greying"])
    opacity = torch.maximum(opacity, shaved * around_mouth * darkness * (1 + 0.2 * grain))
    canvas.paint(1.1 * palette.hair, opacity)
    canvas.gloss.mul_(1 - 0.8 * opacity)
