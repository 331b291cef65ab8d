from __future__ import annotations

import math

import pytest
import torch

from src.errors import UserError
from src.models.gan_schedule import Adaptation, Means


def test_means_since_they_were_taken() -> None:
    means = Means()
    means.add({"a": torch.tensor(1.0), "b": torch.tensor(4.0)})
    means.add({"a": torch.tensor(3.0)})
    assert {name: float(value) for name, value in means.take().items()} == {"a": 2, "b": 4}
    means.add({"b": torch.tensor(6.0)})
    assert {name: float(value) for name, value in means.take().items()} == {"b": 6}
    assert means.take() == {}


def test_what_is_not_finite_is_told_once() -> None:
    means = Means()
    assert means.not_finite() == []
    means.add({"a": torch.tensor(math.nan), "b": torch.tensor(math.inf), "c": torch.tensor(1.0)})
    means.add({"a": torch.tensor(1.0)})
    assert means.not_finite() == ["a", "b"]
    means.add({"a": torch.tensor(1.0)})
    assert means.not_finite() == []


@pytest.mark.parametrize(("interval", "kimg"), [(0, 500), (4, 0)])
def test_adaptation(interval: int, kimg: float) -> None:
    with pytest.raises(UserError, match=r"model\.adaptation: expected interval of at least 1 and kimg above 0"):
        Adaptation(interval=interval, kimg=kimg)
