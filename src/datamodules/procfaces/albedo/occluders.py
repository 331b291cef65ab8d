"""Things worn on the head: glasses, sunglasses, face masks and hats."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from src.datamodules.procfaces.albedo.canvas import Canvas
from src.datamodules.procfaces.albedo.palette import solid
from src.datamodules.procfaces.fields import Factors, smoothstep
from src.datamodules.procfaces.visibility import Surface

__all__ = ["Lenses", "paint_glasses", "paint_hat", "paint_mask"]

_DARK_LENS = (0.015, 0.015, 0.02, 0.06)
_ROUND, _SQUARE = 2.2, 4.5


@dataclass(frozen=True)
class Lenses:
    """What lenses do to light.

    Attributes:
        dark: Weight [B, P] of sunglasses, which hide the eyes.
        reflecting: Strength [B, P] of the reflection of the surroundings.
    """

    dark: Tensor
    reflecting: Tensor


def paint_glasses(canvas: Canvas, surface: Surface, p: Factors) -> Lenses:
    """Paint frame and lenses of glasses and sunglasses; a frame is matt."""
    beside, y, eye = surface.beside, surface.y, p["eye_offset"]
    width, height, shape, strength = p["glasses_shape"].split(1, dim=1)
    half_width, half_height = 0.36 + 0.06 * width, 0.23 + 0.08 * height
    exponent = torch.where(shape < 0.5, _ROUND, _SQUARE)
    ellipse = ((beside - eye - 0.01) / half_width).abs() ** exponent + ((y - 0.03) / half_height).abs() ** exponent
    outline = (ellipse ** (1 / exponent) - 1) * half_height
    thickness = 0.016 + 0.022 * strength
    bridge = torch.maximum((y + 0.03).abs() - 0.8 * thickness, beside - (eye - half_width))
    temple = torch.maximum((y + 0.04).abs() - thickness, eye + half_width - beside)
    frame = torch.maximum(surface.fill(outline.abs() - thickness), surface.fill(bridge))
    frame = torch.maximum(frame, surface.fill(temple) * (surface.azimuth.abs() < 1.55)) * (surface.z > -0.1)

    sunglasses = p["has_sunglasses"]
    worn = torch.maximum(p["glasses"], sunglasses)
    lens = surface.fill(outline) * surface.front
    tinted = strength < 0.4
    color = solid(
        0.02 + 0.3 * shape * tinted, 0.02 + 0.15 * height * tinted, 0.02 + 0.1 * width * tinted, 0.15, like=eye
    )
    canvas.darken(0.10 * p["glasses"] * lens)
    canvas.paint(solid(*_DARK_LENS, like=eye), 0.96 * sunglasses * lens)
    canvas.paint(color, worn * frame)
    canvas.gloss.mul_(1 - worn * frame)
    return Lenses(sunglasses * lens, torch.maximum(0.5 * p["glasses"], sunglasses) * lens)


def paint_mask(canvas: Canvas, surface: Surface, p: Factors) -> None:
    """Paint a pleated face mask and its straps; cloth is matt."""
    y, around = surface.y, surface.azimuth.abs()
    cloth = smoothstep(y - 0.12 * around, 0.36, 0.40) * (1 - smoothstep(around, 1.15, 1.25))
    strap = surface.fill((y - 0.30 - 0.1 * (around - 1.2)).abs() - 0.03) * (around > 1.1) * (around < 1.75)
    red, green = p["occluder_shape"][:, 1:2], p["occluder_shape"][:, 2:3]
    blue = torch.maximum(red, green)
    color = solid(0.12 + 0.6 * red, 0.15 + 0.6 * green, 0.2 + 0.55 * blue, 0.55, like=red)
    pleats = 1 - 0.10 * torch.cos(34 * y) * (y > 0.5) * (y < 1.3)
    canvas.paint(color * pleats[:, None], p["has_mask"] * torch.maximum(cloth, strap))
    canvas.gloss.mul_(1 - p["has_mask"] * cloth)


def paint_hat(canvas: Canvas, surface: Surface, p: Factors) -> None:
    """Paint a matt hat above the brows."""
    red, green, blue = p["occluder_shape"][:, 1:4].split(1, dim=1)
    color = solid(0.02 + 0.6 * red**2, 0.02 + 0.5 * green**2, 0.02 + 0.6 * blue**2, 0.4, like=red)
    weight = p["has_hat"] * smoothstep(-surface.y, 0.79, 0.83)
    canvas.paint(color, weight)
    canvas.gloss.mul_(1 - weight)
