"""Networks as ONNX files."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from src.errors import UserError
from src.models.networks.onnx_network import METADATA_KEY, OnnxNetwork

__all__ = ["export_onnx", "largest_difference"]

PREPROCESSING = {"color": "rgb", "mean": 127.5, "std": 127.5}
"""What all our networks take: RGB in [-1, 1]."""


def export_onnx(network: nn.Module, size: int, path: Path) -> None:
    """Write a network as one ONNX file of float32 with any batch size.

    Its input is ``images`` [N, 3, S, S], its output ``embeddings`` [N, D]; its metadata say what the images are, see
    `src.models.networks.onnx_network.METADATA_KEY`.

    Args:
        network: In evaluation mode, on the CPU; from float32 [N, 3, S, S] RGB in [-1, 1] to [N, D].
        size: Side S of the images, in pixels.
        path: The file.

    Raises:
        UserError: Torch cannot express the network in ONNX.
    """
    try:
        program = torch.onnx.export(
            network,
            (torch.zeros(2, 3, size, size),),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["images"],
            output_names=["embeddings"],
            verbose=False,
        )
    except Exception as error:  # tracing meets whatever the network's code raises
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"torch cannot export {type(network).__name__} as ONNX: {reason}") from error
    assert program is not None
    for node in program.model.graph:
        node.metadata_props.clear()  # the exporter notes the source lines, with the paths of this machine
    program.model.metadata_props[METADATA_KEY] = json.dumps({"size": size, **PREPROCESSING})
    program.save(path, external_data=False)


def largest_difference(network: nn.Module, size: int, path: Path) -> float:
    """Compare an ONNX file with the network that it was made from, on random images, one and seven at a time.

    Args:
        network: In evaluation mode, on the CPU.
        size: Side of the images, in pixels.
        path: The ONNX file.

    Returns:
        Largest absolute difference of the entries of embeddings of unit length; NaN if an embedding is not finite.
    """
    exported = OnnxNetwork(path)
    random = torch.Generator().manual_seed(0)
    differences = []
    for count in (1, 7):
        images = torch.rand(count, 3, size, size, generator=random) * 2 - 1
        with torch.no_grad():
            differences.append((_unit(network(images)) - _unit(exported(images))).abs().max())
    return float(torch.stack(differences).max())


def _unit(embeddings: Tensor) -> Tensor:
    return functional.normalize(embeddings.double())
