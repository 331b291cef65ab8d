"""Rank hashing and packing, against torch's argmax and NumPy's packbits."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.operators.measure import Case
from src.ops.code_bits import pack_planes
from src.ops.hashing import group_argmax, iom_hash

__all__ = ["cases"]

BATCH, SIZE, M = 256, 512, 512


def cases() -> list[Case]:
    """Alphabets of 2 to 32 symbols, and the packing of symbols of three bits."""
    return [*_argmax(), *_hash(), _planes()]


def _argmax() -> Iterator[Case]:
    for q, target in ((2, 10), (8, 10), (32, None)):
        logits = torch.randn(BATCH, M * q)
        ours, peer = partial(group_argmax, logits, q), partial(_peer_argmax, logits, q)
        yield Case(f"index of the maximum, [{BATCH},{M}x{q}]", ours, peer, logits.nbytes + BATCH * M, target)


def _hash() -> Iterator[Case]:
    x = torch.randn(BATCH, SIZE)
    for q in (2, 4, 8, 16, 32):
        weight, bias = torch.randn(M * q, SIZE), torch.randn(M * q)
        ours, peer = partial(iom_hash, x, weight, bias, q), partial(_peer_hash, x, weight, bias, q)
        yield Case(f"projection and index, [{BATCH},{SIZE}] to {M}x{q}", ours, peer, target=1.3)


def _planes() -> Case:
    bits = torch.randint(2, (20_000, M, 3), dtype=torch.uint8)
    ours, peer = partial(pack_planes, bits), partial(_peer_planes, bits)
    return Case(f"planes of {list(bits.shape)} bits", ours, peer, bits.nbytes * 9 // 8)


def _peer_argmax(logits: Tensor, q: int) -> Tensor:
    return logits.unflatten(-1, (-1, q)).argmax(-1)


def _peer_hash(x: Tensor, weight: Tensor, bias: Tensor, q: int) -> Tensor:
    return _peer_argmax(F.linear(x, weight, bias), q)


def _peer_planes(bits: Tensor) -> Tensor:
    return torch.from_numpy(np.packbits(bits.numpy().swapaxes(-1, -2), axis=-1, bitorder="little"))
