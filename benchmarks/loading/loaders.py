"""The loaders compared: the usual ones, ours, and the limits of decoder and machine."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
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

__all__ = ["LOADERS", "REFERENCE", "limit"]

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


def _ours(source: Callable[[Path], FaceSource], backend: str, device: str, as_float: bool) -> Loader:
    def load(root: Path, workers: int) -> Iterator[int]:
        dataset = FaceDataset(source(root), size=SIZE)
        decoder = make_backend(backend, dataset, batch_size=BATCH, threads=workers, device=torch.device(device))
        for batch in ResumableLoader(dataset, Shuffled(dataset.source, BATCH), decoder):
            yield len(to_float(batch["image"]) if as_float else batch["image"])

    return load


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
    "ours, folder": _ours(_folder, "cpu", "cpu", as_float=True),
    "ours, record": _ours(_record, "cpu", "cpu", as_float=True),
    "ours, shards": _ours(_shards, "cpu", "cpu", as_float=True),
    "ours, shards, uint8": _ours(_shards, "cpu", "cpu", as_float=False),
    "DALI CPU, shards": _ours(_shards, "dali", "cpu", as_float=True),
    "DALI CPU, shards, uint8": _ours(_shards, "dali", "cpu", as_float=False),
}
if torch.cuda.is_available():
    LOADERS |= {
        "ours, shards, to GPU": _ours(_shards, "cpu", "cuda", as_float=True),
        "DALI GPU, shards": _ours(_shards, "dali", "cuda", as_float=True),
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
