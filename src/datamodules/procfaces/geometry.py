"""The head as a radial map: distance from the vertical axis as a function of azimuth and height.

The map has ``ROWS`` heights and ``COLUMNS`` azimuths. Columns are not uniform: ``u = (θ + STRETCH sin θ) / π``
puts 88 of 160 on the inner face, and still reaches the back of the head, so that profile views work.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from src.datamodules.procfaces.features import feature_reliefs
from src.datamodules.procfaces.fields import (
    Factors,
    bell,
    box_filter,
    interpolate_knots,
    sample,
    smooth_rows,
    smoothstep,
)
from src.datamodules.procfaces.hairline import hair_volume_mask

__all__ = ["CROWN", "HeadMap", "azimuth_column", "build_head", "surface_azimuth", "surface_points"]

ROWS = 144
COLUMNS = 160
HALF_HEIGHT = 2.15
STRETCH = 0.85
CROWN = -1.90


@dataclass(frozen=True)
class HeadMap:
    """Shape of the heads of a batch.

    Attributes:
        radius: Distance from the axis [B, 1, V, U].
        relief: Per cell [B, 3, V, U] the relative slope along the azimuth, ``∂r/∂θ / r``, the slope along the
            height, ``∂r/∂y``, and the ambient occlusion.
        lowest: Height of the cut under the chin [B, 1].
    """

    radius: Tensor
    relief: Tensor
    lowest: Tensor


@cache
def _azimuths() -> Tensor:
    dense = np.linspace(-math.pi, math.pi, 20001)
    columns = torch.linspace(-1, 1, COLUMNS).numpy() * math.pi
    return torch.from_numpy(np.interp(columns, dense + STRETCH * np.sin(dense), dense)).float()


@cache
def _heights() -> Tensor:
    return torch.linspace(-HALF_HEIGHT, HALF_HEIGHT, ROWS)


def azimuth_column(azimuth: Tensor, sine: Tensor) -> Tensor:
    """Return the horizontal map coordinate in [-1, 1] of an azimuth whose sine is known."""
    return torch.add(azimuth, sine, alpha=STRETCH).mul_(1 / math.pi)


def surface_azimuth(x: Tensor) -> Tensor:
    """Return the azimuth of the frontal surface point at ``x``, on a mean head section."""
    x = x.clamp(-1.09, 1.09)
    depth = 1.36 * (1 - (x.abs() / 1.13) ** 2.35).clamp_min(1e-4) ** (1 / 2.35)
    return torch.atan2(x, depth)


def surface_points(head: HeadMap, azimuth: Tensor, y: Tensor) -> Tensor:
    """Return the points [B, K, 3] of the surface at the azimuths [B, K] and heights [B, K]."""
    sine = azimuth.sin()
    radius = sample(head.radius, azimuth_column(azimuth, sine), y / HALF_HEIGHT)[:, 0]
    return torch.stack([radius * sine, y, radius * azimuth.cos()], dim=-1)


def _columns(*values: Tensor | float, like: Tensor) -> Tensor:
    return torch.cat([v if isinstance(v, Tensor) else torch.full_like(like, v) for v in values], dim=1)


def _skull(p: Factors) -> Tensor:
    """Return the radius [B, V, U] of horizontal super-ellipses whose half axes follow lines of knots."""
    chin, jaw, cheek, temple = p["chin_height"], p["jaw_width"], p["cheek_width"], p["temple_width"]
    slope, chin_width = p["forehead_slope"], p["chin_width"]
    upper = (-1.90, -1.86, -1.70, -1.42, -0.98, -0.5, 0.0, 0.42, 0.85, 1.15)
    lower = (0.80 * chin, chin - 0.15, chin - 0.04, chin + 0.07)
    # fmt: off
    side = (0.0, 0.36, 0.74, 1.00, 1.12, temple, 0.5 * (temple + cheek) + 0.005, cheek,
            0.66 * cheek + 0.36 * jaw, 0.36 * cheek + 0.65 * jaw, 0.93 * jaw, chin_width, 0.62 * chin_width, 0.02)
    front = (0.0, 0.44, 0.88, 1.13, 1.29 - slope, 1.375 - 0.5 * slope, 1.345, 1.34, 1.37, 1.385, 1.35, 1.34, 1.20, 0.02)
    back = (0.0, 0.5, 0.95, 1.25, 1.48, 1.58, 1.58, 1.48, 1.25, 1.05, 0.85, 0.55, 0.3, 0.02)
    # fmt: on
    knots = _columns(*upper, *lower, like=chin)
    half_width, half_front, half_back = (
        smooth_rows(interpolate_knots(knots, _columns(*values, like=chin), _heights()), 1.8).clamp_min_(0.02)
        for values in (side, front, back)
    )
    azimuth = _azimuths()
    sine, cosine = azimuth.sin().abs(), azimuth.cos()
    half_depth = torch.where(cosine > 0, half_front[..., None], half_back[..., None])
    exponent = p["section_exponent"][..., None]
    section = (sine / half_width[..., None]) ** exponent + (cosine.abs() / half_depth) ** exponent
    return section ** (-1 / exponent)


def _ear_relief(p: Factors) -> tuple[Tensor, Tensor]:
    size = p["ear_size"] * (1 - 0.8 * p["long_hair"])
    knots = _columns(-0.30, -0.15, 0.10, 0.45, 0.72, 0.80, like=size)
    heights = size * torch.tensor([0.0, 0.85, 1.0, 0.60, 0.34, 0.0])
    rows = smooth_rows(interpolate_knots(knots, heights, _heights()), 1.0)
    columns = bell(_azimuths().abs() - 1.66, 0.17, 3.0).expand(len(size), -1)
    return rows, columns


def _nose_ridge_relief(p: Factors) -> tuple[Tensor, Tensor]:
    length, projection = p["nose_length"], p["nose_projection"]
    bridge, upturn = p["bridge_height"], p["nose_upturn"]
    lower = (length - 0.14, length - 0.01 + upturn, length + 0.06 + upturn, length + 0.15, length + 0.24)
    knots = _columns(-0.34, -0.10, 0.10, *lower, like=length)
    base = (0.0, 0.45 * bridge, bridge, 0.5 * bridge + 0.42 * projection)
    tip = (0.80 * projection, 0.62 * projection, 0.14 * projection, 0.0)
    rows = smooth_rows(interpolate_knots(knots, _columns(*base, *tip, like=length), _heights()), 0.8)
    return rows, bell(1.42 * _azimuths(), p["bridge_width"], 2.2)


def _displacement(p: Factors) -> Tensor:
    """Return the sum of all separable reliefs [B, V, U] as one batched matrix product."""
    rows, columns = feature_reliefs(p).project(_heights(), _azimuths(), surface_azimuth)
    ear_rows, ear_columns = _ear_relief(p)
    nose_rows, nose_columns = _nose_ridge_relief(p)
    rows = torch.cat([rows, ear_rows[:, None], nose_rows[:, None]], dim=1)
    columns = torch.cat([columns, ear_columns[:, None], nose_columns[:, None]], dim=1)
    return torch.bmm(rows.transpose(1, 2), columns)


def _hair_thickness(p: Factors) -> Tensor:
    y = _heights()
    grid_y, grid_azimuth = torch.meshgrid(y, _azimuths(), indexing="ij")
    mask = hair_volume_mask(p, grid_azimuth.reshape(1, -1), grid_y.reshape(1, -1)).view(-1, ROWS, COLUMNS)
    volume = p["hair_volume"] * ((1 - 0.45 * smoothstep(y, -0.5, 0.6)) * smoothstep(y, -1.97, -1.55))
    return mask * (volume + 0.02 * smoothstep(y, -1.9, -1.7))[..., None]


def _hat_thickness(p: Factors) -> Tensor:
    y = _heights()
    crown_and_brim = 0.14 * smoothstep(-y, 0.80, 0.86) + 0.30 * bell(y + 0.80, 0.05)
    front = 1 - 0.8 * smoothstep(_azimuths().abs(), 0.9, 1.4)
    return p["has_hat"][..., None] * (crown_and_brim[:, None] * front)


def _stretch_mask(p: Factors, radius: Tensor) -> Tensor:
    """Span a face mask from ridge to ridge over the lower face of those who wear one."""
    wearers = p["has_mask"][:, 0].nonzero()[:, 0]
    beside = _azimuths().abs()
    region = smoothstep(_heights()[:, None] - 0.12 * beside, 0.33, 0.45) * (1 - smoothstep(beside, 1.1, 1.35))
    bare = radius[wearers]
    cloth = torch.maximum(bare, box_filter(bare, 17)) + 0.03
    return radius.index_copy(0, wearers, torch.lerp(bare, cloth, region.expand_as(bare)))


def _relief(radius: Tensor) -> Tensor:
    """Return slopes by central differences, which shade smoothly, and ambient occlusion by local averages."""
    azimuth, y = _azimuths(), _heights()
    along_azimuth = torch.zeros_like(radius)
    along_azimuth[..., 1:-1] = (radius[..., 2:] - radius[..., :-2]) / (azimuth[2:] - azimuth[:-2])
    along_height = torch.empty_like(radius)
    along_height[:, 1:-1] = (radius[:, 2:] - radius[:, :-2]) / (2 * (y[1] - y[0]))
    along_height[:, 0], along_height[:, -1] = along_height[:, 1], along_height[:, -2]
    wide = (radius - box_filter(radius, 13)).clamp_(-0.12, 0.02)
    narrow = (radius - box_filter(radius, 5)).clamp_(-0.06, 0.01)
    ambient = (1 + 4 * wide + 4 * narrow).clamp_(0.35, 1.08)
    return torch.stack([along_azimuth / radius.clamp_min(0.1), along_height, ambient], dim=1)


def build_head(p: Factors) -> HeadMap:
    """Build the radial maps of a batch of heads with hair, hat and mask.

    Args:
        p: Derived factors, columns [B, 1] or [B, k].

    Returns:
        Maps of ``ROWS`` by ``COLUMNS`` cells.
    """
    radius = _skull(p) + _displacement(p) + _hair_thickness(p) + _hat_thickness(p)
    radius = box_filter(_stretch_mask(p, radius), 3)
    return HeadMap(radius[:, None], _relief(radius), p["chin_height"] + 0.06)
