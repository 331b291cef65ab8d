"""Reading pickles of untrusted origin: plain containers and NumPy arrays, nothing else."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from src.errors import UserError

__all__ = ["loads"]


def _latin1(text: str, encoding: str) -> bytes:
    """Stand in for `codecs.encode`, by which protocol 2 spells bytes, without its power to load any codec."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r} is not allowed")
    return text.encode("latin1")


def _from_buffer(buffer: bytes, dtype: np.dtype, shape: tuple[int, ...], order: Literal["C", "F"]) -> np.ndarray:
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


# The functions by which NumPy's own arrays and scalars ask to be rebuilt.
_ARRAY: Any = np.empty(0).__reduce__()[0]
_SCALAR: Any = np.float64(0).__reduce__()[0]

_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): _latin1,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
for _builtins in ("builtins", "__builtin__"):
    _ALLOWED |= {(_builtins, "bytes"): bytes, (_builtins, "bytearray"): bytearray}
for _core in ("numpy.core", "numpy._core"):
    _ALLOWED |= {
        (f"{_core}.multiarray", "_reconstruct"): _ARRAY,
        (f"{_core}.multiarray", "scalar"): _SCALAR,
        (f"{_core}.numeric", "_frombuffer"): _from_buffer,
    }


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is not allowed") from None


def loads(content: bytes, where: str) -> Any:
    """Unpickle builtin containers, numbers, strings, bytes and NumPy arrays; run nothing else.

    Strings written by Python 2 come back as bytes.

    Args:
        content: The pickle.
        where: File name for the message.

    Raises:
        UserError: The pickle is damaged or asks for anything beyond the list.
    """
    try:
        return _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise UserError(
            f"{where}: refused to unpickle: {error}. Only lists, numbers, bytes and NumPy arrays are accepted, "
            "so that the file cannot run code; get it from its origin again."
        ) from error
