"""What each pixel sees: the head by ray marching, and neck, torso and long hair as ellipsoids."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from src.datamodules.procfaces.camera import Rays
from src.datamodules.procfaces.fields import Factors, Vector, dot, normalize, sample, smoothstep
from src.datamodules.procfaces.geometry import CROWN, HALF_HEIGHT, HeadMap, azimuth_column

__all__ = ["EllipsoidHit", "Surface", "clearance", "hit_ellipsoid", "long_hair", "neck", "torso", "trace_head"]

_START = 2.1
_COARSE_STEPS = 14
_COARSE_RATE = 0.5
# Ten steps are acceptable, twelve leave no dark slits beside the nose; careful ones first.
_FINE_RATES = (0.6,) * 6 + (0.75,) * 6
_NEAREST, _FARTHEST = -0.2, 1.2


@dataclass(frozen=True)
class Surface:
    """The point of the head that each pixel sees, or comes closest to.

    Attributes:
        x: Planes [B, P] in pupil distances, as all below.
        y: Height, down.
        z: Depth, to the camera of a frontal view.
        radius: Distance from the vertical axis.
        azimuth: Radians, 0 at the front.
        u: Horizontal map coordinate in [-1, 1].
        v: Vertical map coordinate in [-1, 1].
        depth: Position along the ray.
        coverage: How much of the pixel the head fills, 0..1.
        pixel: Size of a pixel [B, 1].
    """

    x: Tensor
    y: Tensor
    z: Tensor
    radius: Tensor
    azimuth: Tensor
    u: Tensor
    v: Tensor
    depth: Tensor
    coverage: Tensor
    pixel: Tensor

    def fill(self, distance: Tensor) -> Tensor:
        """Return the part of each pixel inside a region, from the signed distance to it (negative inside)."""
        return (distance / -self.pixel).add_(0.5).clamp_(0, 1)

    @cached_property
    def front(self) -> Tensor:
        """Weight [B, P] of the front of the head, where features are drawn in frontal (x, y)."""
        return smoothstep(self.z, 0.05, 0.35)

    @cached_property
    def beside(self) -> Tensor:
        """Distance [B, P] from the middle of the face: features drawn in it are symmetric."""
        return self.x.abs()

    @cached_property
    def side(self) -> Tensor:
        """-1 in the left half of the frontal view and +1 in the right half [B, P]."""
        return self.x.sign()


@dataclass(frozen=True)
class EllipsoidHit:
    """Where rays meet an ellipsoid.

    Attributes:
        depth: Position of the hit along the ray [B, P].
        coverage: Antialiased silhouette [B, P].
        normal: Unit normal planes [B, P].
        point: Planes [B, P].
    """

    depth: Tensor
    coverage: Tensor
    normal: Vector
    point: Vector


def _along(rays: Rays, depth: Tensor) -> Vector:
    (ox, oy, oz), (dx, dy, dz) = rays.origin, rays.direction
    return torch.addcmul(ox, depth, dx), torch.addcmul(oy, depth, dy), torch.addcmul(oz, depth, dz)


def _locate(point: Vector) -> tuple[Tensor, Tensor, Tensor]:
    """Return the distance from the axis, the azimuth and the horizontal map coordinate of points."""
    x, _, z = point
    radius = (x * x + z * z).clamp_min_(1e-6).sqrt_()
    azimuth = torch.atan2(x, z)
    return radius, azimuth, azimuth_column(azimuth, x / radius)


def clearance(head: HeadMap, point: Vector) -> Tensor:
    """Return how far points [B, P] lie outside of the radial surface, measured from the axis."""
    radius, _, u = _locate(point)
    return radius - sample(head.radius, u, point[1] / HALF_HEIGHT)[:, 0]


def _capped_clearance(head: HeadMap, point: Vector) -> Tensor:
    # The caps remove a spike under the chin and a knob on the crown.
    caps = torch.maximum(point[1] - head.lowest, CROWN - point[1])
    return torch.maximum(clearance(head, point), caps)


def _march_coarsely(head: HeadMap, rays: Rays) -> Tensor:
    """Return the depth of closest approach at full resolution from rays of every second pixel."""
    coarse = rays.every_second()
    depth = torch.full_like(coarse.origin[0], _START)
    nearest, nearest_depth = torch.full_like(depth, torch.inf), depth
    for _ in range(_COARSE_STEPS):
        gap = _capped_clearance(head, _along(coarse, depth))
        nearest_depth = torch.where(gap < nearest, depth, nearest_depth)
        nearest = torch.minimum(nearest, gap)
        depth = depth - _COARSE_RATE * gap.clamp_(_NEAREST, _FARTHEST)
    # Start in front of whatever a neighbour sees, so that thin parts are not missed.
    grid = functional.max_pool2d(nearest_depth.view(-1, 1, coarse.size, coarse.size), 3, 1, 1) + 0.02
    return functional.interpolate(grid, scale_factor=2)[:, :, : rays.size, : rays.size].flatten(1)


def trace_head(head: HeadMap, rays: Rays) -> Surface:
    """Find the visible point of the head for every ray.

    Args:
        head: Radial maps of the batch.
        rays: Rays of all pixels.

    Returns:
        Points and their coverage; the silhouette is antialiased by the distance of closest approach.
    """
    depth = _march_coarsely(head, rays)
    nearest, nearest_depth = torch.full_like(depth, torch.inf), depth
    for rate in _FINE_RATES:
        gap = _capped_clearance(head, _along(rays, depth))
        distance = gap.abs()
        nearest_depth = torch.where(distance < nearest, depth, nearest_depth)
        nearest = torch.minimum(nearest, distance)
        depth = depth - rate * gap.clamp_(_NEAREST, _FARTHEST)
    x, y, z = point = _along(rays, nearest_depth)
    radius, azimuth, u = _locate(point)
    coverage = (1.3 - _capped_clearance(head, point) / rays.pixel).clamp_(0, 1)
    v = y / HALF_HEIGHT
    return Surface(x, y, z, radius, azimuth, u, v, nearest_depth, coverage, rays.pixel)


def hit_ellipsoid(
    rays: Rays, center: tuple[Tensor | float, ...], radii: tuple[Tensor | float, ...]
) -> tuple[EllipsoidHit, Tensor]:
    """Intersect rays with axis-parallel ellipsoids.

    Args:
        rays: Rays of all pixels.
        center: Three coordinates, numbers or columns [B, 1].
        radii: Three half axes, numbers or columns [B, 1].

    Returns:
        The hit on the near side, and the depth [B, P] of the far side.
    """
    ox, oy, oz = ((o - c) / r for o, c, r in zip(rays.origin, center, radii, strict=True))
    dx, dy, dz = (d / r for d, r in zip(rays.direction, radii, strict=True))
    origin, direction = (ox, oy, oz), (dx, dy, dz)
    a, b, c = dot(direction, direction), dot(origin, direction), dot(origin, origin) - 1
    discriminant = b * b - a * c
    root = discriminant.clamp_min(0).sqrt_()
    near, far = (root - b) / a, (-root - b) / a
    coverage = (0.5 + 0.25 * discriminant / a.clamp_min(1e-6) / rays.pixel).clamp_(0, 1)
    nx, ny, nz = ((o + near * d) / r for o, d, r in zip(origin, direction, radii, strict=True))
    return EllipsoidHit(near, coverage, normalize((nx, ny, nz)), _along(rays, near)), far


def neck(p: Factors, rays: Rays) -> EllipsoidHit:
    """Return the hit on the neck, a long ellipsoid that starts below the nose."""
    width = 0.62 + 0.10 * p["masculine"] + 0.1 * (p["jaw_width"] - 0.8)
    hit, _ = hit_ellipsoid(rays, (0.0, 2.6, -0.30), (width, 6.0, 1.02 * width))
    return EllipsoidHit(hit.depth, hit.coverage * (hit.point[1] > 0.6), hit.normal, hit.point)


def torso(p: Factors, rays: Rays) -> EllipsoidHit:
    """Return the hit on the clothed torso."""
    hit, _ = hit_ellipsoid(rays, (0.0, 4.30, -0.45), (2.6 + 0.3 * p["masculine"], 1.75, 1.15))
    return hit


def long_hair(p: Factors, rays: Rays) -> tuple[EllipsoidHit, Tensor]:
    """Return the hit on the shell of long hair.

    Where the near side would hang before face and neck, the far side is seen instead.

    Returns:
        The hit, and a mask [B, P] of the pixels that see the far side.
    """
    volume, length = p["hair_volume"], p["hair_length"]
    radii = (1.21 + 1.5 * volume, 1.82 + 0.60 * length + volume, 1.30 + volume)
    hit, far = hit_ellipsoid(rays, (0.0, 0.08 + 0.55 * length, -0.42), radii)
    parted = hit.point[2] > 0.42 - 0.55 * smoothstep(hit.point[1], 0.9, 1.8)
    depth = torch.where(parted, far, hit.depth)
    shell = EllipsoidHit(depth, hit.coverage * p["long_hair"], hit.normal, hit.point)
    return shell, parted.float()
