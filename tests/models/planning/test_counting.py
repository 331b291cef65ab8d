from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from src.models.memory_plan import backbone_memory, count_optimizer_states
from src.models.network_blocks import recompute_activations
from src.models.networks.iresnet import iresnet18
from src.models.networks.mini import MiniFaceNet
from src.models.planning.counting import StepCount, count_step

BATCH, SIZE = 4, 32
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mini": partial(MiniFaceNet, 128, SIZE),
    "iresnet18": partial(iresnet18, 512, SIZE),
}
TOLERANCE = 0.02


@pytest.fixture(scope="module", params=[(name, half) for name in NETWORKS for half in (False, True)], ids=str)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, StepCount, bool]:
    """A real network, what was counted of it, and whether it runs in bfloat16."""
    name, half = request.param
    return NETWORKS[name](), count_step(NETWORKS[name], BATCH, SIZE, half=half), half


def test_parameters_and_statistics_are_those_of_the_network(case: tuple[nn.Module, StepCount, bool]) -> None:
    network, count, _ = case
    assert count.parameters == sum(p.numel() for p in network.parameters())
    assert count.trainable == sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert count.buffers == sum(b.numel() * b.element_size() for b in network.buffers())
    assert sum(count.units) == count.parameters


def test_activations_are_what_a_forward_pass_leaves_allocated(case: tuple[nn.Module, StepCount, bool]) -> None:
    network, count, half = case
    assert left_by_forward_pass(network, half=half) == pytest.approx(count.activations, rel=TOLERANCE)


def test_of_blocks_that_are_run_again_the_inputs_are_kept() -> None:
    network = NETWORKS["iresnet18"]()
    recompute_activations(network)
    count, whole = (
        count_step(NETWORKS["iresnet18"], BATCH, SIZE, half=False, recompute=recompute) for recompute in (True, False)
    )
    assert left_by_forward_pass(network, half=False) == pytest.approx(count.activations, rel=TOLERANCE)
    assert count.activations + count.recomputed < 0.8 * whole.activations
    assert whole.flop < count.flop < 4 / 3 * whole.flop + 1


def left_by_forward_pass(network: nn.Module, *, half: bool) -> int:
    images = torch.randn(BATCH, 3, SIZE, SIZE)
    with (
        torch.autograd.profiler.profile(profile_memory=True) as profile,
        torch.autocast("cpu", torch.bfloat16, enabled=half),
    ):
        embedding = network(images)
    assert embedding.isfinite().all()
    return sum(event.self_cpu_memory_usage for event in profile.function_events)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", NETWORKS)
def test_multiplications_are_those_of_the_layers(name: str) -> None:
    """Forward, and twice as many backward but for the images, which need no gradient."""
    network, products = NETWORKS[name](), []

    def note(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        outputs = output.numel() // output.shape[1]
        products.append(2 * outputs * weight.numel())

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(note)
    network(torch.randn(BATCH, 3, SIZE, SIZE))
    count = count_step(NETWORKS[name], BATCH, SIZE, half=False)
    assert count.flop == 3 * sum(products) - products[0]


@pytest.mark.parametrize(
    ("make", "states"),
    [
        (partial(torch.optim.SGD, lr=0.1), 0),
        (partial(torch.optim.SGD, lr=0.1, momentum=0.9), 1),
        (partial(torch.optim.AdamW, lr=0.1), 2),
    ],
)
def test_states_are_those_that_an_optimiser_keeps_after_a_step(
    make: Callable[..., torch.optim.Optimizer], states: int
) -> None:
    network = NETWORKS["mini"]()
    network(torch.randn(BATCH, 3, SIZE, SIZE)).sum().backward()
    optimizer = make(network.parameters())
    optimizer.step()
    kept = [s for state in optimizer.state.values() for s in state.values() if isinstance(s, torch.Tensor) and s.ndim]
    parameters = sum(p.numel() for p in network.parameters())
    memory = backbone_memory(parameters, parameters, count_optimizer_states(make))
    assert count_optimizer_states(make) == states
    assert memory.optimizer == sum(state.nbytes for state in kept)
    assert memory.gradient == sum(p.grad.nbytes for p in network.parameters() if p.grad is not None)
