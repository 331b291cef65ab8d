"""Factors that follow from others: the effects of age, expression, hair style and things worn."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

import torch
from torch import Tensor

from src.datamodules.procfaces.fields import Factors, smoothstep
from src.datamodules.procfaces.nuisances import Occlusion

__all__ = ["Beard", "derive"]

# Hair style: probabilities (feminine-like, masculine-like).
_LONG_HAIR = (0.78, 0.07)
_BANGS = (0.25, 0.08)
_BALD_HAIRLINE = 1.75

_BEARD_STEPS = (0.50, 0.68, 0.76, 0.87)
_BEARD_FLIP = 0.15
_GLASSES_HABIT = 0.22
_GLASSES_ON = (0.80, 0.05)  # habitual wearers, others


class Beard(IntEnum):
    """Facial hair (derived factor ``beard``)."""

    NONE = 0
    STUBBLE = 1
    MOUSTACHE = 2
    GOATEE = 3
    FULL = 4


def _apply_age(p: Factors) -> None:
    old = ((p["age"] - 38) / 40).clamp(0, 1.1)
    young = ((24 - p["age"]) / 10).clamp(0, 1)
    direction = p["ageing"]
    nose, jaw, jowl, cheek, brow, hair = (old * direction[:, i : i + 1] for i in range(6))
    p["old"] = old
    for name, loss in (("upper_lip", 0.38), ("lower_lip", 0.25), ("upper_lid", 0.18), ("brow_thickness", 0.12)):
        p[name] = p[name] * (1 - loss * old)
    p["nose_length"] = p["nose_length"] + 0.035 * old + 0.012 * nose
    p["nose_half_width"] = p["nose_half_width"] + 0.018 * old
    p["ear_size"] = p["ear_size"] + 0.06 * old
    p["jaw_width"] = p["jaw_width"] + 0.05 * (old + 0.6 * jaw) - 0.04 * young
    p["jowl"] = 0.07 * (old + 0.5 * jowl).clamp_min(0)
    p["cheek_fullness"] = p["cheek_fullness"] - 0.07 * (old + 0.5 * cheek) + 0.03 * young
    p["eye_socket"] = p["eye_socket"] + 0.035 * old
    p["chin_height"] = p["chin_height"] - 0.07 * young
    p["cheekbone"] = p["cheekbone"] + 0.01 * old
    p["brow_height"] = p["brow_height"] - 0.03 * (old + brow)
    p["hairline"] = p["hairline"] + 0.20 * p["masculine"] * (old + hair).clamp_min(0)
    p["temple_recession"] = p["temple_recession"] + 0.15 * p["masculine"] * old
    p["greying"] = smoothstep(p["age"] + 6 * direction[:, :1], 44.0, 78.0)


def _apply_expression(p: Factors) -> None:
    mouth_open, smile = p["mouth_open"].clamp(0, 1), p["smile"]
    grin = smile.clamp_min(0)
    # A free random component decides who shows teeth when smiling.
    shows_teeth = p["occluder_shape"][:, :1] > 0.5
    p["grin"] = grin
    p["chin_height"] = p["chin_height"] + 0.16 * mouth_open
    p["mouth_gap"] = 0.20 * mouth_open + 0.035 * grin * shows_teeth
    p["mouth_half_width"] = p["mouth_half_width"] * (1 + 0.20 * smile - 0.10 * mouth_open) * (1 - p["pucker"])
    p["mouth_height"] = p["mouth_height"] - 0.035 * grin
    p["brow_height"] = p["brow_height"] + 0.05 * p["brow_raise"]
    p["frown"] = (-p["brow_raise"]).clamp_min(0)
    p["eye_open"] = ((1 - p["blink"]) * (1 + 0.10 * p["brow_raise"])).clamp(0.02, 1.2)


def _choose(p: Factors, probabilities: tuple[float, float]) -> Tensor:
    feminine, masculine = probabilities
    return torch.where(p["feminine"] > 0.5, feminine, masculine)


def _style_hair(p: Factors) -> None:
    style = torch.where(p["other_hair_style"] > 0.5, p["alternative_style"], p["hair_style"])
    length, reach, fringe, fringe_length, baldness, parting = style.split(1, dim=1)
    variation = p["hair_variation"]
    bald = p["masculine"] * (baldness < 0.05 + 0.22 * p["old"])
    p["long_hair"] = (length < _choose(p, _LONG_HAIR)).float()
    p["hair_length"] = 0.2 + 1.6 * reach
    p["bangs"] = (fringe < _choose(p, _BANGS)) * (0.16 + 0.30 * fringe_length)
    p["bald"] = bald
    p["parting"] = 1.2 * (parting - 0.5)
    p["hairline"] = torch.where(bald > 0.5, _BALD_HAIRLINE, p["hairline"] + 0.12 * variation[:, 0:1] - p["bangs"])
    p["hair_volume"] = (p["hair_volume"] + 0.05 * variation[:, 1:2]).clamp(0.015, 0.35)


def _choose_beard(p: Factors) -> None:
    beard = torch.bucketize(p["beard_style"], torch.tensor(_BEARD_STEPS), right=True)
    flipped = torch.where(beard > 0, int(Beard.NONE), int(Beard.STUBBLE))
    p["beard"] = torch.where(p["beard_chance"] < _BEARD_FLIP, flipped, beard) * p["masculine"]


def _put_on(p: Factors) -> None:
    for occlusion in Occlusion:
        p[f"has_{occlusion.name.lower()}"] = (p["occlusion"] == occlusion).float()
    worn = torch.where(p["glasses_habit"] < _GLASSES_HABIT, *_GLASSES_ON)
    p["glasses"] = (p["glasses_chance"] < worn) * (1 - p["has_sunglasses"])
    p["makeup"] = p["makeup"] * p["feminine"]


def derive(parameters: Mapping[str, Tensor]) -> Factors:
    """Complete the parameters of a batch with what follows from age, expression and style.

    Args:
        parameters: float32 tensors [B] or [B, k] made by :func:`~src.datamodules.procfaces.combine`.

    Returns:
        Columns [B, 1] or [B, k]: the parameters, many of them adjusted, and ``old`` (0 at 38 years, 1 at 78),
        ``greying``, ``jowl``, ``grin``, ``frown``, ``mouth_gap``, ``eye_open``, ``long_hair``, ``hair_length``,
        ``bangs``, ``bald``, ``parting``, ``beard`` (:class:`Beard`), ``glasses`` and ``has_<occlusion>``.
    """
    p = {name: value if value.ndim == 2 else value[:, None] for name, value in parameters.items()}
    _apply_age(p)
    _apply_expression(p)
    _style_hair(p)
    _choose_beard(p)
    _put_on(p)
    return p
