"""Visible and near-infrared face images side by side in two folders, the layout of ArcBiFaceGAN."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from src.datamodules.identity_features import VISIBLE, feature_name, read_identity_features
from src.datamodules.sources.file_source import IMAGE_SUFFIXES, FileSource, natural_key, select_images
from src.datamodules.sources.source import LeftOut
from src.datamodules.storage import Location
from src.errors import UserError, check_choice

__all__ = ["PairedFolders"]

_FOLDERS = {"image": VISIBLE, "nir": "NIR"}
_EXAMPLES = 10


class PairedFolders(FileSource):
    """Images `root/VIS/{identity}_{sample}.jpg` and `root/NIR/{identity}_{sample}.jpg`, at any depth.

    The two images of a sample have the same path below their folder but for the suffix. The identity is the text
    before the first underscore of the base name; identities are numbered in their natural order.

    Args:
        root: The folder; a path or a URL.
        features: JSON file `{"<visible image, relative to VIS>": [512 numbers], ...}` with an embedding of every
            visible image, as `privface features` writes it; see `identity_features.read_identity_features`.
        unmatched: What to do about images without their partner: stop, or leave them out.

    Raises:
        UserError: A folder or all images are missing, two images have one stem, images without partner, or a bad
            feature file.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        features: Path | str | None = None,
        unmatched: Literal["error", "drop"] = "error",
    ) -> None:
        check_choice("unmatched", unmatched, ("error", "drop"))
        folder = Location(root)
        found, left_out = {}, []
        for modality, name in _FOLDERS.items():
            found[modality], others = _list_by_stem(folder, name)
            left_out += others
        visible, infrared = found["image"], found["nir"]
        stems = sorted(visible.keys() & infrared.keys(), key=lambda stem: (natural_key(_identity(stem)), stem))
        alone = [(file, "NIR") for stem, file in visible.items() if stem not in infrared]
        alone += [(file, "VIS") for stem, file in infrared.items() if stem not in visible]
        if alone and (unmatched == "error" or not stems):
            raise UserError(
                f"{root}: {len(alone)} images have no partner of their stem in the other folder: {_enumerate(alone)}. "
                "Add or remove them, or set unmatched=drop to leave them out."
            )
        left_out += [LeftOut(file, f"no image of this stem in {other}") for file, other in alone]
        identities = [_identity(stem) for stem in stems]
        classes = list(dict.fromkeys(identities))
        numbers = {identity: number for number, identity in enumerate(classes)}
        files = {modality: [by_stem[stem] for stem in stems] for modality, by_stem in found.items()}
        labels = np.array([numbers[identity] for identity in identities], np.int32)
        super().__init__(folder, files, labels, classes, left_out=left_out)
        self.has_features = features is not None
        self._features = None if features is None else _read_features(features, files["image"])

    def feature(self, row: int) -> np.ndarray:
        """Embedding of the visible image, float32 [D]."""
        assert self._features is not None
        return self._features[row]


def _identity(stem: str) -> str:
    return stem.rpartition("/")[2].partition("_")[0]


def _list_by_stem(root: Location, folder: str) -> tuple[dict[str, str], list[LeftOut]]:
    """Map paths below `root/folder` without suffix to paths below the root; what is no readable image comes apart."""
    files, others = select_images((root / folder).files())
    if not files:
        raise UserError(f"{root / folder}: no image found; expected {', '.join(IMAGE_SUFFIXES)} files")
    by_stem: dict[str, str] = {}
    for file in files:
        path = f"{folder}/{file}"
        if (other := by_stem.setdefault(os.path.splitext(file)[0], path)) != path:
            raise UserError(f"{root}: {other} and {path} have the same stem; remove one of them")
    return by_stem, [LeftOut(f"{folder}/{other.name}", other.reason) for other in others]


def _enumerate(alone: Sequence[tuple[str, str]]) -> str:
    files = ", ".join(file for file, _ in alone[:_EXAMPLES])
    return files + (f" and {len(alone) - _EXAMPLES} more" if len(alone) > _EXAMPLES else "")


def _read_features(file: Path | str, visible: Sequence[str]) -> np.ndarray:
    return read_identity_features(Location(file), [feature_name(path) for path in visible])
