"""Losses of deep rank hashing on codes themselves: quantisation, binarisation and balance (Dong et al. 2022).

The reference rounds before it binarises or counts, so that its losses have no gradient; they are the functions named
``parity``. The functions named ``soft`` take the probabilities of the symbols and have one.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from src.errors import check_choice
from src.ops.lookup_table import LookupTable

__all__ = [
    "Activation",
    "balance_of_positions",
    "balance_parity",
    "balance_soft",
    "lut_parity",
    "lut_soft",
    "quantization",
]

Activation = Literal["tanh", "sigmoid"]


def quantization(code: Tensor) -> Tensor:
    """Squared distance of a soft code to the nearest index code, mean over the batch; gradient through the former.

    Args:
        code: Float [B, m].
    """
    return (code - code.detach().round()).square().sum(1).mean()


def lut_soft(probability: Tensor, label: Tensor, activation: Activation, bits: int | None = None) -> Tensor:
    """Pull the bits of an identity's codes together and those of different ones apart.

    The share of unequal bits of two codes is expected under the symbols' probabilities. Mean over all pairs of the
    batch of what `lut_parity` sums up.

    Args:
        probability: Float [B, m, q].
        label: int [B].
        activation: Of the share of unequal bits.
        bits: Of a symbol; by default log2(q).
    """
    table = _table(probability.shape[-1], bits).to(probability.device)
    return _bit_terms(_unequal_bits((probability.double() @ table).flatten(1)), label, activation).mean()


def lut_parity(code: Tensor, label: Tensor, q: int, activation: Activation, bits: int | None = None) -> Tensor:
    """As the reference: on the bits of codes whose fractions are cut off, so that there is no gradient.

    Args:
        code: Float [B, m], values 0 to q - 1.
        label: int [B].
        q: Size of the alphabet.
        activation: Of the share of unequal bits.
        bits: Of a symbol; by default log2(q).
    """
    table = _table(q, bits).to(code.device)
    return _bit_terms(_unequal_bits(table[code.detach().long()].flatten(1)), label, activation).sum()


def balance_soft(probability: Tensor, code: Tensor, shares: int = 1) -> Tensor:
    """Pull the mean symbol of every face to the middle of the alphabet, and make all symbols equally frequent.

    Smallest, ``(q - 1) * ln(q)``, where both are so.

    Args:
        probability: Float [B, m, q].
        code: Float [B, m].
        shares: Number of processes that the batch was gathered from; what is a sum over the faces is divided by it.
    """
    q = probability.shape[-1]
    return _off_centre(code.double(), q) / shares + _unevenness(probability.double().mean((0, 1)))


def balance_of_positions(probability: Tensor) -> Tensor:
    """Make all symbols equally frequent at every position, so that no position tells the same of every face.

    A mean over the positions, smallest, ``(q - 1) * ln(q)``, where all are even.

    Args:
        probability: Float [B, m, q].
    """
    return _unevenness(probability.double().mean(0)) / probability.shape[1]


def balance_parity(code: Tensor, q: int) -> Tensor:
    """As the reference: `balance_soft` of the rounded code, so that there is no gradient.

    Args:
        code: Float [B, m], values 0 to q - 1.
        q: Size of the alphabet.
    """
    symbols = code.detach().round()
    counts = torch.bincount(symbols.long().flatten(), minlength=q).double()
    return _off_centre(symbols.double(), q) + _unevenness(counts / counts.sum())


def _table(q: int, bits: int | None) -> Tensor:
    """Symbols in binary, float64 [q, bits]."""
    return LookupTable.natural(q, bits).table[0].double()


def _unequal_bits(bits: Tensor) -> Tensor:
    """Expected share of unequal bits of every two rows, [B, B], of the bits' probabilities [B, n]."""
    ones = bits.sum(1)
    return (ones[:, None] + ones - 2 * bits @ bits.T) / bits.shape[1]


def _bit_terms(unequal: Tensor, label: Tensor, activation: Activation) -> Tensor:
    check_choice("loss.bin_lut", activation, get_args(Activation))
    h = 0.5 * unequal.tanh() if activation == "tanh" else unequal.sigmoid()
    same = label[:, None] == label
    positive = same & ~torch.eye(len(label), dtype=torch.bool, device=label.device)
    return h * positive + (1 - h * ~same)


def _off_centre(code: Tensor, q: int) -> Tensor:
    return (code.mean(1) - (q - 1) / 2).abs().sum()


def _unevenness(frequency: Tensor) -> Tensor:
    frequency = frequency + 1e-8
    return -frequency.log().sum() + (frequency * frequency.log()).sum()
