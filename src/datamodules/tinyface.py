"""TinyFace (Cheng et al. 2018): identification of faces of some twenty pixels, photographed that way."""

from __future__ import annotations

import re
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from src.datamodules.photographs import list_images
from src.datamodules.template_sets import ImageFiles, TemplateSearch, TemplateSet
from src.errors import UserError

__all__ = ["read_tinyface"]

_FOLDERS = ("Probe", "Gallery_Match", "Gallery_Distractor")
_SUBJECT = re.compile(r"(\d{1,9})_", re.ASCII)


def read_tinyface(root: Path | str) -> TemplateSet:
    """Read the identification test; every image is a template.

    The subject of a probe or a match is the number before the first underscore of the file name. Every distractor is
    a subject of its own, whom no probe shows.

    Args:
        root: Folder with the folders `Probe`, `Gallery_Match` and `Gallery_Distractor` of aligned square crops, at
            any depth below them.

    Raises:
        UserError: A folder is missing or holds no images, a file name has no subject, or no probe has a match.
    """
    root = Path(root)
    found = [list_images(root, folder) for folder in _FOLDERS]
    empty = [folder for folder, names in zip(_FOLDERS, found, strict=True) if not names]
    if empty:
        raise UserError(f"{root}: no images in {', '.join(empty)}")
    probes, matches, distractors = found
    names = [*probes, *matches, *distractors]
    number = np.arange(len(names), dtype=np.int32)
    nobody = -1 - np.arange(len(distractors), dtype=np.int32)
    search = TemplateSearch(
        gallery=number[len(probes) :],
        gallery_subject=np.concatenate([_subjects(root, matches), nobody]),
        probe=number[: len(probes)],
        probe_subject=_subjects(root, probes),
    )
    return TemplateSet(
        name="tinyface",
        images=ImageFiles(root, names),
        template=number,
        medium=np.zeros_like(number),
        weight=np.ones(len(names), dtype=np.float32),
        searches=(search,),
    )


def _subjects(root: Path, names: list[str]) -> NDArray[np.int32]:
    found = [_SUBJECT.match(PurePath(name).name) for name in names]
    subjects = [int(match.group(1)) for match in found if match]
    if len(subjects) < len(names):
        name = names[found.index(None)]
        raise UserError(f"{root / name}: expected a name such as 123_2.jpg, the number of the person first")
    return np.array(subjects, dtype=np.int32)
