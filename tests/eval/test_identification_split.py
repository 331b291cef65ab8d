from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.errors import UserError
from src.eval.identification_split import split_by_count


def test_counts_of_lfw() -> None:
    """13,233 images of 5,749 people, of whom 610 have at least 4 and together 6,733."""
    many = np.repeat([12, 11], [23, 587])
    few = np.repeat([1, 2, 3], [4069, 779, 291])
    assert (many.sum(), few.sum(), len(few)) == (6733, 6500, 5139)
    counts = np.random.default_rng(0).permutation(np.concatenate([many, few]))
    split = split_by_count(np.repeat(np.arange(5749), counts))
    assert (len(split.gallery), len(split.mated), len(split.non_mated)) == (1830, 4903, 6500)
    assert len(split.probes) == 11_403


def test_first_images_are_enrolled_wherever_they_are() -> None:
    split = split_by_count([5, 2, 5, 2, 2, 7, 5, 7], minimum_images=3, gallery_images=2)
    assert split.gallery.tolist() == [0, 1, 2, 3]
    assert split.mated.tolist() == [4, 6]
    assert split.non_mated.tolist() == [5, 7]
    assert split.probes.tolist() == [4, 6, 5, 7]


def test_at_most_so_many_people_are_enrolled() -> None:
    split = split_by_count([5, 2, 5, 2, 2, 7, 5, 7], minimum_images=2, gallery_images=1, enrolled=2)
    assert split.gallery.tolist() == [0, 1]
    assert split.mated.tolist() == [2, 3, 4, 6]
    assert split.non_mated.tolist() == [5, 7]
    with pytest.raises(UserError, match="enrolled=1"):
        split_by_count([5, 2, 5, 2], minimum_images=2, gallery_images=1, enrolled=1)


@given(labels=st.lists(st.integers(0, 5), min_size=12, max_size=60), gallery_images=st.integers(1, 3))
def test_every_image_has_one_part(labels: list[int], gallery_images: int) -> None:
    known = {label for label in labels if labels.count(label) > gallery_images}
    if len(known) < 2:
        return
    split = split_by_count(labels, gallery_images + 1, gallery_images)
    assert sorted([*split.gallery, *split.probes]) == list(range(len(labels)))
    assert {labels[i] for i in split.gallery} == {labels[i] for i in split.mated} == known
    assert len(split.gallery) == gallery_images * len(known)
    assert not known & {labels[i] for i in split.non_mated}
    for i in split.mated:
        assert all(j < i for j in split.gallery if labels[j] == labels[i])


def test_refuses_splits_without_probes_or_people() -> None:
    with pytest.raises(UserError, match=r"gallery_images=4 .* less than minimum_images=4"):
        split_by_count([0, 0, 1], gallery_images=4)
    with pytest.raises(UserError, match="1 of 2 people have 2 images or more, but a gallery needs two"):
        split_by_count([0, 0, 1], 2, 1)
    with pytest.raises(UserError, match="0 of 0 people"):
        split_by_count([])
