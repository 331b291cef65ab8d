"""Losses and gradients of every phase of a training step, with the published order of random draws."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from support_arcbifacegan import GOLDEN, TINY, filled, normal
from torch import Tensor, nn

from src.losses.stylegan import (
    fake_loss,
    generator_loss,
    path_length_penalties,
    path_length_samples,
    path_lengths,
    projection_noise,
    r1_penalties,
    real_loss,
)
from src.models.networks.adaptive_augmentation import AugmentPipe
from src.models.networks.stylegan2 import Discriminator, Generator
from src.models.networks.stylegan2.style_mixing import mixed_styles

REAL, REAL_NIR = normal(20, [4, 3, 32, 32], 0.5), normal(21, [4, 1, 32, 32], 0.5)
REAL_C, Z, C = normal(22, [4, 16]), normal(23, [4, 32]), normal(24, [4, 16])

Phase = dict[str, float]


@dataclass
class Networks:
    generator: Generator
    judge: Discriminator
    judge_nir: Discriminator
    mixing: float

    def styles(self, samples: int = 4) -> Tensor:
        return mixed_styles(self.generator.mapping, Z[:samples], C[:samples], self.mixing)

    def generate(self) -> tuple[Tensor, Tensor]:
        return self.generator.synthesis(self.styles())

    def generator_main(self, nir_weight: float = 0.1) -> Phase:
        vis, nir = self.generate()
        logits = self.judge(vis, C)
        loss = generator_loss(logits, self.judge_nir(nir), nir_weight)
        loss.backward()
        return {"Loss/scores/fake": logits.mean().item(), "Loss/G/loss": loss.item()}

    def generator_regularization(self, mean: Tensor) -> tuple[Phase, Tensor]:
        ws = self.styles(path_length_samples(4))
        images = self.generator.synthesis(ws)
        noises = [projection_noise(image) for image in images]
        penalties, mean = path_length_penalties(path_lengths(ws, images, noises), mean)
        penalty = penalties.mean()
        (penalty * 2 * 4).backward()
        return {"Loss/pl_penalty": penalty.item(), "Loss/G/reg": 2 * penalty.item()}, mean

    def discriminator_main(self) -> Phase:
        with torch.no_grad():
            vis, _ = self.generate()
        fake, real = self.judge(vis, C), self.judge(REAL, REAL_C)
        loss = fake_loss(fake) + real_loss(real)
        loss.backward()
        scores = {"Loss/scores/fake": fake.mean().item(), "Loss/scores/real": real.mean().item()}
        return {**scores, "Loss/D/loss": loss.item()}

    def discriminator_regularization(self) -> Phase:
        images = REAL.clone().requires_grad_()
        penalty = r1_penalties(self.judge(images, REAL_C), images).mean()
        loss = penalty * 1.5 / 2
        (loss * 16).backward()
        return {"Loss/r1_penalty": penalty.item(), "Loss/D/reg": loss.item()}

    def nir_discriminator_main(self) -> Phase:
        with torch.no_grad():
            _, nir = self.generate()
        fake, real = self.judge_nir(nir), self.judge_nir(REAL_NIR)
        loss = fake_loss(fake) + real_loss(real)
        loss.backward()
        scores = {"Loss/scores/fake_NIR": fake.mean().item(), "Loss/scores/real_NIR": real.mean().item()}
        return {**scores, "Loss/D/loss_NIR": loss.item()}


def networks(mixing: float) -> Networks:
    return Networks(
        filled(Generator(**TINY, z_dim=32, w_dim=32, c_dim=16, mapping_layers=2)),
        filled(Discriminator(**TINY, c_dim=16)),
        filled(Discriminator(**TINY, image_channels=1)),
        mixing,
    )


def gradient_norm(parameters: Iterable[nn.Parameter]) -> float:
    """Of all gradients together."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return torch.stack([gradient.norm() for gradient in gradients]).norm().item()


def assert_phase(name: str, mixing: float, found: Phase, network: nn.Module) -> None:
    expected: dict[str, Any] = GOLDEN[f"loss.sm{mixing}.{name}"]
    for key, value in found.items():
        assert value == pytest.approx(expected["stats"][key], rel=2e-5), key
    assert gradient_norm(network.parameters()) == pytest.approx(expected["gradnorm"], rel=1e-4)


@pytest.mark.parametrize("mixing", [0.0, 0.9])
def test_golden_generator(mixing: float) -> None:
    step = networks(mixing)
    torch.manual_seed(0)
    assert_phase("Gmain", mixing, step.generator_main(), step.generator)
    step.generator.zero_grad()
    torch.manual_seed(0)
    found, mean = step.generator_regularization(torch.zeros(()))
    assert_phase("Greg", mixing, found, step.generator)
    assert mean.item() == pytest.approx(GOLDEN[f"loss.sm{mixing}.pl_mean"], rel=1e-5)


@pytest.mark.parametrize("mixing", [0.0, 0.9])
def test_golden_discriminators(mixing: float) -> None:
    step = networks(mixing)
    torch.manual_seed(0)
    assert_phase("Dmain", mixing, step.discriminator_main(), step.judge)
    step.judge.zero_grad()
    assert_phase("Dreg", mixing, step.discriminator_regularization(), step.judge)
    torch.manual_seed(0)
    assert_phase("D_NIRmain", mixing, step.nir_discriminator_main(), step.judge_nir)


def test_near_infrared_of_weight_0_leaves_its_heads_alone() -> None:
    """The path length still moves them."""
    step = networks(0.0)

    def heads() -> list[nn.Parameter]:
        named = step.generator.named_parameters()
        return [parameter for name, parameter in named if "toseg" in name or "tonir" in name]

    step.generator_main(nir_weight=0.0)
    assert heads()
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in heads())
    step.generator.zero_grad()
    step.generator_regularization(torch.zeros(()))
    assert gradient_norm(heads()) > 0


def test_r1_penalty_through_augmentation() -> None:
    """Of the image before augmentation; it reaches every weight of the near-infrared discriminator."""
    torch.manual_seed(0)
    judge, pipe = networks(0.0).judge_nir, AugmentPipe("bgc")
    pipe.p.fill_(0.8)
    images = REAL_NIR.clone().requires_grad_()
    r1_penalties(judge(pipe(images)), images).mean().backward()
    weights = {name: parameter for name, parameter in judge.named_parameters() if name.endswith("weight")}
    assert all(weight.grad is not None and weight.grad.any() for weight in weights.values())
    assert all(weight.grad.isfinite().all() for weight in weights.values() if weight.grad is not None)
