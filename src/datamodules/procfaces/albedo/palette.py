"""Colours of skin, hair, lips and eyes from pigments.

A colour has four channels: linear red, green and blue, and near infrared (850 nm), where melanin absorbs
little, lips look like skin and dark hair is not black.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from src.datamodules.procfaces.fields import Factors

__all__ = ["Palette", "mix_palette", "solid"]

_LIGHTEST_HAIR = (0.50, 0.34, 0.17)
_DARKEST_HAIR = (0.016, 0.013, 0.011)
_PHEOMELANIN = (0.35, -0.35, -0.6)
_GREY_HAIR = (0.42, 0.42, 0.42, 0.55)


@dataclass(frozen=True)
class Palette:
    """Colours of one face, each [B, 4, 1].

    Attributes:
        skin: Skin without texture.
        natural_hair: Hair before it turned grey; also lashes.
        hair: Hair of the scalp and beard.
        lips: Lips, with make-up.
        makeup: Lipstick and eye shadow.
        iris: Iris.
    """

    skin: Tensor
    natural_hair: Tensor
    hair: Tensor
    lips: Tensor
    makeup: Tensor
    iris: Tensor


def solid(*channels: Tensor | float, like: Tensor) -> Tensor:
    """Return a colour [B, 4, 1] from numbers and columns [B, 1]; ``like`` is any column."""
    return torch.stack([c if isinstance(c, Tensor) else torch.full_like(like, c) for c in channels], dim=1)


def _mix_skin(p: Factors) -> Tensor:
    melanin = (p["melanin"] + p["tan"]).clamp(0, 1.05)
    blood = 0.35 * p["hemoglobin"] + 0.35 * p["flush"]
    return torch.stack(
        [
            torch.exp(-0.42 - 1.50 * melanin),
            torch.exp(-0.80 - 1.80 * melanin - 0.13 * blood),
            torch.exp(-1.05 - 2.0 * melanin - 0.12 * blood),
            0.60 - 0.13 * melanin,
        ],
        dim=1,
    )


def _mix_hair(p: Factors) -> Tensor:
    dark, red = p["hair_eumelanin"], p["hair_pheomelanin"]
    channels = [
        torch.exp(math.log(light) + math.log(black / light) * dark**0.8 + tint * red * (1 - dark))
        for light, black, tint in zip(_LIGHTEST_HAIR, _DARKEST_HAIR, _PHEOMELANIN, strict=True)
    ]
    return torch.stack([*channels, 0.44 - 0.35 * dark], dim=1)


def _mix_iris(p: Factors) -> Tensor:
    dark, hue = p["iris_eumelanin"], p["iris_hue"]
    return torch.stack(
        [
            torch.exp(-1.5 - 1.9 * dark + 0.25 * hue),
            torch.exp(-1.25 - 2.5 * dark),
            torch.exp(-0.95 - 3.3 * dark - 0.35 * hue),
            0.32 - 0.06 * dark,
        ],
        dim=1,
    )


def mix_palette(p: Factors) -> Palette:
    """Return the colours of a batch of faces from their derived factors."""
    skin, natural_hair = _mix_skin(p), _mix_hair(p)
    grey = solid(*_GREY_HAIR, like=p["greying"])
    red = p["lip_redness"]
    lips = skin * solid(1.02 - 0.18 * red, 0.88 - 0.50 * red, 0.90 - 0.42 * red, 0.95, like=red)
    shade, green, blue, strength = p["makeup_color"].split(1, dim=1)
    melanin = (p["melanin"] + p["tan"]).clamp(0, 1.05)
    makeup = solid(0.55 + 0.3 * shade - 0.2 * melanin, 0.06 + 0.22 * green, 0.10 + 0.22 * blue, 0.5, like=shade)
    lipstick = p["makeup"] * (0.35 + 0.5 * strength)
    return Palette(
        skin=skin,
        natural_hair=natural_hair,
        hair=torch.lerp(natural_hair, grey, 0.85 * p["greying"][:, None]),
        lips=torch.lerp(lips, makeup, lipstick[:, None]),
        makeup=makeup,
        iris=_mix_iris(p),
    )
