"""Gradients of two processes are those of one that has all images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support_gan import gan
from torch import distributed, multiprocessing, nn

from src.models.arcbifacegan import ArcBiFaceGAN
from src.models.gan_phases import PHASES, PhaseInput, trained_in
from src.models.gan_synchronization import average_gradients, average_over_processes
from src.models.networks.stylegan2 import Discriminator


def module() -> ArcBiFaceGAN:
    """Without what differs between the samples of a batch: mixing, augmentation, and comparison within groups."""
    network = {"resolution": 16, "channel_base": 128, "channel_max": 8, "group_size": 1}
    torch.manual_seed(1)
    judges = {
        "discriminator": Discriminator(**network, c_dim=8),
        "nir_discriminator": Discriminator(**network, image_channels=1),
    }
    return gan({"style_mixing": 0.0}, augment=None, **judges)


def inputs(rows: slice) -> PhaseInput:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(8, *shape, generator=generator)[rows]

    return PhaseInput(
        vis=draw(3, 16, 16), nir=draw(1, 16, 16), real_c=draw(8), z=draw(8), c=draw(8), nir_weight=0.3,
        path_length_mean=torch.zeros(()),
    )  # fmt: skip


def gradients(phase: str, rows: slice) -> dict[str, torch.Tensor]:
    gan_module = module()
    for name in ("generator", "discriminator", "nir_discriminator"):
        gan_module.get_submodule(name).requires_grad_(name == trained_in(phase))
    gan_module.phases.accumulate(phase, inputs(rows))
    network = gan_module.get_submodule(trained_in(phase))
    average_gradients(network.parameters())
    # The strength of the noise is at first 0, but its gradient depends on the noise, which every process draws.
    named = {name: value.grad for name, value in network.named_parameters() if not name.endswith("noise_strength")}
    return {name: gradient for name, gradient in named.items() if gradient is not None}


# Path lengths are measured in random directions.
COMPARED = [phase for phase in PHASES if phase != "Greg"]


def _half(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found = {phase: gradients(phase, slice(4 * rank, 4 * rank + 4)) for phase in COMPARED}
    tensors = [torch.full((2,), float(rank)), torch.tensor(10.0 * rank)]
    average_over_processes(tensors)
    torch.save((found, tensors), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_do_what_one_does(tmp_path: Path) -> None:
    multiprocessing.spawn(_half, args=(str(tmp_path),), nprocs=2)
    results = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for phase in COMPARED:
        expected = gradients(phase, slice(None))
        assert expected
        for found, tensors in results:
            assert found[phase].keys() == expected.keys()
            for name, gradient in expected.items():
                torch.testing.assert_close(found[phase][name], gradient, rtol=1e-4, atol=1e-5)
            assert tensors[0].tolist() == [0.5, 0.5]
            assert tensors[1].item() == 5


def test_sums_over_parts_become_means() -> None:
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    parameters[0].grad = torch.tensor([3.0, 6.0])
    average_gradients(parameters, parts=3)
    assert parameters[0].grad.tolist() == [1.0, 2.0]
    assert parameters[1].grad is None
