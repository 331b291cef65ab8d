from __future__ import annotations

import pytest
import torch
from support_arcbifacegan import GOLDEN, assert_matches, normal
from support_augmentation import PercentileDraws
from torch import Tensor

from src.errors import UserError
from src.models.networks.adaptive_augmentation import PRESETS, AugmentPipe


def images(samples: int, channels: int) -> Tensor:
    return normal(8 if channels == 3 else 9, [samples, channels, 32, 32], 0.5)


def pipe_at(preset: str, p: float) -> AugmentPipe:
    pipe = AugmentPipe(preset)
    pipe.p.fill_(p)
    return pipe


@pytest.mark.parametrize("quantile", [0.3, 0.8])
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("preset", ["blit", "geom", "color", "bgc", "filter", "cutout"])
def test_golden_quantiles(preset: str, channels: int, quantile: float) -> None:
    found = AugmentPipe(preset)(images(2, channels), PercentileDraws(2, quantile))
    assert_matches(found, GOLDEN[f"aug.{preset}.ch{channels}.pct{quantile}"])


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("preset", ["bgc", "bgcfnc"])
def test_golden_random_draws(preset: str, channels: int) -> None:
    torch.manual_seed(0)
    found = pipe_at(preset, 0.7)(images(4, channels))
    assert_matches(found, GOLDEN[f"augseed.{preset}.ch{channels}.p0.7"])


@pytest.mark.parametrize("channels", [3, 1])
def test_probability_0_changes_nothing(channels: int) -> None:
    x = images(4, channels)
    torch.testing.assert_close(AugmentPipe("bgcfnc")(x), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("preset", PRESETS)
def test_images_are_transformed_independently(preset: str) -> None:
    torch.manual_seed(0)
    x = images(1, 3).expand(8, -1, -1, -1)
    found = pipe_at(preset, 1.0)(x)
    assert found.shape == x.shape
    assert found.isfinite().all()
    assert all(not torch.allclose(found[0], other) for other in found[1:])


def test_both_modalities_are_transformed_differently() -> None:
    torch.manual_seed(0)
    pipe, x = pipe_at("bg", 1.0), images(4, 1)
    assert not torch.allclose(pipe(x), pipe(x))


@pytest.mark.parametrize("channels", [3, 1])
def test_differentiable_twice(channels: int) -> None:
    """The cube is there because the pipe alone is linear."""
    pipe = AugmentPipe("bgc")

    def transformed(x: Tensor) -> Tensor:
        return pipe(x**3, PercentileDraws(1, 0.7))

    x = torch.randn(1, channels, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(transformed, x)
    assert torch.autograd.gradgradcheck(transformed, x)


def test_gradient_penalty_through_all_operations() -> None:
    torch.manual_seed(0)
    x = images(4, 3).requires_grad_()
    judge = torch.nn.Conv2d(3, 1, 5)
    logits = judge(pipe_at("bgcfnc", 0.8)(x)).square().mean(dim=(1, 2, 3))
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    gradient.square().sum().backward()
    assert judge.weight.grad is not None
    assert judge.weight.grad.isfinite().all()
    assert judge.weight.grad.abs().sum() > 0


def test_double_precision_is_kept() -> None:
    torch.manual_seed(0)
    assert pipe_at("bgcfnc", 0.5)(images(2, 3).double()).dtype == torch.float64


def test_state_dict_has_the_published_names() -> None:
    state = AugmentPipe("noise").state_dict()
    shapes = {name: list(value.shape) for name, value in state.items()}
    assert shapes == {"p": [], "Hz_geom": [12], "Hz_fbank": [4, 43]}
    torch.testing.assert_close(state["Hz_geom"], torch.tensor(GOLDEN["aug.Hz_geom"]))


@pytest.mark.parametrize("shape", [[2, 2, 32, 32], [2, 4, 32, 32], [3, 32, 32]])
def test_other_images_are_refused(shape: list[int]) -> None:
    with pytest.raises(UserError, match=r"images: expected \[N, 3, H, W\] or \[N, 1, H, W\], found \["):
        AugmentPipe()(torch.zeros(shape))


def test_too_small_images_are_refused() -> None:
    with pytest.raises(UserError, match="imgfilter: expected images of at least 22 x 22 pixels, found 32 x 16"):
        AugmentPipe("filter")(torch.zeros(2, 3, 32, 16))


def test_unknown_preset_is_refused() -> None:
    with pytest.raises(UserError, match=r"preset: expected blit, .* or bgcfnc, found 'gbc'"):
        AugmentPipe("gbc")
