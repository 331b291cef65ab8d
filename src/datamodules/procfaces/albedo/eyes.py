"""Eyes with lids, lashes and iris, and brows. Both are drawn once, folded over the middle of the face."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from src.datamodules.procfaces.albedo.canvas import Canvas
from src.datamodules.procfaces.albedo.palette import Palette, solid
from src.datamodules.procfaces.fields import Factors, bell, smoothstep, value_noise
from src.datamodules.procfaces.visibility import Surface

__all__ = ["Eyes", "paint_brows", "paint_eyes"]

_SCLERA = (0.66, 0.63, 0.60, 0.50)
_PUPIL = (0.008, 0.008, 0.01, 0.03)
_PUPIL_RADIUS = 0.040
_IRIS_SPOKES = 11


@dataclass(frozen=True)
class Eyes:
    """Where catch lights may fall.

    Attributes:
        visible: Weight [B, P] of open, uncovered eye.
        x: Distance [B, P] from the centre of the iris, to the right.
        y: Distance [B, P] from the eye line, down.
    """

    visible: Tensor
    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class _Lids:
    """Planes [B, P]: t runs from -1 to 1 between the corners, ``below_upper`` is 0 on the upper lid."""

    t: Tensor
    beyond: Tensor
    below_upper: Tensor
    below_lower: Tensor


def _shape_lids(surface: Surface, y: Tensor, p: Factors) -> _Lids:
    x = surface.beside - p["eye_offset"]
    t = x / p["eye_half_width"]
    bounded = t.clamp(-1, 1)
    arch = 1 - bounded * bounded
    upper = p["upper_lid"] * p["eye_open"] * (1 + 0.6 * p["eye_skew"] * bounded) * arch**0.75
    lower = p["lower_lid"] * (0.35 + 0.65 * p["eye_open"]) * (1 + 0.25 * bounded)
    lower = (lower + 0.02 * (1 - p["eye_open"])) * arch**0.85
    slanted = y + p["eye_slant"] * x
    return _Lids(t, t.abs(), slanted - torch.minimum(-upper, lower), slanted - lower)


def _eyeball(surface: Surface, x: Tensor, y: Tensor, lids: _Lids, p: Factors, palette: Palette) -> Tensor:
    """Return the colour [B, 4, P] of sclera, iris and pupil."""
    under_lid = smoothstep(0.06 - lids.below_upper, -0.03, 0.06)
    in_corner = lids.beyond.clamp(max=1) ** 4
    like, radius = p["iris_radius"], p["iris_radius"]
    color = solid(*_SCLERA, like=like) * (1 - 0.35 * under_lid - 0.25 * in_corner)[:, None]

    distance = (x**2 + (y - p["gaze_y"] + 0.012) ** 2).sqrt_()
    spokes = 0.125 * torch.cos(torch.atan2(y, x) * _IRIS_SPOKES)
    limbal_ring = 0.55 * smoothstep(distance, 0.72 * radius, radius)
    bright_ring = 0.35 * bell(distance, 0.55 * radius)
    iris = palette.iris * (1 + spokes - limbal_ring + bright_ring)[:, None]
    color.lerp_(iris, surface.fill(distance - radius)[:, None])
    pupil = solid(*_PUPIL, like=like).expand_as(color)
    return color.lerp_(pupil, surface.fill(distance - _PUPIL_RADIUS)[:, None])


def paint_eyes(canvas: Canvas, surface: Surface, p: Factors, palette: Palette) -> Eyes:
    """Paint lid crease, eye shadow, eye ball, lashes and lower lid, and return the visible part of the eyes."""
    front, half_width, makeup = surface.front, p["eye_half_width"], p["makeup"]
    y = surface.y - 0.010 * p["eye_asymmetry"] * surface.side
    lids = _shape_lids(surface, y, p)

    def up_to(limit: float) -> Tensor:
        return surface.fill((lids.beyond - limit) * half_width) * front

    between_corners = up_to(1.0)
    canvas.darken(0.28 * bell(lids.below_upper + p["lid_crease"] + 0.015, 0.014) * between_corners)
    shadow_strength = 0.5 * makeup * p["makeup_color"][:, 1:2]
    canvas.paint(0.6 * palette.makeup, shadow_strength * bell(lids.below_upper + 0.05, 0.05) * up_to(1.15))

    x = (surface.beside - p["eye_offset"]) * surface.side - p["gaze_x"]
    opening = surface.fill(torch.maximum(-lids.below_upper, lids.below_lower)) * between_corners
    canvas.paint(_eyeball(surface, x, y, lids, p, palette), opening)
    canvas.gloss.mul_(1 - opening)

    thickness = 0.45 * surface.pixel + 0.010 + 0.007 * p["feminine"] + 0.008 * makeup
    lashes = (0.72 + 0.2 * p["feminine"]) * bell(lids.below_upper + 0.004, thickness) * up_to(1.06)
    canvas.paint(0.35 * palette.natural_hair, lashes)
    canvas.darken(0.28 * bell(lids.below_lower - 0.006, 0.011) * between_corners)
    return Eyes(opening, x, y)


def paint_brows(canvas: Canvas, surface: Surface, p: Factors, palette: Palette) -> None:
    """Paint the brows, with a ragged edge, in a darker and later greying shade of the hair."""
    t = (surface.beside - p["brow_offset"]) / p["brow_half_width"]
    bounded, beyond = t.clamp(-1, 1), t.abs()
    line = -p["brow_height"] - p["brow_arch"] * (1 - (bounded - 0.25) ** 2) + p["brow_tilt"] * bounded
    line = line + 0.03 * p["frown"] * (1 - bounded) + 0.010 * p["nose_asymmetry"] * surface.side
    taper = (1 - 0.30 * bounded - 0.35 * bounded.clamp_min(0) ** 2) * (1 - smoothstep(beyond, 0.80, 1.02))
    hairs = value_noise(2 * p["texture_phase"][:, 6:8], 3.0 * surface.x, 0.9 * (surface.y + 0.6 * surface.beside))
    edge = (surface.y - line).abs() - p["brow_thickness"] * taper
    opacity = surface.fill(0.8 * edge - 0.004 * hairs) * (1 - smoothstep(beyond, 0.9, 1.04)) * surface.front
    opacity = opacity * (p["brow_density"] * (1 + 0.10 * hairs)).clamp_(0, 1)

    grey = p["greying"][:, None]
    canvas.paint(0.6 * palette.natural_hair * (1 - 0.4 * grey) + 0.25 * grey * palette.hair, opacity)
    canvas.gloss.mul_(1 - opacity)
