"""R1 and path length differentiate a gradient: golden values, and second derivatives of tiny networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support_arcbifacegan import GOLDEN, TINY, filled, normal
from torch import Tensor

from src.models.networks.stylegan2 import Discriminator, Generator

NAMES = [("cond", 16), ("uncond", 0)]


def r1(network: Discriminator, images: Tensor, c: Tensor | None = None) -> Tensor:
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(network(images, c, force_fp32=True).sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3))


def path_lengths(projection: Tensor, ws: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(projection, ws, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()


def generator(c_dim: int, **options: Any) -> Generator:
    return filled(Generator(**TINY, z_dim=32, w_dim=32, c_dim=c_dim, mapping_layers=2, **options)).eval()


@pytest.mark.parametrize(("name", "c_dim"), NAMES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_golden_r1(name: str, c_dim: int, precision: str) -> None:
    network = filled(Discriminator(**TINY, c_dim=c_dim, precision=precision))
    penalty = r1(network, normal(3, [8, 3, 32, 32], 0.5), normal(4, [8, 16]))
    torch.testing.assert_close(penalty, torch.tensor(GOLDEN[f"{name}.r1_penalty"]), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("name", "c_dim"), NAMES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_golden_path_lengths(name: str, c_dim: int, precision: str) -> None:
    network = generator(c_dim, precision=precision)
    ws = network.mapping(normal(1, [4, 32]), normal(2, [4, 16])).detach().requires_grad_()
    vis, nir = network.synthesis(ws, "const", force_fp32=True)
    of_vis = (vis * normal(5, vis.shape) / 32).sum()
    of_nir = (nir * normal(6, nir.shape) / 32).sum()
    for suffix, projection in (("vis", of_vis), ("nir", of_nir), ("sum", of_vis + of_nir)):
        expected = torch.tensor(GOLDEN[f"{name}.pl_lengths_{suffix}"])
        torch.testing.assert_close(path_lengths(projection, ws), expected, rtol=1e-5, atol=1e-6)


def test_golden_scores_of_a_training_step() -> None:
    """Weights, noise and the order of random draws, in training mode."""
    network, judge = generator(16).train(), filled(Discriminator(**TINY, c_dim=16))
    of_nir = filled(Discriminator(**TINY, image_channels=1))
    torch.manual_seed(0)
    c = normal(24, [4, 16])
    vis, nir = network(normal(23, [4, 32]), c)
    expected = GOLDEN["loss.sm0.0.Gmain"]
    fake, fake_nir = judge(vis, c), of_nir(nir)
    loss = (F.softplus(-fake) + 0.1 * F.softplus(-fake_nir)).mean()
    loss.backward()
    norm = torch.linalg.vector_norm(torch.stack([value.grad.norm() for value in network.parameters()]))
    torch.testing.assert_close(fake.mean().item(), expected["stats"]["Loss/scores/fake"], rtol=1e-5, atol=0)
    torch.testing.assert_close(loss.item(), expected["stats"]["Loss/G/loss"], rtol=1e-5, atol=0)
    torch.testing.assert_close(norm.item(), expected["gradnorm"], rtol=1e-4, atol=0)


@pytest.mark.parametrize("architecture", ["resnet", "orig", "skip"])
def test_second_derivatives_of_the_discriminator(architecture: str) -> None:
    torch.manual_seed(0)
    network = Discriminator(8, channel_base=16, channel_max=2, architecture=architecture, group_size=2).double()
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(network, images)


@pytest.mark.parametrize("architecture", ["skip", "orig", "resnet"])
def test_second_derivatives_of_the_generator(architecture: str) -> None:
    torch.manual_seed(0)
    network = Generator(8, w_dim=3, channel_base=16, channel_max=2, architecture=architecture).double().synthesis
    torch.nn.init.constant_(network.b8.conv1.noise_strength, 0.5)
    ws = torch.randn(1, network.num_ws, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda ws: network(ws, "const"), ws)


def test_penalties_reach_every_convolution() -> None:
    judge = filled(Discriminator(**TINY))
    r1(judge, normal(3, [4, 3, 32, 32])).mean().backward()
    assert all(value.grad.any() for name, value in judge.named_parameters() if name.endswith("weight"))
    network = generator(0).synthesis
    ws = normal(0, [2, network.num_ws, 32]).requires_grad_()
    vis, nir = network(ws, force_fp32=True)
    path_lengths((vis * torch.randn_like(vis)).sum() + (nir * torch.randn_like(nir)).sum(), ws).mean().backward()
    assert all(value.grad.any() for name, value in network.named_parameters() if name.endswith("weight"))
