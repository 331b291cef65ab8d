from __future__ import annotations

import numpy as np
import pytest
import torch

from src.datamodules.procfaces import Beard, Occlusion, combine, derive, identity, nuisance

PEOPLE = 100


def factors_of(**changes: float) -> dict[str, torch.Tensor]:
    parameters = combine(identity(0, range(PEOPLE)), range(PEOPLE), nuisance(0, range(PEOPLE), 0))
    for name, value in changes.items():
        parameters[name] = torch.full_like(parameters[name], value)
    return derive(parameters)


def test_looks_are_as_frequent_as_in_the_golden_population() -> None:
    people = identity(0, range(PEOPLE))
    factors = factors_of()
    beards = [int((factors["beard"] == kind).sum()) for kind in Beard]
    assert int(factors["long_hair"].sum()) == 37
    assert int(factors["bald"].sum()) == 2
    assert int((factors["bangs"] > 0).sum()) == 20
    assert int(factors["glasses"].sum()) == 20
    assert beards[1:] == [13, 5, 7, 7]
    assert int((people["freckle_strength"].sum(1) > 0).sum()) == 22
    assert int((people["mole_strength"].sum(1) > 0).sum()) == 75


def test_all_factors_are_columns() -> None:
    assert all(value.ndim == 2 and len(value) == PEOPLE for value in factors_of().values())


def test_parameters_are_not_changed() -> None:
    parameters = combine(identity(0, [0]), [0], nuisance(0, [0], [0], age=80))
    before = {name: value.clone() for name, value in parameters.items()}
    derive(parameters)
    assert all(torch.equal(before[name], value) for name, value in parameters.items())


def test_age_thins_lips_lengthens_noses_and_turns_hair_grey() -> None:
    young, old = factors_of(age=20), factors_of(age=80)
    assert (old["upper_lip"] < young["upper_lip"]).all()
    assert (old["nose_length"] > young["nose_length"]).all()
    assert young["greying"].max() == 0
    assert old["greying"].min() > 0.6


def test_an_open_mouth_lowers_the_chin() -> None:
    shut, wide = factors_of(mouth_open=0, smile=0), factors_of(mouth_open=1, smile=0)
    np.testing.assert_allclose(wide["chin_height"] - shut["chin_height"], 0.16, rtol=1e-4)
    np.testing.assert_allclose(wide["mouth_gap"] - shut["mouth_gap"], 0.20, rtol=1e-4)


def test_sunglasses_replace_glasses() -> None:
    factors = factors_of(occlusion=Occlusion.SUNGLASSES)
    assert factors["has_sunglasses"].all()
    assert not factors["glasses"].any()


@pytest.mark.parametrize("name", ["beard", "bald"])
def test_only_masculine_faces_grow_beards_and_lose_hair(name: str) -> None:
    factors = factors_of(age=80)
    assert not factors[name][factors["feminine"] == 1].any()
    assert factors[name].any()
