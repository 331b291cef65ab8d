from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score
from support_gender import embeddings, people

from src.errors import UserError
from src.eval.gender import FoldAttack, attack, attack_transfer, mean_of_standard
from src.eval.gender_attackers import Attackers

GOLDEN = json.loads((Path(__file__).parents[1] / "parity" / "gender_angular_golden.json").read_text())["gender_attack"]
COUNT = len(people()[0])


def golden_faces() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """240 templates of 60 people, a third of them of one gender."""
    i, j = np.arange(240)[:, None], np.arange(1, 17)
    identity = i // 4
    gender = (identity % 3 == 0).astype(int)
    templates = np.sin(0.53 * (i + 1) * j) + 0.8 * np.sin(0.29 * (identity**2 + 2) * j)
    templates[:, :1] += 0.6 * (2 * gender - 1)
    templates /= np.linalg.norm(templates, axis=1, keepdims=True)
    return templates, identity[:, 0], gender[:, 0]


def toy(gender: float, seed: int = 0) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    return embeddings(gender, seed=seed)["original"][-COUNT:], *people()


def test_reference_values() -> None:
    result = attack(*golden_faces())
    expected = {"logreg": GOLDEN["LogReg"], "svm": GOLDEN["SVM"], "rbf": GOLDEN["RBF"]}
    assert result.balanced_accuracies == pytest.approx(expected, abs=1e-9)
    assert mean_of_standard(result.balanced_accuracies) == pytest.approx(np.mean(list(expected.values())), abs=1e-9)


def test_metrics_are_those_of_scikit_learn() -> None:
    templates, subjects, gender = golden_faces()
    result = attack(templates, subjects, gender)
    rows = [result.fold == number for number in range(3)]
    assert np.array_equal(result.attributes, gender)
    for name, guess in result.guesses.items():
        expected = np.mean([balanced_accuracy_score(gender[fold], guess[fold]) for fold in rows])
        assert result.balanced_accuracies[name] == pytest.approx(expected, abs=1e-12)
        assert result.accuracies[name] == pytest.approx(np.mean([(gender == guess)[fold].mean() for fold in rows]))
    assert result.auc == pytest.approx(np.mean([roc_auc_score(gender[f], result.decision[f]) for f in rows]))
    male = 1 / (1 + np.exp(-result.decision))
    assert result.v_information == pytest.approx(math.log(2) - np.mean([log_loss(gender[f], male[f]) for f in rows]))


def test_scale_and_kind_of_array_make_no_difference() -> None:
    templates, subjects, gender = golden_faces()
    expected = attack(templates, subjects, gender).balanced_accuracies
    scaled = torch.tensor(templates * np.linspace(0.1, 9, 240)[:, None])
    assert attack(scaled, subjects.tolist(), gender.tolist()).balanced_accuracies == pytest.approx(expected, abs=1e-9)


def test_nothing_can_be_told_of_labels_by_chance() -> None:
    rng = np.random.default_rng(0)
    subjects = np.repeat(np.arange(300), 4)
    result = attack(rng.standard_normal((1200, 8)), subjects, rng.integers(0, 2, 300)[subjects])
    assert mean_of_standard(result.balanced_accuracies) == pytest.approx(0.5, abs=0.05)
    assert result.auc == pytest.approx(0.5, abs=0.05)
    assert abs(result.v_information) < 0.02


def test_codes_of_the_genders_make_no_difference() -> None:
    templates, subjects, gender = golden_faces()
    swapped = attack(templates, subjects, 1 - gender).balanced_accuracies
    assert swapped == pytest.approx(attack(templates, subjects, gender).balanced_accuracies, abs=1e-9)


def test_interval_holds_the_mean() -> None:
    result = attack(*golden_faces())
    low, high = result.interval(500)
    assert low < mean_of_standard(result.balanced_accuracies) < high
    assert 0.03 < high - low < 0.2
    assert result.interval(500) == (low, high)


def test_a_limit_on_the_faces() -> None:
    templates, subjects, gender = golden_faces()
    result = attack(templates, subjects, gender, max_samples=100)
    assert 80 <= len(result.faces) <= 100
    assert np.array_equal(result.subjects, subjects[result.faces])
    chosen = attack(templates[result.faces], result.subjects, result.attributes)
    assert chosen.balanced_accuracies == result.balanced_accuracies


def test_the_naive_attacker_learns_from_other_templates() -> None:
    before, subjects, gender = toy(1.0)
    trained = FoldAttack(before, subjects, gender)
    assert trained.test(before).balanced_accuracies == attack(before, subjects, gender).balanced_accuracies
    hidden = before.clone()
    hidden[:, 0] = 0
    assert mean_of_standard(trained.test(before).balanced_accuracies) > 0.95
    assert mean_of_standard(trained.test(hidden).balanced_accuracies) < 0.7
    with pytest.raises(UserError, match=r"expects templates \[60, D\], found \[59, 16\]"):
        trained.test(hidden[1:])


def test_attackers_go_to_another_set() -> None:
    templates, _, gender = toy(1.0)
    others, _, truth = toy(1.0, seed=1)
    unit = torch.nn.functional.normalize(templates.double()).numpy()
    result = attack_transfer(Attackers(unit, gender), others, truth)
    assert set(result) == {"logreg", "svm", "rbf"}
    assert mean_of_standard(result) > 0.9
    turned = attack_transfer(Attackers(unit, 1 - gender), others, truth)
    assert mean_of_standard(turned) == pytest.approx(1 - mean_of_standard(result))


def test_the_mean_needs_all_three() -> None:
    templates, subjects, gender = toy(1.0)
    result = attack(templates, subjects, gender, attackers=("knn", "svm"), folds=2)
    assert math.isnan(mean_of_standard(result.balanced_accuracies))
    assert math.isnan(result.auc)
    assert math.isnan(result.v_information)


def test_refuses_what_does_not_fit() -> None:
    templates, subjects, gender = golden_faces()
    with pytest.raises(UserError, match=r"templates \[N, D\], subjects \[N\]"):
        attack(templates, subjects, gender[1:])
    with pytest.raises(UserError, match=r"\[240, D\], found \[239, 16\]"):
        attack(templates[1:], subjects, gender)
    with pytest.raises(UserError, match="1 of 240 rows hold NaN"):
        attack(np.where(np.arange(240)[:, None] == 7, np.nan, templates), subjects, gender)
    with pytest.raises(UserError, match="found 0 female"):
        attack(templates, subjects, np.ones(240, int))


def test_tells_what_is_under_way() -> None:
    told: list[str] = []
    attack(*golden_faces(), folds=2, on_progress=told.append)
    assert told == [f"fold {fold} of 2, {name}" for fold in (1, 2) for name in ("logreg", "svm", "rbf")]
