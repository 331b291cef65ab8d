from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from src.datamodules.procfaces import Profile, combine, identity, nuisance
from src.errors import UserError

GOLDEN_FILE = json.loads(Path("tests/parity/procedural_faces_golden.json").read_text())
GOLDEN = GOLDEN_FILE["nuisance_default(id,sample)=(0,0),(0,1),(1,0),(100000,3)"]
IDS, SAMPLES = [0, 0, 1, 100_000], [0, 1, 0, 3]
GOLDEN_NAMES = {
    "yaw": "yaw",
    "pitch": "pitch",
    "roll": "roll",
    "alignment_shift": "jt",
    "alignment_scale": "js",
    "alignment_rotation": "jr",
    "camera_distance": "dist",
    "smile": "smile",
    "mouth_open": "open",
    "brow_raise": "brow",
    "blink": "blink",
    "gaze_x": "gx",
    "gaze_y": "gy",
    "pucker": "pucker",
    "light_azimuth": "laz",
    "light_elevation": "lel",
    "key_light": "key",
    "ambient_light": "amb",
    "light_wrap": "lwrap",
    "shadow_strength": "shad",
    "key_warmth": "ctk",
    "ambient_warmth": "cta",
    "light_tint": "tint",
    "fill_azimuth": "laz2",
    "fill_light": "key2",
    "exposure": "expo",
    "gamma": "gam",
    "white_balance": "wb",
    "saturation": "sat",
    "contrast": "con",
    "monochrome": "gray",
    "background": "bg",
    "background_phase": "bgoff",
    "clothing": "cloth",
    "blur": "blur",
    "low_resolution": "lowres",
    "noise": "noise",
    "noise_offset": "nzid",
    "jpeg_quality": "jq",
    "occlusion": "occ",
    "occluder_shape": "occp",
    "glasses_chance": "glass_v",
    "hair_variation": "hair_v",
    "alternative_style": "hairalt",
    "makeup": "mk",
    "makeup_color": "mkc",
    "beard_chance": "beard_v",
    "tan": "tan",
    "flush": "flush",
    "pimple_x": "pim_x",
    "pimple_y": "pim_y",
    "pimple_strength": "pim_a",
    "age_offset": "age_d",
}


@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_factors_match_the_golden_values(name: str) -> None:
    values = nuisance(0, IDS, SAMPLES)[name]
    np.testing.assert_allclose(values.reshape(4, -1), GOLDEN[GOLDEN_NAMES[name]], rtol=0, atol=1e-6)


def test_hair_style_is_replaced_where_the_golden_file_does_not_keep_it() -> None:
    kept = np.ravel(GOLDEN["hairkeep"])
    np.testing.assert_array_equal(nuisance(0, IDS, SAMPLES)["other_hair_style"], 1 - kept)


def test_age_matches_the_golden_values() -> None:
    parameters = combine(identity(0, [0, 1, 100_000]), [0, 0, 1, 2], nuisance(0, IDS, SAMPLES))
    np.testing.assert_allclose(parameters["age"], GOLDEN_FILE["age"], rtol=0, atol=1e-4)


def test_an_image_does_not_depend_on_the_others() -> None:
    together, alone = nuisance(0, IDS, SAMPLES), nuisance(0, [1], [0])
    for name, values in alone.items():
        np.testing.assert_array_equal(values[0], together[name][2], err_msg=name)


def test_images_of_one_medium_share_light_and_look_but_not_pose() -> None:
    factors = nuisance(0, [5, 5], [0, 1], media=[9, 9])
    for name in ("light_azimuth", "background", "hair_variation", "makeup", "age_offset", "tan"):
        np.testing.assert_array_equal(factors[name][0], factors[name][1], err_msg=name)
    for name in ("yaw", "gaze_x", "blur", "noise_offset"):
        assert not np.array_equal(factors[name][0], factors[name][1]), name


def test_given_yaw_and_age_replace_the_drawn_ones() -> None:
    factors = nuisance(0, [0, 1], [0, 0], yaw=[-40, 70], age=100)
    parameters = combine(identity(0, [0, 1]), [0, 1], factors)
    assert parameters["yaw"].tolist() == [-40, 70]
    assert parameters["age"].tolist() == [85, 85]


def test_combine_repeats_people_and_makes_float32_tensors() -> None:
    people = identity(0, [3, 4])
    parameters = combine(people, [1, 0, 1], nuisance(0, [4, 3, 4], [0, 0, 1]))
    assert all(value.dtype == torch.float32 and len(value) == 3 for value in parameters.values())
    np.testing.assert_allclose(parameters["nose_length"], people["nose_length"][[1, 0, 1]], rtol=1e-6)


def test_a_profile_of_zeros_leaves_a_neutral_face() -> None:
    factors = nuisance(0, range(200), 0, profile=Profile().scaled(0))
    for name in ("yaw", "pitch", "smile", "mouth_open", "occlusion", "blur", "noise", "exposure", "age_offset"):
        assert not factors[name].any(), name
    assert (factors["alignment_scale"] == 1).all()


def test_scaling_a_profile_keeps_roll_jpeg_and_perspective() -> None:
    hard = Profile().scaled(1.4)
    assert (hard.yaw, hard.occlusion, hard.age_tail) == pytest.approx((19.6, 0.112, 0.14))
    assert (hard.roll, hard.jpeg, hard.perspective) == (3.0, (45, 95), True)


def test_profile_probabilities_are_frequencies() -> None:
    factors = nuisance(0, range(4000), 0, profile=Profile(occlusion=0.25, yaw_tail=0.2, makeup=0.6))
    assert (factors["occlusion"] > 0).mean() == pytest.approx(0.25, abs=0.03)
    assert (np.abs(factors["yaw"]) > 45).mean() == pytest.approx(0.2 * 30 / 75, abs=0.02)
    assert factors["makeup"].mean() == pytest.approx(0.6, abs=0.03)


def test_fixed_camera_distance_without_perspective() -> None:
    assert set(nuisance(0, range(5), 0, profile=Profile(perspective=False))["camera_distance"]) == {30.0}


@pytest.mark.parametrize("values", [{"yaw": -1.0}, {"jpeg": (0, 95)}, {"jpeg": (80, 70)}, {"jpeg": (80, 101)}])
def test_profile_names_the_wrong_value(values: dict) -> None:
    with pytest.raises(UserError, match=f"profile.{next(iter(values))}: expected .* found"):
        Profile(**values)
