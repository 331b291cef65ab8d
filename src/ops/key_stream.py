"""Secret random bytes that can be made again from a key."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

__all__ = ["key_stream"]


def key_stream(key: bytes, nonce: bytes, size: int) -> bytes:
    """The first ``size`` bytes of ChaCha20 (RFC 8439 core, a 64 bit counter from 0).

    Args:
        key: 32 secret bytes.
        nonce: 8 bytes; no two streams of a key may have the same.
        size: Number of bytes.
    """
    return Cipher(ChaCha20(key, bytes(8) + nonce), mode=None).encryptor().update(bytes(size))
