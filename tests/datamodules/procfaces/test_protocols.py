from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import FACES, faces_config

from src.datamodules.procfaces.faces_config import FOLDS, FacesConfig
from src.datamodules.procfaces.identities import identity
from src.datamodules.procfaces.names import invented_names
from src.datamodules.procfaces.protocols import (
    PairProtocol,
    age_pairs,
    gender_pairs,
    people,
    photo_pairs,
    pose_pairs,
    training_shots,
)
from src.datamodules.procfaces.templates import template_protocol
from src.errors import UserError

COMPACT: list[Callable[[FacesConfig], PairProtocol]] = [photo_pairs, age_pairs, pose_pairs]
PAIR_PROTOCOLS: list[Callable[[FacesConfig], PairProtocol]] = [
    *COMPACT,
    partial(gender_pairs, split="gender"),
    partial(gender_pairs, split="gender_shifted"),
]


def folds_of(protocol: PairProtocol) -> tuple[np.ndarray, np.ndarray]:
    """Identities [10, 2n, 2] and flags [10, 2n]."""
    people = protocol.shots.ids[protocol.pairs]
    return people.reshape(FOLDS, -1, 2), protocol.same.reshape(FOLDS, -1)


@pytest.mark.parametrize("name", FACES)
def test_people_of_all_splits_are_disjoint(name: str) -> None:
    config = faces_config(name)
    shots = [training_shots(config), *(make(config).shots for make in PAIR_PROTOCOLS), template_protocol(config).shots]
    people = [set(s.ids.tolist()) for s in shots]
    assert len(set.union(*people)) == sum(len(ids) for ids in people)


@pytest.mark.parametrize("make", PAIR_PROTOCOLS)
def test_pairs_are_ten_balanced_folds_of_strangers(make: Callable[[FacesConfig], PairProtocol]) -> None:
    config = faces_config("small")
    protocol = make(config)
    people, same = folds_of(protocol)
    n = config.pairs_per_fold
    assert protocol.pairs.shape == (FOLDS * 2 * n, 2)
    assert same[:, :n].all()
    assert not same[:, n:].any()
    np.testing.assert_array_equal(people[..., 0] == people[..., 1], same)
    members = [set(fold.flatten().tolist()) for fold in people]
    assert len(set.union(*members)) == sum(len(fold) for fold in members)


@pytest.mark.parametrize("make", PAIR_PROTOCOLS)
def test_no_pair_occurs_twice_and_every_image_is_used(make: Callable[[FacesConfig], PairProtocol]) -> None:
    protocol = make(faces_config("ci64"))
    pairs = {frozenset(pair) for pair in protocol.pairs.tolist()}
    assert len(pairs) == len(protocol.pairs)
    if make in COMPACT:
        assert set.union(*map(set, pairs)) == set(range(len(protocol.shots)))


def test_all_images_of_a_gender_benchmark_are_drawn() -> None:
    """Few pairs leave most images out, but the gender attack takes them all."""
    config = faces_config("gender_ci", pairs_per_fold=2)
    protocol = gender_pairs(config, "gender")
    drawn = list(zip(protocol.shots.ids.tolist(), protocol.shots.samples.tolist(), strict=True))
    assert drawn == [(104_000 + person, sample) for person in range(60) for sample in range(6)]
    assert len(np.unique(protocol.pairs)) < 90


@pytest.mark.parametrize("name", ["gender", "gender_ci"])
def test_half_of_the_people_of_a_gender_benchmark_have_either_attribute(name: str) -> None:
    config = faces_config(name)
    for split in ("train", "gender", "gender_shifted"):
        count = config.identities if split == "train" else config.evaluation_identities
        drawn = identity(config.seed, people(split, count), attribute_mode=config.attribute_balance)
        assert drawn["masculine"].mean() == 0.5


def test_ages_of_a_pair_are_thirty_years_apart() -> None:
    protocol = age_pairs(faces_config("small"))
    assert protocol.shots.age is not None
    age = protocol.shots.age[protocol.pairs]
    assert np.abs(age[:, 0] - age[:, 1]).min() >= 30
    assert 16 <= age.min() <= 30
    assert 54 <= age.max() <= 78


def test_a_pose_pair_is_one_frontal_and_one_profile_view() -> None:
    protocol = pose_pairs(faces_config("small"))
    assert protocol.shots.yaw is not None
    yaw = np.sort(np.abs(protocol.shots.yaw[protocol.pairs]), axis=1)
    assert yaw[:, 0].max() <= 5 * 2.6
    assert yaw[:, 1].min() >= 62
    assert yaw[:, 1].max() <= 82
    assert {-1, 1} == set(np.sign(protocol.shots.yaw[np.abs(protocol.shots.yaw) > 60]))


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    people=st.integers(3, 140),
    pairs=st.integers(1, 3),
    make=st.sampled_from(PAIR_PROTOCOLS),
)
def test_any_seed_gives_valid_folds(
    seed: int, people: int, pairs: int, make: Callable[[FacesConfig], PairProtocol]
) -> None:
    config = faces_config(seed=seed, evaluation_identities=people, evaluation_images=10, pairs_per_fold=pairs)
    protocol = make(config)
    assert len({frozenset(pair) for pair in protocol.pairs.tolist()}) == FOLDS * 2 * pairs
    identities, same = folds_of(protocol)
    np.testing.assert_array_equal(identities[..., 0] == identities[..., 1], same)


def test_a_protocol_depends_on_the_seed_alone() -> None:
    config = faces_config("ci64")
    np.testing.assert_array_equal(photo_pairs(config).pairs, photo_pairs(replace(config, size=112)).pairs)
    assert (photo_pairs(config).pairs != photo_pairs(replace(config, seed=1)).pairs).any()


def test_too_few_images_for_the_pairs() -> None:
    config = faces_config(evaluation_identities=120, evaluation_images=2, pairs_per_fold=80)
    with pytest.raises(UserError, match=r"lfw: 80 genuine pairs wanted of 12 people, but there are only 12"):
        photo_pairs(config)


def test_training_order_is_a_shuffle_of_all_images() -> None:
    config = faces_config("ci32")
    shots = training_shots(config)
    assert len(set(zip(shots.ids.tolist(), shots.samples.tolist(), strict=True))) == 640
    assert len(np.unique(shots.ids[:64])) > 25


def test_templates_have_one_enrolment_each_and_unshared_media() -> None:
    protocol = template_protocol(faces_config(ijbc_subjects=60))
    person, template, medium = protocol.shots.ids, protocol.template, protocol.medium
    numbers = np.unique(template)
    np.testing.assert_array_equal(numbers, np.arange(1, len(numbers) + 1))
    np.testing.assert_array_equal(np.unique(medium), np.arange(1, medium.max() + 1))
    for number in numbers:
        rows = template == number
        assert len(np.unique(person[rows])) == 1
        frames = np.unique(medium[rows], return_counts=True)[1]
        if protocol.enrolled[rows].any():
            assert protocol.enrolled[rows].all()
            assert 3 <= rows.sum() <= 5
            assert (frames == 1).all()
        else:
            assert set(frames.tolist()) <= {1, 3, 4, 5, 6}
            assert (frames > 1).sum() <= 1
    for number in np.unique(medium):
        assert len(np.unique(template[medium == number])) == 1
    enrolled = {(p, t) for p, t, e in zip(person, template, protocol.enrolled, strict=True) if e}
    probes = {(p, t) for p, t, e in zip(person, template, protocol.enrolled, strict=True) if not e}
    assert len(enrolled) == 60
    assert all(2 <= sum(p == q for q, _ in probes) <= 4 for p, _ in enrolled)
    pairs, same = protocol.pairs()
    assert len(pairs) == len(enrolled) * len(probes)
    assert same.sum() == len(probes)


def test_names_are_distinct_and_pronounceable() -> None:
    names = invented_names(0, range(100_000, 101_000))
    assert len(set(names.values())) == 1000
    first, last = names[100_000].split("_")
    assert first.isalpha()
    assert first.istitle()
    assert last.istitle()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"identities": 0}, r"identities: expected a whole number between 1 and 90000, found 0"),
        ({"per_identity": 2.5}, r"per_identity: expected a whole number between 1 and 1000, found 2\.5"),
        ({"difficulty": "hard"}, r"difficulty: expected a number between 0 and 3, found 'hard'"),
        ({"attribute_balance": "half"}, "attribute_balance: expected iid or exact, found 'half'"),
        ({"benchmarks": ("lfw", "calfw")}, r"benchmarks: expected distinct names .*calfw"),
        ({"name": "a/b"}, "name: expected letters"),
    ],
)
def test_a_bad_field_is_named(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(faces_config("small"), **changes)
