"""What InsightFace's `.bin` files of verification pairs and those with genders have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from src.datamodules.evaluation_images import EncodedImage
from src.errors import UserError
from src.restricted_pickle import loads

__all__ = ["read_entries", "to_flags", "to_images"]

_ENTRIES = (2, 5, 6)


def read_entries(path: Path, hint: str) -> Sequence[Any]:
    """Unpickle a `.bin` file without running what it may hold.

    Args:
        path: The file.
        hint: What to give instead of a file that cannot be read, for the message.

    Returns:
        Its 2, 5 or 6 entries, the first two of them encoded images and flags of pairs.

    Raises:
        UserError: Missing or damaged file, a pickle that asks for code, or one of anything else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {hint}") from error
    value = loads(content, str(path))
    if not isinstance(value, tuple | list) or len(value) not in _ENTRIES:
        found = f"{len(value)} entries" if isinstance(value, tuple | list) else f"a {type(value).__name__}"
        raise UserError(
            f"{path}: expected a pair (list of encoded images, list of flags), or five or six entries with images, "
            f"subjects and genders after it; found {found}"
        )
    return value


def to_images(entry: Any, where: str, *, crop: bool = False) -> list[EncodedImage]:
    """Take a list of encoded images: bytes (also of Python 2), bytearrays or uint8 arrays [n] or [n, 1].

    Args:
        entry: Of the file.
        where: Name of the file and of the images, for messages.
        crop: See `EncodedImage`.

    Raises:
        UserError: It is anything else.
    """
    try:
        return [EncodedImage(_to_bytes(image), f"{where} {i}", crop) for i, image in enumerate(entry)]
    except TypeError as error:
        raise UserError(f"{where}s: expected a list of encoded images: {error}") from error


def to_flags(entry: Any, where: str) -> np.ndarray:
    """Take a list or an array of flags, bool [P].

    Raises:
        UserError: It is anything else.
    """
    try:
        return np.asarray(entry).astype(bool).reshape(-1)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: expected a list of flags: {error}") from error


def _to_bytes(image: object) -> bytes:
    if isinstance(image, np.ndarray) and image.dtype == np.uint8:
        return image.tobytes()
    if isinstance(image, bytes | bytearray):
        return bytes(image)
    raise TypeError(f"an image is a {type(image).__name__}, expected bytes or a uint8 array")
