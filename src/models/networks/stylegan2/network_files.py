"""Several networks in two files: ``model.safetensors`` with their weights, ``model.json`` with how to build them.

Names of weights begin with the name of their network, as in the checkpoints of the training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from src.errors import UserError, check_choice
from src.models.networks.stylegan2.discriminator import Discriminator
from src.models.networks.stylegan2.generator import Generator
from src.models.networks.weights import load_weights

__all__ = ["DESCRIPTION", "WEIGHTS", "load_network", "save_networks"]

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"

_KINDS: dict[str, type[Generator] | type[Discriminator]] = {"Generator": Generator, "Discriminator": Discriminator}


def save_networks(
    folder: Path, weights: Mapping[str, Mapping[str, Tensor]], networks: Mapping[str, Mapping[str, Any]], **facts: Any
) -> None:
    """Write both files.

    Args:
        folder: Where to, without such files in it.
        weights: State dict of each network, contiguous and on the CPU.
        networks: Of each network ``class``, ``arguments`` and whatever else is known of it; plain values.
        facts: What is known of all of them; plain values.
    """
    tensors = {f"{name}.{key}": value for name, state in weights.items() for key, value in state.items()}
    save_file(tensors, folder / WEIGHTS)
    content = json.dumps({**facts, "networks": networks}, indent=2)
    (folder / DESCRIPTION).write_text(f"{content}\n", encoding="utf-8")


def load_network(folder: Path | str, name: str = "average") -> Generator | Discriminator:
    """Build one of the networks.

    Args:
        folder: Holds both files.
        name: Of the network; ``average`` is the generator to make images with.

    Returns:
        In evaluation mode, on the CPU.

    Raises:
        UserError: A file is missing or damaged, there is no such network, or its weights do not fit.
    """
    path = Path(folder) / DESCRIPTION
    try:
        networks = json.loads(path.read_text(encoding="utf-8"))["networks"]
        description = networks.get(name)
    except FileNotFoundError:
        raise UserError(f"no {path}: expected a folder that privface convert wrote from a .pkl file") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {error!r}; convert the .pkl file again") from error
    if description is None:
        raise UserError(f"{path}: expected a network {name}, found {', '.join(networks) or 'none'}")
    try:
        check_choice("class", description["class"], tuple(_KINDS))
        with torch.device("meta"):
            network = _KINDS[description["class"]](**description["arguments"])
    except (KeyError, TypeError, UserError) as error:
        raise UserError(f"{path}: {name} cannot be built: {error}; convert the .pkl file again") from error
    network.to_empty(device="cpu")
    load_weights(network, Path(folder) / WEIGHTS, prefix=f"{name}.")
    return network.eval()
