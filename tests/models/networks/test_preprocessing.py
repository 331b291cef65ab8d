from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from src.errors import UserError
from src.models.networks.preprocessing import Preprocessing

PIXELS = torch.arange(256, dtype=torch.float32).view(1, 1, 16, 16).repeat(1, 3, 1, 1) + torch.tensor(
    [[[[0.0]], [[1.0]], [[2.0]]]]
)
IMAGES = (PIXELS - 127.5) / 127.5


def test_our_own_images_pass_untouched() -> None:
    assert Preprocessing()(IMAGES) is IMAGES
    assert Preprocessing(16, mean=[127.5] * 3, std=[127.5] * 3)(IMAGES) is IMAGES


@pytest.mark.parametrize(("mean", "std"), [(127.5, 128.0), (0, 255), (0.0, 1.0), (127.5, 127.5)])
def test_variants_of_the_wild(mean: float, std: float) -> None:
    torch.testing.assert_close(Preprocessing(mean=mean, std=std)(IMAGES), (PIXELS - mean) / std, atol=2e-5, rtol=1e-6)


def test_mean_and_std_follow_the_order_of_the_colours() -> None:
    mean, std = [103.53, 116.28, 123.675], [57.375, 57.12, 58.395]
    prepared = Preprocessing(color="bgr", mean=mean, std=std)(IMAGES)
    expected = (PIXELS.flip(1) - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
    torch.testing.assert_close(prepared, expected, atol=1e-5, rtol=1e-6)


@given(
    st.lists(st.floats(0, 255, width=32), min_size=3, max_size=3),
    st.lists(st.floats(1, 255, width=32), min_size=3, max_size=3),
)
def test_any_normalisation_can_be_undone(mean: list[float], std: list[float]) -> None:
    prepared = Preprocessing(mean=mean, std=std)(IMAGES)
    pixels = prepared * torch.tensor(std).view(1, 3, 1, 1) + torch.tensor(mean).view(1, 3, 1, 1)
    torch.testing.assert_close(pixels, PIXELS, atol=1e-3, rtol=0)


def test_a_wrong_size_tells_which_key_to_set() -> None:
    with pytest.raises(UserError, match=r"takes 112x112 images and was given 16x16: set datamodule\.size=112"):
        Preprocessing(112)(IMAGES)
    assert Preprocessing(None)(IMAGES) is IMAGES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"color": "gbr"}, "color: expected rgb or bgr, found 'gbr'"),
        ({"size": 0}, "size: expected a number of pixels"),
        ({"size": "112"}, "size: expected a number of pixels"),
        ({"mean": [1.0, 2.0]}, r"mean: expected a number in units of 0\.\.255, or three"),
        ({"mean": "half"}, "mean: expected a number"),
        ({"std": [1.0, 0.0, 1.0]}, "std: expected values above 0"),
    ],
)
def test_refuses_arguments_out_of_range(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Preprocessing(**arguments)


def test_it_has_no_weights_and_its_repr_tells_all() -> None:
    preprocessing = Preprocessing(112, "bgr", 127.5, [1, 2, 3])
    assert preprocessing.state_dict() == {}
    assert repr(preprocessing) == "Preprocessing(size=112, color=bgr, mean=[127.5], std=[1.0, 2.0, 3.0])"
