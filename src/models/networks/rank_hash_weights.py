"""Loading the weights of a rank-hash network, which have to be of codes of the same kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from src.errors import UserError
from src.models.networks.rank_hash import RankHashLayer, RankHashNetwork
from src.models.networks.weights import describe_architecture, load_weights, read_weights

__all__ = ["check_codes", "load_rank_hash"]

_SHAPE = "layer.code_shape"
_KEY = "layer.permutation.key"


def load_rank_hash(network: RankHashNetwork, path: Path | str) -> None:
    """Fill a rank-hash network, backbone and layer, from a checkpoint of ours.

    Raises:
        UserError: The file cannot be read, holds no rank hash, another model's codes, or another backbone.
    """
    check_codes(network.layer, read_weights(path), path)
    load_weights(network, path)


def check_codes(layer: RankHashLayer, weights: Mapping[str, Tensor], origin: object) -> None:
    """Check that weights are those of a layer that makes codes like ``layer``.

    Args:
        layer: Expected.
        weights: State dict, with any prefix.
        origin: Where it comes from, for the message.

    Raises:
        UserError: They are not.
    """
    shape = next((value for name, value in weights.items() if name.endswith(_SHAPE)), None)
    key = next((value for name, value in weights.items() if name.endswith(_KEY)), None)
    if shape is None or key is None:
        raise UserError(
            f"{origin} holds no rank hash but {describe_architecture(weights)}. Expected a checkpoint of train.py with "
            "model=drh, such as runs/drh/checkpoints/last.ckpt"
        )
    found = (*shape.tolist(), len(key))
    expected = (layer.m, layer.q, len(layer.permutation.key))
    if found != expected:
        raise UserError(
            f"{origin} makes another model's codes: {_describe(*found)}; the config says {_describe(*expected)}. Set "
            f"model.layer.m={found[0]} model.layer.q={found[1]} and the backbone's embedding_size, or name another file"
        )


def _describe(m: int, q: int, d: int) -> str:
    return f"{m} symbols out of {q} from embeddings of {d}"
