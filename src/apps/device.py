"""The device that a command was told to compute on."""

from __future__ import annotations

import torch

from src.errors import UserError, check_choice

__all__ = ["find_device"]


def find_device(name: str) -> torch.device:
    """The device of a name.

    Args:
        name: ``"cpu"``, ``"cuda"``, or ``"auto"`` for cuda where there is one.

    Raises:
        UserError: Another name, or this machine has no such device.
    """
    check_choice("device", name, ("auto", "cpu", "cuda"))
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda: this machine has no GPU that torch can use; leave it out, or set device=cpu")
    return torch.device(name)
