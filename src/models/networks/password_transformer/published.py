"""The files of the published password transformer, and of the recogniser that its training starts from.

A checkpoint ``.pth.tar`` is a plain file of ``torch.save``. Weights of the transformer, the discriminators and the
password predictor have the same names there as here, so a state dict of ours is what the published code reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from torch import Tensor

from src.errors import UserError
from src.models.networks.weights import describe_architecture, read_checkpoint, read_weights

__all__ = [
    "PublishedCheckpoint",
    "published_recogniser",
    "read_magnitude",
    "read_published",
    "read_sphere20",
    "transformer_arguments",
]

Weights = dict[str, Tensor]

_NETWORKS = {
    "transformer": "state_dict_G",
    "discriminators": "state_dict_D",
    "predictor": "state_dict_Q",
    "recogniser": "state_dict_FR",
}
_MAGNITUDES: dict[Any, dict[str, Any]] = {
    True: {"magnitude": 1.0},
    "half": {"magnitude": 0.5},
    "one_fourth": {"magnitude": 0.25},
    False: {"zero_one": True},
    None: {"zero_one": True},
}
"""Arguments of our transformer by what the published settings call ``use_minus_one``."""
_SETTING = "use_minus_one"
_CLASSIFIER = "fc6.weight"
_SPHERE20_NAMES = 63


@dataclass(frozen=True)
class PublishedCheckpoint:
    """What is in a checkpoint.

    Attributes:
        transformer: State dict for `PasswordTransformer` with ``arguments``.
        discriminators: State dict for `Discriminators`.
        predictor: State dict for `PasswordPredictor`.
        recogniser: State dict for `AlignedRecogniser` of a `SphereFace20`.
        classifier: Class centres [C, 512] of the recogniser, a row for each class, as our heads keep them.
        arguments: Of `PasswordTransformer`, magnitude included. What weights do not tell is left at its default: leaky
            activations, and whether blocks are padded by reflection or replication.
    """

    transformer: Weights
    discriminators: Weights
    predictor: Weights
    recogniser: Weights
    classifier: Tensor
    arguments: dict[str, Any]


def read_published(path: Path | str, magnitude: float | None = None) -> PublishedCheckpoint:
    """Read a checkpoint ``.pth.tar``, without running any code in it.

    Args:
        path: The file.
        magnitude: Of the code that its passwords are given in, which the file does not tell: 0.5 for the published main
            model, 0.25 for ``one_fourth``. None reads it from the settings beside the file.

    Raises:
        UserError: The file cannot be read, is no such checkpoint, or its magnitude is not known.
    """
    content = read_checkpoint(path)
    absent = [name for name in _NETWORKS.values() if not _is_state_dict(content, name)]
    if absent:
        raise UserError(
            f"{path} is no checkpoint of the published password transformer: expected {', '.join(_NETWORKS.values())}, "
            f"found no weights as {', '.join(absent)}. Its checkpoints are called checkpoint.pth.tar"
        )
    found = {name: _unwrapped(content[key]) for name, key in _NETWORKS.items()}
    encoding = read_magnitude(path) if magnitude is None else {"magnitude": magnitude}
    recogniser, classifier = _split_recogniser(found["recogniser"], path)
    return PublishedCheckpoint(
        transformer=found["transformer"],
        discriminators=found["discriminators"],
        predictor=found["predictor"],
        recogniser={f"backbone.{name}": value for name, value in recogniser.items()},
        classifier=classifier,
        arguments=transformer_arguments(found["transformer"], path) | encoding,
    )


def read_magnitude(path: Path | str) -> dict[str, Any]:
    """How a checkpoint's passwords are encoded, from the settings ``.yaml`` that lie beside it.

    Args:
        path: The checkpoint.

    Returns:
        ``magnitude`` or ``zero_one`` for `PasswordTransformer`.

    Raises:
        UserError: No file beside it tells, several tell different things, or a file cannot be read.
    """
    folder = Path(path).parent
    told = {file.name: _setting(file) for file in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])}
    values = {name: value for name, value in told.items() if value is not _ABSENT}
    if len(set(map(str, values.values()))) != 1:
        raise UserError(
            f"{path} does not tell the magnitude of its passwords. Expected one .yaml beside it with {_SETTING}, found "
            f"{', '.join(f'{name}: {value}' for name, value in values.items()) or 'none'}; give password.magnitude, "
            "which is 0.5 for the published main model and 0.25 for one_fourth"
        )
    name, value = values.popitem()
    if not isinstance(value, bool | str | None) or value not in _MAGNITUDES:
        choices = ", ".join(str(choice).lower() for choice in _MAGNITUDES)
        raise UserError(f"{folder / name}: {_SETTING}: expected one of {choices}, found {value!r}")
    return dict(_MAGNITUDES[value])


def transformer_arguments(weights: Mapping[str, Tensor], origin: object) -> dict[str, Any]:
    """Tell the arguments of `PasswordTransformer` from its weights.

    Args:
        weights: State dict of a transformer with the published names.
        origin: Where it comes from, for the message.

    Raises:
        UserError: They are of another network.
    """
    first = weights.get("model.1.weight")
    blocks = sorted({int(match[1]) for name in weights if (match := re.match(r"model\.(\d+)\.conv_block\.", name))})
    last = max((int(match[1]) for name in weights if (match := re.match(r"model\.(\d+)\.", name))), default=0)
    if first is None or first.ndim != 4 or not blocks:
        raise UserError(f"{origin} holds no password transformer but {describe_architecture(weights)}")
    downsamplings = (blocks[0] - 4) // 4
    # After the blocks come 3 or 5 layers for every upsampling, a padding and the last convolution.
    upsampling = "resize" if last - blocks[-1] - 2 == 5 * downsamplings else "transposed"
    block = rf"model\.{blocks[0]}\.conv_block\.(\d+)\."
    convolutions = {int(m[1]) for name, value in weights.items() if (m := re.match(block, name)) and value.ndim == 4}
    zero_padded = 0 in convolutions
    distance = max(convolutions) - min(convolutions)
    return {
        "length": first.shape[1] - 3,
        "channels": first.shape[0],
        "downsamplings": downsamplings,
        "blocks": len(blocks),
        "upsampling": upsampling,
        "padding": "zero" if zero_padded else "reflect",
        "dropout": distance == (4 if zero_padded else 5),
        "norm": "none" if "model.1.bias" in weights else "batch",
    }


def read_sphere20(path: Path | str) -> tuple[Weights, Tensor]:
    """Read ``sphere20a_20171020.pth`` of the SphereFace port, which comes packed as ``.7z``.

    Args:
        path: The file, unpacked.

    Returns:
        State dict of `SphereFace20`, and the class centres [C, 512].

    Raises:
        UserError: The file cannot be read or holds something else.
    """
    if Path(path).suffix == ".7z":
        raise UserError(f"{path}: unpack the archive first, and give the .pth in it")
    return _split_recogniser(_unwrapped(read_weights(path)), path)


def published_recogniser(backbone: Mapping[str, Tensor], classifier: Tensor) -> Weights:
    """The inverse of `read_sphere20`: both under the names and in the shapes of the published file.

    Args:
        backbone: State dict of `SphereFace20`.
        classifier: Class centres [C, 512].
    """
    return {**backbone, _CLASSIFIER: classifier.T.contiguous()}


_ABSENT = object()


def _setting(file: Path) -> Any:
    try:
        settings = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    except Exception as error:  # a damaged file makes the reader fail in many ways
        raise UserError(f"{file} is damaged, or is no YAML: {error}; give password.magnitude") from error
    return settings.get(_SETTING, _ABSENT) if isinstance(settings, dict) else _ABSENT


def _is_state_dict(content: Any, name: str) -> bool:
    weights = content.get(name) if isinstance(content, Mapping) else None
    return isinstance(weights, Mapping) and all(isinstance(value, Tensor) for value in weights.values())


def _unwrapped(weights: Mapping[str, Tensor]) -> Weights:
    return {name.removeprefix("module."): value for name, value in weights.items()}


def _split_recogniser(weights: Weights, path: Path | str) -> tuple[Weights, Tensor]:
    classifier = weights.get(_CLASSIFIER)
    if len(weights) != _SPHERE20_NAMES or "conv1_1.weight" not in weights or classifier is None:
        raise UserError(
            f"{path}: expected a SphereFace-20 of {_SPHERE20_NAMES} entries from conv1_1.weight to {_CLASSIFIER}, "
            f"found {describe_architecture(weights)}"
        )
    return {name: value for name, value in weights.items() if name != _CLASSIFIER}, classifier.T.contiguous()
