from __future__ import annotations

import numpy as np
import pytest
import torch
from memory_source import MemorySource

from src.datamodules.label_bank import LabelBank
from src.errors import UserError


def _source(features: np.ndarray | None) -> MemorySource:
    return MemorySource({"image": [b""] * 4}, features=features)


def test_holds_every_feature_and_is_no_weight() -> None:
    features = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    bank = LabelBank.of(_source(features))
    assert (len(bank), bank.size) == (4, 6)
    assert bank.labels.dtype == torch.float32
    assert bank.labels.numpy().tobytes() == features.tobytes()
    assert not bank.state_dict()
    assert torch.nn.Sequential(bank).to("meta")[0].labels.is_meta


def test_draws_every_image_equally_often_and_repeatably() -> None:
    bank = LabelBank(torch.eye(5))
    drawn = bank.draw(10_000, torch.Generator().manual_seed(0))
    assert drawn.shape == (10_000, 5)
    # Four standard deviations of a binomial draw.
    assert (drawn.sum(0) - 2000).abs().max() < 4 * (10_000 * 0.2 * 0.8) ** 0.5
    assert torch.equal(drawn, bank.draw(10_000, torch.Generator().manual_seed(0)))
    assert not torch.equal(drawn, bank.draw(10_000, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (None, "memory: has no identity features; make them with privface features"),
        (np.full((4, 2), np.nan), "00000: expected a feature of a vector of finite numbers"),
        (np.ones((4, 1, 2)), r"found shape \[1, 2\]"),
        (np.array([[1.0, 1], [1, 1], [1, 1], [1, np.inf]]), "00003: expected a feature of 2 finite numbers"),
    ],
)
def test_no_bank(features: np.ndarray | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        LabelBank.of(_source(features))
