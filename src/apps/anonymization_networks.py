"""The networks that an evaluation of a password transformer needs, each as a function on the CPU's tensors."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from src.apps.anonymize.network_file import TrainedTransformer, load_transformer
from src.apps.checkpoint import check_targets
from src.apps.embedding import recogniser_features
from src.eval.anonymization.interfaces import Embed, Predict, Transform
from src.eval.generative.features import RecogniserFeatures
from src.eval.results import safe_name
from src.models.networks.password_transformer import AlignedRecogniser, PasswordPredictor, PasswordTransformer
from src.models.networks.password_transformer.alignment import FaceAlignment
from src.models.networks.weights import load_weights, read_checkpoint

__all__ = ["Companions", "Embedder", "companions", "name_of", "on_device", "open_transformer"]

log = logging.getLogger(__name__)

_CROP = 112


class Embedder:
    """An independent recogniser.

    Args:
        path: Checkpoint of a training of ours, or an ONNX file.
        framing: See `src.eval.anonymization.pairs.FacePairs`; photographs are aligned, other faces are already.
        device: Where to run it.

    Raises:
        UserError: The file cannot be read, or its network makes codes instead of embeddings.
    """

    def __init__(self, path: Path, framing: str, device: torch.device) -> None:
        self._network: RecogniserFeatures = recogniser_features(path).to(device)
        self._device = device
        size: Any = self._network.network.size
        self._alignment = FaceAlignment(size or _CROP, size or _CROP) if framing == "photograph" else None

    @torch.inference_mode()
    def __call__(self, images: Tensor, landmarks: Tensor) -> Tensor:
        """See `src.eval.anonymization.interfaces.Embed`."""
        images = images.to(self._device)
        if self._alignment is not None:
            grid = self._alignment.grid(landmarks, (images.shape[-2], images.shape[-1]))
            images = self._alignment.crop(images, grid.to(self._device))
        return self._network(images).float().cpu()


class Companions:
    """What a transformer was trained together with, as far as its file tells.

    Attributes:
        predict: Reads passwords off faces.
        embed: The recogniser.
    """

    def __init__(
        self, predictor: PasswordPredictor | None, recogniser: AlignedRecogniser | None, device: torch.device
    ) -> None:
        self._device = device
        self._predictor = None if predictor is None else predictor.to(device).eval()
        self._recogniser = None if recogniser is None else recogniser.to(device).eval()

    @property
    def predict(self) -> Predict | None:
        """Of the predictor."""
        return None if self._predictor is None else on_device(self._predictor, self._device)

    @property
    def embed(self) -> Embed | None:
        """Of the recogniser's features."""
        return None if self._recogniser is None else self._embed

    @torch.inference_mode()
    def _embed(self, images: Tensor, landmarks: Tensor) -> Tensor:
        assert self._recogniser is not None
        grid = self._recogniser.alignment.grid(landmarks, (images.shape[-2], images.shape[-1]))
        return self._recogniser(images.to(self._device), grid.to(self._device))[1].float().cpu()


def open_transformer(config: DictConfig, checkpoint: Path | None) -> TrainedTransformer:
    """The transformer of a checkpoint or of a folder of converted networks; None for an untrained one of the config.

    Raises:
        UserError: The file is missing or damaged, or holds no password transformer.
    """
    if checkpoint is not None:
        return load_transformer(checkpoint)
    network: PasswordTransformer = instantiate(config.model.transformer)
    return TrainedTransformer(network.eval(), {}, config.datamodule.size)


def companions(checkpoint: Path | None, device: torch.device) -> Companions:
    """Predictor and recogniser that lie in a checkpoint beside the transformer.

    A folder of converted networks does not tell how they are built; they are left out then.

    Raises:
        UserError: The checkpoint's config would call something other than networks, or weights do not fit.
    """
    if checkpoint is None or checkpoint.is_dir():
        return Companions(None, None, device)
    model: Mapping[str, Any] = read_checkpoint(checkpoint)["hyper_parameters"]["model"]
    networks: list[Any] = []
    for name in ("predictor", "recogniser"):
        check_targets(model[name], checkpoint)
        network: Any = instantiate(OmegaConf.create(dict(model[name])))
        load_weights(network, checkpoint, prefix=f"{name}.")
        networks.append(network)
    return Companions(networks[0], networks[1], device)


def on_device(network: nn.Module, device: torch.device) -> Transform:
    """A network of two tensors on another device, with tensors on the CPU."""

    @torch.inference_mode()
    def run(first: Tensor, second: Tensor) -> Tensor:
        return network(first.to(device), second.to(device)).float().cpu()

    return run


def name_of(path: Path) -> str:
    """Name of a recogniser for names of metrics, such as ``arcface_last`` of ``runs/arcface/checkpoints/last.ckpt``."""
    parts = [part for part in path.with_suffix("").parts if part != "checkpoints"]
    return safe_name("_".join(parts[-2:]))
