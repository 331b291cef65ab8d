"""Networks as ONNX files."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional

from src.errors import UserError
from src.models.networks.onnx_network import ALPHABET_KEY, METADATA_KEY, OnnxNetwork

__all__ = ["export_onnx", "largest_difference", "unequal_symbols"]

PREPROCESSING = {"color": "rgb", "mean": 127.5, "std": 127.5}
"""What all our networks take: RGB in [-1, 1]."""

_COMPARED_SYMBOLS = 10_000
"""As many at least, so that two values equal but for rounding, which either may win, stay a share below 1e-4."""

# The optimiser warns of each operator with several outputs, such as the sorting of a permutation, that it leaves as is.
logging.getLogger("onnxscript.optimizer").setLevel(logging.ERROR)


def export_onnx(network: nn.Module, size: int, path: Path) -> None:
    """Write a network as one ONNX file of float32 with any batch size.

    Its input is ``images`` [N, 3, S, S], its output ``embeddings`` [N, D] or, of a network with an ``alphabet``,
    ``codes`` uint8 [N, m]; its metadata say what the images and codes are, see
    `src.models.networks.onnx_network.METADATA_KEY` and `ALPHABET_KEY` there.

    Args:
        network: In evaluation mode, on the CPU; from float32 [N, 3, S, S] RGB in [-1, 1] to [N, D], or to codes.
        size: Side S of the images, in pixels.
        path: The file.

    Raises:
        UserError: Torch cannot express the network in ONNX.
    """
    alphabet = getattr(network, "alphabet", None)
    try:
        program = torch.onnx.export(
            network,
            (torch.zeros(2, 3, size, size),),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["images"],
            output_names=["embeddings" if alphabet is None else "codes"],
            verbose=False,
        )
    except Exception as error:  # tracing meets whatever the network's code raises
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"torch cannot export {type(network).__name__} as ONNX: {reason}") from error
    assert program is not None
    for node in program.model.graph:
        node.metadata_props.clear()  # the exporter notes the source lines, with the paths of this machine
    program.model.metadata_props[METADATA_KEY] = json.dumps({"size": size, **PREPROCESSING})
    if alphabet is not None:
        program.model.metadata_props[ALPHABET_KEY] = str(alphabet)
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
        images = _draw_images(count, size, random)
        with torch.no_grad():
            differences.append((_unit(network(images)) - _unit(exported(images))).abs().max())
    return float(torch.stack(differences).max())


def unequal_symbols(network: nn.Module, size: int, path: Path) -> float:
    """Compare an ONNX file with the network of codes that it was made from, like `largest_difference`.

    Args:
        network: In evaluation mode, on the CPU; yields codes uint8 [N, m] and has the attribute ``m``.
        size: Side of the images, in pixels.
        path: The ONNX file.

    Returns:
        Share of the symbols that are not equal, in [0, 1].

    Raises:
        UserError: The network's embeddings are not finite.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    random = torch.Generator().manual_seed(0)
    unequal = []
    for count in (1, *[7] * math.ceil(_COMPARED_SYMBOLS / (7 * int(network.m)))):  # type: ignore[arg-type]
        images = _draw_images(count, size, random)
        with torch.no_grad():
            codes = network(images).numpy()
        unequal.append(session.run(["codes"], {"images": images.numpy()})[0] != codes)
    return float(np.concatenate(unequal).mean())


def _draw_images(count: int, size: int, random: torch.Generator) -> Tensor:
    return torch.rand(count, 3, size, size, generator=random) * 2 - 1


def _unit(embeddings: Tensor) -> Tensor:
    return functional.normalize(embeddings.double())
