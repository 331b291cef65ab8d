"""Published networks of StyleGAN2-ADA and ArcBiFaceGAN as networks of ours.

Names and shapes of the weights are the same; what differs are the arguments of the constructors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from src.errors import UserError
from src.models.networks.stylegan2.discriminator import Discriminator
from src.models.networks.stylegan2.generator import Generator
from src.models.networks.stylegan2.published_arguments import discriminator_arguments, generator_arguments
from src.models.networks.stylegan2.published_pickle import PickledNetwork, read_published_pickle

__all__ = ["NETWORKS", "PublishedNetwork", "read_published"]

NETWORKS: dict[str, type[Generator] | type[Discriminator]] = {
    "G_ema": Generator,
    "G": Generator,
    "D": Discriminator,
    "D_NIR": Discriminator,
}
"""Names in the files, and what they are."""

_NEAR_INFRARED_HEAD = ".toseg."


@dataclass(frozen=True)
class PublishedNetwork:
    """A network of ours with published weights.

    Attributes:
        kind: Its class.
        arguments: What the class is called with to build it.
        weights: Its whole state dict, on the CPU, as in the file bit for bit.
        initialised: Names of the weights that the file does not have, those of the near-infrared heads of a generator
            of one image; they are drawn as for a new network, always the same.
    """

    kind: type[Generator] | type[Discriminator]
    arguments: dict[str, Any]
    weights: dict[str, Tensor]
    initialised: tuple[str, ...]

    def count_parameters(self) -> int:
        """Number of values that training would change."""
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in self.kind(**self.arguments).parameters())


def read_published(path: Path | str) -> dict[str, PublishedNetwork]:
    """Read the networks of a ``.pkl`` file without running any code in it.

    Args:
        path: A file of the StyleGAN2-ADA or ArcBiFaceGAN code.

    Returns:
        Those of `NETWORKS` that it holds, by these names.

    Raises:
        UserError: The file cannot be read, see `read_published_pickle`, or a network in it is another than ours.
    """
    pickled = read_published_pickle(path, tuple(NETWORKS))
    try:
        return {name: _convert(network, name) for name, network in pickled.items()}
    except UserError as error:
        raise UserError(
            f"{path} holds another network than those of StyleGAN2-ADA and ArcBiFaceGAN, or is damaged. {error}"
        ) from error


def _convert(pickled: PickledNetwork, name: str) -> PublishedNetwork:
    kind = NETWORKS[name]
    if pickled.class_name != kind.__name__:
        raise UserError(f"{name}: expected a {kind.__name__}, found a {pickled.class_name}")
    try:
        make_arguments = generator_arguments if kind is Generator else discriminator_arguments
        arguments = make_arguments(pickled.arguments)
        with torch.device("meta"):
            expected = kind(**arguments).state_dict()
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    has_heads = any(_NEAR_INFRARED_HEAD in key for key in pickled.weights)
    initialised = () if has_heads else tuple(key for key in expected if _NEAR_INFRARED_HEAD in key)
    _check(pickled.weights, {key: value for key, value in expected.items() if key not in initialised}, name)
    # Not the tensors of the file: these may share memory, or lie in it in any order.
    weights = {key: value.clone(memory_format=torch.contiguous_format) for key, value in pickled.weights.items()}
    weights |= _draw(kind, arguments, initialised)
    return PublishedNetwork(kind, arguments, {key: weights[key] for key in expected}, initialised)


def _check(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], name: str) -> None:
    missing = [key for key in expected if key not in weights]
    unknown = [key for key in weights if key not in expected]
    if missing or unknown:
        raise UserError(
            f"{name}: {len(missing)} weights are missing ({', '.join(missing[:3]) or 'none'}) "
            f"and {len(unknown)} are unknown ({', '.join(unknown[:3]) or 'none'})"
        )
    for key, value in weights.items():
        if value.shape != expected[key].shape or value.dtype != torch.float32:
            raise UserError(
                f"{name}: {key} is {value.dtype} {list(value.shape)}; by the arguments of the network it would be "
                f"torch.float32 {list(expected[key].shape)}"
            )


def _draw(kind: type[nn.Module], arguments: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Tensor]:
    """Weights of a new network by name."""
    if not names:
        return {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = kind(**arguments).state_dict()
    return {name: state[name] for name in names}
