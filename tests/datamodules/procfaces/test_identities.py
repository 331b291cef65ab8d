from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from src.datamodules.procfaces import identity
from src.datamodules.procfaces.identities import IDENTITY_FACTORS

GOLDEN = json.loads(Path("tests/parity/procedural_faces_golden.json").read_text())["identity"]
GOLDEN_NAMES = {name: factor.stream for name, factor in IDENTITY_FACTORS.items()} | {
    "feminine": "fem",
    "masculine": "masc",
    "bump_x": "bmp_x",
    "bump_y": "bmp_y",
    "bump_width": "bmp_s",
    "bump_height": "bmp_a",
    "mole_x": "mole_x",
    "mole_y": "mole_y",
    "mole_size": "mole_s",
    "mole_strength": "mole_a",
    "texture_phase": "noise_off",
    "hair_style": "style",
    "beard_style": "beard_u",
    "glasses_habit": "glass_u",
    "glasses_shape": "gl",
    "base_age": "base_age",
    "ageing": "age_dir",
}


@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_factors_match_the_golden_values(name: str) -> None:
    values = identity(0, [0, 1, 100_000])[name]
    expected = [GOLDEN[person][GOLDEN_NAMES[name]] for person in ("0", "1", "100000")]
    np.testing.assert_allclose(values.reshape(3, -1), expected, rtol=0, atol=1e-6)


def test_a_person_does_not_depend_on_the_others() -> None:
    together, alone = identity(0, range(12)), identity(0, [7])
    for name, values in alone.items():
        np.testing.assert_array_equal(values[0], together[name][7], err_msg=name)


def test_seeds_give_different_people() -> None:
    assert np.abs(identity(0, range(8))["nose_length"] - identity(1, range(8))["nose_length"]).min() > 1e-6


def test_attribute_is_a_fair_coin_by_default() -> None:
    feminine = identity(0, range(400))["feminine"]
    assert feminine[:100].sum() == 39
    assert feminine.sum() == 181


def test_exact_mode_balances_every_pair_and_mixes_its_order() -> None:
    feminine = identity(0, range(400), attribute_mode="exact")["feminine"].reshape(-1, 2)
    assert (feminine.sum(1) == 1).all()
    assert 0.4 < feminine[:, 0].mean() < 0.6
    assert identity(0, [5], attribute_mode="exact")["feminine"] == feminine[2, 1]


def test_strengths_scale_the_differences() -> None:
    alike = identity(0, range(50), id_strength=0.0)
    for attribute in (0, 1):
        assert np.ptp(alike["eye_offset"][alike["feminine"] == attribute]) < 1e-12
    neutral = identity(0, range(400), attribute_strength=0.0)
    full = identity(0, range(400))
    gap = [
        p["jaw_width"][p["masculine"] == 1].mean() - p["jaw_width"][p["feminine"] == 1].mean() for p in (neutral, full)
    ]
    assert abs(gap[0]) < 0.02 < gap[1]


def test_dark_skin_goes_with_dark_hair_and_eyes() -> None:
    people = identity(0, range(500))
    dark = people["melanin"] > 0.7
    assert dark.sum() > 10
    assert people["hair_eumelanin"][dark].min() > 0.85
    assert people["iris_eumelanin"][dark].min() > 0.9
