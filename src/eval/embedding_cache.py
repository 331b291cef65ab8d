"""What an extraction left, kept on disk, so that the same network meets the same images only once."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

from rich.filesize import decimal
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from src.eval.collector import Collected
from src.files import atomic_write

__all__ = ["EmbeddingCache"]

log = logging.getLogger(__name__)

_VERSION = 1
"""Of the extraction: to be raised when alignment, decoding or the form of what is kept changes."""


class EmbeddingCache:
    """A folder of safetensors files, each named after all that its content depends on.

    Files are written under another name and renamed, so that a killed writer leaves nothing that could be read and two
    runs may write the same entry. They can be deleted at any time.

    Args:
        folder: Created when something is stored.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def path(self, origin: Mapping[str, str]) -> Path:
        """File of an extraction.

        Args:
            origin: All that the embeddings depend on, e.g. fingerprints of network and images, and the precision.
        """
        facts = json.dumps({"version": str(_VERSION), **origin}, sort_keys=True)
        return self.folder / f"{hashlib.sha256(facts.encode()).hexdigest()[:32]}.safetensors"

    def load(self, origin: Mapping[str, str]) -> Collected | None:
        """What was stored, or None; a damaged file counts as none."""
        path = self.path(origin)
        if not path.exists():
            return None
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            log.warning("%s is damaged (%s) and will be replaced", path, error)
            return None

    def store(self, origin: Mapping[str, str], collected: Collected) -> None:
        """Keep an extraction; where that fails, e.g. on a full disk, a warning is all that comes of it."""
        path = self.path(origin)
        try:
            with atomic_write(path) as file:
                save_file({name: tensor.contiguous() for name, tensor in collected.items()}, file.name)
        except (OSError, SafetensorError) as error:
            log.warning("%s: embeddings were not kept (%s)", path, error)
            return
        log.info("embeddings kept in %s (%s)", path, decimal(path.stat().st_size))
