"""The proof that a part of a data set was written, and what is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np

from src.files import atomic_write

__all__ = ["Receipt"]

_FACTS = ("number", "samples", "bytes", "sha256", "side", "degenerate", "skipped")


@dataclass(frozen=True)
class Receipt:
    """One finished part.

    Attributes:
        number: From 0.
        samples: Images in it, pairs of two modalities counted once.
        bytes: Its length.
        sha256: Hex digest of its content.
        contents: What its target needs to complete the data set, arrays by name.
        side: Of all its visible images in pixels; 0 if they differ or are not square.
        degenerate: Samples whose centre was taken for want of usable landmarks.
        skipped: Name and reason of the samples that could not be read.
    """

    number: int
    samples: int
    bytes: int
    sha256: str
    contents: Mapping[str, np.ndarray] = field(repr=False)
    side: int = 0
    degenerate: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write it so that a reader never finds half of it."""
        facts = json.dumps({name: getattr(self, name) for name in _FACTS}).encode()
        buffer = BytesIO()
        np.savez(buffer, facts=np.frombuffer(facts, np.uint8), **self.contents)  # type: ignore[arg-type]
        with atomic_write(path) as file:
            file.write(buffer.getbuffer())

    @classmethod
    def load(cls, path: Path) -> Receipt:
        """Read it back.

        Raises:
            ValueError: Damaged.
        """
        with np.load(path, allow_pickle=False) as archive:
            contents = {name: archive[name] for name in archive.files}
        facts = json.loads(contents.pop("facts").tobytes())
        facts["skipped"] = [(key, reason) for key, reason in facts["skipped"]]
        return cls(contents=contents, **facts)
