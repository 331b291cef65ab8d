"""From parameters to images: geometry, visibility, albedo, light and camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from src.datamodules.procfaces.albedo import mix_palette, paint_head
from src.datamodules.procfaces.appearance import derive
from src.datamodules.procfaces.camera import (
    Frame,
    Placement,
    aligned_camera,
    face_box,
    landmarks_3d,
    loose_camera,
)
from src.datamodules.procfaces.geometry import build_head
from src.datamodules.procfaces.materials import assemble_person
from src.datamodules.procfaces.scene import build_backdrop, build_patch, record_infrared, record_visible
from src.datamodules.procfaces.shading import shade_infrared, shade_visible
from src.datamodules.procfaces.visibility import trace_head
from src.errors import UserError

__all__ = ["RENDER_VERSION", "Rendering", "render"]

RENDER_VERSION = 1
"""Changes with every change of a constant of the renderer, so that caches know their pictures are old."""


@dataclass(frozen=True)
class Rendering:
    """Images of a batch with their annotation.

    Attributes:
        visible: RGB float32 [B, 3, S, S] in [0, 1].
        infrared: Near infrared float32 [B, 1, S, S] in [0, 1], of the same instant, or None.
        landmarks: Eyes, nose and mouth corners [B, 5, 2] in pixels, x before y, left in the image first.
        box: Face box [B, 4] in pixels: left, top, right, bottom.
        coverage: How much of each pixel the person fills [B, S, S].
        head: How much of each pixel the visible head fills [B, S, S].
    """

    visible: Tensor
    infrared: Tensor | None
    landmarks: Tensor
    box: Tensor
    coverage: Tensor
    head: Tensor


@torch.no_grad()
def render(
    parameters: Mapping[str, Tensor],
    size: int,
    frame: Frame = "arcface",
    placement: Placement | None = None,
    infrared: bool = True,
) -> Rendering:
    """Render a batch of faces on the CPU.

    An image does not depend on the others of its batch. Batches of 16 to 32 at 64 pixels and of 8 at 112 are
    the fastest, with one thread per process.

    Args:
        parameters: float32 tensors [B] or [B, k] made by :func:`~src.datamodules.procfaces.combine`.
        size: Side of the square image in pixels.
        frame: ``"arcface"`` renders straight into the aligned frame, up to the alignment error of the
            parameters; ``"loose"`` renders a photograph that still has to be aligned.
        placement: Where the face lies in a loose frame; by default as in LFW.
        infrared: Render the near-infrared image too (5 % more time).

    Returns:
        Images before degradation, landmarks, boxes and masks.

    Raises:
        UserError: The frame is unknown, or a placement is given for the aligned frame.
    """
    if frame not in get_args(Frame):
        raise UserError(f"frame: expected one of {', '.join(get_args(Frame))}, found {frame!r}")
    if frame == "arcface" and placement is not None:
        raise UserError("placement: the aligned frame 'arcface' has none; use frame 'loose' or leave it out")
    p = derive(parameters)
    head = build_head(p)
    landmarks = landmarks_3d(p, head)
    if frame == "arcface":
        camera = aligned_camera(p, landmarks, size)
    else:
        camera = loose_camera(p, placement or Placement.default(size))
    rays = camera.rays(size)
    surface = trace_head(head, rays)
    palette = mix_palette(p)
    painted = paint_head(surface, p, palette)
    person = assemble_person(head, surface, painted, rays, p, palette)
    backdrop = build_backdrop(p, size)
    patch = build_patch(p, palette, backdrop, size)

    light = shade_visible(head, surface, painted, person, camera, p)
    visible = record_visible(light, person.coverage, backdrop, patch, p)
    near_infrared = None
    if infrared:
        lamp = shade_infrared(surface, painted, person, camera)
        near_infrared = record_infrared(lamp, person.coverage, backdrop, patch, p, size)
        near_infrared = near_infrared.view(-1, 1, size, size)
    return Rendering(
        visible=visible.view(-1, 3, size, size),
        infrared=near_infrared,
        landmarks=camera.project(landmarks),
        box=face_box(p, head, camera),
        coverage=person.coverage.view(-1, size, size),
        head=person.head.view(-1, size, size),
    )
