"""Weak-perspective camera, the frame of the image, landmarks and the face box.

Yaw turns the nose to the right of the image and pitch lowers it. The unit of the image plane is the pupil
distance; a similarity maps it to pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from src.datamodules.alignment import similarity_from_landmarks
from src.datamodules.procfaces.fields import Factors, Vector
from src.datamodules.procfaces.geometry import HeadMap, surface_azimuth, surface_points

__all__ = [
    "Camera",
    "Frame",
    "Placement",
    "Rays",
    "aligned_camera",
    "face_box",
    "landmarks_3d",
    "loose_camera",
]

Frame = Literal["arcface", "loose"]

_TEMPLATE_SIZE = 112

# The point between nose and mouth that a loose frame places, in the image plane of the upright head.
_LOOSE_ANCHOR = 0.55


@dataclass(frozen=True)
class Placement:
    """Where the face lies in a loose frame.

    Attributes:
        scale: Pixels per pupil distance, a number or [B].
        x: Horizontal position of the middle of the face in pixels, a number or [B].
        y: Vertical position of the middle of the face in pixels, a number or [B].
    """

    scale: Tensor | float
    x: Tensor | float
    y: Tensor | float

    @classmethod
    def default(cls, size: int) -> Placement:
        """Return the placement of a photograph in the style of LFW (Huang et al. 2007)."""
        return cls(41 / 250 * size, 125 / 250 * size, 118 / 250 * size)


@dataclass(frozen=True)
class Rays:
    """One viewing ray per pixel in the head frame; ``origin + t * direction`` with t growing to the camera.

    Attributes:
        origin: Where the rays cross the plane of the head axis, planes [B, P].
        direction: Planes [B, P].
        pixel: Size of a pixel in pupil distances [B, 1].
        size: Side of the image in pixels; P is its square.
    """

    origin: Vector
    direction: Vector
    pixel: Tensor
    size: int

    def every_second(self) -> Rays:
        """Return the rays of every second pixel of every second row."""

        def halve(plane: Tensor) -> Tensor:
            return plane.view(-1, self.size, self.size)[:, ::2, ::2].flatten(1)

        x, y, z = map(halve, self.origin)
        dx, dy, dz = map(halve, self.direction)
        return Rays((x, y, z), (dx, dy, dz), 2 * self.pixel, (self.size + 1) // 2)


@dataclass(frozen=True)
class Camera:
    """Projection of the head frame to pixels.

    The similarity takes (X, Y) to ``(cosine X - sine Y, sine X + cosine Y) + shift``.

    Attributes:
        rotation: Head to camera [B, 3, 3].
        distance: From the head axis, in pupil distances [B, 1].
        cosine: Scaled cosine of the similarity [B, 1].
        sine: Scaled sine of the similarity [B, 1].
        shift: Pixels [B, 2].
    """

    rotation: Tensor
    distance: Tensor
    cosine: Tensor
    sine: Tensor
    shift: Tensor

    def project(self, points: Tensor) -> Tensor:
        """Return the pixels [B, K, 2] of points [B, K, 3] of the head frame."""
        plane = _perspective(points, self.rotation, self.distance)
        x, y = plane.unbind(-1)
        turned = torch.stack([self.cosine * x - self.sine * y, self.sine * x + self.cosine * y], dim=-1)
        return turned + self.shift[:, None]

    def rays(self, size: int) -> Rays:
        """Return the rays through the pixel centres of a square image."""
        axis = torch.arange(size, dtype=torch.float32)
        rows, columns = torch.meshgrid(axis, axis, indexing="ij")
        i, j = columns.reshape(1, -1) - self.shift[:, :1], rows.reshape(1, -1) - self.shift[:, 1:]
        squared = self.cosine**2 + self.sine**2
        x = (self.cosine * i + self.sine * j) / squared
        y = (self.cosine * j - self.sine * i) / squared
        (rx, ry, rz), (ux, uy, uz), (wx, wy, wz) = (self.rotation[:, row].split(1, dim=1) for row in range(3))
        origin = (rx * x + ux * y, ry * x + uy * y, rz * x + uz * y)
        direction = (
            wx - origin[0] / self.distance,
            wy - origin[1] / self.distance,
            wz - origin[2] / self.distance,
        )
        return Rays(origin, direction, squared.rsqrt(), size)


def _rotation(p: Factors) -> Tensor:
    yaw, pitch = torch.deg2rad(p["yaw"][:, 0]), torch.deg2rad(p["pitch"][:, 0])
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)
    cos_yaw, sin_yaw, cos_pitch, sin_pitch = yaw.cos(), yaw.sin(), pitch.cos(), pitch.sin()
    turn = torch.stack([cos_yaw, zero, sin_yaw, zero, one, zero, -sin_yaw, zero, cos_yaw], dim=1)
    nod = torch.stack([one, zero, zero, zero, cos_pitch, -sin_pitch, zero, sin_pitch, cos_pitch], dim=1)
    return nod.view(-1, 3, 3) @ turn.view(-1, 3, 3)


def _perspective(points: Tensor, rotation: Tensor, distance: Tensor) -> Tensor:
    seen = points @ rotation.transpose(1, 2)
    return seen[..., :2] / (1 - seen[..., 2:] / distance[..., None])


def landmarks_3d(p: Factors, head: HeadMap) -> Tensor:
    """Return the five landmarks [B, 5, 3] on the surface: eyes, nose, mouth corners, left in the image first.

    Points on the far side stay defined when they are hidden, as detectors have it.
    """
    eye, mouth, zero = p["eye_offset"], p["mouth_half_width"], torch.zeros_like(p["eye_offset"])
    mouth_y = p["mouth_height"] - 0.08 * p["smile"]
    x = torch.cat([-eye, eye, zero, -mouth, mouth], dim=1)
    y = torch.cat([zero, zero, p["nose_length"] + 0.5 * p["nose_upturn"], mouth_y, mouth_y], dim=1)
    return surface_points(head, surface_azimuth(x), y)


def aligned_camera(p: Factors, landmarks: Tensor, size: int) -> Camera:
    """Return the camera whose image is already aligned to the ArcFace template, up to the alignment error.

    Rendering in the aligned frame avoids the blur of resampling.

    Args:
        p: Derived factors.
        landmarks: Points [B, 5, 3] of the head frame.
        size: Side of the image in pixels.
    """
    rotation, distance = _rotation(p), p["camera_distance"]
    matrices, _ = similarity_from_landmarks(_perspective(landmarks, rotation, distance), _TEMPLATE_SIZE)
    zoom = size / _TEMPLATE_SIZE
    cosine, sine = (zoom * matrices[:, :, 0].float()).split(1, dim=1)
    # Scaling about the corner of the image keeps pixel centres at whole numbers.
    shift = (matrices[:, :, 2].float() + 0.5) * zoom - 0.5

    angle = torch.deg2rad(p["alignment_rotation"])
    error_cosine, error_sine = p["alignment_scale"] * angle.cos(), p["alignment_scale"] * angle.sin()
    middle = (size - 1) / 2
    x, y = (shift - middle).split(1, dim=1)
    turned = torch.cat([error_cosine * x - error_sine * y, error_sine * x + error_cosine * y], dim=1)
    return Camera(
        rotation,
        distance,
        error_cosine * cosine - error_sine * sine,
        error_sine * cosine + error_cosine * sine,
        turned + middle + zoom * p["alignment_shift"],
    )


def loose_camera(p: Factors, placement: Placement) -> Camera:
    """Return the camera of an unaligned photograph, with the head rolled in the image."""
    like = p["roll"]
    scale, x, y = (
        torch.as_tensor(value, dtype=torch.float32).reshape(-1, 1).expand_as(like)
        for value in (placement.scale, placement.x, placement.y)
    )
    roll = torch.deg2rad(like)
    cosine, sine = scale * roll.cos(), scale * roll.sin()
    shift = torch.cat([x + _LOOSE_ANCHOR * sine, y - _LOOSE_ANCHOR * cosine], dim=1)
    return Camera(_rotation(p), p["camera_distance"], cosine, sine, shift)


def face_box(p: Factors, head: HeadMap, camera: Camera) -> Tensor:
    """Return the box [B, 4] (left, top, right, bottom in pixels) around the face from hair line to chin."""
    azimuths = torch.arange(-80, 81, 10) * (math.pi / 180)
    chin = p["chin_height"] - 0.05
    levels = torch.tensor([-0.95, -0.5, 0.0, 0.5, 1.0, 1.4]).expand(len(chin), -1)
    y = torch.cat([levels, chin], dim=1).repeat_interleave(len(azimuths), dim=1)
    azimuth = azimuths.repeat(levels.shape[1] + 1).expand_as(y)
    pixels = camera.project(surface_points(head, azimuth, y))
    return torch.cat([pixels.amin(1), pixels.amax(1)], dim=1)
