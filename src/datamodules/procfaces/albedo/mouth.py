"""Lips, teeth, the line of the mouth and the openings of the nose."""

from __future__ import annotations

import torch

from src.datamodules.procfaces.albedo.canvas import Canvas
from src.datamodules.procfaces.albedo.palette import Palette, solid
from src.datamodules.procfaces.fields import Factors, bell, smoothstep
from src.datamodules.procfaces.visibility import Surface

__all__ = ["paint_mouth", "paint_nose"]

_MOUTH_INSIDE = (0.055, 0.012, 0.012, 0.10)
_TEETH = (0.68, 0.63, 0.55, 0.62)
_SMALLEST_GAP = 0.012


def paint_mouth(canvas: Canvas, surface: Surface, p: Factors, palette: Palette) -> None:
    """Paint the lips, the open mouth with its upper teeth, and the line between the lips."""
    y, front, half_width = surface.y, surface.front, p["mouth_half_width"]
    t = (surface.x - 0.012 * p["cheek_asymmetry"]) / half_width
    beyond = t.abs()
    squared = beyond.clamp(max=1).square_()
    arch = 1 - squared
    line = p["mouth_height"] + (p["mouth_curve"] - 0.09 * p["smile"]) * squared
    line = line + 0.012 * p["mouth_asymmetry"] * t
    upper = p["upper_lip"] * arch**0.8 * (1 - p["cupid_bow"] * bell(t, 0.11314))
    lower = p["lower_lip"] * arch**0.65
    gap = p["mouth_gap"] * arch**0.7
    within = surface.fill((beyond - 1) * half_width) * front
    below_line = y - line

    lips = surface.fill(torch.maximum(-upper - below_line, below_line - gap - lower)) * within
    canvas.paint(palette.lips, 0.92 * lips)
    canvas.polish(0.16 + 0.25 * p["makeup"], lips)
    canvas.darken(0.12 * lips * smoothstep(-below_line, -0.005, 0.03))  # the upper lip faces down

    opening = surface.fill(torch.maximum(-below_line, below_line - gap)) * within * (p["mouth_gap"] > _SMALLEST_GAP)
    canvas.paint(solid(*_MOUTH_INSIDE, like=half_width), opening)
    biting_edge = 0.008 + (0.10 - 0.09 * squared).clamp_(min=0.02)
    teeth = surface.fill(below_line - biting_edge) * surface.fill((beyond - 0.78) * half_width)
    canvas.paint(solid(*_TEETH, like=half_width), 0.95 * opening * teeth)

    contact = bell(below_line, 0.5 * surface.pixel + 0.010) * surface.fill((beyond - 1.04) * half_width)
    canvas.darken(0.62 * contact * front * (1 - opening))


def paint_nose(canvas: Canvas, surface: Surface, p: Factors, palette: Palette) -> None:
    """Paint the nostrils, the creases behind the wings of the nose and the shade under it."""
    y, beside, front = surface.y, surface.beside, surface.front
    length, half_width = p["nose_length"], p["nose_half_width"]
    t = beside / half_width
    nostril_y = (y - length - 0.125 - 0.3 * p["nose_upturn"] + 0.02 * t) / 0.030
    nostril = ((t - 0.52) / 0.30) ** 2 + nostril_y**2 - 1
    canvas.paint(0.16 * palette.skin, 0.85 * surface.fill(0.03 * nostril) * front)

    ring = ((beside - 0.72 * half_width) ** 2 + (1.05 * (y - length - 0.055)) ** 2).sqrt_() - 0.42 * half_width
    crease = bell(ring, 0.017) * smoothstep(t, 0.75, 1.0) * front
    shade = bell(y - length - 0.165, 0.02) * (1 - smoothstep(t, 0.5, 1.0))
    canvas.darken(0.30 * crease + 0.22 * shade)
