"""Bits of codes in words of 64, side by side or in planes, as the DRHT format lays them out.

Bit t lies in word t div 64, at place t mod 64 counted from the least significant one; what is left over is 0.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from src.errors import UserError
from src.ops.arrays import as_tensor
from src.ops.library import LIBRARY, define

__all__ = ["WORD_BITS", "pack_bits", "pack_planes", "plane_words", "unpack_bits", "unpack_planes"]

WORD_BITS = 64

Bits = Tensor | NDArray[np.uint8]
Words = Tensor | NDArray[np.int64]


def pack_bits(bits: Bits) -> Tensor:
    """Put bits side by side.

    Args:
        bits: uint8 [..., n], 0 or 1.

    Returns:
        int64 [..., ceil(n / 64)].

    Raises:
        UserError: The values are no uint8.
    """
    values = np.asarray(bits)
    if values.dtype != np.uint8 or values.ndim == 0:
        raise UserError(f"pack_bits: expected uint8 [..., n], found {values.dtype} {list(values.shape)}")
    packed = np.packbits(values, axis=-1, bitorder="little")
    words = np.zeros((*values.shape[:-1], _words(values.shape[-1])), "<i8")
    words.view(np.uint8)[..., : packed.shape[-1]] = packed
    return torch.from_numpy(words.astype(np.int64, copy=False))


def unpack_bits(words: Words, n: int) -> Tensor:
    """Take apart what `pack_bits` put together.

    Args:
        words: int64 [..., ceil(n / 64)].
        n: Number of bits.

    Returns:
        uint8 [..., n], 0 or 1.

    Raises:
        UserError: There are too few or too many words for ``n`` bits.
    """
    values = _int64(words, _words(n), f"{n} bits")
    little = values.astype("<i8", copy=False)
    return torch.from_numpy(np.unpackbits(little.view(np.uint8), axis=-1, count=n, bitorder="little"))


def pack_planes(bits: Bits) -> Tensor:
    """Put the first bits of all symbols side by side, then the second ones, and so on.

    Args:
        bits: uint8 [..., m, b], bit j of symbol i at [i, j], 0 or 1.

    Returns:
        int64 [..., b * ceil(m / 64)]; every plane begins with a new word.

    Raises:
        UserError: The values are no such bits.
    """
    values = bits if isinstance(bits, Tensor) else np.asarray(bits)
    if values.dtype not in (torch.uint8, np.uint8) or values.ndim < 2:
        raise UserError(f"pack_planes: expected uint8 [..., m, b], found {values.dtype} {list(values.shape)}")
    return torch.ops.privface.pack_planes(values if isinstance(values, Tensor) else as_tensor(values))


def _pack_planes(bits: Tensor) -> Tensor:
    if bits.device.type == "cpu":
        return pack_bits(bits.movedim(-1, -2)).flatten(-2)
    return _pack_by_torch(bits)


def _pack_by_torch(bits: Tensor) -> Tensor:
    places = torch.arange(WORD_BITS, device=bits.device)
    planes = F.pad(bits.movedim(-1, -2) != 0, (0, -bits.shape[-2] % WORD_BITS))
    return (planes.unflatten(-1, (-1, WORD_BITS)).long() << places).sum(-1).flatten(-2)


def _fake(bits: Tensor) -> Tensor:
    *codes, m, b = bits.shape
    return bits.new_empty((*codes, plane_words(m, b)), dtype=torch.int64)


define("pack_planes(Tensor bits) -> Tensor", _pack_planes)
torch.library.register_fake("privface::pack_planes", _fake, lib=LIBRARY)


def unpack_planes(words: Words, m: int, b: int) -> Tensor:
    """Take apart what `pack_planes` put together.

    Args:
        words: int64 [..., b * ceil(m / 64)].
        m: Number of symbols.
        b: Bits of a symbol.

    Returns:
        uint8 [..., m, b], 0 or 1.

    Raises:
        UserError: There are too few or too many words.
    """
    values = _int64(words, plane_words(m, b), f"{b} planes of {m} bits")
    return unpack_bits(values.reshape(*values.shape[:-1], b, _words(m)), m).swapaxes(-1, -2)


def plane_words(m: int, b: int) -> int:
    """Words that ``b`` planes of ``m`` bits take."""
    return b * _words(m)


def _words(n: int) -> int:
    return -(-n // WORD_BITS)


def _int64(words: Words, expected: int, what: str) -> NDArray[np.int64]:
    values = np.ascontiguousarray(words)
    if values.dtype != np.int64 or values.ndim == 0 or values.shape[-1] != expected:
        raise UserError(
            f"{what} take {expected} words of int64, but the last dimension of {values.dtype} "
            f"{list(values.shape)} is not that"
        )
    return values
