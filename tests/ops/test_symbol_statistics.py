from __future__ import annotations

import math

import pytest
import torch

from src.ops.symbol_statistics import symbol_counts, symbol_entropy


def test_counts_of_each_position() -> None:
    codes = torch.tensor([[0, 3], [0, 1], [2, 3]], dtype=torch.uint8)
    assert symbol_counts(codes, 4).tolist() == [[2, 0, 1, 0], [0, 1, 0, 2]]


def test_largest_alphabet() -> None:
    codes = torch.full((2, 300), 255, dtype=torch.uint8)
    counts = symbol_counts(codes, 256)
    assert counts.shape == (300, 256)
    assert (counts[:, 255] == 2).all()


def test_entropy_of_even_and_certain_symbols() -> None:
    counts = torch.tensor([[5, 5, 5, 5], [7, 0, 0, 0], [1, 1, 2, 0]])
    expected = [2.0, 0.0, 1.5]
    assert symbol_entropy(counts).tolist() == pytest.approx(expected)
    assert math.log2(4) == expected[0]
