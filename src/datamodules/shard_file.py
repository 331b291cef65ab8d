"""Writing one WebDataset tar."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from webdataset import TarWriter

from src.datamodules.shard_scan import ShardTable, scan_shard
from src.datamodules.storage import Location

__all__ = ["PNG_SIGNATURE", "ShardFile"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class ShardFile:
    """Appends samples to a new tar; the same samples in the same order give the same bytes.

    Args:
        path: File to write; what it holds is lost.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.samples = 0
        self._file = open(path, "wb")  # noqa: SIM115, closed by `close` and `abandon`
        # A constant time stamp keeps the bytes reproducible and the headers short.
        self._tar = TarWriter(self._file, encoder=False, mtime=0)

    def add(
        self, key: str, images: Mapping[str, bytes], metadata: Mapping[str, Any], feature: np.ndarray | None = None
    ) -> None:
        """Append one sample.

        Args:
            key: Name without dots.
            images: Encoded JPEG or PNG per modality: `image`, and `nir` if there is one.
            metadata: Anything JSON can hold.
            feature: Embedding, float32 [D].
        """
        sample: dict[str, str | bytes] = {"__key__": key, "json": json.dumps(metadata, sort_keys=True).encode()}
        prefixes = {"image": "vis." if "nir" in images else "", "nir": "nir."}
        for modality, content in images.items():
            sample[prefixes[modality] + ("png" if content.startswith(PNG_SIGNATURE) else "jpg")] = content
        if feature is not None:
            buffer = BytesIO()
            np.save(buffer, np.asarray(feature, np.float32), allow_pickle=False)
            sample["feature.npy"] = buffer.getvalue()
        self._tar.write(sample)
        self.samples += 1

    def close(self, name: str) -> ShardTable:
        """Finish the tar, wait until it is on the disk, and read it back.

        Args:
            name: The tar's name in its data set.

        Returns:
            Its table of contents.
        """
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        with Location(self.path).open() as reader:
            return scan_shard(reader, name)

    def abandon(self) -> None:
        """Close the file after a failure; what is left in the buffers may not fit on the disk."""
        with suppress(OSError):
            self._tar.close()
        with suppress(OSError):
            self._file.close()
