"""Passwords: as bits, as numbers, and made from what people type."""

from __future__ import annotations

import hashlib
import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from src.errors import UserError

__all__ = ["GROUP_BITS", "Password", "check_length", "groups_of"]

log = logging.getLogger(__name__)

GROUP_BITS = 4
"""Bits that the password predictor tells as one of 16 classes."""

_SEARCHABLE = 64
"""With fewer bits, whoever has the network can try all passwords."""


def check_length(length: int) -> None:
    """Raise UserError unless ``length`` is a positive multiple of 4."""
    if length < GROUP_BITS or length % GROUP_BITS:
        raise UserError(f"password.length: expected a positive multiple of {GROUP_BITS} bits, found {length}")


def groups_of(bits: Tensor) -> Tensor:
    """Groups of four bits as numbers, the most significant first.

    Args:
        bits: Bool or 0 and 1, [..., L].

    Returns:
        int64 [..., L / 4], in 0..15: what the password predictor is to tell.

    Raises:
        UserError: L is no multiple of 4.
    """
    check_length(bits.shape[-1])
    weights = torch.tensor([8, 4, 2, 1], device=bits.device)
    return (bits.long().unflatten(-1, (-1, GROUP_BITS)) * weights).sum(-1)


@cache
def _warn_of_short(length: int) -> None:
    """Warn, once for all passwords of a process, if they are short."""
    if length < _SEARCHABLE:
        log.warning(
            "A password of %d bits can be found by trying all %d; a passphrase does not change that.",
            length,
            1 << length,
        )


@dataclass(frozen=True, repr=False)
class Password:
    """One password. It is never shown: neither ``repr`` nor ``str`` tells the bits.

    Attributes:
        value: The bits as a number, the most significant first.
        length: Number of bits L.
    """

    value: int
    length: int

    @classmethod
    def from_int(cls, value: int, length: int) -> Password:
        """The password with this number.

        Raises:
            UserError: It does not fit ``length`` bits, or ``length`` is no multiple of 4.
        """
        check_length(length)
        if not 0 <= value < 1 << length:
            raise UserError(f"password: expected a number of {length} bits, found one of {value.bit_length()}")
        return cls(value, length)

    @classmethod
    def from_hex(cls, text: str, length: int) -> Password:
        """The password with this hexadecimal number, with or without ``0x``.

        Raises:
            UserError: It is no such number, or does not fit ``length`` bits.
        """
        try:
            value = int(text, 16)
        except ValueError:
            raise UserError(f"password: expected a hexadecimal number of {length} bits, such as 0xBEEF") from None
        return cls.from_int(value, length)

    @classmethod
    def from_bits(cls, bits: Tensor | Sequence[int]) -> Password:
        """The password with these bits [L], the most significant first."""
        return cls.from_int(int("".join(str(int(bit)) for bit in bits), 2), len(bits))

    @classmethod
    def from_passphrase(cls, passphrase: str, salt: bytes, length: int) -> Password:
        """Derive a password from a passphrase by scrypt (RFC 7914; n = 2^14, r = 8, p = 1).

        That makes guessing passphrases slow. It cannot make a short password safe: there are no more than 2^L.

        Args:
            passphrase: As typed; Unicode is brought to normal form C, so that equal characters are equal bytes.
            salt: Not secret; different for each deployment or image.
            length: Number of bits L, the first of the derived key.
        """
        check_length(length)
        _warn_of_short(length)
        typed = unicodedata.normalize("NFC", passphrase).encode()
        size = max(32, -(-length // 8))
        key = int.from_bytes(hashlib.scrypt(typed, salt=salt, n=1 << 14, r=8, p=1, dklen=size))
        return cls(key >> (8 * size - length), length)

    def complement(self) -> Password:
        """The password that recovers what this one anonymised, and the other way round: every bit is the other."""
        return Password((1 << self.length) - 1 - self.value, self.length)

    def bits(self) -> Tensor:
        """Bool [L], the most significant first."""
        return torch.tensor([bool(self.value >> place & 1) for place in reversed(range(self.length))])

    def __repr__(self) -> str:
        return f"Password(length={self.length})"
