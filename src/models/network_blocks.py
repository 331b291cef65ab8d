"""The repeated blocks of a network: what memory is saved on, and what is compiled and sharded, one at a time."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TypeVar

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.utils.checkpoint import checkpoint

from src.errors import UserError

__all__ = ["compile_network", "empty_copy", "fill_copy", "find_blocks", "recompute_activations", "shard_network"]

Network = TypeVar("Network", bound=nn.Module)


def find_blocks(network: nn.Module) -> list[nn.Module]:
    """The smallest modules of several layers that are parts of a sequence or list, such as residual blocks."""
    found = []
    for child in network.children():
        inner = find_blocks(child)
        is_block = isinstance(network, nn.Sequential | nn.ModuleList) and any(True for _ in child.children())
        found += inner or ([child] if is_block else [])
    return found


def recompute_activations(network: nn.Module) -> None:
    """Keep what goes into each block only, and run the block again in the backward pass (Chen et al. 2016).

    Gradients and the statistics of batch norm are as without. Names of weights do not change.

    Raises:
        UserError: The network has no blocks.
    """
    blocks = find_blocks(network)
    if not blocks:
        raise UserError(f"model.activation_checkpointing=true: {type(network).__name__} has no blocks to run again")
    for block in blocks:
        contexts = partial(_contexts, block)
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, context_fn=contexts)


def compile_network(network: nn.Module, *, by_block: bool) -> None:
    """Have ``torch.compile`` translate a network when it is first called; names of weights do not change.

    Args:
        network: Changed in place.
        by_block: Translate each block by itself, as FSDP and recomputed activations need it.
    """
    if not by_block:
        network.compile()
        return
    for block in find_blocks(network):
        block.forward = torch.compile(block.forward)


def shard_network(network: nn.Module, mesh: DeviceMesh) -> None:
    """Share weights, gradients and optimiser states out between processes by FSDP, block by block.

    Zhao et al. 2023, "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel"; ``fully_shard`` of PyTorch.
    """
    for block in find_blocks(network):
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)


def empty_copy(network: Network) -> Network:
    """A copy of a network whose parameters take no memory; `fill_copy` gives it some."""
    shells = {
        id(parameter): nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
        for parameter in network.parameters()
    }
    return copy.deepcopy(network, shells)


def fill_copy(empty: nn.Module, network: nn.Module) -> None:
    """Fill what `empty_copy` made with the whole weights and the buffers of a sharded network; each process has to."""
    weights = get_model_state_dict(network, options=StateDictOptions(full_state_dict=True))
    empty.load_state_dict(weights, assign=True)


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _frozen_statistics(block)


@contextmanager
def _frozen_statistics(block: nn.Module) -> Iterator[None]:
    """Batch norm goes by its batch and does not count it a second time."""
    norms = [module for module in block.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms if norm.track_running_stats]
    for norm, _, count in before:
        norm.momentum, norm.num_batches_tracked = 0.0, None if count is None else count.clone()
    try:
        yield
    finally:  # the second run ends by an exception as soon as it has what is missing
        for norm, momentum, count in before:
            norm.momentum, norm.num_batches_tracked = momentum, count
