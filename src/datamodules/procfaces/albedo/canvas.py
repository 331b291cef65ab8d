"""The sheet that the layers of the head are painted on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Canvas"]


@dataclass(frozen=True)
class Canvas:
    """Albedo and gloss of every pixel, painted in place.

    Attributes:
        albedo: Reflectance [B, 4, P]: linear red, green, blue and near infrared.
        gloss: Strength of specular reflection [B, P].
    """

    albedo: Tensor
    gloss: Tensor

    def paint(self, color: Tensor, weight: Tensor) -> None:
        """Cover with a colour, [B, 4, 1] or [B, 4, P], where the weight [B, P] is 1."""
        self.albedo.lerp_(color.expand_as(self.albedo), weight[:, None])

    def darken(self, amount: Tensor) -> None:
        """Take the part ``amount`` [B, P] of the light away in all channels."""
        self.albedo.mul_((1 - amount)[:, None])

    def polish(self, gloss: Tensor | float, weight: Tensor) -> None:
        """Set the gloss, a number or [B, 1], where the weight [B, P] is 1."""
        self.gloss.add_((gloss - self.gloss) * weight)
