"""Relief of the face: sockets, cheeks, lips, nose and the bumps that make a person, as separable bells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from src.datamodules.procfaces.fields import Factors, bell

__all__ = ["Reliefs", "feature_reliefs"]

# Azimuths become arc lengths on the face when multiplied with its mean radius.
_MEAN_RADIUS = 1.36
_ASYMMETRY = 0.12


@dataclass(frozen=True)
class Reliefs:
    """Bells on the face, K per image.

    Attributes:
        x: Frontal position [B, K].
        width: Horizontal extent [B, K].
        y: Height [B, K].
        above: Vertical extent above the centre [B, K].
        below: Vertical extent below the centre [B, K].
        amplitude: Displacement at the centre [B, K].
        power: Exponent of the bells [K].
    """

    x: Tensor
    width: Tensor
    y: Tensor
    above: Tensor
    below: Tensor
    amplitude: Tensor
    power: Tensor

    def project(
        self, heights: Tensor, azimuths: Tensor, to_azimuth: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the vertical profiles times amplitude [B, K, V] and the horizontal profiles [B, K, U]."""
        power = self.power[:, None]
        arc = (azimuths - to_azimuth(self.x)[..., None]) * _MEAN_RADIUS
        rise = heights - self.y[..., None]
        extent = torch.where(rise < 0, self.above[..., None], self.below[..., None])
        return bell(rise, extent, power) * self.amplitude[..., None], bell(arc, self.width[..., None], power)


class _Sculptor:
    """Collects bells; scalars are broadcast over the batch."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._rows: list[list[Tensor]] = []
        self._powers: list[float] = []

    def add(
        self,
        x: Tensor | float,
        width: Tensor | float,
        y: Tensor | float,
        above: Tensor | float,
        below: Tensor | float,
        amplitude: Tensor | float,
        power: float = 2.0,
    ) -> None:
        """Add one bell, or k from columns [B, k]."""
        row = [torch.as_tensor(v).expand_as(self._like) for v in (x, width, y, above, below, amplitude)]
        self._rows.append(row)
        self._powers.append(power)

    def add_pair(
        self,
        x: Tensor | float,
        width: Tensor | float,
        y: Tensor | float,
        above: Tensor | float,
        below: Tensor | float,
        amplitude: Tensor | float,
        power: float = 2.0,
        asymmetry: Tensor | float = 0.0,
    ) -> None:
        """Add a bell and its mirror image; ``asymmetry`` makes one side stronger than the other."""
        for side in (-1, 1):
            skewed = amplitude * (1 + side * _ASYMMETRY * asymmetry)
            self.add(x * side, width, y, above, below, skewed, power)

    def finish(self) -> Reliefs:
        x, width, y, above, below, amplitude = (torch.cat(v, dim=1) for v in zip(*self._rows, strict=True))
        return Reliefs(x, width, y, above, below, amplitude, torch.tensor(self._powers))


def _sculpt_eyes(face: _Sculptor, p: Factors) -> None:
    eye, brow, ridge = p["eye_offset"], p["brow_height"], p["brow_ridge"]
    face.add_pair(eye, 0.23, 0.0, 0.19, 0.17, -p["eye_socket"], asymmetry=p["eye_asymmetry"])
    face.add_pair(eye + 0.01, 0.14, 0.015, 0.085, 0.085, 0.055)  # eye balls
    face.add_pair(0.9 * eye, 0.30, -brow - 0.02, 0.12, 0.10, ridge)
    face.add(0.0, 0.16, -0.24, 0.12, 0.12, 0.5 * ridge + 0.01)  # glabella
    face.add_pair(0.85, 0.22, -0.75, 0.25, 0.25, -0.03)  # temples


def _sculpt_cheeks(face: _Sculptor, p: Factors) -> None:
    chin, grin = p["chin_height"], p["grin"]
    cheekbone = p["cheekbone"] + 0.045 * grin
    groove = -0.02 - 0.02 * grin - 0.015 * p["old"]
    face.add_pair(0.72, 0.20, 0.42, 0.20, 0.20, cheekbone, asymmetry=p["cheek_asymmetry"])
    face.add_pair(0.58, 0.22, 0.88, 0.24, 0.24, p["cheek_fullness"] - 0.01, asymmetry=p["mouth_asymmetry"])
    face.add_pair(0.80, 0.22, 1.32, 0.22, 0.22, p["jaw_angle"] + p["jowl"])
    face.add_pair(0.50, 0.16, 1.50, 0.14, 0.16, 0.7 * p["jowl"])
    face.add(0.0, 0.19, chin - 0.20, 0.16, 0.14, p["chin_boss"])
    face.add(0.0, 0.34, chin - 0.42, 0.09, 0.09, -0.05)  # sulcus under the lip
    face.add_pair(0.30, 0.07, 0.62, 0.18, 0.14, groove)  # from nose to cheek


def _sculpt_mouth(face: _Sculptor, p: Factors) -> None:
    y, half_width, gap = p["mouth_height"], p["mouth_half_width"], p["mouth_gap"]
    upper, lower = p["upper_lip"], p["lower_lip"]
    philtrum_y = 0.5 * (p["nose_length"] + 0.2 + y - upper)
    corner = -0.03 - 0.03 * p["grin"]
    upper_height, lower_height = 0.055 + 0.35 * (upper - 0.075), 0.06 + 0.35 * (lower - 0.1)
    face.add(0.0, 0.75 * half_width, y - 0.6 * upper, 0.07, 0.05, upper_height, 3.0)
    face.add(0.0, 0.62 * half_width, y + gap + 0.5 * lower, 0.055, 0.065, lower_height, 3.0)
    face.add(0.0, 0.9 * half_width, y + 0.5 * gap, 0.02, 0.02 + 0.5 * gap, -0.035, 4.0)  # mouth line
    face.add_pair(half_width + 0.03, 0.07, y - 0.03 * p["smile"], 0.10, 0.10, corner)
    face.add(0.0, 0.045, philtrum_y, 0.10, 0.10, -p["philtrum"])


def _sculpt_nose(face: _Sculptor, p: Factors) -> None:
    length, half_width = p["nose_length"], p["nose_half_width"]
    wing = 0.13 + 0.3 * (half_width - 0.2)
    tip_y = length - 0.5 * p["nose_upturn"]
    face.add_pair(0.82 * half_width, 0.062, length + 0.055, 0.085, 0.075, wing, 2.4, asymmetry=p["nose_asymmetry"])
    face.add(0.0, 0.9 * p["nose_tip_width"], tip_y, 0.11, 0.10, 0.175 * p["nose_projection"], 2.2)
    face.add(0.0, 0.24, length - 0.08, 0.22, 0.14, 0.06)  # base


def feature_reliefs(p: Factors) -> Reliefs:
    """Return all bells of the faces of a batch from derived factors."""
    face = _Sculptor(like=p["eye_offset"])
    _sculpt_eyes(face, p)
    _sculpt_cheeks(face, p)
    _sculpt_mouth(face, p)
    _sculpt_nose(face, p)
    for i in range(p["bump_x"].shape[1]):
        x, y, width, height = (p[f"bump_{name}"][:, i : i + 1] for name in ("x", "y", "width", "height"))
        face.add(x, width, y, width, width, height)
    return face.finish()
