"""What a step of a network computes and keeps, counted on the network itself, without its memory or its time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from src.models.network_blocks import find_blocks

__all__ = ["Operation", "StepCount", "count_step"]

_ALLOCATES_ONLY = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")


@dataclass(frozen=True)
class Operation:
    """An operation of a step.

    Attributes:
        flop: Floating-point operations of matrix products and convolutions; 0 for all others.
        traffic: Bytes that it reads and writes.
    """

    flop: int
    traffic: int


@dataclass(frozen=True)
class StepCount:
    """What forward and backward pass of one batch take; sizes in bytes.

    Attributes:
        parameters: Number of parameters.
        trainable: Number of those that learn.
        units: Parameters of each block that FSDP gathers by itself, and last of all that is in none.
        buffers: Of running statistics.
        activations: What the forward pass leaves for the backward pass, and the embeddings; weights and images are
            not among them, copies of weights in lower precision are.
        recomputed: Most that a block adds to them when the backward pass runs it again; 0 where none is.
        operations: All of both passes.
    """

    parameters: int
    trainable: int
    units: tuple[int, ...]
    buffers: int
    activations: int
    recomputed: int
    operations: tuple[Operation, ...]

    @property
    def flop(self) -> int:
        """Floating-point operations of matrix products and convolutions."""
        return sum(operation.flop for operation in self.operations)


def count_step(
    make: Callable[[], nn.Module], batch: int, size: int, *, half: bool, recompute: bool = False
) -> StepCount:
    """Count a training step of a network whose tensors have shapes but no contents.

    Args:
        make: Builds the network, from images [B, 3, S, S] to embeddings [B, D].
        batch: Images B, at least 2.
        size: Their side S in pixels.
        half: Whether operations run in bfloat16 where autocast lets them.
        recompute: Whether the backward pass runs each block again, of which only the input is kept.
    """
    with FakeTensorMode():
        network = make().train()
        images = torch.empty(batch, 3, size, size)
        blocks = find_blocks(network)
        counter = _Counter()
        kept = _Kept((images, *network.parameters(), *network.buffers()))
        for number, block in enumerate(blocks, start=1):
            block.register_forward_pre_hook(partial(_enter, counter, kept, number))
            block.register_forward_hook(partial(_leave, counter, kept))
        with counter, torch.autocast("cpu", torch.bfloat16, enabled=half):
            with torch.autograd.graph.saved_tensors_hooks(kept.add, lambda tensor: tensor):
                embedding = kept.add(network(images))
            embedding.float().sum().backward()
        sizes = [kept.size(number) for number in range(len(blocks) + 1)]
        inputs = kept.size_of_inputs()
    parameters = list(network.parameters())
    of_blocks = [_numel(block) for block in blocks]
    total = sum(parameter.numel() for parameter in parameters)
    again = [operation for operation, is_forward in counter.operations if recompute and is_forward]
    return StepCount(
        parameters=total,
        trainable=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        units=(*of_blocks, total - sum(of_blocks)),
        buffers=sum(buffer.numel() * buffer.element_size() for buffer in network.buffers()),
        activations=sizes[0] + inputs if recompute else sum(sizes),
        recomputed=max(sizes[1:], default=0) if recompute else 0,
        operations=(*(operation for operation, _ in counter.operations), *again),
    )


class _Kept:
    """Storages that are kept for the backward pass, each counted once, by the block that came upon it first."""

    def __init__(self, others: Iterable[Tensor]) -> None:
        self.block = 0
        self._others = {_storage(tensor) for tensor in others}
        self._tensors: dict[int, tuple[int, Tensor]] = {}
        self._inputs: dict[int, Tensor] = {}

    def add(self, tensor: Tensor) -> Tensor:
        if _storage(tensor) not in self._others:
            self._tensors.setdefault(_storage(tensor), (self.block, tensor))
        return tensor

    def enter(self, block: int, tensor: Tensor) -> None:
        self.block = block
        self._inputs[_storage(tensor)] = tensor

    def size(self, block: int) -> int:
        """Bytes of what a block keeps; 0 stands for all that is in none."""
        return sum(tensor.untyped_storage().nbytes() for of, tensor in self._tensors.values() if of == block)

    def size_of_inputs(self) -> int:
        """Bytes of what goes into blocks and is kept by none outside of them."""
        outside = {key for key, (block, _) in self._tensors.items() if block == 0}
        return sum(tensor.untyped_storage().nbytes() for key, tensor in self._inputs.items() if key not in outside)


def _enter(counter: _Counter, kept: _Kept, number: int, block: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    counter.is_in_block = True
    kept.enter(number, inputs[0])


def _leave(counter: _Counter, kept: _Kept, block: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
    counter.is_in_block = False
    kept.block = 0


class _Counter(TorchDispatchMode):
    """Notes the operations that are called while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Operation, bool]] = []  # each with whether a block ran it forward
        self.is_in_block = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if _is_view(func) or func._schema.name.removeprefix("aten::") in _ALLOCATES_ONLY:
            return out
        formula = flop_registry.get(func._overloadpacket)
        flop = formula(*args, **(kwargs or {}), out_val=out) if formula else 0
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
        operation = Operation(flop, sum(tensor.numel() * tensor.element_size() for tensor in tensors))
        self.operations.append((operation, self.is_in_block))
        return out


def _is_view(func: Any) -> bool:
    aliases = [returned.alias_info for returned in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _numel(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
