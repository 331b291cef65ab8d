"""Codes for galleries."""

from __future__ import annotations

import torch
from torch import Tensor

from src.models.cancellable.parameters import Parameters

PARAMETERS = Parameters(network="of the test", m=100, q=8, bits=3)


def random_codes(count: int, parameters: Parameters = PARAMETERS, seed: int = 0) -> Tensor:
    """uint8 [count, m]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(parameters.q, (count, parameters.m), dtype=torch.uint8, generator=generator)
