"""Reading pickles of untrusted origin by a list of what they may call; nothing else of them runs."""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable, Mapping
from typing import IO, Any, Literal

import numpy as np

from src.errors import UserError

__all__ = ["ARRAYS", "AllowListUnpickler", "load", "loads"]

AllowList = Mapping[tuple[str, str], Callable[..., Any]]


def _latin1(text: str, encoding: str) -> bytes:
    """Stand in for `codecs.encode`, by which protocol 2 spells bytes, without its power to load any codec."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r} is not allowed")
    return text.encode("latin1")


def _from_buffer(buffer: bytes, dtype: np.dtype, shape: tuple[int, ...], order: Literal["C", "F"]) -> np.ndarray:
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


def _arrays() -> dict[tuple[str, str], Callable[..., Any]]:
    # The functions by which NumPy's own arrays and scalars ask to be rebuilt.
    array: Any = np.empty(0).__reduce__()[0]
    scalar: Any = np.float64(0).__reduce__()[0]
    allowed: dict[tuple[str, str], Callable[..., Any]] = {
        ("_codecs", "encode"): _latin1,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }
    for builtins in ("builtins", "__builtin__"):
        allowed |= {(builtins, "bytes"): bytes, (builtins, "bytearray"): bytearray}
    for core in ("numpy.core", "numpy._core"):
        allowed |= {
            (f"{core}.multiarray", "_reconstruct"): array,
            (f"{core}.multiarray", "scalar"): scalar,
            (f"{core}.numeric", "_frombuffer"): _from_buffer,
        }
    return allowed


ARRAYS: AllowList = _arrays()
"""What bytes, NumPy arrays and scalars need."""


class AllowListUnpickler(pickle.Unpickler):
    """Unpickler that knows no functions and classes but those it is given.

    Strings written by Python 2 come back as bytes.

    Args:
        file: The pickle.
        allowed: Module and name as in the pickle, and what stands for it.
    """

    def __init__(self, file: IO[bytes], allowed: AllowList) -> None:
        super().__init__(file, encoding="bytes")
        self._file = file
        self._allowed = allowed

    def load(self) -> Any:
        """Read the pickle, unless it numbers objects beyond its own length: Python would make room for all of them."""
        start = self._file.tell()
        for operation, argument, position in pickletools.genops(self._file):
            if operation.name in ("PUT", "LONG_BINPUT") and int(argument or 0) > (position or 0):
                raise pickle.UnpicklingError(f"it numbers an object {argument} at byte {position}")
        self._file.seek(start)
        return super().load()

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """What the list has for a name; imports nothing."""
        try:
            return self._allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is not allowed") from None


def load(unpickler: AllowListUnpickler, where: str, accepted: str) -> Any:
    """Read one pickle.

    Args:
        unpickler: At its beginning.
        where: File name for the message.
        accepted: What such a pickle may hold, for the message.

    Raises:
        UserError: The pickle is damaged or asks for anything beyond the list.
    """
    try:
        return unpickler.load()
    except UserError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise UserError(
            f"{where}: refused to unpickle: {error}. Only {accepted} are accepted, so that the file cannot run code; "
            "get it from its origin again."
        ) from error


def loads(content: bytes, where: str) -> Any:
    """Unpickle builtin containers, numbers, strings, bytes and NumPy arrays; run nothing else.

    Strings written by Python 2 come back as bytes.

    Args:
        content: The pickle.
        where: File name for the message.

    Raises:
        UserError: The pickle is damaged or asks for anything beyond the list.
    """
    unpickler = AllowListUnpickler(io.BytesIO(content), ARRAYS)
    return load(unpickler, where, "lists, numbers, bytes and NumPy arrays")
