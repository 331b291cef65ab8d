"""A checkpoint of a training of ours: its config, and the network it holds."""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from src.errors import UserError
from src.models.networks.privacy_layer import ProtectedBackbone
from src.models.networks.privacy_weights import load_protected
from src.models.networks.rank_hash import RankHashLayer, RankHashNetwork
from src.models.networks.rank_hash_weights import load_rank_hash
from src.models.networks.weights import load_weights, read_checkpoint

__all__ = ["TrainedCheckpoint", "check_targets"]

# Arguments by which a backbone fetches weights of its own; those of the checkpoint replace them anyway.
_NO_OTHER_WEIGHTS = {"pretrained": False, "weights": None}


def _path_of(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


# Any other layer is a privacy layer.
_NETWORK_OF_LAYER: dict[str, type[nn.Module]] = {_path_of(RankHashLayer): RankHashNetwork}


@dataclass(frozen=True)
class TrainedCheckpoint:
    """What a ``.ckpt`` file of ``train.py`` says.

    Attributes:
        path: The file.
        config: Resolved config of the training.
        backbone: The part of it that builds the network.
        size: Side of the images that it was trained on, in pixels.
        epochs: Epochs begun.
        steps: Optimiser steps taken.
    """

    path: Path
    config: dict[str, Any]
    backbone: dict[str, Any]
    size: int
    epochs: int
    steps: int

    @classmethod
    def read(cls, path: Path | str) -> TrainedCheckpoint:
        """Read a checkpoint without running any code in it.

        Raises:
            UserError: The file is missing or damaged, or no checkpoint of ``train.py``.
        """
        content = read_checkpoint(path)
        try:
            config = dict(content["hyper_parameters"] if isinstance(content, Mapping) else {})
            backbone = _network(config["model"])
            size = int(config["datamodule"]["size"])
            epochs, steps = int(content["epoch"]) + 1, int(content["global_step"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(
                f"{path} does not hold the config of a training with a backbone: expected a checkpoint of train.py, "
                "such as runs/NAME/checkpoints/last.ckpt"
            ) from error
        return cls(Path(path), config, backbone, size, epochs, steps)

    def build_backbone(self) -> nn.Module:
        """The network with the checkpoint's weights, in evaluation mode.

        Raises:
            UserError: The config names what is no network, or one that cannot be built, or the weights do not fit it.
        """
        check_targets(self.backbone, self.path)
        network: nn.Module = instantiate(OmegaConf.create(self.backbone))
        if isinstance(network, ProtectedBackbone):
            load_protected(network, self.path, self.config.get("init_from"))
        elif isinstance(network, RankHashNetwork):
            load_rank_hash(network, self.path)
        else:
            load_weights(network, self.path)
        return network.eval()


def _network(model: Mapping[str, Any]) -> dict[str, Any]:
    """Config of the network from images to embeddings or codes: the backbone, and the layer where the method has one.

    The network of a layer takes its other arguments from the keys of the model that have their names.
    """
    backbone = {"_target_": model["backbone"]["_target_"], **model["backbone"]}
    backbone |= {name: value for name, value in _NO_OTHER_WEIGHTS.items() if name in backbone}
    if "layer" not in model:
        return backbone
    network = _NETWORK_OF_LAYER.get(model["layer"]["_target_"], ProtectedBackbone)
    options = {name: model[name] for name in inspect.signature(network).parameters if name in model}
    return {"_target_": _path_of(network), **options, "backbone": backbone, "layer": dict(model["layer"])}


def check_targets(node: Any, path: Path) -> None:
    """Refuse to call anything but networks: a checkpoint may come from anywhere.

    Args:
        node: Part of its config that is to be instantiated.
        path: The checkpoint, for messages.

    Raises:
        UserError: The config names anything else, or what is not there.
    """
    if isinstance(node, Mapping):
        if "_target_" in node:
            _check_target(str(node["_target_"]), path)
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            check_targets(child, path)


def _check_target(name: str, path: Path) -> None:
    try:
        target = pydoc.locate(name)
    except pydoc.ErrorDuringImport as error:
        raise UserError(f"{path}: its network {name} cannot be imported: {error.value}") from error
    if target is None:
        raise UserError(f"{path}: there is no {name}, its network; install it, or set PYTHONPATH to its folder")
    if not _makes_networks(target):
        raise UserError(
            f"{path}: its config would call {name}, which is neither a class of torch.nn.Module nor a function "
            "annotated to return one"
        )


def _makes_networks(target: object) -> bool:
    try:
        made = target if inspect.isclass(target) else get_type_hints(target).get("return")
    except (NameError, TypeError):  # annotations that cannot be resolved, or an object that has none
        return False
    return inspect.isclass(made) and issubclass(made, nn.Module)
