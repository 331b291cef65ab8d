"""The number of bits or symbols that differ between packed codes, and the nearest codes by it."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from src.ops.triton_kernels.launch import OPTIONS

__all__ = ["hamming_distances", "hamming_topk"]

_QUERIES = 16
_CODES = 128
_SCORES = 1 << 25
"""Comparisons whose scores are kept at a time, 8 bytes each."""


@triton.jit
def hamming_kernel(
    codes: tl.tensor, queries: tl.tensor, out: tl.tensor, first: int, code_count: int, query_count: int,
    SCORES: tl.constexpr, RUNS: tl.constexpr, WORDS: tl.constexpr, QUERIES: tl.constexpr, CODES: tl.constexpr,
) -> None:  # fmt: skip
    """Distances [query_count, code_count] of a block of queries and of codes, or if SCORES distance * 2^32 + id.

    Words have 32 bits. ``codes`` [RUNS * WORDS, code_count] begin with the id ``first``; ``queries`` are
    [query_count, RUNS * WORDS]. A bit differs if it does in any of the runs.
    """
    blocks = tl.cdiv(query_count, QUERIES)
    query = (tl.program_id(0) % blocks).to(tl.int64) * QUERIES + tl.arange(0, QUERIES)
    code = (tl.program_id(0) // blocks).to(tl.int64) * CODES + tl.arange(0, CODES)
    distance = tl.zeros((QUERIES, CODES), tl.uint32)
    for word in range(WORDS):
        differ = tl.zeros((QUERIES, CODES), tl.uint32)
        for run in tl.static_range(RUNS):
            place = run * WORDS + word
            probe = tl.load(queries + query * (RUNS * WORDS) + place, mask=query < query_count, other=0)
            stored = tl.load(codes + code + place * tl.cast(code_count, tl.int64), mask=code < code_count, other=0)
            differ |= (probe[:, None] ^ stored[None, :]).to(tl.uint32, bitcast=True)
        # Sums of neighbours: of 2, of 4 and of 8 bits, then of the four bytes. Compiled to one instruction.
        differ -= (differ >> 1) & 0x55555555
        differ = (differ & 0x33333333) + ((differ >> 2) & 0x33333333)
        differ = (differ + (differ >> 4)) & 0x0F0F0F0F
        distance += (differ * 0x01010101) >> 24
    result = distance.to(tl.int64)
    if SCORES:
        result = (result << 32) + first + code[None, :]
    inside = (query < query_count)[:, None] & (code < code_count)[None, :]
    tl.store(out + query[:, None] * code_count + code[None, :], result.to(out.dtype.element_ty), mask=inside)


def hamming_distances(codes: Tensor, queries: Tensor, key: Tensor | None, runs: int) -> Tensor:
    """The operator ``hamming_distances`` for tensors on a GPU.

    Args:
        codes: int64 [N, W].
        queries: int64 [Q, W].
        key: int64 [N, W], what codes are XORed with before they are compared, or None.
        runs: In how many equal runs the words are; bit t differs if it does in any of them. With one, bits are counted,
            with the planes of symbols, symbols.

    Returns:
        int32 [Q, N].
    """
    return _compare(codes if key is None else codes ^ key, queries, runs, torch.int32)


def hamming_topk(codes: Tensor, queries: Tensor, key: Tensor | None, k: int, runs: int) -> tuple[Tensor, Tensor]:
    """The operator ``hamming_topk`` for tensors on a GPU.

    Args:
        codes: int64 [N, W].
        queries: int64 [Q, W].
        key: As in `hamming_distances`.
        k: How many codes to find for each query.
        runs: As in `hamming_distances`.

    Returns:
        Distances int32 [Q, min(k, N)] and ids int64 [Q, min(k, N)], ordered by both.
    """
    k = min(k, len(codes))
    kept = torch.empty((len(queries), 0), dtype=torch.int64, device=codes.device)
    rows = max(_CODES, _SCORES // max(1, len(queries)))
    for first in range(0, len(codes), rows):
        block = codes[first : first + rows]
        if key is not None:
            block = block ^ key[first : first + rows]
        found = _nearest(_compare(block, queries, runs, torch.int64, first), k)
        kept = _nearest(torch.cat([kept, found], dim=1), k)
    kept = kept.sort(dim=1).values
    return (kept >> 32).int(), kept & 0xFFFFFFFF


def _compare(codes: Tensor, queries: Tensor, runs: int, dtype: torch.dtype, first: int = 0) -> Tensor:
    """[Q, N] of every pair: int32 distances, or int64 distance * 2^32 + id, which orders by both."""
    words = codes.contiguous().view(torch.int32).T.contiguous()
    out = torch.empty((len(queries), len(codes)), dtype=dtype, device=codes.device)
    programs = triton.cdiv(len(queries), _QUERIES) * triton.cdiv(len(codes), _CODES)
    if programs:
        with torch.cuda.device_of(codes):
            hamming_kernel[(programs,)](
                words, queries.contiguous().view(torch.int32), out, first, len(codes), len(queries),
                dtype == torch.int64, runs, len(words) // runs, _QUERIES, _CODES, **OPTIONS,
            )  # fmt: skip
    return out


def _nearest(scores: Tensor, k: int) -> Tensor:
    return scores if scores.shape[1] <= k else scores.topk(k, dim=1, largest=False, sorted=False).values
