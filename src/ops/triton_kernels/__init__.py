"""Kernels for tensors on a GPU, in Triton: compiled for the device at their first use, no toolkit needed."""

from __future__ import annotations

from src.ops.library import LIBRARY
from src.ops.triton_kernels.bias_activation import bias_leaky_relu, bias_leaky_relu_gradient
from src.ops.triton_kernels.fir import upfirdn2d
from src.ops.triton_kernels.hamming import hamming_distances, hamming_topk

__all__ = ["register"]


def register() -> None:
    """Put the kernels in the place of the references, for CUDA tensors; the operators must be defined."""
    for kernel in (upfirdn2d, bias_leaky_relu, bias_leaky_relu_gradient, hamming_distances, hamming_topk):
        LIBRARY.impl(kernel.__name__, kernel, "CUDA")
