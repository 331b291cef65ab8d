"""Identity factors: what stays the same in every image of one person.

The unit of length is the distance of the pupils. In the head frame x points to the right of the image, y down
and z to the camera; y = 0 is the eye line, x = 0 the middle of the face and z = 0 the vertical axis of the head.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from src.datamodules.procfaces.hashing import Stream, uniform

__all__ = ["IDENTITY_FACTORS", "AttributeMode", "Factor", "identity"]

AttributeMode = Literal["iid", "exact"]

BUMPS = 14
MOLES = 6
FRECKLES = 56


class Factor(NamedTuple):
    """Distribution of one identity factor over people.

    Attributes:
        stream: Name of the random stream (``id/<stream>``).
        mean: Mean over people.
        deviation: Standard deviation over people.
        shift: Difference of masculine-like and feminine-like means, in standard deviations.
        low: Lower clip.
        high: Upper clip.
    """

    stream: str
    mean: float
    deviation: float
    shift: float
    low: float = -math.inf
    high: float = math.inf


IDENTITY_FACTORS = {
    # eyes
    "eye_offset": Factor("ex", 0.50, 0.020, 0.0),
    "eye_half_width": Factor("ew", 0.235, 0.018, -0.3),
    "upper_lid": Factor("ehu", 0.112, 0.015, -0.9, 0.06, 0.2),
    "lower_lid": Factor("ehl", 0.066, 0.009, -0.1, 0.035, 0.12),
    "eye_slant": Factor("slant", 0.06, 0.07, -0.4),
    "eye_skew": Factor("eskew", 0.0, 0.22, 0.0),
    "lid_crease": Factor("crease", 0.055, 0.02, -0.4),
    "iris_radius": Factor("iris_r", 0.098, 0.005, -0.2),
    # brows
    "brow_height": Factor("bd", 0.330, 0.036, -1.2),
    "brow_arch": Factor("barch", 0.055, 0.028, -0.9),
    "brow_tilt": Factor("btilt", 0.0, 0.055, 0.0),
    "brow_thickness": Factor("bth", 0.050, 0.012, 1.3, 0.02, 0.1),
    "brow_half_width": Factor("bw", 0.345, 0.03, 0.2),
    "brow_offset": Factor("bx", 0.52, 0.025, 0.0),
    "brow_density": Factor("bdens", 0.85, 0.10, 0.6, 0.4, 1.0),
    # nose
    "nose_length": Factor("nlen", 0.58, 0.045, 0.4),
    "nose_projection": Factor("nproj", 0.36, 0.05, 0.7),
    "nose_half_width": Factor("nalar", 0.205, 0.026, 0.7),
    "bridge_height": Factor("nbridge", 0.17, 0.045, 0.5),
    "bridge_width": Factor("nridgew", 0.095, 0.014, 0.5),
    "nose_tip_width": Factor("ntip", 0.135, 0.018, 0.5),
    "nose_upturn": Factor("nup", 0.0, 0.03, -0.5),
    # mouth
    "mouth_height": Factor("my", 1.135, 0.045, 0.3),
    "mouth_half_width": Factor("mw", 0.405, 0.04, 0.3),
    "upper_lip": Factor("lu", 0.075, 0.019, -0.9, 0.03, 0.2),
    "lower_lip": Factor("ll", 0.105, 0.022, -0.8, 0.04, 0.2),
    "cupid_bow": Factor("cupid", 0.35, 0.15, -0.2),
    "mouth_curve": Factor("mcurve", 0.0, 0.022, 0.0),
    "philtrum": Factor("philt", 0.02, 0.01, 0.0),
    # shape of the head
    "chin_height": Factor("chin", 1.86, 0.085, 0.8),
    "chin_width": Factor("chinw", 0.47, 0.06, 0.9),
    "chin_boss": Factor("chinb", 0.06, 0.03, 0.6),
    "jaw_width": Factor("jaww", 0.81, 0.05, 1.1),
    "jaw_angle": Factor("jawa", 0.0, 0.035, 0.7),
    "cheek_width": Factor("cheekw", 1.115, 0.045, 0.0),
    "cheekbone": Factor("cbone", 0.035, 0.025, -0.3, -0.05, 0.12),
    "cheek_fullness": Factor("cfull", 0.0, 0.04, -0.5),
    "temple_width": Factor("templew", 1.165, 0.04, 0.2),
    "forehead_slope": Factor("slope", 0.0, 0.05, 0.7),
    "brow_ridge": Factor("ridge", 0.045, 0.025, 1.3),
    "eye_socket": Factor("sock", 0.10, 0.022, 0.4),
    "section_exponent": Factor("sq", 2.35, 0.18, 0.4),
    "ear_size": Factor("ear", 0.20, 0.05, 0.3, 0.05, 0.4),
    # hair
    "hairline": Factor("hl", 1.10, 0.11, 0.0),
    "widows_peak": Factor("widow", 0.02, 0.05, 0.2),
    "temple_recession": Factor("temple", 0.07, 0.07, 0.9, 0.0, 0.4),
    "sideburn_azimuth": Factor("side", 1.10, 0.06, 0.0),
    "hair_volume": Factor("vol", 0.10, 0.05, -0.6, 0.02, 0.4),
    # colour
    "melanin": Factor("mel", 0.30, 0.26, 0.15, 0.0, 1.0),
    "hemoglobin": Factor("hem", 0.0, 0.8, 0.2),
    "hair_eumelanin": Factor("hair_e", 0.62, 0.30, 0.1, 0.0, 1.0),
    "hair_pheomelanin": Factor("hair_p", 0.2, 0.2, 0.0, 0.0, 1.0),
    "iris_eumelanin": Factor("iris_e", 0.55, 0.32, 0.1, 0.0, 1.0),
    "iris_hue": Factor("iris_h", 0.0, 1.0, 0.0),
    "lip_redness": Factor("lipred", 0.42, 0.16, -1.0, 0.05, 1.0),
    "under_eye": Factor("undereye", 0.10, 0.07, 0.0, 0.0, 0.4),
    "blush": Factor("blush", 0.10, 0.07, -0.6, 0.0, 0.4),
    "freckling": Factor("freck", -0.6, 0.7, -0.2),
    "skin_texture": Factor("skint", 0.04, 0.016, 0.5, 0.0, 0.12),
    "skin_gloss": Factor("gloss", 0.16, 0.05, 0.1, 0.03, 0.4),
    "nasolabial_fold": Factor("nlf", 0.10, 0.06, 0.1, 0.0, 0.4),
    "wrinkling": Factor("wr", 1.0, 0.3, 0.0),
    # left-right asymmetry; each also moves a second feature a little
    "eye_asymmetry": Factor("asym1", 0.0, 1.0, 0.0),
    "cheek_asymmetry": Factor("asym2", 0.0, 1.0, 0.0),
    "mouth_asymmetry": Factor("asym3", 0.0, 1.0, 0.0),
    "nose_asymmetry": Factor("asym4", 0.0, 1.0, 0.0),
}


def _feminine(seed: int, ids: npt.NDArray[np.int64], mode: AttributeMode) -> npt.NDArray[np.float64]:
    if mode == "iid":
        return (uniform(seed, "attr", ids) < 0.5).astype(np.float64)
    first_of_pair = uniform(seed, "attr", ids // 2) < 0.5
    return ((ids + first_of_pair) % 2).astype(np.float64)


def _marks(person: Stream, freckling: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    mole_count = np.floor(person.uniform("nm") ** 1.5 * (MOLES + 1))
    has_mole = np.arange(MOLES) < mole_count[:, None]
    return {
        "mole_x": 0.95 * (2 * person.uniform("mx", MOLES) - 1),
        "mole_y": -0.8 + 2.4 * person.uniform("my", MOLES),
        "mole_size": 0.020 + 0.022 * person.uniform("ms", MOLES),
        "mole_strength": (0.5 + 0.5 * person.uniform("ma", MOLES)) * has_mole,
        "freckle_x": 0.45 * person.normal("fx", FRECKLES),
        "freckle_y": 0.38 + 0.28 * person.normal("fy", FRECKLES),
        "freckle_size": 0.014 + 0.022 * person.uniform("fs", FRECKLES),
        "freckle_strength": 0.38 * person.uniform("fa", FRECKLES) * np.clip(freckling, 0, 2)[:, None],
    }


def identity(
    seed: int,
    ids: npt.ArrayLike,
    id_strength: float = 1.0,
    attribute_strength: float = 1.0,
    attribute_mode: AttributeMode = "iid",
) -> dict[str, npt.NDArray[np.float64]]:
    """Draw the identity factors of some people.

    Args:
        seed: Seed of the data set.
        ids: Integers [n], the people; each row of the result depends on its own id alone.
        id_strength: Scale of the differences between people; less makes more look-alikes.
        attribute_strength: Scale of the mean differences between masculine-like and feminine-like faces.
        attribute_mode: ``"iid"`` tosses a fair coin per person; ``"exact"`` gives one person of each pair
            ``(2i, 2i + 1)`` either attribute, so that every even range of ids is balanced.

    Returns:
        float64 arrays [n] or [n, k]: the keys of ``IDENTITY_FACTORS``, ``feminine`` and ``masculine`` (0 or 1),
        ``base_age`` (years), and vector factors of shape, marks, hair and ageing.
    """
    ids = np.atleast_1d(np.asarray(ids, dtype=np.int64))
    person = Stream(seed, "", (ids,))
    feminine = _feminine(seed, ids, attribute_mode)
    factors = {"feminine": feminine, "masculine": 1 - feminine}
    for name, factor in IDENTITY_FACTORS.items():
        score = id_strength * person.normal("id/" + factor.stream)
        score = score + attribute_strength * factor.shift * (0.5 - feminine)
        factors[name] = np.clip(factor.mean + factor.deviation * score, factor.low, factor.high)

    # Dark skin goes with dark hair and dark eyes.
    melanin = factors["melanin"] - 0.15
    factors["hair_eumelanin"] = np.clip(np.maximum(factors["hair_eumelanin"], 1.6 * melanin), 0, 1)
    factors["iris_eumelanin"] = np.clip(np.maximum(factors["iris_eumelanin"], 1.7 * melanin), 0, 1)
    return factors | {
        "bump_x": 0.95 * (2 * person.uniform("bx", BUMPS) - 1),
        "bump_y": -1.0 + 2.7 * person.uniform("by", BUMPS),
        "bump_width": 0.16 + 0.2 * person.uniform("bs", BUMPS),
        "bump_height": 0.022 * id_strength * person.normal("ba", BUMPS),
        **_marks(person, factors["freckling"]),
        "texture_phase": person.uniform("nz", 8),
        "hair_style": person.uniform("style", 6),
        "beard_style": person.uniform("beard"),
        "glasses_habit": person.uniform("glass"),
        "glasses_shape": person.uniform("gl", 4),
        "base_age": 20 + 35 * person.uniform("age"),
        "ageing": person.normal("agedir", 6),
    }
