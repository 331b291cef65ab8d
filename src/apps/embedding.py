"""From images to embeddings, for commands that have a recogniser and a collection of faces."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from src.apps.checkpoint import TrainedCheckpoint
from src.datamodules.backends.cpu import CpuBackend
from src.datamodules.face_dataset import FaceDataset
from src.datamodules.sample import to_float, to_float_images
from src.datamodules.sources.source import FaceSource
from src.errors import UserError
from src.eval.generative.features import RecogniserFeatures
from src.models.networks.onnx_network import OnnxNetwork
from src.models.networks.weights import load_weights, weights_fingerprint
from src.progress import image_progress

__all__ = ["Recogniser", "recogniser_features"]

_NAMED = 3


class Recogniser:
    """A network from faces to embeddings, in float32 on one device.

    Args:
        path: Checkpoint of a training of ours, an ONNX file, or with ``backbone`` a file of its weights.
        backbone: Network of the weights.
        size: Side of the images that a network takes which does not tell, in pixels.
        device: Where to run it.

    Attributes:
        size: Side of the images in pixels.
        fingerprint: Hex digest that changes when the network does.

    Raises:
        UserError: The file cannot be read, or its network makes codes instead of embeddings.
    """

    def __init__(self, path: Path, backbone: nn.Module | None, size: int, device: torch.device) -> None:
        network, known_size = _load(path, backbone)
        self._network = network.to(device)
        self._device = device
        self.size = known_size or size
        self.fingerprint = network.fingerprint() if isinstance(network, OnnxNetwork) else weights_fingerprint(network)

    @torch.inference_mode()
    def embed(self, source: FaceSource, batch_size: int) -> np.ndarray:
        """Embed the visible images of a collection: centre square, resized (bilinear, antialiased), not mirrored.

        Args:
            source: The collection.
            batch_size: Images that go through the network at once.

        Returns:
            float32 [N, D], raw embeddings in the order of the rows.

        Raises:
            UserError: An image cannot be read, or an embedding is not finite.
        """
        dataset = FaceDataset(source, size=self.size, fields=("image",))
        batches = np.array_split(np.arange(len(source)), -(-len(source) // batch_size))
        backend = CpuBackend(dataset, threads=len(os.sched_getaffinity(0)))
        embeddings = []
        with image_progress() as progress:
            task = progress.add_task("embedding", total=len(source))
            for batch, sample in zip(batches, backend.read(iter(batches)), strict=True):
                _check_readable(dataset)
                image = to_float_images(sample)["image"].to(self._device)
                embeddings.append(self._network(image).float().cpu().numpy())
                progress.advance(task, len(batch))
        result = np.concatenate(embeddings)
        if not (finite := np.isfinite(result).all(1)).all():
            raise UserError(
                f"{source.name}: the network makes numbers that are not finite of {(~finite).sum()} images, the first "
                f"is {source.key(int(np.argmin(finite)))}; take another network"
            )
        return result

    @torch.inference_mode()
    def embed_images(self, images: Tensor) -> Tensor:
        """Embed images that are at hand.

        Args:
            images: uint8 [N, 3, S, S] RGB, S the `size` of the network.

        Returns:
            float32 [N, D], raw embeddings, on the CPU.
        """
        return self._network(to_float(images.movedim(1, -1).to(self._device))).float().cpu()


def recogniser_features(path: Path | str) -> RecogniserFeatures:
    """A recogniser as feature extractor for the metrics of generated images.

    Args:
        path: Checkpoint of a training of ours, or an ONNX file. Images are resized to what it was trained on; those of
            a graph that takes any size are left as they are.

    Raises:
        UserError: The file cannot be read, or its network makes codes instead of embeddings.
    """
    network, size = _load(Path(path), None)
    network.size = size  # type: ignore[assignment]
    return RecogniserFeatures(network)


def _load(path: Path, backbone: nn.Module | None) -> tuple[nn.Module, int | None]:
    """The network, in evaluation mode, and the side of its images; None if nothing tells."""
    network: nn.Module
    size = None
    if backbone is not None:
        load_weights(backbone, path)
        network = backbone.eval()
    elif path.suffix == ".onnx":
        network = OnnxNetwork(path)
    else:
        checkpoint = TrainedCheckpoint.read(path)
        network, size = checkpoint.build_backbone(), checkpoint.size
    if getattr(network, "alphabet", None) is not None:
        raise UserError(
            f"{path}: its network, {type(network).__name__}, makes codes; expected a recogniser, such as a checkpoint "
            "of python train.py experiment=arcface"
        )
    return network, getattr(network, "size", None) or size


def _check_readable(dataset: FaceDataset) -> None:
    if dataset.unreadable:
        first = sorted(dataset.unreadable.copy().items())[:_NAMED]
        named = "; ".join(f"{dataset.source.key(row)}: {reason}" for row, reason in first)
        raise UserError(f"{dataset.name}: images cannot be read: {named}. Repair or remove them; each needs a feature.")
