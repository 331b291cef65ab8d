"""``privface convert`` of a password transformer: published files, and checkpoints of ours that want calibration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from src.apps.anonymize.crops import Crop
from src.apps.anonymize.image_files import check_images, find_images, read_image
from src.apps.anonymize.network_file import DESCRIPTION, WEIGHTS, TrainedTransformer, load_transformer, save_transformer
from src.errors import UserError
from src.models.networks.password_transformer import PasswordTransformer
from src.models.networks.password_transformer.calibration import calibrate
from src.models.networks.password_transformer.published import read_published, read_sphere20
from src.models.networks.weights import read_checkpoint
from src.progress import image_progress

__all__ = ["is_password_transformer", "write"]

_PUBLISHED_SIZE = 128
_BATCH, _BATCHES, _LEAST = 8, 64, 16
"""Faces of a batch that statistics are measured on, and the largest and least number of batches."""


def is_password_transformer(path: Path) -> bool:
    """Whether a file is a published checkpoint or recogniser, or a checkpoint of our training."""
    content = read_checkpoint(path)
    if not isinstance(content, Mapping):
        return False
    config = content.get("hyper_parameters")
    model = config.get("model") if isinstance(config, Mapping) else None
    of_training = isinstance(model, Mapping) and "transformer" in model
    return of_training or "state_dict_G" in content or _is_recogniser(content)


def write(folder: Path, path: Path, magnitude: float | None, faces: Path | None) -> str:
    """Write ``model.safetensors``, ``model.json`` and ``README.md``.

    Args:
        folder: Where to.
        path: A ``.pth.tar`` checkpoint, ``sphere20a_20171020.pth``, or a checkpoint of our training.
        magnitude: See `read_published`.
        faces: Folder of images of faces to give the batch norms fixed statistics by.

    Returns:
        What there is to say of it, for people.

    Raises:
        UserError: The file cannot be read, or there are too few images.
    """
    with open(path, "rb") as file:
        source = {"file": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    if _is_recogniser(read_checkpoint(path)):
        if faces is not None or magnitude is not None:
            raise UserError("calibrate and magnitude are for password transformers; sphere20a takes none")
        report = _write_recogniser(folder, path, source)
    else:
        trained, others = _read(path, magnitude)
        if faces is not None:
            _calibrate(trained, faces)
        save_transformer(folder, trained, others, source=source)
        report = _describe(trained, others)
    (folder / "README.md").write_text(_card(source, report), encoding="utf-8")
    return report


def _read(path: Path, magnitude: float | None) -> tuple[TrainedTransformer, dict[str, Mapping[str, Tensor]]]:
    """The transformer of a checkpoint, and the other networks of a published one."""
    if "state_dict_G" not in read_checkpoint(path):
        if magnitude is not None:
            raise UserError(f"magnitude is for published files; {path} tells its own")
        return load_transformer(path), {}
    published = read_published(path, magnitude)
    network = PasswordTransformer(**published.arguments)
    network.load_state_dict(published.transformer)
    others: dict[str, Mapping[str, Tensor]] = {
        "discriminators": published.discriminators,
        "predictor": published.predictor,
        "recogniser": published.recogniser,
        "head": {"weight": published.classifier},
    }
    return TrainedTransformer(network.eval(), published.arguments, _PUBLISHED_SIZE), others


def _write_recogniser(folder: Path, path: Path, source: Mapping[str, str]) -> str:
    backbone, classifier = read_sphere20(path)
    tensors = {f"recogniser.backbone.{name}": value.contiguous() for name, value in backbone.items()}
    save_file({**tensors, "head.weight": classifier}, folder / WEIGHTS)
    content = {"source": source, "networks": {"recogniser": {}, "head": {}}}
    (folder / DESCRIPTION).write_text(f"{json.dumps(content, indent=2)}\n", encoding="utf-8")
    return f"* recogniser: SphereFace-20, with the centres of {len(classifier):,} classes as head"


def _calibrate(trained: TrainedTransformer, folder: Path) -> None:
    files = find_images(folder)
    if len(files) < _BATCH * _LEAST:
        raise UserError(
            f"calibrate={folder}: expected at least {_BATCH * _LEAST} images of different faces, found {len(files)}"
        )
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(files), generator=generator).tolist()
    chosen = [files[number] for number in order[: _BATCH * min(_BATCHES, len(files) // _BATCH)]]
    check_images(folder, chosen)

    def batches() -> Iterator[Tensor]:
        with image_progress("batches") as progress:
            for start in progress.track(range(0, len(chosen), _BATCH), description="calibrating"):
                names = chosen[start : start + _BATCH]
                yield torch.stack([_face(read_image(folder / name), trained.size) for name in names])

    calibrate(trained.network, batches(), generator)


def _face(image: np.ndarray, size: int) -> Tensor:
    return Crop.whole(*image.shape[:2]).cut(image, size)


def _describe(trained: TrainedTransformer, others: Mapping[str, Any]) -> str:
    network = trained.network
    parameters = sum(value.numel() for value in network.parameters())
    lines = [
        f"* transformer: passwords of {network.length} bits, {trained.size} px, {parameters:,} parameters",
        *(f"* {name}: as in the file" for name in others),
    ]
    if not trained.is_calibrated:
        lines.append(
            "Its batch norms have no statistics of their own, so that it cannot anonymise single faces: convert it "
            "with calibrate=FACES, a folder of at least 128 images of different faces"
        )
    return "\n".join(lines)


def _is_recogniser(content: Any) -> bool:
    return isinstance(content, Mapping) and any(
        str(name).removeprefix("module.") == "conv1_1.weight" for name in content
    )


def _card(source: Mapping[str, str], report: str) -> str:
    return f"""# Networks of {source["file"]}

Converted from a file with SHA-256 {source["sha256"]}; its licence stays what it was. The names of the weights in
`model.safetensors` begin with that of their network, as in the checkpoints of the training.

{report}
"""
