"""The filter: its decisions, in the order of the rules, however many images are made at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from support_generation import decisions, play, sequential

from src.errors import UserError
from src.models.generation.gallery import Gallery, to_unit
from src.models.generation.rules import FilterSettings, Rule
from src.models.generation.selection import Shot, select

EXACT = FilterSettings(samples_per_id=2, similarity_mean=0.75, similarity_std=0.125, max_attempts=5)
"""Thresholds 0.5 and 0.875, which floating point holds exactly."""

AXES = np.eye(8)
FAR = np.zeros((1, 8))
FAR[0, 7] = 1


def _unit(*eighths: float) -> np.ndarray:
    vector = np.zeros(8)
    vector[: len(eighths)] = np.array(eighths) / 8
    assert vector @ vector == 1
    return vector


HALF = _unit(4, 4, 4, 4)  # cosine 0.5 to the first axis
DUPLICATE = _unit(7, 3, 2, 1, 1)  # 0.875


def _script(*embeddings: np.ndarray, face: Rule | None = None):
    """Everybody has the same images, the last one again and again."""

    def script(shot: Shot) -> tuple[np.ndarray, Rule | None]:
        return embeddings[min(shot.attempt, len(embeddings)) - 1], face if shot.attempt == 1 else None

    return script


def test_thresholds() -> None:
    settings = FilterSettings()
    assert settings.same_identity == pytest.approx(0.622)
    assert settings.duplicate == pytest.approx(0.853)
    for changes, message in (
        ({"samples_per_id": 0}, "samples_per_id: expected at least 1"),
        ({"max_attempts": 31}, "max_attempts: expected at least samples_per_id=32"),
        ({"similarity_std": 0.4}, "similarity_mean, similarity_std"),
    ):
        with pytest.raises(UserError, match=message):
            FilterSettings(**changes)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_person_at_the_threshold_to_a_real_one_passes_and_above_it_does_not(sign: int) -> None:
    at, above = sign * HALF, sign * (HALF + 1e-9 * AXES[0])
    assert decisions(_script(AXES[0]), at[None], EXACT, people=1)[0][1] == Rule.ATTEMPTS  # nothing but duplicates
    assert decisions(_script(AXES[0]), above[None], EXACT, people=1)[0] == (0, Rule.PRIVACY, 1, {Rule.PRIVACY: 1}, [])


def test_images_at_the_thresholds_of_their_person_pass_and_beyond_do_not() -> None:
    for second, broken in (
        (HALF, None),
        (-HALF, None),
        (HALF - 1e-9 * AXES[0], Rule.CONSISTENCY),
        (DUPLICATE, None),
        (DUPLICATE + 1e-9 * AXES[0], Rule.DIVERSITY),
        (-AXES[0], None),  # the sign counts for duplicates only
    ):
        rejected = {} if broken is None else {broken: 1}
        attempts = [1, 2] if broken is None else [1, 3]
        found = decisions(_script(AXES[0], second, HALF), FAR, EXACT, people=1)
        assert found == [(0, None, attempts[-1], rejected, attempts)]


@pytest.mark.parametrize("nudge", [-1e-6, 1e-6])
def test_the_published_thresholds(nudge: float) -> None:
    def at(cosine: float) -> np.ndarray:
        return np.array([cosine, np.sqrt(1 - cosine**2), 0])

    settings = FilterSettings(samples_per_id=2, max_attempts=3)
    far = np.eye(3)[2:]
    first = np.eye(3)[0]
    real = decisions(_script(first, at(0.7)), at(0.622 + nudge)[None], settings, people=1)[0]
    assert (real[1] == Rule.PRIVACY) == (nudge > 0)
    consistent = decisions(_script(first, at(0.622 + nudge), at(0.7)), far, settings, people=1)[0]
    assert consistent[3] == ({} if nudge > 0 else {Rule.CONSISTENCY: 1})
    distinct = decisions(_script(first, at(0.853 + nudge), at(0.7)), far, settings, people=1)[0]
    assert distinct[3] == ({Rule.DIVERSITY: 1} if nudge > 0 else {})


def test_order_of_the_rules() -> None:
    known = AXES[:1]
    face = _script(AXES[0], face=Rule.OFF_CENTRE)
    assert decisions(face, known, EXACT, people=1)[0][1] == Rule.OFF_CENTRE
    # A later image like a real person is dropped for that, though it is inconsistent too; and the person goes on.
    later = _script(AXES[1], AXES[0], AXES[2], AXES[1], _unit(4, 4, 4, 4) @ np.roll(AXES, 1, axis=0))
    assert decisions(later, known, EXACT, people=1) == [
        (0, None, 5, {Rule.PRIVACY: 1, Rule.CONSISTENCY: 1, Rule.DIVERSITY: 1}, [1, 5])
    ]


@pytest.mark.parametrize("capacity", [1, 2, 7])
def test_attempts_are_limited(capacity: int) -> None:
    found = decisions(_script(AXES[0], AXES[1]), FAR, EXACT, people=2, capacity=capacity)
    assert found == [(n, Rule.ATTEMPTS, 5, {Rule.CONSISTENCY: 4}, []) for n in range(2)]
    last = _script(AXES[0], AXES[1], AXES[1], AXES[1], HALF)
    assert decisions(last, FAR, EXACT, people=1, capacity=capacity)[0][1] is None


@pytest.mark.parametrize("capacity", [1, 3, 64])
def test_first_images_of_accepted_people_join_the_gallery(capacity: int) -> None:
    found = decisions(_script(AXES[0], HALF), FAR, EXACT, people=3, capacity=capacity)
    rejected = {Rule.SEPARABILITY: 1}
    assert found == [(0, None, 2, {}, [1, 2]), *((n, Rule.SEPARABILITY, 1, rejected, []) for n in (1, 2))]


@given(seed=st.integers(0, 10_000), capacity=st.integers(1, 40), ids=st.integers(1, 8), size=st.sampled_from([3, 4, 6]))
@hypothesis_settings(max_examples=60, deadline=None)
def test_any_batch_decides_as_one_image_after_the_other(seed: int, capacity: int, ids: int, size: int) -> None:
    random = np.random.default_rng(seed)
    centres = random.standard_normal((12, size))
    noise = 0.5 * random.standard_normal((12, 16, size))
    faces = random.random(12) < 0.2
    known = random.standard_normal((2, size))
    settings = FilterSettings(samples_per_id=3, similarity_mean=0.95, similarity_std=0.03, max_attempts=16)

    def script(shot: Shot) -> tuple[np.ndarray, Rule | None]:
        person = shot.person % 12
        face = Rule.NO_FACE if faces[person] and shot.attempt == 1 else None
        return centres[person] + noise[person, shot.attempt - 1], face

    expected = sequential(script, known, settings, people=12)
    assert decisions(script, known, settings, people=12, ids=ids, capacity=capacity) == expected


def test_similarities_of_the_accepted_are_those_in_strict_order() -> None:
    random = np.random.default_rng(1)
    known = random.standard_normal((3, 6))
    settings = FilterSettings(samples_per_id=2, similarity_mean=0.95, similarity_std=0.02, max_attempts=40)
    people, noise = random.standard_normal((40, 6)), 0.15 * random.standard_normal((40, 40, 6))

    def script(shot: Shot) -> tuple[np.ndarray, Rule | None]:
        return people[shot.person % 40] + noise[shot.person % 40, shot.attempt - 1], None

    gallery = Gallery(torch.from_numpy(known))
    firsts: list[torch.Tensor] = []
    for candidate in select(lambda shots: play(script, shots), gallery, settings, ids=5, capacity=24):
        if candidate.is_complete:
            unit = to_unit(torch.stack([sample.embedding for sample in candidate.samples]))
            real = (unit @ to_unit(torch.from_numpy(known)).mT).abs().amax(1)
            other = (unit @ torch.stack(firsts).mT).abs().amax(1) if firsts else torch.zeros(2)
            for row, sample in enumerate(candidate.samples):
                assert sample.to_known == pytest.approx(float(real[row]))
                assert sample.to_synthetic == pytest.approx(float(other[row]))
                assert sample.to_first == pytest.approx(float(unit[row] @ unit[0]))
            assert candidate.samples[0].to_other is None
            firsts.append(unit[0])
        if candidate.number == 39:
            break
    assert len(firsts) >= 3


def test_numbers_that_are_not_finite() -> None:
    with pytest.raises(UserError, match="not finite"):
        decisions(_script(np.full(8, np.nan)), FAR, EXACT, people=1)
