"""The filter by its published numbers."""

from __future__ import annotations

import numpy as np
import pytest
from support_generation import decisions

from src.models.generation.faces import FaceRule
from src.models.generation.rules import FilterSettings, Rule
from src.models.generation.selection import Shot

AXES = np.eye(8)
FAR = AXES[7:]


def test_numbers() -> None:
    rules, face = FilterSettings(), FaceRule()
    assert (rules.samples_per_id, rules.max_attempts) == (32, 2500)
    assert (face.min_probability, face.centre_ratio) == (0.97, pytest.approx(1 / 3))


@pytest.mark.parametrize(("fitting", "rule"), [(2500, None), (2501, Rule.ATTEMPTS)])
def test_the_last_attempt(fitting: int, rule: Rule | None) -> None:
    """The second image of a person fits at one attempt only; the 2500th is the last that is made."""

    def script(shot: Shot) -> tuple[np.ndarray, Rule | None]:
        if shot.attempt in (1, fitting):
            return (AXES[0] if shot.attempt == 1 else 0.7 * AXES[0] + np.sqrt(0.51) * AXES[1]), None
        return AXES[2], None

    found = decisions(script, FAR, FilterSettings(samples_per_id=2), people=1, capacity=64)[0]
    assert (found[1], found[2]) == (rule, 2500)
    assert found[3] == {Rule.CONSISTENCY: 2498 if rule is None else 2499}


def test_an_image_of_nobody_that_is_also_a_duplicate_is_inconsistent() -> None:
    """Its cosine is 0.6 to the first image, below 0.622, and 0.99 to the second."""
    second = 0.7 * AXES[0] + np.sqrt(0.51) * AXES[1]
    images = [AXES[0], second, 0.6 * AXES[0] + 0.8 * AXES[1], 0.7 * AXES[0] - np.sqrt(0.51) * AXES[1]]
    found = decisions(
        lambda shot: (images[min(shot.attempt, 4) - 1], None),
        FAR,
        FilterSettings(samples_per_id=3, max_attempts=9),
        people=1,
    )
    assert found == [(0, None, 4, {Rule.CONSISTENCY: 1}, [1, 2, 4])]


def test_a_bad_first_image_gives_the_person_up_and_a_later_one_only_itself() -> None:
    real = AXES[:1]
    third = AXES[1] * 0.7 + np.sqrt(0.51) * AXES[2]
    given_up = decisions(lambda shot: (AXES[0], None), real, FilterSettings(samples_per_id=2), people=2)
    assert [(person, rule, attempts) for person, rule, attempts, *_ in given_up] == [
        (0, Rule.PRIVACY, 1), (1, Rule.PRIVACY, 1)
    ]  # fmt: skip
    images = [AXES[1], AXES[0], third]
    found = decisions(
        lambda shot: (images[min(shot.attempt, 3) - 1], None), real, FilterSettings(samples_per_id=2), people=1
    )
    assert found == [(0, None, 3, {Rule.PRIVACY: 1}, [1, 3])]
