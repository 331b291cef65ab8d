"""The loaders compared: the usual ones, ours, and the limits of decoder and machine."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
import webdataset
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks.loading.images import BATCH, IMAGES, SIZE
from src.datamodules.backends.backend import make_backend
from src.datamodules.backends.prefetch import map_in_order
from src.datamodules.face_dataset import FaceDataset
from src.datamodules.loader import ResumableLoader
from src.datamodules.sample import to_float
from src.datamodules.sampling import Shuffled
from src.datamodules.sources.class_folders import ClassFolders
from src.datamodules.sources.record_source import RecordSource
from src.datamodules.sources.shard_source import ShardSource
from src.datamodules.sources.source import FaceSource

__all__ = ["LOADERS", "REFERENCE", "Ours", "limit"]

Loader = Callable[[Path, int], Iterator[int]]
"""From the root of the images and the number of workers to the sizes of an epoch's batches."""

_NORMALISE = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)])


def image_folder(root: Path, workers: int) -> Iterator[int]:
    """What most training scripts do."""
    dataset = ImageFolder(str(root / "folder"), _NORMALISE)
    for images, _ in DataLoader(dataset, BATCH, shuffle=True, num_workers=workers, drop_last=True):
        yield len(images)


def webdataset_with_pillow(root: Path, workers: int) -> Iterator[int]:
    """Streams the tars; shuffled within a buffer only."""
    tars = [str(path) for path in sorted((root / "shards").glob("*.tar"))]
    samples = webdataset.WebDataset(tars, shardshuffle=100, empty_check=False, seed=0).shuffle(1000)
    batches = samples.map(_decode_with_pillow).batched(BATCH, partial=False)
    for images, _ in webdataset.WebLoader(batches, batch_size=None, num_workers=workers):
        yield len(images)


def _decode_with_pillow(sample: dict[str, Any]) -> tuple[torch.Tensor, bytes]:
    return _NORMALISE(Image.open(io.BytesIO(sample["jpg"])).convert("RGB")), sample["json"]


@dataclass(frozen=True)
class Ours:
    """A loader of this project.

    Attributes:
        source: Opens the images.
        backend: Decoder.
        device: Where the batches go.
        as_float: Yield floats, not bytes.
    """

    source: Callable[[Path], FaceSource]
    backend: str
    device: str = "cpu"
    as_float: bool = True

    def open(self, root: Path, workers: int) -> ResumableLoader:
        """Make the loader."""
        dataset = FaceDataset(self.source(root), size=SIZE)
        device = torch.device(self.device)
        decoder = make_backend(self.backend, dataset, batch_size=BATCH, threads=workers, device=device)
        return ResumableLoader(dataset, Shuffled(dataset.source, BATCH), decoder)

    def __call__(self, root: Path, workers: int) -> Iterator[int]:
        """One epoch, see `Loader`."""
        for batch in self.open(root, workers):
            images = batch["image"].to(self.device, non_blocking=True)
            yield len(to_float(images) if self.as_float else images)


def _shards(root: Path) -> FaceSource:
    return ShardSource(root / "shards")


def _folder(root: Path) -> FaceSource:
    return ClassFolders(root / "folder")


def _record(root: Path) -> FaceSource:
    return RecordSource(root / "record")


REFERENCE = "ImageFolder + Pillow"
LOADERS: dict[str, Loader] = {
    REFERENCE: image_folder,
    "webdataset + Pillow": webdataset_with_pillow,
    "ours, folder": Ours(_folder, "cpu"),
    "ours, record": Ours(_record, "cpu"),
    "ours, shards": Ours(_shards, "cpu"),
    "ours, shards, uint8": Ours(_shards, "cpu", as_float=False),
    "DALI CPU, shards": Ours(_shards, "dali"),
    "DALI CPU, shards, uint8": Ours(_shards, "dali", as_float=False),
}
if torch.cuda.is_available():
    LOADERS |= {
        "ours, shards, to GPU": Ours(_shards, "cpu", "cuda"),
        "DALI GPU, shards": Ours(_shards, "dali", "cuda"),
    }


def limit(root: Path, workers: int) -> Iterator[int]:
    """libjpeg-turbo alone, on images in memory, in as many threads, into a buffer that is reused."""
    source = _shards(root)
    contents = [source.content(row) for row in range(IMAGES)]

    def decode(start: int) -> int:
        out = np.empty((SIZE, SIZE, 3), np.uint8)
        for content in contents[start : start + BATCH]:
            simplejpeg.decode_jpeg(content, "RGB", buffer=out)
        return BATCH

    return map_in_order(decode, iter(range(0, IMAGES - BATCH + 1, BATCH)), threads=workers, ahead=workers + 1)
