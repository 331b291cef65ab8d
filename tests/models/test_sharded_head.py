"""What needs no second process; see test_recognizer_sharded.py for the rest."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from src.errors import UserError
from src.losses.class_shard import ClassShard
from src.losses.heads import ArcFaceHead
from src.models.sharded_head import (
    narrow_optimizer_when_loaded,
    narrow_when_loaded,
    number_parameters,
    whole_rows,
)

CLASSES, SIZE = 7, 3


def step(*parameters: nn.Parameter) -> torch.optim.Optimizer:
    """An optimiser in two groups, the last parameter first, after one step."""
    *others, last = parameters
    optimizer = torch.optim.Adam([{"params": [last]}, {"params": others}], lr=0.1)
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    return optimizer


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_shard_takes_its_rows_of_centres_and_states(rank: int) -> None:
    whole, other = ArcFaceHead(SIZE, CLASSES), nn.Linear(2, 2)
    saved = step(*other.parameters(), whole.weight)
    shard = ClassShard(CLASSES, rank, 3)
    head, network = ArcFaceHead(SIZE, len(shard)), nn.Linear(2, 2)
    narrow_when_loaded(head, shard)
    weights = {f"head.{name}": value for name, value in whole.state_dict().items()}
    nn.ModuleDict({"head": head}).load_state_dict(weights)
    rows = slice(shard.start, shard.stop)
    torch.testing.assert_close(head.weight.data, whole.weight.data[rows])
    optimizer = step(*network.parameters(), head.weight)
    narrow_optimizer_when_loaded(optimizer, head.weight, shard)
    state = saved.state_dict()
    optimizer.load_state_dict(state)
    for name, value in saved.state[whole.weight].items():
        torch.testing.assert_close(optimizer.state[head.weight][name], value[rows] if value.ndim else value)
    torch.testing.assert_close(optimizer.state[network.bias], saved.state[other.bias])
    assert state["state"][0]["exp_avg"].shape == (CLASSES, SIZE)  # the caller's is not changed


def test_centres_of_other_classes_are_refused() -> None:
    head = ArcFaceHead(SIZE, 4)
    narrow_when_loaded(head, ClassShard(8, 0, 2))
    with pytest.raises(UserError, match="centres of 7 classes, the training data has 8; continue with the data"):
        head.load_state_dict(ArcFaceHead(SIZE, CLASSES).state_dict())


def test_parameters_are_numbered_as_in_the_module() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
    parameters = list(module.parameters())
    optimizer = step(parameters[0], parameters[3], parameters[2])
    state = optimizer.state_dict()
    number_parameters(state, optimizer, parameters)
    assert [group["params"] for group in state["param_groups"]] == [[2], [0, 3]]
    for number, values in state["state"].items():
        assert values["exp_avg"].shape == parameters[number].shape
    again = torch.optim.Adam([{"params": [parameters[2]]}, {"params": [parameters[0], parameters[3]]}])
    again.load_state_dict(state)
    torch.testing.assert_close(again.state[parameters[3]], optimizer.state[parameters[3]])


def test_a_process_alone_has_all_rows() -> None:
    share = torch.randn(CLASSES, SIZE)
    found = whole_rows(share, ClassShard(CLASSES, 0, 1))
    assert found is not None
    assert torch.equal(found, share)
