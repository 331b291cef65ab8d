"""Photographs in a folder, found by the names that a protocol gives them."""

from __future__ import annotations

import os
from pathlib import Path

from src.datamodules.evaluation_images import ImageFile
from src.datamodules.landmarks import read_landmarks
from src.datamodules.sources.file_source import IMAGE_SUFFIXES
from src.errors import UserError

__all__ = ["find_images", "list_images"]


def find_images(root: Path, names: list[str], depth: int, landmarks: str | None, asked_by: Path) -> list[ImageFile]:
    """Find photographs by the last parts of their path; names in the files of a protocol never become paths.

    Args:
        root: Folder with the photographs at any depth.
        names: Last parts of their paths without suffix.
        depth: Number of those parts.
        landmarks: CSV file in the root to align by, used if it exists; without it those of LFW are cropped by position.
        asked_by: File that names them, for messages.

    Raises:
        UserError: Photographs are missing or occur twice, or have no landmarks.
    """
    found: dict[str, list[str]] = {}
    for file in list_images(root):
        key = "/".join(file.rpartition(".")[0].split("/")[-depth:])
        found.setdefault(key, []).append(file)
    if missing := [name for name in names if name not in found]:
        raise UserError(
            f"{asked_by}: {len(missing)} of {len(names)} images are not below {root}, first: {', '.join(missing[:3])}"
        )
    if doubled := next((found[name] for name in names if len(found[name]) > 1), None):
        raise UserError(f"{root}: {doubled[0]} and {doubled[1]} have the same name; give a folder with one of them")
    files = [found[name][0] for name in names]
    if landmarks is None or not (root / landmarks).exists():
        return [ImageFile(root / file, lfw_crop=True) for file in files]
    table = read_landmarks(root / landmarks)
    if missing := [file for file in files if file not in table]:
        raise UserError(
            f"{root / landmarks}: no row for {len(missing)} of {len(files)} images, first: {', '.join(missing[:3])}"
        )
    return [ImageFile(root / file, table[file]) for file in files]


def list_images(root: Path, folder: str = ".") -> list[str]:
    """Paths, relative to ``root``, of all image files below it or below one of its folders; sorted."""
    return sorted(
        os.path.relpath(os.path.join(path, name), root)
        for path, _, names in os.walk(root / folder)
        for name in names
        if name.lower().endswith(IMAGE_SUFFIXES)
    )
