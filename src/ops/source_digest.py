"""Digest of the C++ sources, which a compiled library carries so that an outdated one is noticed; needs no torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["source_digest"]


def source_digest(folder: Path) -> str:
    """Hex digest of the names and contents of a folder's C++ files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.suffix in (".cpp", ".h", ".inl")):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
