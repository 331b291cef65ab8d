"""Verification sets from folders of photographs and the pair files of LFW, CALFW and CPLFW."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from src.datamodules.alignment import align, resize
from src.datamodules.decode import BadImage, decode
from src.datamodules.landmarks import read_landmarks
from src.datamodules.sources.file_source import IMAGE_SUFFIXES
from src.datamodules.verification_sets import VerificationSet
from src.errors import UserError

__all__ = ["ImageFile", "read_calfw_pairs", "read_lfw_pairs"]

# Where the template falls in LFW's 250 x 250 photographs, on the average over their landmarks.
_LFW_SIDE, _LFW_LEFT, _LFW_TOP, _LFW_CROP = 250, 61, 52, 130


@dataclass(frozen=True)
class ImageFile:
    """A face photograph on disk.

    With landmarks it is aligned to the template. Without, a 250 x 250 photograph is taken for one of LFW, whose
    faces are centred: its 130 x 130 pixels from (61, 52) on are used; any other square is taken as aligned.
    """

    path: Path
    landmarks: torch.Tensor | None = None

    def load(self, size: int) -> torch.Tensor:
        """Read, decode and crop; uint8 [size, size, 3] RGB."""
        try:
            image = decode(self.path.read_bytes())
        except (OSError, BadImage) as error:
            raise BadImage(f"{self.path}: {error}") from error
        if self.landmarks is not None:
            return align(image, self.landmarks, size)
        height, width = image.shape[:2]
        if height != width:
            raise BadImage(f"{self.path}: {width} x {height} pixels; without landmarks a square is expected")
        if width == _LFW_SIDE:
            image = image[_LFW_TOP : _LFW_TOP + _LFW_CROP, _LFW_LEFT : _LFW_LEFT + _LFW_CROP]
        return resize(image, size)


def read_lfw_pairs(
    root: Path | str, *, name: str = "lfw", pairs: str = "pairs.txt", landmarks: str | None = "landmarks.csv"
) -> VerificationSet:
    """Read LFW's pair protocol (Huang et al. 2007).

    The first line is `<folds> <pairs per fold and kind>` or `<folds>`; then come `name i j` (same person) and
    `name i other j` (different persons), fold by fold.

    Args:
        root: Folder with, at any depth, `<name>/<name>_0001.jpg`.
        name: Of the set.
        pairs: The pair file, relative to the root.
        landmarks: CSV file in the root, used if it exists; None to crop by position.

    Raises:
        UserError: Missing or malformed file, images that are missing or occur twice, images without landmarks, or a
            fold without pairs of both kinds.
    """
    root = Path(root)
    path = root / pairs
    lines = _read_lines(path)
    try:
        folds, *per_kind = (int(number) for number in lines[0][1])
    except ValueError as error:
        raise UserError(f"{path}, line 1: expected `<folds> <pairs>`, found {lines[0][1]}") from error
    if per_kind and len(lines) - 1 != 2 * folds * per_kind[0]:
        raise UserError(
            f"{path}: {len(lines) - 1} pairs, but line 1 promises {folds} folds of 2 x {per_kind[0]}; "
            "get the file again"
        )
    files, same = [], []
    for number, fields in lines[1:]:
        if len(fields) not in (3, 4) or not (fields[1].isdecimal() and fields[-1].isdecimal()):
            raise UserError(f"{path}, line {number}: expected `name i j` or `name i name j`, found {fields}")
        for person, image in ((fields[0], fields[1]), (fields[-2] if len(fields) == 4 else fields[0], fields[-1])):
            files.append(f"{person}/{person}_{int(image):04d}")
        same.append(len(fields) == 3)
    return VerificationSet(name, _find_images(root, files, 2, landmarks, path), np.array(same), folds)


def read_calfw_pairs(
    root: Path | str, *, name: str, pairs: str, landmarks: str | None = "landmarks.csv", folds: int = 10
) -> VerificationSet:
    """Read the pair protocol of CALFW (Zheng et al. 2017) and CPLFW (Zheng and Deng 2018).

    Two lines per pair, `<image> <flag>`; the flag is 0 for different persons and the fold's number otherwise.

    Args:
        root: Folder with the images at any depth.
        name: Of the set.
        pairs: The pair file, relative to the root.
        landmarks: CSV file in the root, used if it exists; None to crop by position.
        folds: Number of contiguous folds.

    Raises:
        UserError: As for `read_lfw_pairs`.
    """
    root = Path(root)
    path = root / pairs
    lines = _read_lines(path)
    for number, fields in lines:
        if len(fields) != 2 or not fields[1].isdecimal():
            raise UserError(f"{path}, line {number}: expected `<image> <flag>`, found {fields}")
    flags = [fields[1] for _, fields in lines]
    if flags[::2] != flags[1::2]:
        raise UserError(
            f"{path}: the two lines of a pair differ in their flag, or a line is missing; get the file again"
        )
    files = [Path(fields[0]).stem for _, fields in lines]
    same = np.array([flag != "0" for flag in flags[::2]])
    return VerificationSet(name, _find_images(root, files, 1, landmarks, path), same, folds)


def _read_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Read the non-empty lines with their numbers, split at tabs or spaces."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); give the pair file of the set") from error
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if len(lines) < 2:
        raise UserError(f"{path}: holds no pairs")
    return lines


def _find_images(root: Path, names: list[str], depth: int, landmarks: str | None, pairs: Path) -> list[ImageFile]:
    """Find images by the last `depth` parts of their path without suffix; names in pair files never become paths."""
    found: dict[str, list[str]] = {}
    for file in _walk(root):
        key = "/".join(file.rpartition(".")[0].split("/")[-depth:])
        found.setdefault(key, []).append(file)
    if missing := [name for name in names if name not in found]:
        raise UserError(
            f"{pairs}: {len(missing)} of {len(names)} images are not below {root}, first: {', '.join(missing[:3])}"
        )
    if doubled := next((found[name] for name in names if len(found[name]) > 1), None):
        raise UserError(f"{root}: {doubled[0]} and {doubled[1]} have the same name; give a folder with one of them")
    files = [found[name][0] for name in names]
    if landmarks is None or not (root / landmarks).exists():
        return [ImageFile(root / file) for file in files]
    table = read_landmarks(root / landmarks)
    if missing := [file for file in files if file not in table]:
        raise UserError(
            f"{root / landmarks}: no row for {len(missing)} of {len(files)} images, first: {', '.join(missing[:3])}"
        )
    return [ImageFile(root / file, table[file]) for file in files]


def _walk(root: Path) -> Iterator[str]:
    for folder, _, names in os.walk(root):
        for name in names:
            if name.lower().endswith(IMAGE_SUFFIXES):
                yield Path(folder, name).relative_to(root).as_posix()
