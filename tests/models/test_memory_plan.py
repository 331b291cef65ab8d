from __future__ import annotations

from functools import partial

import pytest
import torch
from rich.filesize import decimal
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from src.losses.class_shard import ClassShard
from src.losses.heads import ArcFaceHead
from src.losses.partial_fc import PartialFC
from src.models.memory_plan import (
    backbone_memory,
    count_optimizer_states,
    describe,
    head_memory,
)

CLASSES, SIZE, BATCH = 1000, 16, 24


def size_of(*tensors: Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@pytest.mark.parametrize(("rate", "rank"), [(1.0, 0), (0.25, 0), (1.0, 2)])
def test_the_head_takes_what_was_foreseen(rate: float, rank: int) -> None:
    """Measured on the tensors of a step: those of the parameter, and those that the backward pass is waiting for."""
    foreseen = head_memory(CLASSES, SIZE, 3, BATCH, rate, optimizer_states=1)
    shard = ClassShard(CLASSES, rank, 3)
    head = ArcFaceHead(SIZE, len(shard))
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9)
    embedding = torch.randn(BATCH, SIZE, requires_grad=True)
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    target = torch.arange(shard.start, shard.start + BATCH)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        PartialFC(head, shard, rate)(embedding, target).loss.backward()
    optimizer.step()
    assert head.weight.grad is not None
    found = [*head.parameters(), head.weight.grad, optimizer.state[head.weight]["momentum_buffer"]]
    in_parameters = foreseen.weight + foreseen.gradient + foreseen.optimizer
    logits = max(kept.values(), key=size_of)
    if rank == 0:
        assert foreseen.classes == len(shard)
        assert size_of(*found) == in_parameters
        assert size_of(logits) == foreseen.logits
    else:  # the last process has fewer classes
        assert in_parameters - 3 * 2 * 4 * SIZE == size_of(*found)
    if rate < 1:
        sampled = [t for t in kept.values() if t.shape == (foreseen.sampled, SIZE)]
        assert 2 * size_of(*sampled) == foreseen.sample
    # Nothing else is as large as the classes or the batch.
    others = size_of(*kept.values()) - size_of(logits) - size_of(*(t for t in kept.values() if t.shape[-1:] == (SIZE,)))
    assert others < 4 * foreseen.classes * 4 + 100 * BATCH


def test_example_of_the_specification() -> None:
    """WebFace42M, a fifth of its classes, four processes with 1024 images together: section 13."""
    memory = head_memory(2_059_906, 512, 4, 1024, 0.2, 1)
    assert memory.classes == 514_977
    assert memory.sampled == 102_995
    assert decimal(memory.logits) == "421.9 MB"
    assert decimal(memory.weight) == "1.1 GB"
    assert memory.total == 3 * memory.weight + memory.sample + memory.embeddings + memory.logits


def test_a_whole_head_is_in_every_process() -> None:
    memory = head_memory(CLASSES, SIZE, 4, 4 * BATCH, None, 2)
    assert memory.classes == memory.sampled == CLASSES
    assert memory.logits == 4 * BATCH * CLASSES
    assert memory.optimizer == 2 * memory.weight


def test_fsdp_shares_the_backbone_out() -> None:
    memory = backbone_memory(1000, 900, 2, shards=4)
    assert memory.total == 1000 + 900 + 2 * 900


@pytest.mark.parametrize(
    ("optimizer", "states"),
    [
        (partial(torch.optim.SGD, lr=0.1), 0),
        (partial(torch.optim.SGD, lr=0.1, momentum=0.9), 1),
        (partial(torch.optim.AdamW, lr=0.1), 2),
        (partial(torch.optim.AdamW, lr=0.1, amsgrad=True), 3),
    ],
)
def test_states_of_optimizers(optimizer: partial[torch.optim.Optimizer], states: int) -> None:
    assert count_optimizer_states(optimizer) == states


def test_sizes_are_readable() -> None:
    line = describe(backbone_memory(10**6, 10**6, 1), head_memory(CLASSES, SIZE, 1, BATCH, 0.5, 1))
    assert "12.3 MB = backbone 12.0 MB (weights 4.0 MB, gradients 4.0 MB, optimiser 4.0 MB)" in line
    assert "(1,000 classes, 500 compared with)" in line
