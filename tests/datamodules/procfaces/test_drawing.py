from __future__ import annotations

from dataclasses import replace

import numpy as np
from support import faces_config

from src.datamodules.procfaces.drawing import Scene, draw, draw_here
from src.datamodules.procfaces.nuisances import Profile
from src.datamodules.procfaces.protocols import Shots
from src.datamodules.procfaces.sheet import contact_sheet

SCENE = Scene(faces_config(), Profile(), 32)


def first_images(ids: list[int]) -> Shots:
    zeros = np.zeros(len(ids), dtype=np.int64)
    return Shots(np.array(ids), zeros, zeros)


def test_another_seed_draws_other_people() -> None:
    scenes = [replace(SCENE, config=faces_config(seed=seed)) for seed in (0, 0, 1)]
    first, again, other = ([photo.visible for photo in draw(scene, first_images([0, 1]))] for scene in scenes)
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_an_image_alone_is_the_image_in_its_batch() -> None:
    together = draw(SCENE, first_images([4, 5, 6]))
    alone = draw(SCENE, first_images([5]))[0]
    np.testing.assert_allclose(alone.landmarks, together[1].landmarks, atol=1e-3)
    assert alone.facts == together[1].facts


def test_exact_balance_gives_one_of_each_kind_in_two() -> None:
    scene = replace(SCENE, config=faces_config(attribute_balance="exact"), size=16)
    attributes = np.array([photo.facts["attribute"] for photo in draw_here(scene, first_images(list(range(20))))])
    np.testing.assert_array_equal(attributes.reshape(-1, 2).sum(1), 1)


def test_what_is_worn_lowers_the_detector_score() -> None:
    photos = list(draw_here(replace(SCENE, profile=Profile(occlusion=1), size=16), first_images(list(range(60)))))
    scores = {
        kind: max(photo.score for photo in photos if photo.facts["occlusion"] == kind)
        for kind in ("mask", "sunglasses", "patch", "hat")
    }
    np.testing.assert_allclose(list(scores.values()), [0.649, 0.649, 0.799, 0.999], atol=1e-6)


def test_contact_sheet_rows_are_people() -> None:
    sheet = contact_sheet(SCENE.config, identities=[0, 3], size=16)
    assert sheet.shape == (32, 21 * 16, 3)
    assert sheet.dtype == np.uint8
    infrared = sheet[:, 14 * 16 : 16 * 16]
    assert (infrared == infrared[..., :1]).all()
    assert sheet.std() > 20
