"""Discriminators and password predictor: golden outputs, sizes, names."""

from __future__ import annotations

import pytest
import torch
from support_password import GOLDEN, assert_matches, filled, image

from src.errors import UserError
from src.models.networks.password_transformer import Discriminators, PasswordPredictor
from src.models.networks.password_transformer.discriminators import KINDS


@torch.no_grad()
def test_golden_maps() -> None:
    network = filled(Discriminators())
    for kind in KINDS:
        fine, coarse = network(image(2, 3, 64, 64), kind)
        assert_matches(fine, GOLDEN[f"D_{kind}"]["fine"], tolerance=1e-7)
        assert_matches(coarse, GOLDEN[f"D_{kind}"]["coarse"], tolerance=1e-7)


@torch.no_grad()
def test_golden_password() -> None:
    images = image(2, 6, 128, 128)
    logits = filled(PasswordPredictor())(images[:, :3], images[:, 3:])
    for group, expected in enumerate(GOLDEN["Q"]):
        assert_matches(logits[:, group], expected, tolerance=1e-7)


def test_sizes_and_names() -> None:
    with torch.device("meta"):
        discriminators, predictor = Discriminators(), PasswordPredictor()
    for network, name, entries in ((discriminators, "D", 48), (predictor, "Q", 22)):
        count = sum(parameter.numel() for parameter in network.parameters())
        assert count == GOLDEN["param_checksums"][name]["numel"]
        assert len(network.state_dict()) == entries
    assert {"FE.0.bias", "layer1_WR.9.weight", "layer1_R.11.weight"} <= set(discriminators.state_dict())
    assert "layer1_M.11.bias" not in discriminators.state_dict()
    names = {"FE.model.6.bias", "classifiers.model.3.weight", "classifiers.fc_list.fc_3.bias"}
    assert names <= set(predictor.state_dict())


@torch.no_grad()
def test_sizes_of_the_maps() -> None:
    fine, coarse = Discriminators(channels=4)(image(2, 3, 128, 128).float(), "R")
    assert fine.shape == (2, 1, 14, 14)
    assert coarse.shape == (2, 1, 6, 6)


@pytest.mark.parametrize("size", [64, 80, 128, 256])
@pytest.mark.parametrize("length", [4, 16, 64])
@torch.no_grad()
def test_passwords_of_any_length_are_told_at_any_size(size: int, length: int) -> None:
    before, after = image(2, 6, size, size).float().split(3, dim=1)
    assert PasswordPredictor(length, channels=4)(before, after).shape == (2, length // 4, 16)


@pytest.mark.parametrize("norm", ["group", "instance", "none"])
@torch.no_grad()
def test_other_norms(norm: str) -> None:
    network = Discriminators(channels=4, norm=norm)
    assert network.get_submodule("FE.2").bias is not None
    alone, together = (network(image(count, 3, 64, 64).float(), "M")[0][:1] for count in (1, 2))
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-6)


def test_wrong_arguments() -> None:
    with pytest.raises(UserError, match="kind: expected M, R or WR, found 'A'"):
        Discriminators(channels=4)(torch.zeros(1, 3, 64, 64), "A")
    with pytest.raises(UserError, match="multiple of 4 bits, found 18"):
        PasswordPredictor(18)
    with pytest.raises(UserError, match=r"takes 64 pixels and more, found 48x48"):
        PasswordPredictor(channels=4)(torch.zeros(1, 3, 48, 48), torch.zeros(1, 3, 48, 48))
