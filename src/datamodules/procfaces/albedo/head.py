"""All layers of the head in the order in which they are painted."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from src.datamodules.procfaces.albedo.beard import paint_beard
from src.datamodules.procfaces.albedo.canvas import Canvas
from src.datamodules.procfaces.albedo.eyes import Eyes, paint_brows, paint_eyes
from src.datamodules.procfaces.albedo.hair import paint_hair
from src.datamodules.procfaces.albedo.mouth import paint_mouth, paint_nose
from src.datamodules.procfaces.albedo.occluders import paint_glasses, paint_hat, paint_mask
from src.datamodules.procfaces.albedo.palette import Palette
from src.datamodules.procfaces.albedo.skin import paint_skin
from src.datamodules.procfaces.fields import Factors
from src.datamodules.procfaces.visibility import Surface

__all__ = ["PaintedHead", "paint_head"]


@dataclass(frozen=True)
class PaintedHead:
    """The surface of the head with its colours.

    Attributes:
        albedo: Reflectance [B, 4, P]: linear red, green, blue and near infrared.
        gloss: Strength of specular reflection [B, P].
        eyes: Where catch lights may fall.
        lens_reflection: Strength [B, P] of reflections in lenses.
    """

    albedo: Tensor
    gloss: Tensor
    eyes: Eyes
    lens_reflection: Tensor


def paint_head(surface: Surface, p: Factors, palette: Palette) -> PaintedHead:
    """Paint the head from the skin up to what is worn.

    Args:
        surface: Visible points.
        p: Derived factors.
        palette: Colours of the batch.
    """
    pixels = surface.x.shape[1]
    canvas = Canvas(palette.skin.repeat(1, 1, pixels), p["skin_gloss"].repeat(1, pixels))
    paint_skin(canvas, surface, p)
    paint_beard(canvas, surface, p, palette)
    paint_mouth(canvas, surface, p, palette)
    paint_nose(canvas, surface, p, palette)
    eyes = paint_eyes(canvas, surface, p, palette)
    paint_brows(canvas, surface, p, palette)
    paint_hair(canvas, surface, p, palette)
    lenses = paint_glasses(canvas, surface, p)
    paint_mask(canvas, surface, p)
    paint_hat(canvas, surface, p)
    uncovered = Eyes(eyes.visible * (1 - lenses.dark), eyes.x, eyes.y)
    return PaintedHead(canvas.albedo, canvas.gloss, uncovered, lenses.reflecting)
