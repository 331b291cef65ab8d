"""Inputs, weights and comparisons of the golden values in ``tests/parity/arcbifacegan_golden.json``."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "parity" / "arcbifacegan_golden.json").read_text())

Network = TypeVar("Network", bound=nn.Module)

TINY: dict[str, Any] = {"resolution": 32, "channel_base": 512, "channel_max": 32}
"""Of the networks that the golden values were computed with."""


def normal(seed: int, shape: Sequence[int], scale: float = 1.0) -> Tensor:
    """float32 draws from N(0, scale ** 2), the same on every machine."""
    return torch.from_numpy((np.random.RandomState(seed).standard_normal(shape) * scale).astype(np.float32))


def filled(network: Network) -> Network:
    """The network with weights that depend on nothing but their names."""
    for key, value in network.state_dict().items():
        if not key.endswith("resample_filter"):
            value.copy_(torch.as_tensor(_value(key, value.shape)))
    return network


def _value(key: str, shape: Sequence[int]) -> np.ndarray | float:
    draw = np.asarray(np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape), dtype=np.float32)
    if key.endswith("noise_strength"):
        return 0.1
    if key.endswith("affine.bias"):
        return 1 + 0.1 * draw
    if key.startswith("mapping.fc"):
        return (100 if key.endswith("weight") else 10) * draw
    return 0.1 * draw if key.endswith((".bias", "w_avg")) else draw


def assert_matches(found: Tensor, expected: Mapping[str, Any], tolerance: float = 1e-5) -> None:
    """Compare with the recorded shape, moments and single values; the tolerance is relative to the largest value."""
    flat = found.detach().double().flatten()
    count = flat.numel()
    picks = flat[[0, count // 7, count // 3, count // 2, 5 * count // 8, count - 1]].tolist()
    absolute = tolerance * max(expected["absmax"], 1.0)
    assert list(found.shape) == expected["shape"]
    np.testing.assert_allclose(picks, expected["picks"], rtol=0, atol=absolute)
    np.testing.assert_allclose(flat.mean(), expected["mean"], rtol=0, atol=absolute)
    np.testing.assert_allclose(flat.std(correction=0), expected["std"], rtol=0, atol=absolute)
    np.testing.assert_allclose(flat.abs().max(), expected["absmax"], rtol=0, atol=absolute)
