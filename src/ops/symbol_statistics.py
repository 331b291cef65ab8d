"""How often each symbol occurs at each position of index codes, and how uncertain it therefore is."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["symbol_counts", "symbol_entropy"]


def symbol_counts(codes: Tensor, q: int) -> Tensor:
    """Occurrences of every symbol at every position, int64 [m, q].

    Args:
        codes: uint8 [B, m], values 0 to q - 1.
        q: Size of the alphabet.
    """
    m = codes.shape[1]
    cells = codes.long() + q * torch.arange(m, device=codes.device)
    return torch.bincount(cells.flatten(), minlength=m * q).view(m, q)


def symbol_entropy(counts: Tensor) -> Tensor:
    """Entropy in bits of the symbol at every position, float64 [m], as the frequencies give it.

    Args:
        counts: int64 [m, q], at least one occurrence in every row.
    """
    frequency = counts.double() / counts.sum(1, keepdim=True)
    return torch.special.entr(frequency).sum(1) / torch.log(frequency.new_tensor(2.0))
