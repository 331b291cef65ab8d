"""Light on the person: day light or lamps for the visible image, a lamp at the camera for the infrared one."""

from __future__ import annotations

import torch
from torch import Tensor

from src.datamodules.procfaces.albedo import PaintedHead
from src.datamodules.procfaces.albedo.eyes import Eyes
from src.datamodules.procfaces.camera import Camera
from src.datamodules.procfaces.fields import Factors, Vector, dot, normalize, smoothstep
from src.datamodules.procfaces.geometry import HeadMap
from src.datamodules.procfaces.materials import Person
from src.datamodules.procfaces.visibility import Surface, clearance

__all__ = ["shade_infrared", "shade_visible"]

# Red light travels furthest under the skin and softens its shadows.
_SUBSURFACE_WRAP = (0.16, 0.05, 0.0)
_SHADOW_STEPS = (0.09, 0.2, 0.36)
_SHADOW_OFFSET = 0.035


def _light_direction(azimuth: Tensor, elevation: Tensor, camera: Camera) -> Vector:
    """Return the columns [B, 1] of a unit vector to the light in the head frame, from camera angles (degrees)."""
    azimuth, elevation = torch.deg2rad(azimuth), torch.deg2rad(elevation)
    seen = torch.cat([azimuth.sin() * elevation.cos(), -elevation.sin(), azimuth.cos() * elevation.cos()], dim=1)
    x, y, z = torch.einsum("bij,bi->bj", camera.rotation, seen).split(1, dim=1)
    return x, y, z


def _view_direction(camera: Camera) -> Vector:
    x, y, z = camera.rotation[:, 2].split(1, dim=1)
    return x, y, z


def _cast_shadow(head: HeadMap, surface: Surface, person: Person, light: Vector, p: Factors) -> Tensor:
    """Return the part [B, P] of the key light that arrives, from three probes of the radial map towards it."""
    start = [
        at + _SHADOW_OFFSET * normal
        for at, normal in zip((surface.x, surface.y, surface.z), person.material.normal, strict=True)
    ]
    free = torch.ones_like(surface.x)
    for step in _SHADOW_STEPS:
        x, y, z = (at + step * towards for at, towards in zip(start, light, strict=True))
        gap = clearance(head, (x, y, z))
        free = torch.minimum(free, (0.65 + gap / (0.22 * step + 0.02)).clamp_(0, 1))
    return 1 - p["shadow_strength"] * (1 - free) * person.head


def _tinted(warmth: Tensor, tint: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return 1 + warmth, 1 + tint, 1 - warmth


def _catch_light(surface: Surface, eyes: Eyes, person: Person, x: Tensor | float, y: float, radius: float) -> Tensor:
    distance = ((eyes.x - x) ** 2 + (eyes.y - y) ** 2).sqrt_()
    return surface.fill(distance - radius) * eyes.visible * person.head


def shade_visible(
    head: HeadMap, surface: Surface, painted: PaintedHead, person: Person, camera: Camera, p: Factors
) -> Tensor:
    """Return the linear colour [B, 3, P] of the person under key, fill and ambient light.

    Wrapped Lambertian reflection per channel, a Blinn-Phong highlight (Blinn 1977), a rim of grazing
    reflection, cast shadows, catch lights in the eyes and reflections in lenses.
    """
    material = person.material
    light = _light_direction(p["light_azimuth"], p["light_elevation"], camera)
    fill_light = _light_direction(p["fill_azimuth"], 0.3 * p["light_elevation"], camera)
    view = _view_direction(camera)
    half = normalize((light[0] + view[0], light[1] + view[1], light[2] + view[2]))
    facing_light, facing_view = dot(material.normal, light), dot(material.normal, view)
    shadow = _cast_shadow(head, surface, person, light, p)

    key = p["key_light"] * shadow
    fill = (0.7 * dot(material.normal, fill_light) + 0.3).clamp_(min=0) * p["fill_light"] * material.ambient
    sky = (0.75 - 0.25 * material.normal[1]) * p["ambient_light"] * material.ambient
    diffuse_key = key * (0.55 + 0.45 * material.ambient)
    highlight = dot(material.normal, half).clamp_(0, 1) ** 16
    highlight = 1.3 * key * material.gloss * highlight * facing_light.clamp(0, 1).sqrt_()
    rim = 0.14 * material.gloss * (1 - facing_view.clamp(0, 1)) ** 4

    key_color = _tinted(p["key_warmth"], p["light_tint"])
    sky_color = _tinted(p["ambient_warmth"], p["light_tint"])
    channels = []
    for i, softening in enumerate(_SUBSURFACE_WRAP):
        wrap = (p["light_wrap"] + softening).clamp_(0, 0.9)
        lambert = ((facing_light + wrap) / (1 + wrap)).clamp_(min=0)
        arriving = diffuse_key * key_color[i] * lambert + sky * sky_color[i] + fill
        channels.append(1.25 * material.albedo[:, i] * arriving + highlight * key_color[i] + rim)
    color = torch.stack(channels, dim=1)

    catch = _catch_light(surface, painted.eyes, person, 0.028 * light[0].sign(), -0.035, 0.017)
    color = torch.lerp(color, torch.ones_like(color), 0.85 * catch[:, None])
    streak = smoothstep(surface.x - 0.2 + 0.5 * surface.y + 0.3 * surface.side, 0.25, 0.4)
    reflection = painted.lens_reflection * person.head * (0.03 + 0.05 * streak)
    return color + reflection[:, None]


def shade_infrared(surface: Surface, painted: PaintedHead, person: Person, camera: Camera) -> Tensor:
    """Return the near-infrared intensity [B, P] of the person under a lamp beside the lens."""
    material = person.material
    facing = dot(material.normal, _view_direction(camera))
    lambert = ((facing + 0.25) / 1.25).clamp_(min=0)
    arriving = 1.05 * lambert * (0.6 + 0.4 * material.ambient) + 0.10 * material.ambient
    intensity = 1.15 * material.albedo[:, 3] * arriving + 0.55 * material.gloss * facing.clamp(0, 1) ** 24
    catch = _catch_light(surface, painted.eyes, person, 0.0, 0.0, 0.018)
    return torch.lerp(intensity, torch.ones_like(intensity), 0.95 * catch)
