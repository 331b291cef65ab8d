from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support_code_operators import SEARCHES, check_all, check_search, plain, random_words

from src.errors import UserError
from src.ops import hamming_reference
from src.ops.code_bits import pack_planes
from src.ops.hamming import hamming_distances, hamming_topk
from src.ops.library import backends

ROOT = Path(__file__).parents[2]
LEVELS = ["scalar", "avx2", "avx512", "avx512_vpopcntdq"]


@settings(max_examples=150, deadline=None)
@given(
    rows=st.integers(0, 70), queries=st.integers(0, 9), words=st.integers(1, 4), planes=st.integers(1, 6),
    k=st.integers(1, 80), metric=st.sampled_from(["bits", "symbols"]), keyed=st.booleans(), few=st.booleans(),
    seed=st.integers(0, 10**6),
)  # fmt: skip
def test_equals_the_definition(
    rows: int, queries: int, words: int, planes: int, k: int, metric: str, keyed: bool, few: bool, seed: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming_reference, "_ROWS", 16)  # several blocks
        check_search(rows, queries, words, planes, k, metric, keyed, few, seed)


def test_operators_on_codes_of_many_sizes() -> None:
    check_all()


@pytest.mark.parametrize("level", LEVELS)
def test_operators_on_codes_with_every_instruction_set(level: str) -> None:
    code = "import support_code_operators; support_code_operators.check_all()"
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    if not backends()["cpu"].startswith("compiled"):
        pytest.skip(f"the operators are {backends()['cpu']}")
    if level not in LEVELS[: LEVELS.index(backends()["cpu"].split("(")[1][:-1])]:
        pytest.skip("no lower instruction set than the one in force")
    environment = {**os.environ, **paths, "PRIVFACE_ISA": level, "PRIVFACE_OPS": "compiled"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("case", SEARCHES)
@pytest.mark.parametrize("keyed", [False, True])
def test_what_other_devices_compute(case: tuple[int, int, int, int, int, str], keyed: bool) -> None:
    rows, queries, words, runs, k, _ = case
    rng = np.random.default_rng(0)
    codes, probes, key = (torch.from_numpy(random_words(rng, n, words * runs)) for n in (rows, queries, rows))
    arguments = codes, probes, key if keyed else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming_reference, "_WORDS", 1000 * probes.numel())  # several blocks
        found = hamming_reference._topk_by_torch(*arguments, min(k, rows), runs)
        distances = torch.cat([block for _, block in hamming_reference._by_torch(*arguments, runs)], dim=1)
    for values, expected in zip(found, torch.ops.privface.hamming_topk(*arguments, k, runs), strict=True):
        assert values.dtype == expected.dtype
        assert torch.equal(values, expected)
    assert torch.equal(distances, torch.ops.privface.hamming_distances(*arguments, runs))


def test_a_read_only_memory_map_is_searched_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    codes, queries = random_words(rng, 20_000, 6), random_words(rng, 3, 6)
    codes.astype("<u8").tofile(tmp_path / "codes")
    mapped = np.memmap(tmp_path / "codes", "<u8", "r").reshape(-1, 6)
    given, search = [], torch.ops.privface.hamming_topk
    monkeypatch.setattr(torch.ops.privface, "hamming_topk", lambda *words: given.append(words[0]) or search(*words))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = hamming_topk(mapped, queries, 10)
    assert given[0].data_ptr() == mapped.ctypes.data
    assert torch.equal(found.ids, hamming_topk(codes, queries, 10).ids)
    assert found.ids.tolist() == plain(codes, queries, "bits", 1).argsort(kind="stable")[:, :10].tolist()


def test_rows_may_lie_apart_or_in_any_order() -> None:
    rng = np.random.default_rng(0)
    codes, queries = random_words(rng, 300, 8), random_words(rng, 3, 3)
    fields = np.zeros(300, [("tag", "u1"), ("words", "<i8", 3)])
    fields["words"] = codes[:, :3]
    for words in (codes[:, 2:5], codes[::2, :3], codes[::-1, :3], codes.T.copy().T[:, :3], fields["words"]):
        assert torch.equal(hamming_topk(words, queries, 5).ids, hamming_topk(words.copy(), queries, 5).ids)
        keyed = [hamming_topk(words, queries, 5, key=key) for key in (words, words.copy())]
        assert torch.equal(keyed[0].distances, keyed[1].distances)


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
    codes, queries = random_words(rng, 70_000, 2) & 7, random_words(rng, 6, 2) & 7  # many ties
    threads, results = torch.get_num_threads(), []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        results.append((hamming_topk(codes, queries, 50), hamming_distances(codes, queries)))
    torch.set_num_threads(threads)
    for found, distances in results[1:]:
        assert torch.equal(results[0][0].ids, found.ids)
        assert torch.equal(results[0][0].distances, found.distances)
        assert torch.equal(results[0][1], distances)


@pytest.mark.parametrize("keyed", [False, True])
def test_is_an_operator_by_the_rules(keyed: bool) -> None:
    codes, queries = torch.randint(1 << 60, (30, 6)), torch.randint(1 << 60, (4, 6))
    key = codes.flip(0) if keyed else None
    torch.library.opcheck(torch.ops.privface.hamming_topk.default, (codes, queries, key, 7, 3))
    torch.library.opcheck(torch.ops.privface.hamming_distances.default, (codes, queries, key, 2))


def test_refuses() -> None:
    codes = torch.zeros(3, 4, dtype=torch.int64)
    with pytest.raises(UserError, match=r"found \[\[3, 4\], \[1, 3\]\]"):
        hamming_topk(codes, codes[:1, :3], 1)
    with pytest.raises(UserError, match=r"found \[\[3, 4\], \[3, 4\], \[2, 4\]\]"):
        hamming_topk(codes, codes, 1, key=codes[:2])
    with pytest.raises(UserError, match=r"codes: expected int64 \[N, W\], found torch.int32"):
        hamming_topk(codes.int(), codes, 1)
    with pytest.raises(UserError, match=r"queries: expected int64 \[N, W\], found int64 \[4\]"):
        hamming_topk(codes, codes[0].numpy(), 1)
    with pytest.raises(UserError, match=r"found \['cpu', 'meta'\]"):
        hamming_distances(codes, codes.to("meta"))
    with pytest.raises(UserError, match="k=0"):
        hamming_topk(codes, codes, 0)
    with pytest.raises(UserError, match=r"words \(4\) a multiple of planes"):
        hamming_topk(codes, codes, 1, metric="symbols", planes=3)
    with pytest.raises(UserError, match="metric: expected bits or symbols"):
        hamming_topk(codes, codes, 1, metric="cosine")
