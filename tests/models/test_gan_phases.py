"""The phases as the training runs them, against the published code's numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support_arcbifacegan import GOLDEN, TINY, assert_matches, filled, normal
from torch import Tensor, nn

from src.errors import UserError
from src.models.gan_phases import PHASES, Objectives, PhaseInput, Phases, trained_in
from src.models.networks.stylegan2 import Discriminator, Generator

MAIN = ("Gmain", "Greg", "Dmain", "Dreg", "D_NIRmain")


def given(nir_weight: float = 0.1) -> PhaseInput:
    return PhaseInput(
        vis=normal(20, [4, 3, 32, 32], 0.5),
        nir=normal(21, [4, 1, 32, 32], 0.5),
        real_c=normal(22, [4, 16]),
        z=normal(23, [4, 32]),
        c=normal(24, [4, 16]),
        nir_weight=nir_weight,
        path_length_mean=torch.zeros(()),
    )


def phases(**objectives: Any) -> Phases:
    return Phases(
        filled(Generator(**TINY, z_dim=32, w_dim=32, c_dim=16, mapping_layers=2)),
        filled(Discriminator(**TINY, c_dim=16)),
        filled(Discriminator(**TINY, image_channels=1)),
        nn.Identity(),
        Objectives(**{"r1_gamma": 1.5, **objectives}),
    )


def run(step: Phases, phase: str, inputs: PhaseInput) -> dict[str, Tensor]:
    """One phase as the training runs it: only its own network requires gradients."""
    for name in ("generator", "discriminator", "nir_discriminator"):
        network = getattr(step, name)
        network.zero_grad()
        network.requires_grad_(name == trained_in(phase))
    return step.accumulate(phase, inputs)


def norm(network: nn.Module) -> float:
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients)) if gradients else 0.0


@pytest.mark.parametrize("mixing", [0.0, 0.9])
def test_published_numbers(mixing: float) -> None:
    """Losses, gradients and averages of all phases in turn, random numbers drawn in the published order."""
    step, inputs = phases(style_mixing=mixing, parity_quirks=True), given()
    for phase in MAIN:
        torch.manual_seed(0)
        found = run(step, phase, inputs)
        expected = GOLDEN[f"loss.sm{mixing}.{phase}"]
        for name, value in expected["stats"].items():
            assert found[name].item() == pytest.approx(value, rel=2e-5), (phase, name)
        assert norm(getattr(step, trained_in(phase))) == pytest.approx(expected["gradnorm"], rel=1e-4)
    assert inputs.path_length_mean.item() == pytest.approx(GOLDEN[f"loss.sm{mixing}.pl_mean"], rel=1e-5)
    assert_matches(step.generator.mapping.w_avg, GOLDEN[f"loss.sm{mixing}.w_avg_after"])


def test_near_infrared_gradient_penalty_is_missing_in_the_published_code() -> None:
    quirks = phases(parity_quirks=True)
    assert run(quirks, "D_NIRreg", given()) == {}
    assert all(parameter.grad is None for parameter in quirks.nir_discriminator.parameters())
    step = phases()
    found = run(step, "D_NIRreg", given())
    assert found["Loss/D/reg_NIR"] == pytest.approx(found["Loss/r1_penalty_NIR"].item() * 0.75)
    weights = {name: value for name, value in step.nir_discriminator.named_parameters() if name.endswith("weight")}
    assert all(value.grad is not None and value.grad.any() for value in weights.values())


@pytest.mark.parametrize("phase", PHASES)
def test_only_one_network_gets_gradients(phase: str) -> None:
    step = phases()
    run(step, phase, given())
    for name in ("generator", "discriminator", "nir_discriminator"):
        assert (norm(getattr(step, name)) > 0) == (name == trained_in(phase))


def test_generator_runs_only_where_its_images_are_used() -> None:
    """The average of w moves in those phases alone, and random numbers are drawn in no other."""
    for phase in PHASES:
        step, state = phases(), torch.get_rng_state()
        before = step.generator.mapping.w_avg.clone()
        run(step, phase, given())
        used = phase not in ("Dreg", "D_NIRreg")
        assert torch.equal(step.generator.mapping.w_avg, before) != used
        assert torch.equal(torch.get_rng_state(), state) != used


def test_near_infrared_of_weight_0_leaves_its_heads_alone() -> None:
    """The path length still moves them."""
    step = phases()
    heads = [value for name, value in step.generator.named_parameters() if "toseg" in name]
    assert heads
    run(step, "Gmain", given(nir_weight=0.0))
    assert not any(head.grad is not None and head.grad.any() for head in heads)
    run(step, "Greg", given(nir_weight=0.0))
    assert any(head.grad is not None and head.grad.any() for head in heads)


def test_regularisations_are_weighted_by_their_intervals() -> None:
    torch.manual_seed(0)
    once = phases(generator_interval=1, discriminator_interval=1, style_mixing=0.0)
    often = phases(generator_interval=4, discriminator_interval=16, style_mixing=0.0)
    for phase, factor in (("Greg", 4), ("Dreg", 16), ("D_NIRreg", 16)):
        norms = []
        for step in (once, often):
            torch.manual_seed(0)
            run(step, phase, given())
            norms.append(norm(getattr(step, trained_in(phase))))
        assert norms[1] == pytest.approx(factor * norms[0], rel=1e-4)


def test_intervals() -> None:
    objectives = Objectives(r1_gamma=1.0)
    assert [objectives.interval(phase) for phase in PHASES] == [1, 4, 1, 16, 1, 16]
    with pytest.raises(UserError, match="generator_interval: expected at least 1, found 0"):
        Objectives(r1_gamma=1.0, generator_interval=0)


def test_no_path_length() -> None:
    step = phases(path_length_weight=0.0)
    assert run(step, "Greg", given()) == {}
    assert norm(step.generator) == 0
