"""The files of the gender-angular method: the privacy layer, and the class centres it was trained with.

The method's own code writes ``<step>ftn_layers.pth``, the layer, and ``<step>header.pth``, the centres. Until May 2024
it wrote the layer as ``<step>backbone.pth``, although no backbone is in it; so files are told apart by what they hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from src.errors import UserError
from src.models.networks.privacy_layer import ProtectedBackbone
from src.models.networks.weights import (
    describe_architecture,
    load_weights,
    read_checkpoint,
    read_weights,
    weights_fingerprint,
)

__all__ = ["load_layer", "load_protected", "read_header", "read_layer"]

_OURS = "backbone.layer."
"""What the names of the layer begin with in our checkpoints."""
_WRAPPERS = r"(?:(?:module|_orig_mod|backbone|layer)\.)*"
_LAYER = re.compile(rf"{_WRAPPERS}(proj\.\d+\.(?:weight|bias))")
_HEADER = re.compile(r"(?:(?:module|_orig_mod)\.)*kernel")


def read_layer(path: Path | str) -> dict[str, Tensor]:
    """Read a privacy layer, whichever kind of file it is in.

    Args:
        path: The layer alone, under any file name; the layer behind its backbone (``layer.proj.*``, perhaps beside
            ``backbone.*``); or a Lightning checkpoint. Names may have ``module.`` or ``_orig_mod.`` in front.

    Returns:
        State dict of the layer, ``proj.0.weight`` [D, D], ``proj.0.bias`` [D], ``proj.2.weight`` and so on, on the CPU.

    Raises:
        UserError: The file cannot be read, or holds no privacy layer.
    """
    weights = read_weights(path)
    layer = {match[1]: value for name, value in weights.items() if (match := _LAYER.fullmatch(name))}
    if not layer:
        raise UserError(
            f"{path} holds no privacy layer but {describe_architecture(weights)}. Expected names such as proj.0.weight "
            f"or layer.proj.0.weight: <step>ftn_layers.pth of the gender-angular method, or a checkpoint of train.py"
        )
    return layer


def load_layer(layer: nn.Module, path: Path | str) -> None:
    """Fill a privacy layer from a checkpoint of ours, whatever the layer is, or any file that `read_layer` reads.

    Raises:
        UserError: The file cannot be read, or its layer is of another shape.
    """
    own = {name: value for name, value in read_weights(path).items() if name.startswith(_OURS)}
    weights = {name.removeprefix(_OURS): value for name, value in own.items()} or read_layer(path)
    shapes, expected = ({name: list(value.shape) for name, value in d.items()} for d in (weights, layer.state_dict()))
    if shapes != expected:
        raise UserError(
            f"{path} does not fit model.layer.\n  the file holds: {shapes}\n  the layer is:   {expected}\n"
            "Choose the backbone (its embedding_size) and model.layer.layers that the file was made with."
        )
    layer.load_state_dict(weights)


def load_protected(
    network: ProtectedBackbone, path: Path | str, backbone_file: Path | str | None = None
) -> Path | str | None:
    """Fill a privacy layer and the backbone that it was trained behind.

    Args:
        network: Both.
        path: Any file that `read_layer` reads.
        backbone_file: The backbone's weights, where the file neither holds them nor names a file that does.

    Returns:
        Where the backbone came from; None if it was left as it is.

    Raises:
        UserError: A file cannot be read or does not fit, or the backbone is not to be found.
    """
    load_layer(network.layer, path)
    if any("backbone." in name and "layer." not in name for name in read_weights(path)):
        load_weights(network.backbone, path)
        return path
    frozen = read_checkpoint(path).get("frozen_backbone")
    if frozen is not None:
        return _find_backbone(network.backbone, path, frozen, backbone_file)
    if backbone_file is not None:
        load_weights(network.backbone, backbone_file)
    elif any(True for _ in network.backbone.parameters()):
        raise UserError(f"{path} holds a privacy layer and does not tell its backbone: give that by init_from=FILE")
    return backbone_file


def _find_backbone(
    backbone: nn.Module, path: Path | str, frozen: Mapping[str, Any], backbone_file: Path | str | None
) -> Path | str | None:
    """Load the backbone whose fingerprint a checkpoint tells; the one at hand may be it already."""
    for file in (None, frozen["path"], backbone_file):
        if file is not None and Path(file).exists():
            load_weights(backbone, file)
        if weights_fingerprint(backbone) == frozen["fingerprint"]:
            return file or frozen["path"]
    raise UserError(
        f"{path}: its privacy layer was trained behind the backbone of {frozen['path'] or 'no file'}, and neither that "
        f"file nor init_from={backbone_file} holds it now (fingerprint {frozen['fingerprint'][:12]}). Give it by "
        "init_from=FILE; training with model.save_backbone=true keeps it in the checkpoints"
    )


def read_header(path: Path | str) -> Tensor:
    """Read the class centres that a privacy layer was trained with.

    Args:
        path: ``<step>header.pth``: one entry, ``kernel`` [D, C].

    Returns:
        float32 [C, D]: a row for each class, as our heads keep them.

    Raises:
        UserError: The file cannot be read, or holds something else.
    """
    weights = read_weights(path)
    kernels = [value for name, value in weights.items() if _HEADER.fullmatch(name)]
    if len(kernels) != 1 or len(weights) != 1 or kernels[0].ndim != 2:
        raise UserError(
            f"{path} holds no class centres but {describe_architecture(weights)}. "
            "Expected one entry, kernel [embedding size, classes]: <step>header.pth of the gender-angular method"
        )
    return kernels[0].T.contiguous().float()
