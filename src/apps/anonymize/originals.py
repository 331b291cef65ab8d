"""Original faces, encrypted beside the anonymised file: exact recovery for whoever knows the passphrase.

A file is a sequence of records, one for each frame, each of four bytes of length and what AES-256-GCM made of the
frame's faces. The key is used for one file only, so that a record's number can be its nonce. Records can be neither
changed, reordered nor left out without notice; an empty one with another name closes the file.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from src.apps.anonymize.crops import Face
from src.errors import UserError

__all__ = ["OriginalsReader", "OriginalsWriter", "originals_of"]

_FRAME, _END = b"privface original frame", b"privface original end"
_LENGTH, _PLACE = struct.Struct(">I"), struct.Struct(">4IB")
_LARGEST = 1 << 30
"""Bytes of a record; a larger length is damage."""


def originals_of(path: Path) -> Path:
    """The encrypted faces of an anonymised file."""
    return path.with_name(f"{path.name}.originals")


class OriginalsWriter:
    """Encrypts faces before they are anonymised.

    Args:
        file: To write to.
        key: Of 32 bytes, for this file only.
    """

    def __init__(self, file: IO[bytes], key: bytes) -> None:
        self._file, self._cipher, self._count = file, AESGCM(key), 0

    def add(self, image: np.ndarray, faces: Sequence[Face]) -> None:
        """Write what the faces' crops cover of the next frame, uint8 [H, W, C]."""
        parts = []
        for face in faces:
            rows, columns = face.crop.visible(*image.shape[:2])
            pixels = np.ascontiguousarray(image[rows, columns])
            place = _PLACE.pack(rows.start, rows.stop, columns.start, columns.stop, pixels.shape[-1])
            parts.append(place + pixels.tobytes())
        self._write(zlib.compress(b"".join(parts), 1), _FRAME)

    def close(self) -> None:
        """Mark the end."""
        self._write(b"", _END)

    def _write(self, content: bytes, name: bytes) -> None:
        sealed = self._cipher.encrypt(self._count.to_bytes(12), content, name)
        self._file.write(_LENGTH.pack(len(sealed)) + sealed)
        self._count += 1


class OriginalsReader:
    """Puts the original faces back.

    Args:
        file: To read from.
        key: Of 32 bytes.
        path: Of the file, for messages.
    """

    def __init__(self, file: IO[bytes], key: bytes, path: Path) -> None:
        self._file, self._cipher, self._path, self._count = file, AESGCM(key), path, 0

    def restore(self, image: np.ndarray) -> None:
        """Put those of the next frame back on it, uint8 [H, W, C], in place.

        Raises:
            UserError: The passphrase is another one, the file was changed, or is of another size.
        """
        content = zlib.decompress(self._read(_FRAME))
        start = 0
        while start < len(content):
            top, bottom, left, right, channels = _PLACE.unpack_from(content, start)
            start += _PLACE.size
            shape = (bottom - top, right - left, channels)
            end = start + int(np.prod(shape))
            target = image[top:bottom, left:right]
            if target.shape != shape:
                raise UserError(
                    f"{self._path}: holds faces of an image of another size; it is of another file than the one beside "
                    "it, or that was resized"
                )
            target[:] = np.frombuffer(content, np.uint8, end - start, start).reshape(shape)
            start = end

    def close(self) -> None:
        """Check that nothing is missing.

        Raises:
            UserError: There is more in the file, or its end is missing.
        """
        self._read(_END)
        if self._file.read(1):
            raise UserError(f"{self._path}: there is more after its end; restore it from a copy")

    def _read(self, name: bytes) -> bytes:
        head = self._file.read(_LENGTH.size)
        length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
        sealed = self._file.read(length) if length <= _LARGEST else b""
        try:
            content = self._cipher.decrypt(self._count.to_bytes(12), sealed, name)
        except (InvalidTag, ValueError):
            raise UserError(
                f"{self._path}: cannot be opened: the password is another one, or the file was changed; AES-GCM does "
                "not tell which. It was not recovered; without exact=true the network recovers what it can"
            ) from None
        self._count += 1
        return content
