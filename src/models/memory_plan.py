"""Memory that a recogniser's training takes in each process, told before it starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from rich.filesize import decimal
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = [
    "BackboneMemory",
    "HeadMemory",
    "backbone_memory",
    "count_optimizer_states",
    "describe",
    "head_memory",
]

_FLOAT = 4  # bytes of float32, which weights, gradients and optimiser states are kept in


@dataclass(frozen=True)
class HeadMemory:
    """What a margin head takes in the process that holds most; sizes in bytes.

    Attributes:
        classes: Classes whose centres the process holds.
        sampled: Classes that it compares a batch with; more where the classes of the batch alone are more.
        weight: Class centres, float32 [classes, D].
        gradient: Their gradient, of the same size.
        optimizer: States of the optimiser for them.
        sample: Copies of the sampled centres and of their gradient; 0 where all classes are compared with.
        embeddings: Embeddings of the batches of all processes, and their gradient.
        logits: Cosines, float32 [global batch, sampled]; held once.
    """

    classes: int
    sampled: int
    weight: int
    gradient: int
    optimizer: int
    sample: int
    embeddings: int
    logits: int

    @property
    def total(self) -> int:
        """All of it."""
        return (
            self.weight + self.gradient + self.optimizer + self.sample + self.embeddings + self.logits
        )  # fmt: skip


@dataclass(frozen=True)
class BackboneMemory:
    """What the backbone takes in a process, activations not counted; sizes in bytes.

    Attributes:
        weight: Its parameters.
        gradient: Their gradients; frozen ones have none.
        optimizer: States of the optimiser for them.
    """

    weight: int
    gradient: int
    optimizer: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weight + self.gradient + self.optimizer


def head_memory(
    num_classes: int,
    embedding_size: int,
    world_size: int,
    global_batch: int,
    sample_rate: float | None,
    optimizer_states: int,
) -> HeadMemory:
    """Memory of a margin head in each process.

    Args:
        num_classes: Classes C of the training data.
        embedding_size: Length D of an embedding.
        world_size: Processes W.
        global_batch: Images in a step of all processes together.
        sample_rate: Share of its classes that each process compares a batch with; None: the head is not sharded, every
            process holds all classes and compares its own batch with them.
        optimizer_states: Tensors that the optimiser keeps for a parameter: 1 for SGD with momentum, 2 for AdamW.

    Returns:
        That of the process with most classes, ``ceil(C / W)`` of them.
    """
    classes = num_classes if sample_rate is None else -(-num_classes // world_size)
    rows = -(-global_batch // world_size) if sample_rate is None else global_batch
    is_sampled = sample_rate is not None and sample_rate < 1
    sampled = int(sample_rate * classes) if is_sampled and sample_rate is not None else classes
    weight = classes * embedding_size * _FLOAT
    return HeadMemory(
        classes=classes,
        sampled=sampled,
        weight=weight,
        gradient=weight,
        optimizer=optimizer_states * weight,
        sample=2 * sampled * embedding_size * _FLOAT if is_sampled else 0,
        embeddings=2 * rows * embedding_size * _FLOAT,
        logits=rows * sampled * _FLOAT,
    )


def backbone_memory(parameters: int, trainable: int, optimizer_states: int, shards: int = 1) -> BackboneMemory:
    """Memory of a backbone in each process.

    Args:
        parameters: Number of its parameters.
        trainable: Number of those that learn.
        optimizer_states: As of `head_memory`.
        shards: Processes that they are shared out over by FSDP; 1 where each process holds all.
    """
    return BackboneMemory(
        weight=parameters * _FLOAT // shards,
        gradient=trainable * _FLOAT // shards,
        optimizer=optimizer_states * trainable * _FLOAT // shards,
    )


def count_optimizer_states(optimizer: Callable[..., Optimizer]) -> int:
    """Tensors as large as a parameter that an optimiser keeps for it: 1 for SGD with momentum, 2 for AdamW.

    Args:
        optimizer: Called with a list of parameters.
    """
    parameter = nn.Parameter(torch.zeros(2, 2))
    parameter.grad = torch.ones_like(parameter)
    made = optimizer([parameter])
    made.step()
    kept: dict[str, Any] = made.state[parameter]
    return sum(isinstance(value, Tensor) and value.shape == parameter.shape for value in kept.values())


def describe(backbone: BackboneMemory, head: HeadMemory) -> str:
    """One line with the memory in each process, activations not counted."""
    return (
        f"memory per process beside activations: {decimal(backbone.total + head.total)} = backbone "
        f"{decimal(backbone.total)} (weights {decimal(backbone.weight)}, gradients "
        f"{decimal(backbone.gradient)}, optimiser {decimal(backbone.optimizer)}) + class centres "
        f"{decimal(head.weight + head.gradient + head.optimizer + head.sample)} ({head.classes:,} classes, "
        f"{head.sampled:,} compared with) + batch {decimal(head.embeddings)} + logits {decimal(head.logits)}"
    )
