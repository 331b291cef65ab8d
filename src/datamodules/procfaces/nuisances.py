"""Nuisance factors: everything that differs between two images of one person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from src.datamodules.procfaces.hashing import Stream
from src.errors import UserError

__all__ = ["DEFAULT_PROFILE", "Occlusion", "Profile", "combine", "nuisance"]

Array = npt.NDArray[np.float64]

AGE_RANGE = (14.0, 85.0)


class Occlusion(IntEnum):
    """What hides a part of the face (factor ``occlusion``)."""

    NONE = 0
    SUNGLASSES = 1
    MASK = 2
    PATCH = 3
    HAT = 4


_OCCLUDERS = np.array(
    [Occlusion.SUNGLASSES, Occlusion.MASK, Occlusion.PATCH, Occlusion.HAT, Occlusion.PATCH], dtype=np.float64
)


@dataclass(frozen=True)
class Profile:
    """How strongly the images of one person differ; a "spread" is a standard deviation.

    Attributes:
        yaw: Spread of the head yaw, degrees (clipped at 45).
        yaw_tail: Probability of a yaw drawn uniformly from ±75 degrees instead.
        pitch: Spread of the head pitch, degrees.
        roll: Spread of the head roll, degrees (loose frame only: alignment removes it).
        alignment_shift: Spread of the alignment error, pixels at 112.
        alignment_scale: Spread of the relative scale error of the alignment.
        alignment_rotation: Spread of the rotation error of the alignment, degrees.
        light: Strength of the changes of light, 1 = strong.
        expression: Strength of smiles, open mouths, brows and blinks.
        occlusion: Probability of sunglasses, a mask, a hat or an object before the face.
        blur: Strength of blur and probability of low resolution.
        noise: Strength of sensor noise.
        jpeg: Lowest and highest JPEG quality.
        age_spread: Spread of the age around the person's own, years.
        age_tail: Probability of an age drawn uniformly from ±30 years around it instead.
        hair: Changes of hair line and volume and probability of another hair style.
        makeup: Probability of make-up on feminine-like faces.
        color: Spread of exposure, gamma, white balance, saturation and contrast.
        skin: Strength of tan, flush and pimples.
        perspective: Draw the distance of the camera (otherwise 30 pupil distances).

    Raises:
        UserError: A value is negative, or ``jpeg`` is no range within 1..100.
    """

    yaw: float = 14.0
    yaw_tail: float = 0.04
    pitch: float = 6.0
    roll: float = 3.0
    alignment_shift: float = 0.9
    alignment_scale: float = 0.025
    alignment_rotation: float = 1.6
    light: float = 0.85
    expression: float = 1.0
    occlusion: float = 0.08
    blur: float = 0.9
    noise: float = 1.0
    jpeg: tuple[int, int] = (45, 95)
    age_spread: float = 3.0
    age_tail: float = 0.10
    hair: float = 0.30
    makeup: float = 0.45
    color: float = 1.0
    skin: float = 1.0
    perspective: bool = True

    def __post_init__(self) -> None:
        low, high = self.jpeg
        if not 1 <= low <= high <= 100:
            raise UserError(f"profile.jpeg: expected 1 <= lowest <= highest <= 100, found ({low}, {high})")
        for field in fields(self):
            if field.name != "jpeg" and getattr(self, field.name) < 0:
                value = getattr(self, field.name)
                raise UserError(f"profile.{field.name}: expected a value of at least 0, found {value}")

    def scaled(self, difficulty: float) -> Profile:
        """Return the profile with every spread and probability multiplied.

        Roll, JPEG quality and perspective keep their values.

        Args:
            difficulty: Factor; 0.5 makes an easy data set, 1.4 a hard one.
        """
        kept = ("roll", "jpeg", "perspective")
        names = [field.name for field in fields(self) if field.name not in kept]
        return replace(self, **{name: getattr(self, name) * difficulty for name in names})


DEFAULT_PROFILE = Profile()


def _pose(image: Stream, profile: Profile) -> dict[str, Array]:
    tail = 75 * (2 * image.uniform("yt2") - 1)
    near = np.clip(profile.yaw * image.normal("yaw"), -45, 45)
    closest, farthest = (12.0, 38.0) if profile.perspective else (30.0, 30.0)
    return {
        "yaw": np.where(image.uniform("yt") < profile.yaw_tail, tail, near),
        "pitch": profile.pitch * image.normal("pitch"),
        "roll": profile.roll * image.normal("roll"),
        "alignment_shift": profile.alignment_shift * image.normal("jt", 2),
        "alignment_scale": 1 + profile.alignment_scale * image.normal("js"),
        "alignment_rotation": profile.alignment_rotation * image.normal("jr"),
        "camera_distance": closest + (farthest - closest) * image.uniform("dist"),
    }


def _expression(image: Stream, profile: Profile) -> dict[str, Array]:
    strength = profile.expression
    mood = image.uniform("smile")
    smiling, amount = mood < 0.9, image.uniform("sm2")
    smile = np.where(smiling, 0.25 + 0.75 * amount, -0.5 * amount)
    smile = strength * np.where(mood < 0.4, 0.12 * image.normal("sm1"), smile)
    closed = 0.06 * np.abs(image.normal("bl")) + 0.95 * (image.uniform("bl2") < 0.025)
    mouth = np.where(image.uniform("op") < 0.3, 0.15 + 0.85 * image.uniform("op2"), 0)
    return {
        "smile": smile,
        "mouth_open": strength * mouth,
        "brow_raise": 0.5 * strength * image.normal("brow"),
        "blink": np.clip(strength * closed + 0.25 * np.maximum(smile, 0), 0, 1),
        "gaze_x": 0.03 * image.normal("gx"),
        "gaze_y": 0.012 * image.normal("gy"),
        "pucker": np.where(image.uniform("pk") < 0.06, 0.25 * strength, 0.0),
    }


def _light(medium: Stream, profile: Profile) -> dict[str, Array]:
    strength = profile.light
    return {
        "light_azimuth": 42 * strength * medium.normal("laz"),
        "light_elevation": np.clip(32 + 18 * strength * medium.normal("lel"), -25, 80),
        "key_light": 0.85 + 0.30 * strength * (2 * medium.uniform("key") - 1),
        "ambient_light": np.clip(0.34 + 0.16 * strength * medium.normal("amb"), 0.10, 0.8),
        "light_wrap": 0.15 + 0.5 * medium.uniform("soft"),
        "shadow_strength": 0.25 + 0.6 * medium.uniform("sh"),
        "key_warmth": 0.14 * strength * medium.normal("ctk"),
        "ambient_warmth": 0.16 * strength * medium.normal("cta"),
        "light_tint": 0.05 * strength * medium.normal("tint"),
        "fill_azimuth": 110 * (2 * medium.uniform("laz2") - 1),
        "fill_light": 0.28 * strength * medium.uniform("key2") ** 2,
    }


def _camera(image: Stream, profile: Profile) -> dict[str, Array]:
    low, high = profile.jpeg
    sharpness = image.uniform("b2")
    small = image.uniform("lr") < 0.12 * profile.blur
    return {
        "exposure": 0.22 * profile.color * image.normal("ex"),
        "gamma": 1 + 0.10 * profile.color * image.normal("gm"),
        "white_balance": 0.05 * profile.color * image.normal("wb", 3),
        "saturation": 1 + 0.18 * profile.color * image.normal("sat"),
        "contrast": 1 + 0.10 * profile.color * image.normal("con"),
        "monochrome": (image.uniform("gray") < 0.02).astype(np.float64),
        "blur": profile.blur * np.where(image.uniform("b1") < 0.35, 1.3 * sharpness, 0.25 * sharpness),
        "low_resolution": np.where(small, 0.35 + 0.5 * image.uniform("lr2"), 1.0),
        "noise": 0.018 * profile.noise * image.uniform("nz") ** 2,
        "noise_offset": image.uniform("nzid", 2),
        "jpeg_quality": np.floor(low + (high - low) * image.uniform("jq")),
    }


def _scene(image: Stream, medium: Stream, profile: Profile) -> dict[str, Array]:
    chance = image.uniform("occ")
    slot = np.clip(chance / max(profile.occlusion, 1e-9) * len(_OCCLUDERS), 0, len(_OCCLUDERS) - 1)
    occluder = _OCCLUDERS[slot.astype(np.int64)]
    return {
        "occlusion": np.where(chance < profile.occlusion, occluder, float(Occlusion.NONE)),
        "occluder_shape": image.uniform("occp", 6),
        "background": medium.uniform("bg", 12),
        "background_phase": medium.uniform("bgo", 4),
        "clothing": medium.uniform("cloth", 6),
    }


def _look(medium: Stream, profile: Profile) -> dict[str, Array]:
    tail = 30 * (2 * medium.uniform("at2") - 1)
    near = profile.age_spread * medium.normal("age")
    pimples = medium.uniform("pon", 4) < 0.3
    return {
        "glasses_chance": medium.uniform("glass"),
        "hair_variation": profile.hair * medium.normal("hair", 4),
        "other_hair_style": (medium.uniform("hk") <= 0.12 * profile.hair / 0.35).astype(np.float64),
        "alternative_style": medium.uniform("ha", 6),
        "makeup": (medium.uniform("mk") < profile.makeup).astype(np.float64),
        "makeup_color": medium.uniform("mkc", 4),
        "beard_chance": medium.uniform("bv"),
        "tan": 0.04 * profile.skin * medium.normal("tan"),
        "flush": 0.3 * profile.skin * medium.normal("flush"),
        "pimple_x": 2 * medium.uniform("px", 4) - 1,
        "pimple_y": -0.7 + 2.2 * medium.uniform("py", 4),
        "pimple_strength": 0.35 * profile.skin * medium.uniform("pa", 4) * pimples,
        "age_offset": np.where(medium.uniform("at") < profile.age_tail, tail, near),
    }


def nuisance(
    seed: int,
    ids: npt.ArrayLike,
    samples: npt.ArrayLike,
    media: npt.ArrayLike | None = None,
    profile: Profile = DEFAULT_PROFILE,
    yaw: npt.ArrayLike | None = None,
    age: npt.ArrayLike | None = None,
) -> dict[str, Array]:
    """Draw the nuisance factors of some images.

    Images of one medium (a video, a photo session) share light, background, hair, make-up and age, and differ
    in pose, expression, occlusion and camera.

    Args:
        seed: Seed of the data set.
        ids: Integers [B], the person in each image.
        samples: Integers [B], the number of the image among the person's images.
        media: Integers [B], the number of the medium among the person's media; by default one per sample.
        profile: Strength of every factor.
        yaw: Degrees [B] or a scalar that replace the drawn yaw.
        age: Years [B] or a scalar that replace the drawn age.

    Returns:
        float64 arrays [B] or [B, k], one per factor; each row depends on its own id, sample and medium alone.
    """
    ids, samples = np.broadcast_arrays(np.atleast_1d(ids), np.atleast_1d(samples))
    image = Stream(seed, "nu/", (ids, samples))
    medium = Stream(seed, "md/", (ids, samples if media is None else np.asarray(media)))
    factors = (
        _pose(image, profile)
        | _expression(image, profile)
        | _light(medium, profile)
        | _camera(image, profile)
        | _scene(image, medium, profile)
        | _look(medium, profile)
    )
    if yaw is not None:
        factors["yaw"] = np.broadcast_to(np.asarray(yaw, dtype=np.float64), ids.shape)
    if age is not None:
        factors["age"] = np.broadcast_to(np.asarray(age, dtype=np.float64), ids.shape)
    return factors


def combine(identity: Mapping[str, Array], rows: npt.ArrayLike, nuisance: Mapping[str, Array]) -> dict[str, Tensor]:
    """Join the factors of people and images into the parameters of a batch.

    Args:
        identity: Result of :func:`~src.datamodules.procfaces.identity` for n people.
        rows: Integers [B], the row of ``identity`` that each image shows.
        nuisance: Result of :func:`nuisance` for B images.

    Returns:
        float32 tensors [B] or [B, k], with ``age`` in years clipped to 14..85.
    """
    people = {name: values[np.asarray(rows)] for name, values in identity.items()}
    parameters = people | dict(nuisance)
    age = nuisance.get("age", people["base_age"] + nuisance["age_offset"])
    parameters["age"] = np.clip(age, *AGE_RANGE)
    return {
        name: torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)) for name, values in parameters.items()
    }
