from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.errors import UserError
from src.eval.gender_folds import choose_faces, subject_folds


def _enough(people: list[tuple[int, bool]]) -> bool:
    return 3 <= sum(male for _, male in people) <= len(people) - 3


def faces_of(people: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    subjects = np.repeat(np.arange(len(people)), [count for count, _ in people])
    return subjects, np.array([male for _, male in people], np.int8)[subjects]


@given(st.lists(st.tuples(st.integers(4, 5), st.booleans()), min_size=9, max_size=40).filter(_enough))
def test_nobody_is_learnt_and_guessed(people: list[tuple[int, bool]]) -> None:
    subjects, attributes = faces_of(people)
    splits = subject_folds(subjects, attributes, 3)
    assert sorted(np.concatenate([test for _, test in splits])) == list(range(len(subjects)))
    for train, test in splits:
        assert not set(subjects[train]) & set(subjects[test])
        assert len(train) + len(test) == len(subjects)
        assert set(attributes[train]) == set(attributes[test]) == {0, 1}


@given(
    st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=8, max_size=40).filter(_enough),
    st.integers(6, 100),
)
def test_a_choice_is_of_whole_people(people: list[tuple[int, bool]], max_samples: int) -> None:
    subjects, attributes = faces_of(people)
    order = np.random.default_rng(1).permutation(len(subjects))
    subjects, attributes = subjects[order], attributes[order]
    chosen = choose_faces(subjects, attributes, max_samples, 3)
    assert np.array_equal(chosen, choose_faces(subjects, attributes, max_samples, 3))
    assert np.array_equal(chosen, np.unique(chosen))
    assert set(attributes[chosen]) == {0, 1}
    for gender in (0, 1):
        mine = chosen[attributes[chosen] == gender]
        budget = max_samples * (attributes == gender).sum() // len(subjects)
        assert len(np.unique(subjects[mine])) >= 3
        assert len(mine) <= max(budget, 3) or max_samples >= len(subjects)
        limit = max(budget // 3, 1)
        for person in np.unique(subjects[mine]):
            assert (subjects[mine] == person).sum() == min((subjects == person).sum(), limit) or max_samples >= len(
                subjects
            )


def test_all_faces_where_no_limit_is_met() -> None:
    subjects, attributes = faces_of([(4, True), (4, False)] * 4)
    for limit in (None, 32, 100):
        assert choose_faces(subjects, attributes, limit, 3).tolist() == list(range(32))


def test_somebody_with_most_of_the_faces_gives_some() -> None:
    subjects, attributes = faces_of([(1000, True), (2, False), (2, True), (2, False), (2, False), (2, True)])
    chosen = choose_faces(subjects, attributes, 99, 3)
    assert len(chosen) <= 99
    assert np.unique(subjects[chosen]).tolist() == [0, 1, 2, 3, 4, 5]
    assert subjects[chosen].tolist().count(0) == 99 * 1004 // 1010 // 3


@pytest.mark.parametrize(
    ("people", "folds", "message"),
    [
        ([(5, True)] * 9, 3, "at least 3 people of each gender, found 0 female"),
        ([(5, False)] * 9 + [(5, True)] * 2, 3, "found 2 male; add faces or lower the folds"),
        (
            [(5, True), (1, False), (2, True), (1, False), (351, False), (1, True), (74, True), (4, True)],
            3,
            "cannot be split into 3 folds with both genders each",
        ),
        ([(5, True), (5, False)] * 5, 1, "folds: expected at least 2"),
    ],
)
def test_refuses_too_few_people(people: list[tuple[int, bool]], folds: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        subject_folds(*faces_of(people), folds)


def test_refuses_unknown_genders() -> None:
    with pytest.raises(UserError, match="known gender"):
        subject_folds(np.arange(9), np.array([0, 1, -1] * 3, np.int8), 2)
