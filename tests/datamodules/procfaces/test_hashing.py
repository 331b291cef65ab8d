from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.datamodules.procfaces.hashing import NORMAL_LIMIT, Stream, bits, fnv1a64, normal, uniform

GOLDEN = json.loads(Path("tests/parity/procedural_faces_golden.json").read_text())["rng"]

seeds = st.integers(-(2**63), 2**64 - 1)
counters = st.lists(st.integers(0, 2**62), min_size=1, max_size=20, unique=True)


def test_hash_of_a_name_matches_the_golden_value() -> None:
    assert hex(fnv1a64("attr")) == GOLDEN['fnv1a64("attr")']


def test_bits_match_the_golden_values() -> None:
    assert [hex(b) for b in bits(0, "attr", np.arange(4))] == GOLDEN['bits(0,"attr",[0..3])']
    assert [hex(b) for b in bits(7, "nu/yaw", 3, np.arange(3))] == GOLDEN['bits(7,"nu/yaw",id=3,sample=[0..2])']


def test_draws_match_the_golden_values() -> None:
    np.testing.assert_allclose(uniform(0, "attr", np.arange(4)), GOLDEN['U(0,"attr",[0..3])'], rtol=0, atol=1e-15)
    np.testing.assert_allclose(uniform(0, "mx", 5, size=3), GOLDEN['U(0,"mx",5,k=3)'], rtol=0, atol=1e-15)
    np.testing.assert_allclose(normal(0, "id/ex", np.arange(4)), GOLDEN['N(0,"id/ex",[0..3])'], rtol=0, atol=1e-9)


@given(seeds, counters, st.randoms())
def test_draws_do_not_depend_on_order_or_company(seed: int, indices: list[int], random: st.randoms) -> None:
    shuffled = random.sample(indices, len(indices))
    together = dict(zip(indices, bits(seed, "name", indices), strict=True))
    assert together == dict(zip(shuffled, bits(seed, "name", shuffled), strict=True))
    assert all(bits(seed, "name", index) == together[index] for index in indices)


@given(seeds, counters)
def test_components_of_a_vector_are_draws_of_an_extra_index(seed: int, indices: list[int]) -> None:
    vectors = normal(seed, "name", indices, size=3)
    for component in range(3):
        np.testing.assert_array_equal(vectors[:, component], normal(seed, "name", indices, component))


@given(seeds, counters)
def test_ranges(seed: int, indices: list[int]) -> None:
    draws = uniform(seed, "name", indices)
    assert ((draws > 0) & (draws < 1)).all()
    assert (np.abs(normal(seed, "name", indices)) <= NORMAL_LIMIT).all()


def test_moments() -> None:
    indices = np.arange(20_000)
    assert uniform(1, "moments", indices).mean() == pytest.approx(0.5, abs=0.01)
    assert normal(1, "moments", indices).mean() == pytest.approx(0, abs=0.02)
    assert normal(1, "moments", indices).std() == pytest.approx(0.985, abs=0.02)  # clipping takes the rest


def test_names_and_seeds_give_independent_draws() -> None:
    indices = np.arange(5000)
    reference = uniform(0, "first", indices)
    for other in (uniform(0, "second", indices), uniform(1, "first", indices)):
        assert abs(np.corrcoef(reference, other)[0, 1]) < 0.05


def test_a_stream_adds_its_prefix_and_indices() -> None:
    stream = Stream(3, "nu/", (np.arange(4), 7))
    np.testing.assert_array_equal(stream.uniform("yaw"), uniform(3, "nu/yaw", np.arange(4), 7))
    np.testing.assert_array_equal(stream.normal("yaw", 2), normal(3, "nu/yaw", np.arange(4), 7, size=2))
