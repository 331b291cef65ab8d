"""What the launches of all kernels share."""

from __future__ import annotations

import torch
import triton.language as tl
from torch import Tensor

__all__ = ["OPTIONS", "index_type", "sum_type"]

OPTIONS = {"enable_fp_fusion": True}
"""Compiler options, said in every launch: Triton warns where it has to assume them."""


def index_type(count: int) -> tl.dtype:
    """The integer that counts so many things, and a block beyond: 32 bits where they suffice, as divisions are slow."""
    return tl.int32 if count < 2**31 - 2**16 else tl.int64


def sum_type(x: Tensor) -> tl.dtype:
    """The type to compute in for elements of ``x``."""
    return tl.float64 if x.dtype == torch.float64 else tl.float32
