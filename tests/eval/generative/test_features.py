from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from src.errors import UserError
from src.eval.generative.features import (
    Classifier,
    RecogniserClasses,
    RecogniserFeatures,
    as_stored,
    check_features,
    three_channels,
)


class Means(nn.Module):
    """Mean colour, scaled; takes images of one size."""

    def __init__(self, size: int | None) -> None:
        super().__init__()
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        assert self.size is None or images.shape[-2:] == (self.size, self.size)
        return 7 * images.mean(dim=(2, 3))


def test_resizes_to_the_network() -> None:
    images = torch.rand(2, 3, 20, 20)
    assert RecogniserFeatures(Means(8))(images) == pytest.approx(Means(None)(images), abs=0.5)
    torch.testing.assert_close(RecogniserFeatures(Means(20))(images), Means(20)(images))
    torch.testing.assert_close(RecogniserFeatures(Means(None))(images), Means(None)(images))


def test_people_as_classes() -> None:
    extractor = RecogniserClasses(Means(4), centres=torch.tensor([[2.0, 0, 0], [0, 0, 5.0]]), scale=10)
    features = torch.tensor([[3.0, 0, 0], [0, 1, 1]])
    torch.testing.assert_close(extractor.logits(features), torch.tensor([[10.0, 0], [0, 10 / 2**0.5]]))
    assert isinstance(extractor, Classifier)
    assert not isinstance(RecogniserFeatures(Means(4)), Classifier)
    assert not extractor.state_dict()


def test_images_from_eight_bits_are_left_as_they_are() -> None:
    values = torch.arange(256.0).view(1, 1, 16, 16) / 127.5 - 1
    torch.testing.assert_close(as_stored(values), values, rtol=0, atol=1e-7)
    stored = as_stored(torch.tensor([-7.0, -1.0, 0.0, 0.9999, 3.0]))
    torch.testing.assert_close(stored, torch.tensor([0, 0, 128, 255, 255]) / 127.5 - 1)


def test_near_infrared_gets_three_channels() -> None:
    images = torch.rand(2, 1, 4, 4)
    assert (three_channels(images) == images).all()
    assert three_channels(images).shape == (2, 3, 4, 4)
    with pytest.raises(UserError, match=r"\[N, 3, H, W\], or \[N, 1, H, W\] of near infrared; found \[2, 2, 4, 4\]"):
        three_channels(torch.rand(2, 2, 4, 4))


def test_keeps_double_precision() -> None:
    found = check_features("fid", 1, real=torch.ones(2, 3).double(), generated=torch.ones(1, 3).half())
    assert [rows.dtype for rows in found] == [torch.float64, torch.float32]
