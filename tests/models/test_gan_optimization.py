from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from src.models.gan_optimization import average_decay, lazy_adam, replace_non_finite_gradients, update_average


@pytest.mark.parametrize(("interval", "lr", "beta"), [(4, 0.002, 0.991992), (16, 0.00235294, 0.990586)])
def test_lazy_adam(interval: int, lr: float, beta: float) -> None:
    """Values of the paper's generator and discriminators, for a learning rate of 0.0025."""
    found_lr, betas = lazy_adam(0.0025, (0.0, 0.99), interval)
    assert found_lr == pytest.approx(lr, rel=1e-5)
    assert betas == (0.0, pytest.approx(beta, abs=1e-6))


def test_lazy_adam_without_regularisation() -> None:
    assert lazy_adam(0.0025) == (0.0025, (0.0, 0.99))


@given(st.floats(0, 0.999), st.floats(0, 0.999), st.integers(1, 64))
def test_steps_of_both_kinds_forget_as_much_as_without_regularisation(one: float, two: float, interval: int) -> None:
    lr, betas = lazy_adam(1.0, (one, two), interval)
    assert lr * (interval + 1) == pytest.approx(interval)
    for found, beta in zip(betas, (one, two), strict=True):
        assert found ** (interval + 1) == pytest.approx(beta**interval, rel=1e-6, abs=1e-300)


def test_non_finite_gradients() -> None:
    weight, unused = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(1))
    weight.grad = torch.tensor([math.nan, math.inf, -math.inf, 0.5])
    replace_non_finite_gradients([weight, unused])
    assert weight.grad.tolist() == [0.0, 1e5, -1e5, 0.5]
    assert unused.grad is None


def test_half_life_is_ramped_up() -> None:
    """Batches of 12 and a half life of 5000 images, the first ones a twentieth of the images seen."""
    found = [average_decay(12, images, 5000, 0.05) for images in (0, 12, 24, 36, 100_000, 200_000)]
    assert found == pytest.approx([0, 0.5**20, 0.5**10, 0.5 ** (20 / 3), 0.5 ** (12 / 5000), 0.5 ** (12 / 5000)])


def test_half_life_without_ramp() -> None:
    assert average_decay(12, 0, 20_000) == 0.5 ** (12 / 20_000)
    assert average_decay(64, 0, 64) == 0.5


def network() -> nn.Module:
    made = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    made[1].running_mean.normal_()
    return made


def test_first_update_copies() -> None:
    average, trained = network(), network()
    update_average(average, trained, average_decay(12, 0, 5000, 0.05))
    for found, expected in zip(average.state_dict().values(), trained.state_dict().values(), strict=True):
        assert torch.equal(found, expected)


def test_parameters_are_averaged_and_buffers_copied() -> None:
    average, trained = network(), network()
    trained[1].num_batches_tracked.fill_(7)
    before = copy.deepcopy(average)
    update_average(average, trained, 0.75)
    torch.testing.assert_close(average[0].weight, 0.75 * before[0].weight + 0.25 * trained[0].weight)
    assert torch.equal(average[1].running_mean, trained[1].running_mean)
    assert average[1].num_batches_tracked.item() == 7
    assert average[0].weight.grad_fn is None
