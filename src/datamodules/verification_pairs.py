"""Verification sets from folders of photographs and the pair files of LFW, CALFW and CPLFW."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from src.datamodules.photographs import find_images
from src.datamodules.verification_sets import VerificationSet
from src.errors import UserError

__all__ = ["read_calfw_pairs", "read_lfw_pairs"]


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
    return VerificationSet(name, find_images(root, files, 2, landmarks, path), np.array(same), folds)


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
    return VerificationSet(name, find_images(root, files, 1, landmarks, path), same, folds)


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
