"""Starting a training from the networks of another, which may know no identities and no near infrared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from src.errors import UserError
from src.models.networks.weights import read_weights

__all__ = ["adapt_weights", "transfer_weights"]

_FIRST = "mapping.fc0.weight"

_PREFIXES = {
    "generator": ("generator.", "average."),
    "average": ("average.", "generator."),
    "discriminator": ("discriminator.",),
    "nir_discriminator": ("nir_discriminator.",),
}
"""What the names of a network begin with in our checkpoints and in converted files, the first that occurs."""


def transfer_weights(networks: Mapping[str, nn.Module], path: Path | str) -> list[str]:
    """Fill networks from a file as far as it fits.

    Args:
        networks: To fill in place, by the names of our checkpoints: generator, average, discriminator,
            nir_discriminator.
        path: A checkpoint of this method, or a file of converted weights. Without any of the known prefixes its
            weights are taken for a generator's.

    Returns:
        Lines that tell of every network how much was taken, what was adapted, and what starts afresh.

    Raises:
        UserError: The file is missing or damaged, or holds no weights of a generator that fit.
    """
    weights = read_weights(path)
    told = []
    for name, network in networks.items():
        source = _of_network(weights, name)
        copied, lines = adapt_weights(network, source)
        if not copied and name == "generator":
            raise UserError(
                f"{path} holds no weights that fit the generator: expected a checkpoint of this method, or what "
                "privface convert makes of a StyleGAN2-ADA file, of the same channels"
            )
        told.append(f"{name}: {copied} of {len(network.state_dict())} entries are those of {path}")
        told += [f"{name}: {line}" for line in lines]
    return told


def _of_network(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    for prefix in _PREFIXES[name]:
        found = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
        if found:
            return found
    known = tuple(prefix for prefixes in _PREFIXES.values() for prefix in prefixes)
    is_generator = name in ("generator", "average") and not any(key.startswith(known) for key in weights)
    return dict(weights) if is_generator else {}


@torch.no_grad()
def adapt_weights(network: nn.Module, source: Mapping[str, Tensor]) -> tuple[int, list[str]]:
    """Copy weights of the same name and shape.

    The first layer of a mapping network that knew no identities becomes one that, at first, ignores them: its weights
    of the latent code are kept, those of the embedded identity are 0.

    Args:
        network: To fill in place; what does not fit stays as it is.
        source: A state dict.

    Returns:
        How many entries were filled, and a line for each that was adapted or left.
    """
    copied, lines = 0, []
    for name, value in network.state_dict().items():
        given = source.get(name)
        if given is not None and given.shape == value.shape:
            value.copy_(given)
            copied += 1
        elif given is not None and name == _FIRST and len(given) == len(value) and given.shape[1] < value.shape[1]:
            value.zero_()
            value[:, : given.shape[1]].copy_(given)
            copied += 1
            lines.append(f"{name} ignores identities at first: {list(given.shape)} became {list(value.shape)}")
        else:
            found = "there is none" if given is None else f"its shape is {list(given.shape)}"
            lines.append(f"{name} {list(value.shape)} starts afresh: {found}")
    return copied, lines
