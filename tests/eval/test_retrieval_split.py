from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.errors import UserError
from src.eval.retrieval_split import split_at_random


@settings(max_examples=50, deadline=None)
@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=8),
    gallery_images=st.integers(1, 6),
    probe_images=st.integers(1, 4),
    seed=st.integers(0, 100),
)
def test_everyone_with_enough_images_is_split(
    counts: list[int], gallery_images: int, probe_images: int, seed: int
) -> None:
    counts = [*counts, 12, 12]
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)) * 3, counts))
    split = split_at_random(labels, gallery_images, probe_images, seed)
    assert not set(split.gallery) & set(split.probes)
    for person, count in enumerate(counts):
        searched, searched_for = ((labels[part] == 3 * person).sum() for part in (split.gallery, split.probes))
        enough = count > probe_images
        assert searched_for == (probe_images if enough else 0)
        assert searched == (min(count - probe_images, gallery_images) if enough else 0)


def test_the_draw_is_what_it_ever_was() -> None:
    labels = np.repeat(np.arange(3), 6)
    split = split_at_random(labels, 3, 2, seed=7)
    assert split.probes.tolist() == [3, 4, 7, 9, 12, 16]
    assert split.gallery.tolist() == [0, 2, 5, 8, 10, 11, 13, 15, 17]
    assert split_at_random(labels, 3, 2, seed=8).probes.tolist() != split.probes.tolist()
    # Others who come or go change nobody's draw.
    alone = split_at_random(np.repeat(np.arange(2), 6), 3, 2, seed=7)
    assert alone.probes.tolist() == [3, 4, 7, 9]


def test_refuses_what_cannot_be_split() -> None:
    with pytest.raises(UserError, match="1 of 3 people have more than 5 images, but a gallery needs two"):
        split_at_random(np.repeat(np.arange(3), [5, 6, 2]), 40, 5)
    for wrong in ((0, 5, 0), (40, 0, 0), (40, 5, -1)):
        with pytest.raises(UserError, match="expected gallery_images and probe_images of at least 1"):
            split_at_random(np.zeros(9, int), *wrong)
