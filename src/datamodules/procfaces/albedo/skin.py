"""Skin: texture, moles, freckles, pimples, folds and shades."""

from __future__ import annotations

import torch
from torch import Tensor

from src.datamodules.procfaces.albedo.canvas import Canvas
from src.datamodules.procfaces.fields import Factors, bell, sample, smoothstep, value_noise
from src.datamodules.procfaces.visibility import Surface

__all__ = ["paint_skin"]

# Grid of the spot maps over the frontal face.
_SPOT_COLUMNS, _SPOT_ROWS = 224, 176
_SPOT_HALF_WIDTH = 1.02
_SPOT_TOP, _SPOT_BOTTOM = -1.2, 2.0
_PIMPLE_SIZE = 0.03

# How much a pigment takes from red, green, blue and near infrared: brown spots, red spots, dark rings, blush.
_ABSORPTION = (
    (0.55, 0.05, 0.35, 0.0),
    (0.70, 0.45, 0.55, 0.28),
    (0.78, 0.38, 0.45, 0.22),
    (0.20, 0.08, 0.12, 0.0),
)


def _texture(surface: Surface, p: Factors) -> Tensor:
    """Return the relative brightness [B, P] of the person's skin texture in three octaves."""
    phase = 2 * p["texture_phase"]
    u, v = 2.2 * surface.u, 1.2 * surface.v
    blotches = value_noise(phase[:, 0:2], 0.10 * u, 0.16 * v)
    patches = value_noise(phase[:, 2:4], 0.34 * u, 0.50 * v)
    pores = value_noise(phase[:, 4:6], 0.95 * u, 1.4 * v)
    return 1 + p["skin_texture"] * (0.7 * blotches + 0.6 * patches + 0.8 * pores)


def _spot_map(x: Tensor, y: Tensor, size: Tensor | float, strength: Tensor) -> Tensor:
    """Return the sum of round spots [B, rows, columns]; Gaussians are separable, so this is one product."""
    columns = torch.linspace(-_SPOT_HALF_WIDTH, _SPOT_HALF_WIDTH, _SPOT_COLUMNS)
    rows = torch.linspace(_SPOT_TOP, _SPOT_BOTTOM, _SPOT_ROWS)
    size = size[..., None] if isinstance(size, Tensor) else size
    across = bell(columns - x[..., None], size)
    down = bell(rows - y[..., None], size) * strength[..., None]
    return torch.bmm(down.transpose(1, 2), across)


def _spots(surface: Surface, p: Factors) -> tuple[Tensor, Tensor]:
    """Return brown spots (moles and freckles) and red spots (pimples), both [B, P] in 0..1."""
    brown = _spot_map(
        torch.cat([p["mole_x"], p["freckle_x"]], dim=1),
        torch.cat([p["mole_y"], p["freckle_y"]], dim=1),
        torch.cat([p["mole_size"], p["freckle_size"]], dim=1),
        torch.cat([p["mole_strength"], p["freckle_strength"] * (1 + 0.8 * p["old"])], dim=1),
    )
    red = _spot_map(0.85 * p["pimple_x"], p["pimple_y"], _PIMPLE_SIZE, p["pimple_strength"])
    middle, half_height = 0.5 * (_SPOT_TOP + _SPOT_BOTTOM), 0.5 * (_SPOT_BOTTOM - _SPOT_TOP)
    u, v = surface.x / _SPOT_HALF_WIDTH, (surface.y - middle) / half_height
    spots = (sample(torch.stack([brown, red], dim=1), u, v) * surface.front[:, None]).clamp_(0, 1)
    return spots[:, 0], spots[:, 1]


def _forehead_lines(surface: Surface, p: Factors, old: Tensor) -> Tensor:
    y = surface.y
    wave = 0.02 * torch.sin(3.1 * surface.x + 6 * p["texture_phase"][:, 6:7])
    lines = bell(y + 0.62 + wave, 0.022) + bell(y + 0.76 - wave, 0.022) + 0.8 * bell(y + 0.50 + 1.4 * wave, 0.02)
    depth = 0.55 * (0.04 + 0.5 * old + 0.25 * p["brow_raise"].clamp_min(0))
    return lines * (1 - smoothstep(surface.beside, 0.45, 0.75)) * depth


def _nasolabial_folds(surface: Surface, p: Factors, old: Tensor) -> Tensor:
    y, mouth = surface.y, p["mouth_height"]
    top = p["nose_half_width"] + 0.06
    descent = ((y - 0.60) / (mouth - 0.60)).clamp_(0, 1.25)
    fold = bell(surface.beside - top - (p["mouth_half_width"] + 0.10 - top) * descent**1.4, 0.035)
    extent = smoothstep(y, 0.55, 0.68) * (1 - smoothstep(y, mouth + 0.02, mouth + 0.16))
    return fold * extent * (p["nasolabial_fold"] + 0.28 * p["grin"] + 0.38 * old)


def _frown_lines(surface: Surface, p: Factors, old: Tensor) -> Tensor:
    extent = smoothstep(surface.y, -0.50, -0.40) * (1 - smoothstep(surface.y, -0.22, -0.10))
    return bell(surface.beside - 0.10, 0.02) * extent * (0.25 * old + 0.2 * p["frown"])


def _crows_feet(surface: Surface, p: Factors, old: Tensor) -> Tensor:
    beside, y = surface.beside - 0.75, surface.y + 0.02
    rays = bell(y - 0.5 * beside, 0.016) + bell(y + 0.3 * beside, 0.016) + bell(y - 0.1 * beside, 0.016)
    extent = smoothstep(beside, 0.01, 0.05) * (1 - smoothstep(beside, 0.13, 0.23))
    return rays * extent * (0.35 * old + 0.15 * p["grin"])


def _folds(surface: Surface, p: Factors) -> Tensor:
    """Return how much light wrinkles and folds take away [B, P]."""
    old = p["old"] * p["wrinkling"]
    folds = _forehead_lines(surface, p, old) + _nasolabial_folds(surface, p, old)
    folds = folds + _frown_lines(surface, p, old) + _crows_feet(surface, p, old)
    return folds.clamp_(0, 0.6) * surface.front


def paint_skin(canvas: Canvas, surface: Surface, p: Factors) -> None:
    """Paint texture, spots, folds, dark rings under the eyes and blush on bare skin.

    Args:
        canvas: Holds the plain skin colour; changed in place.
        surface: Visible points.
        p: Derived factors.
    """
    old = p["old"] * p["wrinkling"]
    rings = bell(surface.beside - p["eye_offset"] + 0.02, 0.16) * bell(surface.y - 0.16, 0.055)
    rings = rings * (p["under_eye"] + 0.22 * old)
    blush = bell(surface.beside - 0.62, 0.22) * bell(surface.y - 0.52, 0.20) * (p["blush"] + 0.15 * p["grin"])
    brown, red = _spots(surface, p)
    pigments = torch.stack([brown, red, rings, blush], dim=1)
    brightness = _texture(surface, p) * (1 - _folds(surface, p))
    canvas.albedo.mul_((1 - torch.tensor(_ABSORPTION) @ pigments).mul_(brightness[:, None]))
