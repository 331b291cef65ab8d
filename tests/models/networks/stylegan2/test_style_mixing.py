from __future__ import annotations

import pytest
import torch
from support_arcbifacegan import filled, normal
from torch import Tensor

from src.models.networks.stylegan2 import MappingNetwork
from src.models.networks.stylegan2.style_mixing import mixed_styles

NUM_WS = 8


@pytest.fixture
def mapping() -> MappingNetwork:
    return filled(MappingNetwork(32, 16, 32, NUM_WS, 2))


def from_first(mixed: Tensor, ws: Tensor) -> list[bool]:
    """Whether all samples have w of the first code, for every layer."""
    return (mixed == ws).all(dim=(0, 2)).tolist()


def test_coarse_layers_keep_the_first_code(mapping: MappingNetwork) -> None:
    z, c = normal(23, [4, 32]), normal(24, [4, 16])
    mapping.eval()
    ws, cutoffs = mapping(z, c), set()
    for seed in range(40):
        torch.manual_seed(seed)
        first = from_first(mixed_styles(mapping, z, c, 1.0), ws)
        assert first == sorted(first, reverse=True)
        cutoffs.add(sum(first))
    assert cutoffs == set(range(1, NUM_WS))


def test_second_code_is_mapped_with_the_same_condition(mapping: MappingNetwork) -> None:
    z, c = normal(23, [4, 32]), normal(24, [4, 16])
    torch.manual_seed(3)
    found = mixed_styles(mapping.eval(), z, c, 1.0)
    torch.manual_seed(3)
    torch.empty((), dtype=torch.int64).random_(1, NUM_WS), torch.rand(())
    assert torch.equal(found[:, -1], mapping(torch.randn_like(z), c)[:, -1])


@pytest.mark.parametrize(("probability", "share"), [(0.5, 0.5), (1e-9, 0.0)])
def test_probability(mapping: MappingNetwork, probability: float, share: float) -> None:
    z, c = normal(23, [2, 32]), normal(24, [2, 16])
    torch.manual_seed(0)
    ws = mapping.eval()(z, c)
    mixed = [not all(from_first(mixed_styles(mapping, z, c, probability), ws)) for _ in range(100)]
    assert sum(mixed) / 100 == pytest.approx(share, abs=0.15)


def test_probability_0_draws_nothing(mapping: MappingNetwork) -> None:
    z, c = normal(23, [4, 32]), normal(24, [4, 16])
    state = torch.get_rng_state()
    assert torch.equal(mixed_styles(mapping.eval(), z, c, 0.0), mapping(z, c))
    assert torch.equal(torch.get_rng_state(), state)


def test_only_the_first_code_counts_for_the_average(mapping: MappingNetwork) -> None:
    z, c = normal(23, [4, 32]), normal(24, [4, 16])
    mixed_styles(mapping.train(), z, c, 1.0)
    other = filled(MappingNetwork(32, 16, 32, NUM_WS, 2)).train()
    other(z, c)
    assert torch.equal(mapping.w_avg, other.w_avg)


def test_gradients_reach_both_codes(mapping: MappingNetwork) -> None:
    z = normal(23, [4, 32]).requires_grad_()
    torch.manual_seed(0)
    ws = mixed_styles(mapping, z, normal(24, [4, 16]), 1.0)
    ws[:, -1].sum().backward(retain_graph=True)
    assert z.grad is not None
    assert not z.grad.any()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in mapping.parameters())
    ws[:, 0].sum().backward()
    assert z.grad.any()
