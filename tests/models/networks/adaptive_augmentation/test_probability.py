from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from src.models.networks.adaptive_augmentation import adapted_probability


def test_steps_upwards() -> None:
    """Batches of 12, adapted after every fourth: as many images of 100,000 were seen, as p is of 1."""
    p = torch.zeros(())
    for _ in range(7):
        p = adapted_probability(p, torch.tensor(1.0), 4 * 12, speed=100_000)
    assert p.item() == pytest.approx(7 * 12 * 4 / 100_000)


def test_from_the_target_on_it_stays() -> None:
    p = torch.tensor(0.25)
    assert adapted_probability(p, torch.tensor(0.6), 64, target=0.6).item() == 0.25
    assert adapted_probability(p, torch.tensor(0.59), 64).item() < 0.25


def test_bounds() -> None:
    high, low = torch.tensor(1.0), torch.tensor(-1.0)
    assert adapted_probability(torch.tensor(0.9), high, 100, speed=500).item() == 1.0
    assert adapted_probability(torch.tensor(0.9), high, 100, speed=500, maximum=None).item() == pytest.approx(1.1)
    assert adapted_probability(torch.tensor(0.1), low, 100, speed=500, maximum=None).item() == 0.0


@given(st.floats(0, 1, width=32), st.floats(-1, 1, width=32), st.integers(1, 10_000))
def test_it_moves_towards_the_target_and_stays_a_probability(p: float, statistic: float, images: int) -> None:
    found = adapted_probability(torch.tensor(p), torch.tensor(statistic), images).item()
    assert 0 <= found <= 1
    assert (found - p) * (statistic - 0.6) >= 0
