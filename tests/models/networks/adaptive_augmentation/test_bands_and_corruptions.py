from __future__ import annotations

import pytest
import torch
from support_arcbifacegan import GOLDEN
from support_augmentation import GivenDraws

from src.models.networks.adaptive_augmentation import AugmentPipe, Draws
from src.models.networks.adaptive_augmentation.bands import filter_bank


def test_golden_filter_bank() -> None:
    bank = filter_bank()
    assert list(bank.shape) == GOLDEN["aug.Hz_fbank_shape"]
    torch.testing.assert_close(bank.sum(dim=1), torch.tensor(GOLDEN["aug.Hz_fbank_rowsum"]), rtol=0, atol=1e-6)
    torch.testing.assert_close(bank.abs().sum(dim=1), torch.tensor(GOLDEN["aug.Hz_fbank_absum"]))


def test_bands_add_up_to_the_image() -> None:
    impulse = torch.zeros(43)
    impulse[21] = 1
    torch.testing.assert_close(filter_bank().sum(dim=0), impulse, rtol=0, atol=1e-6)


def test_bands_are_symmetric_and_ordered_by_frequency() -> None:
    bank = filter_bank()
    torch.testing.assert_close(bank, bank.flip(1), rtol=0, atol=1e-6)
    spectrum = torch.fft.rfft(bank, 512).abs()
    assert torch.equal(spectrum.argmax(dim=1).sort().values, spectrum.argmax(dim=1))


def test_equal_amplification_of_all_bands_is_normalised_away() -> None:
    """Images hold 10 of 13 parts of their power in the lowest band."""
    flat = torch.full((1, 1, 32, 32), 0.5)
    draws = GivenDraws(1, imgfilter=1.0)
    found = AugmentPipe("filter")(flat, draws)
    norms = (1 + 3 * 10 / 13) ** 0.5 * (1 + 3 / 13) ** 1.5
    # The filter is applied along both axes.
    torch.testing.assert_close(found, flat * (2 / norms) ** 2, rtol=1e-4, atol=0)


def test_noise_is_drawn_for_every_pixel_with_a_strength_for_every_image() -> None:
    torch.manual_seed(0)
    found = AugmentPipe("noise")(torch.zeros(2, 3, 64, 64), GivenDraws(2, noise=-2.0))
    torch.testing.assert_close(found.std(dim=(1, 2, 3)), torch.full((2,), 0.2), rtol=0.03, atol=0)


@pytest.mark.parametrize(
    ("position", "rows", "columns"),
    [([0.5, 0.5], slice(4, 12), slice(4, 12)), ([0.0, 1.0], slice(12, 16), slice(0, 4))],
)
def test_cutout(position: list[float], rows: slice, columns: slice) -> None:
    x = torch.ones(2, 3, 16, 16)
    found = AugmentPipe("cutout")(x, GivenDraws(2, cutout=1.0, position=position))
    x[:, :, rows, columns] = 0
    torch.testing.assert_close(found, x)


def test_spared_images_have_no_hole() -> None:
    torch.manual_seed(0)
    found = AugmentPipe("cutout")(torch.ones(64, 1, 16, 16), Draws(torch.tensor(0.5), 64))
    whole = found.eq(1).all(dim=(1, 2, 3)).sum().item()
    assert 16 < whole < 48
