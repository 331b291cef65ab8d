from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from src.eval.embedding_matching import PairMatcher
from src.eval.per_gender import metric_names, verify_per_gender
from src.eval.verification import VerificationResult, verify

RNG = np.random.default_rng(0)
CELL = 2000


def result_of(scores: np.ndarray, same: np.ndarray, folds: int = 10) -> VerificationResult:
    """Pairs with given similarities."""
    given = torch.tensor(scores)
    matcher = PairMatcher(lambda first, second: given)
    return verify(np.ones((len(scores), 1)), np.ones((len(scores), 1)), same, folds, matcher)


def cells(**means: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, flags and attributes of pairs in random order, 2,000 of each kind, e.g. ``genuine_female``."""
    kinds = {
        "genuine_female": (True, 0, 0),
        "genuine_male": (True, 1, 1),
        "impostor_female": (False, 0, 0),
        "impostor_male": (False, 1, 1),
        "impostor_cross": (False, 0, 1),
    }
    rows = [
        (mean + 0.1 * z, *kinds[name]) for name, mean in means.items() for z in RNG.standard_normal(CELL).clip(-3, 3)
    ]
    scores, same, first, second = np.array(rows)[RNG.permutation(len(rows))].T
    return scores, same.astype(bool), np.stack([first, second], axis=1).astype(np.int8)


def test_women_whose_impostors_look_alike() -> None:
    scores, same, attributes = cells(
        genuine_female=0.6, genuine_male=0.6, impostor_female=0.25, impostor_male=0.0, impostor_cross=-0.2
    )
    result = result_of(scores, same)
    values = verify_per_gender(result, attributes)
    assert tuple(values) == metric_names()
    female, male = ((attributes == gender).all(axis=1) for gender in (0, 1))
    threshold = np.sort(scores[~same])[-61]  # 60 of 6,000 impostors pass
    assert values["fmr_female@1e-2"] == (scores[female & ~same] > threshold).mean() == 60 / CELL
    assert values["fmr_male@1e-2"] == 0
    assert values["fmr_gap@1e-2"] == 60 / CELL
    assert math.isnan(values["fmr_ratio@1e-2"])
    assert values["fmr_cross@1e-2"] == 0
    assert values["fmr_cross_ratio@1e-2"] == 0
    assert values["fnmr_male@1e-2"] == (scores[male & same] <= threshold).mean()
    assert values["fnmr_ratio@1e-2"] == pytest.approx(
        max(values["fnmr_female@1e-2"], values["fnmr_male@1e-2"])
        / min(values["fnmr_female@1e-2"], values["fnmr_male@1e-2"])
    )
    for name, group in (("female", female), ("male", male)):
        alone = result_of(scores[group], same[group], 1)
        assert values[f"eer_{name}"] == alone.eer
        assert values[f"tar_{name}@1e-2"] == alone.tar_at_far[1e-2]
        assert values[f"accuracy_{name}"] == (result.folds.accepted == same)[group].mean()
    assert values["eer_gap"] == values["eer_female"] - values["eer_male"] > 0


def test_genders_that_are_alike() -> None:
    scores, same, attributes = cells(
        genuine_female=0.4, genuine_male=0.4, impostor_female=0.0, impostor_male=0.0, impostor_cross=0.0
    )
    values = verify_per_gender(result_of(scores, same), attributes)
    assert values["fmr_cross_ratio@1e-2"] == pytest.approx(1, abs=0.7)
    assert values["eer_gap"] < 0.03
    assert values["accuracy_gap"] < 0.03


def test_too_few_pairs_tell_nothing() -> None:
    scores, same, attributes = cells(genuine_female=0.6, impostor_female=0.0, impostor_cross=0.0)
    attributes[np.flatnonzero((attributes == 0).all(axis=1) & ~same)[29:]] = -1
    values = verify_per_gender(result_of(scores, same), attributes)
    for name in ("fmr_female@1e-2", "fmr_male@1e-2", "fmr_gap@1e-2", "fnmr_male@1e-2", "eer_female", "accuracy_male"):
        assert math.isnan(values[name]), name
    assert not math.isnan(values["fmr_cross@1e-2"])
    assert not math.isnan(values["fnmr_female@1e-2"])


def test_impostors_that_cannot_tell_the_rate() -> None:
    scores, same, attributes = cells(genuine_female=0.6, impostor_female=0.0)
    kept = same | (np.arange(len(same)) % 5 < 2)
    values = verify_per_gender(result_of(scores[kept], same[kept]), attributes[kept])
    assert math.isnan(values["fmr_female@1e-3"])
    assert math.isnan(values["fnmr_female@1e-3"])
    assert values["fmr_female@1e-2"] == pytest.approx(0.01, abs=2e-3)
