"""Layers of material from the torso up to the head, put together by depth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from src.datamodules.procfaces.albedo import PaintedHead, Palette
from src.datamodules.procfaces.albedo.hair import HAIR_GLOSS, strand_brightness, strands
from src.datamodules.procfaces.albedo.palette import solid
from src.datamodules.procfaces.camera import Rays
from src.datamodules.procfaces.fields import Factors, Vector, normalize, sample, smoothstep
from src.datamodules.procfaces.geometry import HeadMap
from src.datamodules.procfaces.visibility import EllipsoidHit, Surface, long_hair, neck, torso

__all__ = ["Material", "Person", "assemble_person"]

_OPAQUE = 0.5
_BEHIND = -9.0


@dataclass(frozen=True)
class Material:
    """What shading needs to know about every pixel.

    Attributes:
        albedo: Reflectance [B, 4, P]: linear red, green, blue and near infrared.
        normal: Normal planes [B, P].
        ambient: Ambient occlusion [B, P], 1 in the open.
        gloss: Strength of specular reflection [B, P].
    """

    albedo: Tensor
    normal: Vector
    ambient: Tensor
    gloss: Tensor


@dataclass(frozen=True)
class Person:
    """Everything of a person that the image shows.

    Attributes:
        material: Blend of the visible layers; normals have unit length.
        coverage: How much of each pixel the person fills [B, P].
        head: How much of each pixel the visible head fills [B, P].
    """

    material: Material
    coverage: Tensor
    head: Tensor


def _cover(below: Material, coverage: Tensor, top: Material, alpha: Tensor) -> tuple[Material, Tensor]:
    """Lay a material over another (Porter and Duff 1984, "over") without premultiplied colours.

    A plain blend with the larger coverage would draw coloured halos along silhouettes.

    Returns:
        The blend and its coverage [B, P].
    """
    total = alpha + coverage * (1 - alpha)
    weight = alpha / total.clamp_min(1e-3)
    x, y, z = (torch.lerp(a, b, weight) for a, b in zip(below.normal, top.normal, strict=True))
    blend = Material(
        torch.lerp(below.albedo, top.albedo.expand_as(below.albedo), weight[:, None]),
        (x, y, z),
        torch.lerp(below.ambient, top.ambient, weight),
        torch.lerp(below.gloss, top.gloss, weight),
    )
    return blend, total


def _clothes(hit: EllipsoidHit, p: Factors) -> Material:
    red, green, blue, infrared = p["clothing"][:, :4].split(1, dim=1)
    channels = [0.03 + 0.75 * value**1.5 for value in (red, green, blue)]
    color = solid(*channels, 0.35 + 0.45 * infrared, like=red)
    flat = torch.ones_like(hit.depth)
    return Material(color.expand(-1, -1, flat.shape[1]), hit.normal, 0.9 * flat, 0.0 * flat)


def _neck_skin(hit: EllipsoidHit, p: Factors, palette: Palette) -> Material:
    chin = p["chin_height"]
    shade = 1 - 0.45 * (1 - smoothstep(hit.point[1], chin + 0.02, chin + 0.75))
    return Material(0.80 * palette.skin, hit.normal, shade, torch.full_like(shade, 0.05))


def _falling_hair(hit: EllipsoidHit, parted: Tensor, p: Factors, palette: Palette) -> Material:
    x, y, z = hit.point
    coarse, fine = strands(p, torch.atan2(x, z), y, 0.40, 0.7)
    brightness = strand_brightness(p, 1.1 * coarse, fine).clamp_(0.25, 2) * (1 - 0.62 * parted)
    flat = torch.ones_like(y)
    return Material(palette.hair * brightness[:, None], hit.normal, 0.85 * flat, HAIR_GLOSS * flat)


def _head_material(head: HeadMap, surface: Surface, painted: PaintedHead) -> Material:
    slope, rise, ambient = sample(head.relief, surface.u, surface.v).unbind(1)
    sine, cosine = surface.x / surface.radius, surface.z / surface.radius
    normal = normalize((sine - slope * cosine, -rise, cosine + slope * sine))
    return Material(painted.albedo, normal, ambient, painted.gloss)


def assemble_person(
    head: HeadMap, surface: Surface, painted: PaintedHead, rays: Rays, p: Factors, palette: Palette
) -> Person:
    """Put torso, neck, long hair and head together, each where it is nearest.

    Args:
        head: Radial maps, for normals and ambient occlusion.
        surface: Visible points of the head.
        painted: Colours of the head.
        rays: Rays of all pixels.
        p: Derived factors.
        palette: Colours of the batch.
    """
    body, throat = torso(p, rays), neck(p, rays)
    shell, parted = long_hair(p, rays)

    def before(depth: Tensor, other: Tensor, coverage: Tensor) -> Tensor:
        return depth > torch.where(coverage > _OPAQUE, other, _BEHIND)

    material, coverage = _clothes(body, p), body.coverage
    alpha = throat.coverage * (throat.coverage > _OPAQUE) * before(throat.depth, body.depth, coverage)
    nearest = torch.where(alpha > _OPAQUE, throat.depth, body.depth)
    material, coverage = _cover(material, coverage, _neck_skin(throat, p, palette), alpha)

    alpha = shell.coverage * before(shell.depth, nearest, coverage)
    material, coverage = _cover(material, coverage, _falling_hair(shell, parted, p, palette), alpha)

    hidden = (alpha > _OPAQUE) & (shell.depth > surface.depth)
    visible = surface.coverage * ~hidden
    material, coverage = _cover(material, coverage, _head_material(head, surface, painted), visible)
    material = Material(material.albedo, normalize(material.normal), material.ambient, material.gloss)
    return Person(material, coverage, visible)
