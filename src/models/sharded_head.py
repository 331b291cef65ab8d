"""Checkpoints of a head whose class centres are shared out: written whole, read by any number of processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.optim import Optimizer

from src.errors import UserError
from src.losses.class_shard import ClassShard

__all__ = ["narrow_optimizer_when_loaded", "narrow_when_loaded", "number_parameters", "whole_rows", "whole_states"]

_SENT_AT_ONCE = 1 << 16  # rows


@torch.no_grad()
def whole_rows(share: Tensor, shard: ClassShard) -> Tensor | None:
    """Put the rows of all processes together on the first one; each has to call it.

    Args:
        share: This process's rows, [n, ...].
        shard: Says which they are.

    Returns:
        [C, ...] on the CPU in the first process, which never has more than a part of another's rows beside it; None in
        the others.
    """
    if shard.count == 1:
        return share.detach().cpu()
    if shard.rank > 0:
        for part in _parts(share.detach()):
            distributed.send(part.contiguous(), dst=0)
        return None
    whole = torch.empty(shard.num_classes, *share.shape[1:], dtype=share.dtype)
    whole[: len(shard)] = share
    for rank in range(1, shard.count):
        sender = shard.of(rank)
        for rows in _parts(whole[sender.start : sender.stop]):
            part = torch.empty_like(rows, device=share.device)
            distributed.recv(part, src=rank)
            rows.copy_(part)
    return whole


def whole_states(optimizer: Optimizer, parameter: nn.Parameter, shard: ClassShard) -> dict[str, Any]:
    """States of an optimiser for a parameter that is shared out, put together as by `whole_rows`; empty elsewhere."""
    states = optimizer.state.get(parameter, {})
    found = {
        name: whole_rows(value, shard) if _is_shared(value, parameter) else value
        for name, value in sorted(states.items())
    }
    return found if shard.rank == 0 else {}


def number_parameters(state: dict[str, Any], optimizer: Optimizer, parameters: Sequence[nn.Parameter]) -> None:
    """Number the parameters in the state of an optimiser by their position in the module, as FSDP reads them.

    Args:
        state: What ``optimizer.state_dict`` returned; changed in place.
        optimizer: It is of.
        parameters: All parameters of the module.
    """
    positions = {id(parameter): position for position, parameter in enumerate(parameters)}
    numbers: dict[int, int] = {}
    for group, saved in zip(optimizer.param_groups, state["param_groups"], strict=True):
        found = [positions[id(parameter)] for parameter in group["params"]]
        numbers |= dict(zip(saved["params"], found, strict=True))
        saved["params"] = found
    state["state"] = {numbers[number]: values for number, values in state["state"].items()}


def narrow_when_loaded(head: nn.Module, shard: ClassShard) -> None:
    """Have ``load_state_dict`` take this process's rows of whole class centres."""

    def narrow(module: nn.Module, weights: dict[str, Any], prefix: str, *_: Any) -> None:
        name = f"{prefix}weight"
        if name in weights:
            weights[name] = _narrow(weights[name], shard)

    head.register_load_state_dict_pre_hook(narrow)


def narrow_optimizer_when_loaded(optimizer: Optimizer, parameter: nn.Parameter, shard: ClassShard) -> None:
    """Have ``load_state_dict`` take this process's rows of the states for whole class centres."""

    def narrow(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        current = [p for group in optimizer.param_groups for p in group["params"]]
        saved = [number for group in state["param_groups"] for number in group["params"]]
        number = next((n for n, p in zip(saved, current, strict=False) if p is parameter), None)
        if number not in state["state"]:
            return state
        whole = (shard.num_classes, *parameter.shape[1:])
        states = {
            name: _narrow(value, shard) if isinstance(value, Tensor) and value.shape == whole else value
            for name, value in state["state"][number].items()
        }
        return {**state, "state": {**state["state"], number: states}}

    optimizer.register_load_state_dict_pre_hook(narrow)


def _parts(rows: Tensor) -> Sequence[Tensor]:
    return rows.split(_SENT_AT_ONCE) if len(rows) else ()


def _is_shared(value: Any, parameter: nn.Parameter) -> bool:
    return isinstance(value, Tensor) and value.shape == parameter.shape


def _narrow(whole: Tensor, shard: ClassShard) -> Tensor:
    if len(whole) != shard.num_classes:
        raise UserError(
            f"the checkpoint has centres of {len(whole):,} classes, the training data has {shard.num_classes:,}; "
            "continue with the data that the run began with, or start a new run from its backbone by init_from=FILE"
        )
    return whole[shard.start : shard.stop].clone()
