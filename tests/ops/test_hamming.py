from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.errors import UserError
from src.ops import hamming
from src.ops.code_bits import pack_planes, unpack_bits
from src.ops.hamming import hamming_topk


def random_words(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    return rng.integers(-(1 << 63), (1 << 63) - 1, (rows, width), endpoint=True)


def plain(codes: np.ndarray, queries: np.ndarray, k: int, metric: str, planes: int) -> tuple[list, list]:
    """Distances and ids by the definition, one bit at a time."""
    differ = unpack_bits(codes[None] ^ queries[:, None], codes.shape[1] * 64).numpy()
    if metric == "symbols":
        differ = differ.reshape(*differ.shape[:2], planes, codes.shape[1] * 64 // planes).any(axis=2)
    distances = differ.sum(axis=2, dtype=np.int64)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, axis=1).tolist(), order.tolist()


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6), rows=st.integers(0, 70), queries=st.integers(0, 5), words=st.integers(1, 4),
    planes=st.integers(1, 4), k=st.integers(1, 80), metric=st.sampled_from(["bits", "symbols"]), keyed=st.booleans(),
    few=st.booleans(),
)  # fmt: skip
def test_equals_the_definition(
    seed: int, rows: int, queries: int, words: int, planes: int, k: int, metric: str, keyed: bool, few: bool
) -> None:
    rng = np.random.default_rng(seed)
    codes, probes = (random_words(rng, count, words * planes) for count in (rows, queries))
    if few:  # many ties
        codes, probes = codes & 1, probes & 1
    key = random_words(rng, rows, words * planes) if keyed else None
    before, block = codes.copy(), hamming._ROWS
    hamming._ROWS = 16  # several blocks
    found = hamming_topk(
        torch.from_numpy(codes if key is None else codes ^ key),
        torch.from_numpy(probes), k, key=key, metric=metric, planes=planes,
    )  # fmt: skip
    hamming._ROWS = block
    distances, ids = plain(codes, probes, k, metric, planes)
    assert found.distances.dtype == torch.int32
    assert found.ids.dtype == torch.int64
    assert found.ids.shape == found.distances.shape == (queries, min(k, rows))
    assert found.ids.tolist() == ids
    assert found.distances.tolist() == distances
    np.testing.assert_array_equal(codes, before)


def test_a_memory_map_is_searched_where_it_lies(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    codes, queries = random_words(rng, 20_000, 6), random_words(rng, 3, 6)
    codes.astype("<u8").tofile(tmp_path / "codes")
    mapped = np.memmap(tmp_path / "codes", "<u8", "r").reshape(-1, 6)
    found, expected = (hamming_topk(words, queries, 10) for words in (mapped, codes))
    assert torch.equal(found.ids, expected.ids)
    assert found.ids.tolist() == plain(codes, queries, 10, "bits", 1)[1]


def test_symbols_of_independent_codes_differ_in_seven_of_eight() -> None:
    codes = torch.randint(8, (2000, 512, 1), dtype=torch.uint8)
    words = pack_planes(codes >> torch.tensor([2, 1, 0], dtype=torch.uint8) & 1)
    found = hamming_topk(words, words[:20], 2000, metric="symbols", planes=3)
    assert found.ids[:, 0].tolist() == list(range(20))
    assert (found.distances[:, 0] == 0).all()
    assert found.distances[:, 1:].double().mean() == pytest.approx(448, abs=0.5)
    assert found.distances[:, 1:].double().std() == pytest.approx(7.48, abs=0.3)


def test_as_many_threads_as_one_likes() -> None:
    rng = np.random.default_rng(1)
    codes, queries = random_words(rng, 30_000, 2), random_words(rng, 4, 2)
    threads, results = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        results.append(hamming_topk(codes, queries, 50))
    torch.set_num_threads(threads)
    assert torch.equal(results[0].ids, results[1].ids)
    assert torch.equal(results[0].distances, results[1].distances)


def test_refuses() -> None:
    codes = torch.zeros(3, 4, dtype=torch.int64)
    with pytest.raises(UserError, match=r"found \[\[3, 4\], \[1, 3\]\]"):
        hamming_topk(codes, codes[:1, :3], 1)
    with pytest.raises(UserError, match=r"found \[\[3, 4\], \[3, 4\], \[2, 4\]\]"):
        hamming_topk(codes, codes, 1, key=codes[:2])
    with pytest.raises(UserError, match=r"codes: expected int64 \[N, W\], found int32"):
        hamming_topk(codes.int(), codes, 1)
    with pytest.raises(UserError, match="k=0"):
        hamming_topk(codes, codes, 0)
    with pytest.raises(UserError, match=r"words \(4\) a multiple of planes"):
        hamming_topk(codes, codes, 1, metric="symbols", planes=3)
    with pytest.raises(UserError, match="metric: expected bits or symbols"):
        hamming_topk(codes, codes, 1, metric="cosine")
