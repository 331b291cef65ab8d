from __future__ import annotations

import pytest
import torch

from src.models.networks.adaptive_augmentation import Draws


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0, 1.5])
def test_share_of_samples(p: float) -> None:
    torch.manual_seed(0)
    draws = Draws(torch.tensor(p), 20_000)
    share = draws.normal("scale").ne(0).float().mean().item()
    assert share == pytest.approx(min(p, 1.0), abs=0.015)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0, 1.5])
def test_two_rotations_spare_as_many_as_one_operation(p: float) -> None:
    torch.manual_seed(0)
    draws = Draws(torch.tensor(p), 20_000)
    spared = draws.signed("rotate_before").eq(0) & draws.signed("rotate_after").eq(0)
    assert spared.float().mean().item() == pytest.approx(1 - min(p, 1.0), abs=0.015)


def test_ranges() -> None:
    torch.manual_seed(0)
    draws = Draws(torch.ones(()), 10_000)
    signed, choice, normal = draws.signed("xint", 2), draws.choice("rotate90", 4), draws.normal("scale")
    position = draws.position(2)
    assert signed.shape == position.shape == (10_000, 2)
    assert -1 <= signed.min() < -0.99
    assert 0.99 < signed.max() <= 1
    assert 0 <= position.min() < 0.01
    assert 0.99 < position.max() < 1
    assert choice.unique().tolist() == [0, 1, 2, 3]
    assert normal.std().item() == pytest.approx(1, abs=0.03)


def test_probability_does_not_change_later_draws() -> None:
    found = []
    for p in (0.0, 1.0):
        torch.manual_seed(0)
        draws = Draws(torch.tensor(p), 5)
        draws.normal("scale")
        draws.applied("cutout")
        found.append(draws.position(2))
    assert torch.equal(*found)


def test_both_coordinates_or_none() -> None:
    torch.manual_seed(0)
    moved = Draws(torch.tensor(0.5), 100).normal("xfrac", 2).ne(0)
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert 0 < moved[:, 0].sum() < 100
