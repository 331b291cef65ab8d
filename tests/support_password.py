"""Inputs, weights and comparisons of the golden values in ``tests/parity/password_transformer_golden.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn

from src.losses.sphereface_heads import SphereFaceHead
from src.models.networks.password_transformer import SphereFace20
from src.models.networks.password_transformer.password import Password

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "parity" / "password_transformer_golden.json").read_text())

Network = TypeVar("Network", bound=nn.Module)


def image(batch: int, channels: int, height: int, width: int) -> Tensor:
    """Float64 images of waves."""
    b, c, h, w = torch.meshgrid(*map(torch.arange, (batch, channels, height, width)), indexing="ij")
    return (0.05 * (h + 1) * (c + 1) + 0.03 * w.double() + b).sin()


def bits(*values: int, length: int = 16) -> Tensor:
    """Passwords bool [B, length] by their numbers."""
    return torch.stack([Password.from_int(value, length).bits() for value in values])


def value_of(name: str, shape: Sequence[int]) -> Tensor:
    """The weights that a name of the published code stands for, float64."""
    s = (0.1 * torch.arange(math.prod(shape), dtype=torch.float64) + sum(map(ord, name)) % 97).sin().reshape(*shape)
    if len(shape) >= 2:
        return s if name == "fc6.weight" else s / math.sqrt(math.prod(shape[1:]))
    if "relu" in name:
        return 0.25 + 0.05 * s
    return 0.1 * s if name.endswith("bias") else 1 + 0.1 * s


def filled(network: Network) -> Network:
    """The network with weights that depend on nothing but their names, float64."""
    network.double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(value_of(name, parameter.shape))
    return network


def filled_recogniser(classes: int = 10574) -> tuple[SphereFace20, SphereFaceHead]:
    """The recogniser and its head with such weights, float64."""
    head = SphereFaceHead(512, classes).double()
    with torch.no_grad():
        head.weight.copy_(value_of("fc6.weight", (512, classes)).T)
    return filled(SphereFace20()), head


def assert_matches(found: Tensor, expected: Mapping[str, Any], tolerance: float = 1e-6) -> None:
    """Compare with the recorded shape, moments and first and last values."""
    flat = found.detach().double().flatten()
    assert list(found.shape) == expected["shape"]
    assert float(flat.mean()) == pytest.approx(expected["mean"], abs=tolerance)
    assert float(flat.std()) == pytest.approx(expected["std_unbiased"], abs=tolerance)
    assert flat[:8].tolist() == pytest.approx(expected["first8"], abs=tolerance)
    assert flat[-4:].tolist() == pytest.approx(expected["last4"], abs=tolerance)
