"""What a training of the password transformer starts from: a recogniser, or all networks of another training."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from src.errors import UserError
from src.losses.heads import MarginHead
from src.models.networks.password_transformer import AlignedRecogniser, SphereFace20
from src.models.networks.password_transformer.published import read_published, read_sphere20
from src.models.networks.weights import load_weights, read_weights

__all__ = ["load_networks", "load_recogniser"]

log = logging.getLogger(__name__)

_OURS = "transformer."
_CENTRES = "head.weight"


def load_recogniser(recogniser: AlignedRecogniser, head: MarginHead, path: Path | str) -> None:
    """Fill a recogniser, and its head where that is for as many people.

    Args:
        recogniser: Of a `SphereFace20` for ``sphere20a_20171020.pth``; else of the backbone of a checkpoint of ours or
            of a public file.
        head: Starts afresh if its classes are others.
        path: The file.

    Raises:
        UserError: The file cannot be read or holds another network.
    """
    centres: Tensor | None
    if isinstance(recogniser.backbone, SphereFace20):
        weights, centres = read_sphere20(path)
        _fill(recogniser.backbone, weights, path)
    else:
        load_weights(recogniser.backbone, path)
        centres = read_weights(path).get(_CENTRES)
    _fill_head(head, centres, path)


def load_networks(networks: Mapping[str, nn.Module], head: MarginHead, path: Path | str) -> None:
    """Fill all networks.

    Args:
        networks: ``transformer``, ``discriminators``, ``predictor`` and ``recogniser``.
        head: Of the recogniser; starts afresh if its classes are others.
        path: A checkpoint of this method, or a published ``.pth.tar``.

    Raises:
        UserError: The file cannot be read or its networks are others.
    """
    weights = read_weights(path) if Path(path).suffix != ".tar" else {}
    if any(name.startswith(_OURS) for name in weights):
        for name, network in networks.items():
            load_weights(network, path, prefix=f"{name}.")
        _fill_head(head, weights.get(_CENTRES), path)
        return
    published = read_published(path)
    for name, network in networks.items():
        _fill(network, getattr(published, name), path)
    _fill_head(head, published.classifier, path)


def _fill(network: nn.Module, weights: Mapping[str, Tensor], path: Path | str) -> None:
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"{path} does not fit the {type(network).__name__} of the config: {error}. model.transformer, "
            "model.discriminators, model.predictor and model.recogniser say how networks are built"
        ) from error


@torch.no_grad()
def _fill_head(head: MarginHead, centres: Tensor | None, path: Path | str) -> None:
    if centres is not None and centres.shape == head.weight.shape:
        head.weight.copy_(centres)
    else:
        found = "none" if centres is None else f"those of {len(centres)}"
        log.info("the centres of %d people start afresh; %s holds %s", len(head.weight), path, found)
