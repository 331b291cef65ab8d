"""Tensors of NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["as_tensor"]


def as_tensor(values: NDArray[Any]) -> Tensor:
    """A tensor that is only read, in the memory of an array unless PyTorch cannot address that.

    Args:
        values: Of a type that tensors can have; also one that must not be written to, such as a memory map.
    """
    if any(stride < 0 or stride % values.itemsize for stride in values.strides):
        values = values.copy()
    return torch.from_numpy(np.asarray(_Writable(values)))


class _Writable:
    """An array that says it may be written to: PyTorch warns of those that may not."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = values  # keeps the memory while this is in use
        self.__array_interface__ = {**values.__array_interface__, "data": (values.ctypes.data, False)}
