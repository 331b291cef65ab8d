from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from src.errors import UserError
from src.models.network_blocks import (
    compile_network,
    empty_copy,
    fill_copy,
    find_blocks,
    recompute_activations,
)
from src.models.networks.iresnet import iresnet18
from src.models.networks.mini import MiniFaceNet
from src.models.networks.timm_backbone import TimmBackbone

IMAGES = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def gradients(network: nn.Module) -> dict[str, Tensor]:
    torch.manual_seed(3)  # of dropout
    network.train()(IMAGES).square().sum().backward()
    found = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return found | {name: buffer.clone() for name, buffer in network.named_buffers()}


def test_blocks_of_residual_networks_and_transformers() -> None:
    assert len(find_blocks(iresnet18(size=16))) == 8
    assert {type(block).__name__ for block in find_blocks(iresnet18(size=16))} == {"ResidualBlock"}
    assert len(find_blocks(TimmBackbone("vit_tiny_patch16_224", size=16))) == 12
    assert len(find_blocks(TimmBackbone("convnext_atto", size=32))) == 12


@pytest.mark.parametrize(
    "network",
    [
        MiniFaceNet(8, 16),
        iresnet18(8, 16, dropout=0.5),
        TimmBackbone("vit_tiny_patch16_224", 8, 16, proj_drop_rate=0.2),
    ],
    ids=["mini", "iresnet", "vit"],
)
def test_recomputed_activations_give_the_same_gradients_and_statistics(network: nn.Module) -> None:
    expected = gradients(copy.deepcopy(network))
    names = list(network.state_dict())
    recompute_activations(network)
    found = gradients(network)
    assert list(network.state_dict()) == names
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_fewer_activations_are_kept() -> None:
    def kept(network: nn.Module) -> int:
        sizes: list[int] = []

        def keep(tensor: Tensor) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            network(IMAGES)
        return sum(sizes)

    network = iresnet18(8, 16)
    before = kept(network)
    recompute_activations(network)
    assert kept(network) < 0.5 * before


def test_a_network_without_blocks_says_so() -> None:
    with pytest.raises(UserError, match=r"model\.activation_checkpointing=true: Linear has no blocks"):
        recompute_activations(nn.Linear(2, 2))


@pytest.mark.parametrize("by_block", [False, True])
def test_compiled_networks_keep_the_names_of_their_weights(by_block: bool) -> None:
    network = MiniFaceNet(8, 16).eval()
    expected, names = network(IMAGES), list(network.state_dict())
    compile_network(network, by_block=by_block)
    with torch.compiler.set_stance("force_eager"):
        torch.testing.assert_close(network(IMAGES), expected)
    assert list(network.state_dict()) == names


def test_an_empty_copy_takes_the_weights_later() -> None:
    network = iresnet18(8, 16)
    empty = empty_copy(network)
    assert all(p.is_meta for p in empty.parameters())
    assert [p.requires_grad for p in empty.parameters()] == [p.requires_grad for p in network.parameters()]
    network.bn1.bias.data.fill_(3.0)
    fill_copy(empty, network)
    torch.testing.assert_close(empty.state_dict(), network.state_dict())
    assert isinstance(empty.fc.weight, nn.Parameter)
    assert not empty.features.weight.requires_grad
