from __future__ import annotations

import math

import numpy as np
import pytest
from support_protection import coded_faces, pairs_of_cosine, projection

from src.eval.protection.collision import collision_error, collision_law, collisions
from src.eval.protection.faces import ImagePairs, draw_non_mated, joined, mated_pairs
from src.eval.protection.keys import fresh_projection
from src.eval.protection.scores import match

COSINES = (0, 0.2, 0.4, 0.6, 0.8, 0.9)
LAW = {
    2: (0.500, 0.564, 0.631, 0.705, 0.795, 0.856),
    4: (0.250, 0.325, 0.411, 0.515, 0.650, 0.751),
    8: (0.125, 0.191, 0.276, 0.388, 0.547, 0.668),
    16: (0.062, 0.114, 0.189, 0.297, 0.465, 0.603),
    32: (0.031, 0.069, 0.132, 0.231, 0.402, 0.549),
}


@pytest.mark.parametrize("q", LAW)
def test_law(q: int) -> None:
    """Section 8.6 of the specification."""
    assert collision_law(COSINES, q) == pytest.approx(LAW[q], abs=0.003)
    assert collision_law([-1, 1], q)[1] == 1
    assert (np.diff(collision_law(np.linspace(-1, 1, 21), q)) >= 0).all()


def test_the_law_of_two_symbols_is_exact() -> None:
    assert collision_law(0.6, 2) == pytest.approx(1 - math.acos(0.6) / math.pi)


@pytest.mark.parametrize("q", [2, 8])
def test_random_projections_follow_the_law(q: int) -> None:
    rank_hash, count = projection(512, q, 512), 40
    for cosine in (0.2, 0.6):
        first, second = (rank_hash.codes(x).numpy() for x in pairs_of_cosine(count, cosine))
        # Independent embeddings are only nearly as alike as asked for: that spreads more than the symbols do.
        law = collision_law(cosine, q)
        deviation = math.sqrt(law * (1 - law) / (512 * count)) + 0.6 / math.sqrt(512 * count)
        assert match(first, second).mean() == pytest.approx(law, abs=3 * deviation)


def test_measured_on_faces() -> None:
    faces = coded_faces(people=60, images=6, m=512, d=512)
    pairs = joined(mated_pairs(faces.labels), draw_non_mated(faces.labels, 3000, np.random.default_rng(0)))
    codes = [fresh_projection(faces.rank_hash, k).codes(faces.embeddings).numpy() for k in range(3)]
    found = collisions(faces, codes, pairs)
    assert collision_error(found) < 0.01
    assert found.cosine == sorted(found.cosine)
    assert found.code == pytest.approx(found.projection, abs=0.03)
    assert found.cosine[0] < -0.05
    assert found.cosine[-1] > 0.6
    assert len(found.cosine) == len(found.projection) == len(found.code)


def test_equal_embeddings() -> None:
    faces = coded_faces()
    same = np.arange(30)
    found = collisions(faces, [faces.codes], ImagePairs(same, same))
    assert found.cosine == pytest.approx([1])
    assert found.projection == found.code == [1]
    assert collision_error(found) == pytest.approx(0, abs=1e-6)
