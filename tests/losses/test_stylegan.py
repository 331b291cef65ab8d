from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from src.errors import UserError
from src.losses.stylegan import (
    fake_loss,
    generator_loss,
    nir_weight_at,
    path_length_penalties,
    path_length_samples,
    path_lengths,
    projection_noise,
    r1_penalties,
    real_loss,
)

LOGITS = torch.tensor([[-1.0], [0.5], [3.0]], dtype=torch.float64)


def test_discriminator_losses() -> None:
    fake = sum(math.log(1 + math.exp(value)) for value in (-1, 0.5, 3)) / 3
    real = sum(math.log(1 + math.exp(-value)) for value in (-1, 0.5, 3)) / 3
    assert fake_loss(LOGITS).item() == pytest.approx(fake)
    assert real_loss(LOGITS).item() == pytest.approx(real)


def test_generator_loss_weighs_the_near_infrared() -> None:
    expected = real_loss(LOGITS) + 0.1 * real_loss(-2 * LOGITS)
    torch.testing.assert_close(generator_loss(LOGITS, -2 * LOGITS, 0.1), expected)


@given(st.floats(-1e4, 1e4))
def test_losses_of_any_logit_are_finite_and_of_bounded_slope(value: float) -> None:
    for loss in (fake_loss, real_loss):
        logits = torch.tensor([value], requires_grad=True)
        found = loss(logits)
        found.backward()
        assert found.isfinite()
        assert found >= 0
        assert logits.grad is not None
        assert logits.grad.abs() <= 1


def test_weight_of_the_near_infrared_over_time() -> None:
    schedule = {1042: 0.5, 0: 0.1}
    assert [nir_weight_at(schedule, kimg) for kimg in (0, 1041.9, 1042, 1e6)] == [0.1, 0.1, 0.5, 0.5]


@pytest.mark.parametrize("schedule", [{}, {100: 0.1}])
def test_weight_that_begins_too_late(schedule: dict[int, float]) -> None:
    with pytest.raises(UserError, match=r"nir_weight: expected a weight from 0 thousand images on, .* at 12\.5 none"):
        nir_weight_at(schedule, 12.5)


def test_r1_of_a_known_function() -> None:
    """The gradient of a sum of squares is twice the image."""
    images = torch.randn(3, 2, 4, 4, requires_grad=True)
    found = r1_penalties(images.square().sum(dim=(1, 2, 3)), images)
    torch.testing.assert_close(found, 4 * images.square().sum(dim=(1, 2, 3)))


def test_r1_is_differentiable() -> None:
    scale = torch.tensor(3.0, requires_grad=True)
    images = torch.randn(3, 1, 2, 2, requires_grad=True)
    r1_penalties((scale * images).sum(dim=(1, 2, 3)), images).sum().backward()
    assert scale.grad is not None
    assert scale.grad.item() == pytest.approx(2 * 3 * 12)


def linear(ws: Tensor, matrix: Tensor) -> Tensor:
    """Images that are a linear function of the sum of all w."""
    return (ws.sum(dim=1) @ matrix).reshape(-1, 1, 2, 2)


def test_path_lengths_of_a_linear_generator() -> None:
    """Every layer has the same gradient; its length is that of the projected matrix."""
    torch.manual_seed(0)
    matrix, ws = torch.randn(5, 4), torch.randn(3, 7, 5, requires_grad=True)
    images = linear(ws, matrix)
    noise = projection_noise(images)
    expected = (noise.flatten(1) @ matrix.T).norm(dim=1)
    torch.testing.assert_close(path_lengths(ws, [images], [noise]), expected)


def test_gradients_of_modalities_are_added_before_their_length() -> None:
    torch.manual_seed(0)
    matrix, ws = torch.randn(5, 4), torch.randn(3, 7, 5, requires_grad=True)
    images = linear(ws, matrix)
    noise = projection_noise(images)
    found = path_lengths(ws, [images, -images], [noise, noise])
    torch.testing.assert_close(found, torch.zeros(3), rtol=0, atol=1e-6)


def test_projection_noise() -> None:
    torch.manual_seed(0)
    noise = projection_noise(torch.zeros(4, 3, 64, 16, dtype=torch.float64))
    assert noise.dtype == torch.float64
    assert noise.shape == (4, 3, 64, 16)
    assert noise.std().item() == pytest.approx(1 / 32, rel=0.03)


def test_mean_of_path_lengths_moves_and_is_part_of_the_graph() -> None:
    lengths = torch.tensor([1.0, 3.0], requires_grad=True)
    penalties, mean = path_length_penalties(lengths, torch.tensor(1.0), decay=0.1)
    assert mean.item() == pytest.approx(1.1)
    assert not mean.requires_grad
    torch.testing.assert_close(penalties, torch.tensor([0.01, 3.61]))
    penalties.sum().backward()
    # Of (1 - m)^2 + (3 - m)^2 where both lengths move m by 0.05.
    torch.testing.assert_close(lengths.grad, torch.tensor([-0.2 - 0.05 * 3.6, 3.8 - 0.05 * 3.6]))


@pytest.mark.parametrize(("batch", "expected"), [(1, 1), (2, 1), (3, 1), (12, 6)])
def test_samples_of_path_lengths(batch: int, expected: int) -> None:
    assert path_length_samples(batch) == expected
