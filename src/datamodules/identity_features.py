"""Identity features: the embedding of every visible image that a generator is conditioned on, and their file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from src.datamodules.sources.file_source import natural_key
from src.datamodules.storage import Location
from src.errors import UserError
from src.files import atomic_write, explain_full_disk

__all__ = [
    "IDENTITY_FEATURES",
    "VISIBLE",
    "feature_name",
    "medoids",
    "read_identity_features",
    "write_identity_features",
]

IDENTITY_FEATURES = "identity_features.json"
"""Usual name of the file, beside the folders of the images."""

VISIBLE = "VIS"
"""Folder of the visible images, which the names in the file are relative to."""

_NAMED = 3


def feature_name(key: str) -> str:
    """Name of an image in the file: its key in its source, relative to `VISIBLE` if it lies there."""
    return key.removeprefix(f"{VISIBLE}/")


def medoids(features: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """For each image the most typical image of its identity.

    That is the one with the highest mean cosine similarity to the other images of the identity (Tomasevic et al. 2024,
    training labels "one"); of several the first in the natural order of the names, and of an identity with one image
    that one.

    Args:
        features: float [N, D].
        labels: int [N], class numbers.
        names: N names.

    Returns:
        int64 [N], rows of `features`.
    """
    result = np.empty(len(labels), np.int64)
    order = _natural_order(names)
    order = order[np.argsort(labels[order], kind="stable")]
    boundaries = np.flatnonzero(np.diff(labels[order])) + 1
    for rows in np.split(order, boundaries):
        unit = F.normalize(torch.from_numpy(features[rows]).double(), dim=1)
        similarity = (unit @ unit.mT).fill_diagonal_(0)
        # A product need not be symmetric to the last bit, and two images are equally typical of their identity.
        result[rows] = rows[int((similarity + similarity.mT).sum(1).argmax())]
    return result


def write_identity_features(path: Path, names: Sequence[str], features: np.ndarray) -> None:
    """Write `{"<name>": [D numbers], ...}`, one name per line, in the natural order of the names.

    Reading the file gives the same float32 numbers.

    Args:
        path: The file; it is written as a whole or not at all.
        names: N names, see `feature_name`.
        features: float32 [N, D].

    Raises:
        UserError: The disk is full.
    """
    with explain_full_disk(path, "nothing was written"), atomic_write(path, "w") as file:
        for position, row in enumerate(_natural_order(names).tolist()):
            file.write(f"{',' if position else '{'}\n{json.dumps(names[row])}: {json.dumps(features[row].tolist())}")
        file.write("\n}\n")


def read_identity_features(file: Location, names: Sequence[str]) -> np.ndarray:
    """Read the features of some images.

    Args:
        file: JSON object of file name -> list of D numbers, with slashes or back-slashes; or of file name -> class
            number, which stands for the one-hot vector of it.
        names: N names, see `feature_name`.

    Returns:
        float32 [N, D], D being the highest class number of these images plus one where the file has class numbers.

    Raises:
        UserError: The file cannot be read, lacks an image, or holds something else.
    """
    table = _read_table(file)
    if missing := [name for name in names if name not in table]:
        raise UserError(
            f"{file}: no feature for {len(missing)} of {len(names)} visible images, first: "
            f"{', '.join(missing[:_NAMED])}; make the file again with privface features, or set features=null"
        )
    values = [table[name] for name in names]
    if all(type(value) is int for value in values):
        return _one_hot(file, values)
    try:
        features = np.array(values, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{file}: expected lists of numbers, all of one length ({error})") from error
    if features.ndim != 2 or not np.isfinite(features).all():
        raise UserError(f"{file}: expected one list of finite numbers per image")
    return features


def _natural_order(names: Sequence[str]) -> np.ndarray:
    return np.array(sorted(range(len(names)), key=lambda row: natural_key(names[row])), np.int64)


def _read_table(file: Location) -> dict[str, Any]:
    content = file.read_bytes()
    try:
        return {name.replace("\\", "/"): value for name, value in json.loads(content).items()}
    except (AttributeError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: expected a JSON object of file name -> list of numbers ({error})") from error


def _one_hot(file: Location, numbers: Sequence[int]) -> np.ndarray:
    if min(numbers) < 0 or max(numbers) >= len(numbers):
        raise UserError(
            f"{file}: class numbers from {min(numbers)} to {max(numbers)} for {len(numbers)} images; number the "
            "classes from 0 on, or give a list of numbers per image"
        )
    vectors = np.zeros((len(numbers), max(numbers) + 1), np.float32)
    vectors[np.arange(len(numbers)), numbers] = 1
    return vectors
