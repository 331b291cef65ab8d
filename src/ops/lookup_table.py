"""Lookup tables that turn the symbols of a code into bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray
from torch import Tensor

from src.errors import UserError
from src.ops.key_stream import key_stream

__all__ = ["MAX_BITS", "LookupTable"]

MAX_BITS = 16
_MAX_ALPHABET = 256
_INFO = b"drh/lut/v1"


@dataclass(frozen=True)
class LookupTable:
    """A row of bits for each symbol, one table for all positions of a code or one for each.

    Attributes:
        table: uint8 [m or 1, q, b], 0 or 1: the bits of symbol k at position i are ``table[i, k]``.
    """

    table: Tensor

    @property
    def q(self) -> int:
        """Alphabet size."""
        return self.table.shape[1]

    @property
    def bits(self) -> int:
        """Bits per symbol."""
        return self.table.shape[2]

    @property
    def is_lossless(self) -> bool:
        """Whether different symbols have different bits, everywhere."""
        return all(len(rows.unique(dim=0)) == self.q for rows in self.table)

    @classmethod
    def natural(cls, q: int, bits: int | None = None) -> LookupTable:
        """Binary numbers, the most significant bit first.

        Args:
            q: Alphabet size, a power of two from 2 to 256.
            bits: Bits per symbol, by default log2 q; with more of them the first are 0.

        Raises:
            UserError: The alphabet is not such a power, or ``bits`` is less than log2 q or more than 16.
        """
        needed, bits = _check(q, bits)
        if bits < needed:
            raise UserError(f"bits={bits}: the natural table of {q} symbols takes at least {needed}")
        return cls(torch.from_numpy(_binary(np.arange(q), bits))[None])

    @classmethod
    def random(
        cls, q: int, bits: int | None = None, *, m: int | None = None, seed: bytes, permute: bool = True
    ) -> LookupTable:
        """Tables that only who has the seed knows.

        Where ``bits`` is at least log2 q, symbols are permuted and then written as binary numbers. Where it is less,
        every column is drawn on its own among those with as many ones as zeros: a column drawn bit by bit, as by Dong
        et al. 2022, is constant with probability 2^(1-q).

        Args:
            q: Alphabet size, a power of two from 2 to 256.
            bits: Bits per symbol, by default log2 q.
            m: Positions of a code, each of which gets its own table; None has all share one.
            seed: Secret. The table of a position depends on nothing else.
            permute: False keeps the order of the symbols where ``bits`` is at least log2 q.

        Raises:
            UserError: The alphabet is not such a power, or ``bits`` is not from 1 to 16.
        """
        needed, bits = _check(q, bits)
        if bits >= needed and not permute:
            return cls.natural(q, bits)
        positions = [_INFO] if m is None else [_INFO + position.to_bytes(4, "little") for position in range(m)]
        draw = _permuted if bits >= needed else _balanced
        return cls(torch.from_numpy(np.stack([draw(_key(seed, info), q, bits) for info in positions])))

    def encode(self, codes: Tensor | NDArray[np.uint8]) -> Tensor:
        """Bits of codes.

        Args:
            codes: uint8 [..., m], values 0..q-1.

        Returns:
            uint8 [..., m, b], 0 or 1.

        Raises:
            UserError: A value is no symbol, or the codes do not have as many positions as there are tables.
        """
        values = np.asarray(codes)
        if values.dtype != np.uint8 or (values.size and int(values.max()) >= self.q):
            raise UserError(f"expected codes of uint8 with values below {self.q}, found {_describe(values)}")
        index = values.astype(np.int64) + self._first_rows(values.shape[-1])
        return torch.from_numpy(self.table.numpy().reshape(-1, self.bits).take(index, axis=0))

    def decode(self, bits: Tensor | NDArray[np.uint8]) -> Tensor:
        """Symbols that `encode` made ``bits`` of.

        Args:
            bits: uint8 [..., m, b], 0 or 1.

        Returns:
            uint8 [..., m].

        Raises:
            UserError: The table is not lossless, or some bits are those of no symbol.
        """
        if not self.is_lossless:
            raise UserError(f"{self.bits} bits of {self.q} symbols cannot be decoded: several symbols share their bits")
        values = np.asarray(bits)
        if values.ndim < 2 or values.shape[-1] != self.bits:
            raise UserError(f"expected bits [..., m, {self.bits}], found {list(values.shape)}")
        symbols = np.full((len(self.table), 1 << self.bits), -1, np.int16)
        np.put_along_axis(symbols, _numbers(self.table.numpy()), np.arange(self.q, dtype=np.int16)[None], axis=1)
        first = self._first_rows(values.shape[-2]) // self.q << self.bits
        found = symbols.ravel()[_numbers(values) + first]
        if found.size and found.min() < 0:
            raise UserError("some bits are those of no symbol of this table: it is not the one they were made with")
        return torch.from_numpy(found.astype(np.uint8))

    def _first_rows(self, positions: int) -> NDArray[np.int64]:
        """int64 [m or 1], where the table of each position begins when all are put one below the other."""
        if len(self.table) not in (1, positions):
            raise UserError(f"there are tables for {len(self.table)} positions, but the codes have {positions}")
        return np.arange(len(self.table), dtype=np.int64) * self.q


def _check(q: int, bits: int | None) -> tuple[int, int]:
    """log2 q, and ``bits`` or that."""
    if not 2 <= q <= _MAX_ALPHABET or q & (q - 1):
        raise UserError(f"q={q}: expected a power of two from 2 to {_MAX_ALPHABET}, so that XOR of symbols is a symbol")
    needed = q.bit_length() - 1
    if bits is not None and not 1 <= bits <= MAX_BITS:
        raise UserError(f"bits={bits}: expected 1 to {MAX_BITS} per symbol")
    return needed, needed if bits is None else bits


def _binary(numbers: NDArray[np.int64], bits: int) -> NDArray[np.uint8]:
    """uint8 [..., bits], the most significant bit first."""
    return (numbers[..., None] >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8)


def _numbers(bits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Inverse of `_binary`."""
    return bits @ (1 << np.arange(bits.shape[-1] - 1, -1, -1))


def _key(seed: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=info).derive(seed)


def _permuted(key: bytes, q: int, bits: int) -> NDArray[np.uint8]:
    return _binary(_permutations(key, 1, q)[0], bits)


def _balanced(key: bytes, q: int, bits: int) -> NDArray[np.uint8]:
    return (_permutations(key, bits, q) < q // 2).T.astype(np.uint8)


def _permutations(key: bytes, count: int, q: int) -> NDArray[np.int64]:
    """int64 [count, q], permutations of 0..q-1: the order of random numbers that practically never are equal."""
    return np.frombuffer(key_stream(key, bytes(8), 8 * count * q), "<u8").reshape(count, q).argsort(axis=1)


def _describe(values: NDArray[np.uint8]) -> str:
    return f"{values.dtype}" + (f" up to {values.max()}" if values.size else "")
