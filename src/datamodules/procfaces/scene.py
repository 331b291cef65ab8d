"""What lies behind the person, an object that may be held before it, and how the camera records it all."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from src.datamodules.procfaces.albedo import Palette
from src.datamodules.procfaces.albedo.palette import solid
from src.datamodules.procfaces.fields import Factors, value_noise

__all__ = ["Backdrop", "Patch", "build_backdrop", "build_patch", "record_infrared", "record_visible"]

_LUMA = (0.3, 0.59, 0.11)
_DARKEST = 1e-4
_MIDDLE_GREY = 0.45


@dataclass(frozen=True)
class Backdrop:
    """Out-of-focus background.

    Attributes:
        visible: Linear colour [B, 3, P].
        infrared: Near-infrared intensity [B, P]: nearly black, for the lamp is weak.
        clouds: Slow noise [B, P] with unit variance.
    """

    visible: Tensor
    infrared: Tensor
    clouds: Tensor


@dataclass(frozen=True)
class Patch:
    """A hand or an object before the face.

    Attributes:
        color: Linear colour and near infrared [B, 4, P].
        weight: Opacity [B, P].
    """

    color: Tensor
    weight: Tensor


def _image_grid(size: int) -> tuple[Tensor, Tensor]:
    axis = torch.arange(size, dtype=torch.float32)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    return columns.reshape(1, -1), rows.reshape(1, -1)


def build_backdrop(p: Factors, size: int) -> Backdrop:
    """Draw a background of slow noise and a vertical gradient."""
    columns, rows = _image_grid(size)
    x, y = columns / size - 0.5, rows / size - 0.5
    phase = 2 * p["background_phase"]
    blobs = value_noise(phase[:, 0:2], 0.12 * x, 0.12 * y)
    clouds = value_noise(phase[:, 2:4], 0.5 * x, 0.4 * y)
    brightness, red, green, blue, blob_strength, cloud_strength, gradient = p["background"][:, :7].split(1, dim=1)
    light = 1 + 0.35 * blob_strength * blobs + 0.25 * cloud_strength * clouds + 1.2 * (gradient - 0.5) * y
    channels = [
        ((0.03 + 0.75 * (0.72 * brightness + 0.28 * hue) ** 1.6) * light).clamp_(0.005, 1.2)
        for hue in (red, green, blue)
    ]
    return Backdrop(torch.stack(channels, dim=1), 0.02 + 0.10 * red * (1 + 0.3 * blobs), clouds)


def build_patch(p: Factors, palette: Palette, backdrop: Backdrop, size: int) -> Patch:
    """Draw a super-elliptic object in front of a part of the face; every second one has the colour of skin."""
    columns, rows = _image_grid(size)
    kind, first, second, third, fourth, fifth = p["occluder_shape"].split(1, dim=1)
    x, y = columns - (0.1 + 0.8 * first) * size, rows - (0.25 + 0.7 * second) * size
    angle = 3.14 * third
    half_width, half_height = (8 + 12 * fourth) * size / 112, (10 + 24 * fifth) * size / 112
    across = (x * angle.cos() + y * angle.sin()) / half_width
    along = (y * angle.cos() - x * angle.sin()) / half_height
    distance = ((across**4 + along**4) ** 0.25 - 1) * torch.minimum(half_width, half_height)
    weight = p["has_patch"] * (0.5 - distance).clamp_(0, 1)

    thing = solid(0.05 + 0.7 * third**2, 0.05 + 0.6 * fourth**2, 0.05 + 0.6 * fifth**2, 0.4, like=kind)
    color = torch.where(kind[:, None] < 0.5, 1.1 * palette.skin, thing)
    rounding = 0.75 - 0.25 * across.clamp(-1, 1) ** 2 + 0.06 * backdrop.clouds
    return Patch(color * rounding[:, None], weight)


def record_visible(person: Tensor, coverage: Tensor, backdrop: Backdrop, patch: Patch, p: Factors) -> Tensor:
    """Compose the scene and record it with the camera's exposure, white balance, tone curve and colours.

    Args:
        person: Linear colour [B, 3, P].
        coverage: Coverage of the person [B, P].
        backdrop: Background.
        patch: Object before the face.
        p: Derived factors.

    Returns:
        Display-referred colour [B, 3, P] in [0, 1].
    """
    light = torch.lerp(backdrop.visible, person, coverage[:, None])
    light.lerp_(patch.color[:, :3], patch.weight[:, None])
    light = (light * torch.exp2(p["exposure"])[:, None] * (1 + p["white_balance"])[..., None]).clamp_(min=_DARKEST)
    image = (light / (1 + 0.18 * light)) ** (1 / (2.2 * p["gamma"]))[:, None]
    luma = (image * torch.tensor(_LUMA)[:, None]).sum(1, keepdim=True)
    image = luma + (image - luma) * (p["saturation"] * (1 - p["monochrome"]))[:, None]
    return ((image - _MIDDLE_GREY) * p["contrast"][:, None] + _MIDDLE_GREY).clamp_(0, 1)


def record_infrared(
    person: Tensor, coverage: Tensor, backdrop: Backdrop, patch: Patch, p: Factors, size: int
) -> Tensor:
    """Compose the scene and record it with an infrared camera, whose lamp leaves the corners dark.

    Args:
        person: Intensity [B, P].
        coverage: Coverage of the person [B, P].
        backdrop: Background.
        patch: Object before the face.
        p: Derived factors.
        size: Side of the image in pixels.

    Returns:
        Display-referred intensity [B, P] in [0, 1].
    """
    columns, rows = _image_grid(size)
    vignette = 1 - 0.7 * ((columns / size - 0.5) ** 2 + (rows / size - 0.5) ** 2)
    light = torch.lerp(backdrop.infrared, person, coverage)
    light.lerp_(0.9 * patch.color[:, 3], patch.weight)
    light = (light * vignette * torch.exp2(0.4 * p["exposure"])).clamp_(min=_DARKEST)
    return (light / (1 + 0.25 * light)).sqrt_().clamp_(0, 1)
