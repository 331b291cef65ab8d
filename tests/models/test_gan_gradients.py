"""Which parameters every phase of a training moves."""

from __future__ import annotations

import pytest
import torch
from support_arcbifacegan import TINY, filled, normal
from torch import nn

from src.models.gan_phases import PHASES, Objectives, PhaseInput, Phases, trained_in
from src.models.networks.stylegan2 import Discriminator, Generator

NETWORKS = ("generator", "discriminator", "nir_discriminator")


def moved(phase: str, parity_quirks: bool) -> tuple[set[str], set[str]]:
    """Names of the parameters of a phase's network that have a gradient, and of the others."""
    torch.manual_seed(0)
    phases = Phases(
        filled(Generator(**TINY, z_dim=32, w_dim=32, c_dim=16, mapping_layers=2)),
        filled(Discriminator(**TINY, c_dim=16)),
        filled(Discriminator(**TINY, image_channels=1)),
        nn.Identity(),
        Objectives(r1_gamma=1.5, parity_quirks=parity_quirks),
    )
    for name in NETWORKS:
        getattr(phases, name).requires_grad_(name == trained_in(phase))
    given = PhaseInput(
        vis=normal(20, [4, 3, 32, 32], 0.5), nir=normal(21, [4, 1, 32, 32], 0.5), real_c=normal(22, [4, 16]),
        z=normal(23, [4, 32]), c=normal(24, [4, 16]), nir_weight=0.1, path_length_mean=torch.zeros(()),
    )  # fmt: skip
    phases.accumulate(phase, given)
    for name in NETWORKS:
        if name != trained_in(phase):
            assert all(parameter.grad is None for parameter in getattr(phases, name).parameters())
    named = dict(getattr(phases, trained_in(phase)).named_parameters())
    found = {name for name, value in named.items() if value.grad is not None and bool(value.grad.any())}
    return found, named.keys() - found


@pytest.mark.parametrize("parity_quirks", [False, True])
@pytest.mark.parametrize("phase", PHASES)
def test_parameters(phase: str, parity_quirks: bool) -> None:
    found, others = moved(phase, parity_quirks)
    if phase.endswith("main"):
        assert not others
    elif phase == "D_NIRreg" and parity_quirks:
        assert not found
    else:
        # What is merely added to an image or a logit does not change how the network answers to its input.
        assert all(name.endswith(".bias") for name in others)
        assert {"Greg": "synthesis.b32.toseg.bias"}.get(phase, "b4.out.bias") in others
