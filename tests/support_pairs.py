"""Pairs of visible and near-infrared images in folders, without faces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from support_source import picture

__all__ = ["write_pairs"]


def write_pairs(root: Path, stems: Sequence[str], size: int = 32) -> Path:
    """Write `VIS/<stem>.jpg` and a different `NIR/<stem>.png` for each stem; smooth squares of `size` pixels."""
    for number, stem in enumerate(stems):
        for folder, suffix, grey in (("VIS", "jpg", False), ("NIR", "png", True)):
            path = root / folder / f"{stem}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            kind = "PNG" if grey else "JPEG"
            path.write_bytes(picture(2 * number + grey, size, size, grey=grey, kind=kind))
    return root
