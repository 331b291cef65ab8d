from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.eval.code_mismatches import mismatches, mismatches_of_all
from src.ops.code_bits import pack_bits, pack_planes


def random_codes(seed: int, count: int, m: int, bits: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (count, m, bits), dtype=np.uint8)


def words(packed: torch.Tensor) -> np.ndarray:
    return packed.numpy().view(np.uint64)


@settings(max_examples=40, deadline=None)
@given(m=st.integers(1, 150), bits=st.integers(1, 8), probes=st.integers(1, 20), gallery=st.integers(1, 20))
def test_equals_the_plain_count(m: int, bits: int, probes: int, gallery: int) -> None:
    first, second = random_codes(0, probes, m, bits), random_codes(1, gallery, m, bits)
    differs = first[:, None] != second
    planes = [words(pack_planes(codes)) for codes in (first, second)]
    assert np.array_equal(mismatches_of_all(*planes, bits), differs.any(axis=3).sum(axis=2))
    packed = [words(pack_bits(codes.reshape(len(codes), -1))) for codes in (first, second)]
    assert np.array_equal(mismatches_of_all(*packed), differs.sum(axis=(2, 3)))
    count = min(probes, gallery)
    by_row = mismatches(planes[0][:count] ^ planes[1][:count], bits)
    assert by_row.tolist() == [int(differs[i, i].any(axis=1).sum()) for i in range(count)]


def test_identifiers_cancel_out() -> None:
    first, second = (words(pack_planes(random_codes(seed, 300, 100, 3))) for seed in (0, 1))
    identifiers = np.random.default_rng(2).integers(0, 2**64, second.shape, dtype=np.uint64)
    plain = mismatches_of_all(first, second, 3)
    assert np.array_equal(mismatches_of_all(first, second ^ identifiers, 3, identifiers), plain)
    assert mismatches_of_all(first[:0], second, 3).shape == (0, 300)
    assert mismatches_of_all(first, second[:0], 3).shape == (300, 0)


def test_many_blocks() -> None:
    probes, gallery = (words(pack_planes(random_codes(seed, 400, 70, 2))) for seed in (0, 1))
    whole = mismatches_of_all(probes, gallery, 2)
    assert np.array_equal(whole[200:], mismatches_of_all(probes[200:], gallery, 2))
    assert whole.mean() == np.float64(whole.sum()) / 160_000
    assert abs(whole.mean() / 70 - 0.75) < 0.01
