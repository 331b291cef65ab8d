"""Images to load: natural-like, in class folders, shards and a record file."""

from __future__ import annotations

import io
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

from src.datamodules.record_writer import RecordWriter
from src.datamodules.shards import ShardWriter

__all__ = ["BATCH", "IMAGES", "SIZE", "make_images"]

SIZE, IMAGES, CLASSES, BATCH = 112, 20_000, 100, 64
_DISTINCT, _PER_SHARD = 2_000, 2_000


def make_images(root: Path) -> None:
    """Write the same images as ``folder/``, ``shards/`` and ``record/``."""
    with get_context("spawn").Pool() as pool:
        drawn = pool.imap(partial(natural_image, size=SIZE), range(_DISTINCT), chunksize=50)
        contents = list(track(drawn, "drawing images", total=_DISTINCT, transient=True))
    for label in range(CLASSES):
        (root / "folder" / f"{label:03d}").mkdir(parents=True)
    with (
        ShardWriter(root / "shards", samples_per_shard=_PER_SHARD, resolution=SIZE) as shards,
        RecordWriter(root / "record", resolution=SIZE) as record,
    ):
        for i in track(range(IMAGES), "writing images", transient=True):
            content, label = contents[i % _DISTINCT], i * CLASSES // IMAGES
            (root / "folder" / f"{label:03d}" / f"{i:06d}.jpg").write_bytes(content)
            shards.add(f"{i:06d}", visible=content, metadata={"label": label, "subject": f"{label:03d}"})
            record.add(content, label)


def natural_image(seed: int, size: int) -> bytes:
    """A JPEG of quality 95 whose spectrum falls off with frequency like that of photographs."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    frequency[0, 0] = 1
    noise = np.random.default_rng(seed).normal(size=(3, size, size))
    image = np.fft.ifft2(np.fft.fft2(noise) / frequency).real
    image = 127 + 50 * (image - image.mean()) / image.std()
    buffer = io.BytesIO()
    Image.fromarray(image.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()
