"""Operations that the methods share, each with its gradient.

Those with a compiled kernel are defined in the namespace of `src.ops.library`, which tells what is in force.
"""

from __future__ import annotations

from src.ops.bias_activation import bias_act
from src.ops.fir import upfirdn2d
from src.ops.hamming import hamming_topk
from src.ops.hashing import iom_hash
from src.ops.library import use_triton
from src.ops.margin_softmax import margin_cross_entropy
from src.ops.modulated_convolution import modulated_conv2d

__all__ = ["bias_act", "hamming_topk", "iom_hash", "margin_cross_entropy", "modulated_conv2d", "upfirdn2d"]

if use_triton():
    from src.ops import triton_kernels

    triton_kernels.register()
