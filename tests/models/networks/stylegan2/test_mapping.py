"""The mapping network: golden values, the average of w, truncation."""

from __future__ import annotations

import pytest
import torch
from support_arcbifacegan import GOLDEN, assert_matches, filled, normal

from src.errors import UserError
from src.models.networks.stylegan2 import MappingNetwork
from src.models.networks.stylegan2.mapping import normalize_second_moment

Z, C = normal(1, [4, 32]), normal(2, [4, 16])
NAMES = [("cond", 16), ("uncond", 0)]


def network(c_dim: int = 16) -> MappingNetwork:
    """With weights that a generator's would have."""
    holder = torch.nn.Module()
    holder.mapping = MappingNetwork(32, c_dim, w_dim=32, num_ws=8, num_layers=2)
    return filled(holder).mapping.eval()


def test_second_moment() -> None:
    normalized = normalize_second_moment(normal(16, [3, 6]))
    assert_matches(normalized, GOLDEN["op.norm2nd"])
    torch.testing.assert_close(normalized.square().mean(dim=1), torch.ones(3))


@pytest.mark.parametrize(("name", "c_dim"), NAMES)
def test_golden_values(name: str, c_dim: int) -> None:
    mapping = network(c_dim)
    assert_matches(mapping(Z, C), GOLDEN[f"{name}.ws"])
    assert_matches(mapping(Z, C, 0.7), GOLDEN[f"{name}.ws_psi0.7"])
    assert_matches(mapping(Z, C, 0.7, 3), GOLDEN[f"{name}.ws_psi0.7_cut3"])


def test_average_follows_w_in_training_only() -> None:
    mapping = network()
    before = mapping.w_avg.clone()
    mapping(Z, C)
    mapping.train()(Z, C, update_w_avg=False)
    assert torch.equal(mapping.w_avg, before)
    w = mapping(Z, C)[:, 0]
    torch.testing.assert_close(mapping.w_avg, 0.995 * before + 0.005 * w.mean(dim=0).detach())


def test_w_of_no_truncation_at_all_is_the_average() -> None:
    mapping = network()
    torch.testing.assert_close(mapping(Z, C, 0.0), mapping.w_avg.expand(4, 8, -1))


def test_length_of_the_code_does_not_matter_but_that_of_the_condition_does() -> None:
    mapping = network()
    torch.testing.assert_close(mapping(3 * Z, C), mapping(Z, C), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(mapping(Z, 4 * C), mapping(Z, C), atol=1e-2)


def test_without_num_ws_there_is_neither_average_nor_broadcast() -> None:
    mapping = MappingNetwork(0, 16, w_dim=32)
    assert mapping(None, C).shape == (4, 32)
    assert "w_avg" not in mapping.state_dict()


def test_second_derivatives() -> None:
    mapping = MappingNetwork(3, 2, w_dim=3, num_ws=2, num_layers=2).double().eval()
    z, c = normal(0, [2, 3]).double().requires_grad_(), normal(1, [2, 2]).double().requires_grad_()
    assert torch.autograd.gradgradcheck(mapping, (z, c))


@pytest.mark.parametrize(
    ("z", "c", "message"),
    [
        (None, C, r"z: expected \[N, 32\], found none"),
        (Z[:, :3], C, r"z: expected \[N, 32\], found \[4, 3\]"),
        (Z, None, r"c: expected \[N, 16\], found none"),
    ],
)
def test_inputs_are_checked(z: torch.Tensor | None, c: torch.Tensor | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        network()(z, c)


def test_something_must_be_mapped() -> None:
    with pytest.raises(UserError, match="found 0 and 0"):
        MappingNetwork(0, 0)
