from __future__ import annotations

import pytest
import torch

from src.models.networks.mtcnn.networks import OutputNetwork, ProposalNetwork, RefinementNetwork


@pytest.mark.parametrize("side", range(12, 20))
def test_rows_of_squares(side: int) -> None:
    probabilities, offsets = ProposalNetwork()(torch.zeros(1, 3, side, 40))
    rows, columns = ProposalNetwork.rows(side), ProposalNetwork.rows(40)
    assert probabilities.shape == (1, rows, columns)
    assert offsets.shape == (1, 4, rows, columns)


@torch.no_grad()
def test_dense_layers_take_columns_before_rows() -> None:
    # Two networks that differ by a transposition of everything they hold give the same for transposed images.
    for network, other, dense in ((RefinementNetwork(), RefinementNetwork(), 4), (OutputNetwork(), OutputNetwork(), 5)):
        weights = network.state_dict()
        mirrored = {name: value.mT if value.ndim == 4 else value for name, value in weights.items()}
        kernel = weights[f"dense{dense}.weight"]
        mirrored[f"dense{dense}.weight"] = kernel.unflatten(1, (3, 3, -1)).transpose(1, 2).flatten(1)
        other.load_state_dict(mirrored)
        images = torch.rand(2, 3, network.SIDE, network.SIDE, generator=torch.Generator().manual_seed(0))
        for one, two in zip(network(images), other(images.mT), strict=True):
            torch.testing.assert_close(one, two)
