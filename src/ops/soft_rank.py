"""Soft-argmax: the differentiable stand-in for the index of a group's maximum (Dong et al. 2022)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["SoftCode", "soft_argmax"]


class SoftCode(NamedTuple):
    """What training sees in the place of index codes.

    Attributes:
        probability: float32 [B, m, q], of every symbol at every position; sums to 1 over the last dimension.
        code: float64 [B, m], the expected symbol, 0 to q - 1.
    """

    probability: Tensor
    code: Tensor


def soft_argmax(logits: Tensor, q: int, T: float) -> SoftCode:
    """Softmax within every group of ``q`` neighbours, and the symbol it expects.

    Args:
        logits: Floating [B, m * q].
        q: Size of a group.
        T: Inverse temperature, which multiplies the logits; the code tends to the argmax as it grows.
    """
    probability = torch.softmax(T * logits.unflatten(-1, (-1, q)), dim=-1)
    symbols = torch.arange(q, dtype=torch.float64, device=logits.device)
    return SoftCode(probability, probability.double() @ symbols)
