"""Visible and near-infrared face images side by side in two folders, the layout of ArcBiFaceGAN."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from src.datamodules.sources.file_source import IMAGE_SUFFIXES, FileSource, natural_key, select_images
from src.datamodules.sources.source import LeftOut
from src.datamodules.storage import Location
from src.errors import UserError, check_choice

__all__ = ["PairedFolders"]

_FOLDERS = {"image": "VIS", "nir": "NIR"}
_EXAMPLES = 10


class PairedFolders(FileSource):
    """Images `root/VIS/{identity}_{sample}.jpg` and `root/NIR/{identity}_{sample}.jpg`, at any depth.

    The two images of a sample have the same path below their folder but for the suffix. The identity is the text
    before the first underscore of the base name; identities are numbered in their natural order.

    Args:
        root: The folder; a path or a URL.
        features: JSON file `{"<visible image, relative to VIS>": [512 numbers], ...}` with an embedding of every
            visible image, such as `identity_features.json`.
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
        self._features = None if features is None else _read_features(Location(features), files["image"])

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


def _read_features(file: Location, visible: Sequence[str]) -> np.ndarray:
    """Read the embeddings of the visible images, float32 [N, D]."""
    content = file.read_bytes()
    try:
        table = {name.replace("\\", "/"): vector for name, vector in json.loads(content).items()}
    except (AttributeError, ValueError) as error:
        raise UserError(f"{file}: expected a JSON object of file name -> list of numbers ({error})") from error
    names = [path.removeprefix(f"{_FOLDERS['image']}/") for path in visible]
    if missing := [name for name in names if name not in table]:
        raise UserError(
            f"{file}: no feature for {len(missing)} of {len(names)} visible images, first: {', '.join(missing[:3])}; "
            "make the file again, or set features=null"
        )
    try:
        features = np.array([table[name] for name in names], np.float32)
    except (TypeError, ValueError) as error:
        raise UserError(f"{file}: expected lists of numbers, all of one length ({error})") from error
    if features.ndim != 2 or not np.isfinite(features).all():
        raise UserError(f"{file}: expected one list of finite numbers per image")
    return features
