"""Embeddings of made-up people: identity, an offset along one axis for gender, and noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

SIZE = 64


class Toy(NamedTuple):
    """Unit embeddings float32 [N, 64], attributes int64 [N] and identities int64 [N]."""

    embeddings: Tensor
    attributes: Tensor
    labels: Tensor


def toy(people: int = 80, images: int = 10, seed: int = 0) -> Toy:
    """Every other person is male.

    Identity N(0, I / 64), gender +-0.5 along the first axis, noise of 0.6 / 8 in every value; scaled to unit length.
    """
    rng = np.random.default_rng(seed)
    identity = rng.normal(0, 1 / np.sqrt(SIZE), (people, SIZE))
    gender = np.arange(people) % 2
    identity[:, 0] += gender - 0.5
    labels = np.repeat(np.arange(people), images)
    values = identity[labels] + rng.normal(0, 0.6 / 8, (people * images, SIZE))
    return Toy(
        functional.normalize(torch.from_numpy(values).float()),
        torch.from_numpy(gender[labels]),
        torch.from_numpy(labels),
    )
