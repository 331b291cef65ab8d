"""The photographs that a command was given, and who is on them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from torch import Tensor

from src.datamodules.evaluation_images import ImageFile
from src.datamodules.landmarks import read_landmarks
from src.datamodules.photographs import list_images
from src.datamodules.sources.file_source import IMAGE_SUFFIXES
from src.errors import UserError, check_choice

__all__ = ["NamedBy", "Photograph", "describe_alignment", "find_people", "find_photographs"]

NamedBy = Literal["folder", "file"]

_LANDMARKS = "landmarks.csv"
_HEADER = ["image", "person"]


@dataclass(frozen=True)
class Photograph:
    """A photograph of one face.

    Attributes:
        name: Its path, as the command was given the folder.
        path: Its path whichever way the command was given the folder: absolute, without links.
        person: Who is on it; the empty string where nobody said so.
        image: Reads it: aligned by a ``landmarks.csv``, or else cropped as the photographs of benchmarks are.
    """

    name: str
    path: str
    person: str
    image: ImageFile


def find_photographs(images: Path) -> list[Photograph]:
    """All photographs below a folder, by path; or the one that a file holds.

    Raises:
        UserError: There are none, or landmarks are missing.
    """
    if not images.is_file():
        return _read(images, dict.fromkeys(_list(images), ""))
    if not images.name.lower().endswith(IMAGE_SUFFIXES):
        raise UserError(f"images={images}: expected a folder, or an image: {', '.join(IMAGE_SUFFIXES)}")
    return _read(images.parent, {images.name: ""})


def find_people(images: Path, named_by: NamedBy, label_map: Path | None) -> tuple[list[Photograph], int]:
    """The photographs of known people below a folder, by path.

    Args:
        images: The folder.
        named_by: What tells people apart: ``"folder"``, the name of the one that a photograph lies in; or ``"file"``,
            its name without suffix.
        label_map: CSV file ``image,person`` that tells them apart instead, with paths below ``images``.

    Returns:
        The photographs, and how many were left out: those that the label map does not name, or that lie beside the
        folders of people.

    Raises:
        UserError: There are none, two folders or files have the same name, the label map is wrong, or landmarks are
            missing.
    """
    check_choice("named_by", named_by, get_args(NamedBy))
    files = _list(images)
    if label_map is not None:
        people = _read_label_map(label_map, images, set(files))
    elif named_by == "file":
        people = {file: Path(file).stem for file in files}
        _check_unique(images, people, named_by)
    else:
        people = {file: file.split("/")[-2] for file in files if "/" in file}
        if not people:
            raise UserError(
                f"images={images}: all photographs lie right in it, so no folder tells who is on them. Give the folder "
                "above if they are of one person, set named_by=file if each is of another one, or give a label_map"
            )
        _check_unique(images, {file.rpartition("/")[0]: person for file, person in people.items()}, named_by)
    return _read(images, people), len(files) - len(people)


def describe_alignment(photographs: Sequence[Photograph]) -> str:
    """How faces are cut out of photographs that were found together."""
    if photographs[0].image.landmarks is not None:
        return f"aligned by {_LANDMARKS}"
    return f"taken as they are, there is no {_LANDMARKS}"


def _check_unique(images: Path, people: Mapping[str, str], named_by: NamedBy) -> None:
    """Raise UserError if two places, folders or files, name the same person: it may be two people."""
    places: dict[str, str] = {}
    for place, person in people.items():
        if person in places:
            raise UserError(
                f"images={images}: {places[person]} and {place} have the same name, {person}, so named_by={named_by} "
                "does not tell whether they are of one person. Rename one, or give a label_map, a CSV file "
                "image,person, which may give many images the same person"
            )
        places[person] = place


def _list(images: Path) -> list[str]:
    """Paths of all images below a folder; raises UserError if there are none."""
    if not images.is_dir():
        raise UserError(f"images={images}: there is no such folder")
    files = list_images(images)
    if not files:
        raise UserError(f"images={images}: holds no images, expected {', '.join(IMAGE_SUFFIXES)} at any depth")
    return files


def _read(root: Path, people: dict[str, str]) -> list[Photograph]:
    """Photographs by their file below ``root``, with their people."""
    landmarks = _find_landmarks(root, next(iter(people)))
    resolved = root.resolve()
    return [
        Photograph(
            _printable(root / file),
            _printable(resolved / file),
            person,
            ImageFile(root / file, lfw_crop=True) if landmarks is None else ImageFile(root / file, landmarks[file]),
        )
        for file, person in people.items()
    ]


class _Landmarks:
    """Landmarks of photographs below ``root`` by a table that lies there or further up."""

    def __init__(self, table: Path, root: Path) -> None:
        self.table = table
        self._points = read_landmarks(table)
        self._prefix = root.absolute().relative_to(table.parent.absolute())

    def __contains__(self, file: str) -> bool:
        return (self._prefix / file).as_posix() in self._points

    def __getitem__(self, file: str) -> Tensor:
        if file not in self:
            raise UserError(
                f"{self.table}: no row for {(self._prefix / file).as_posix()}; add it, or move the table away"
            )
        return self._points[(self._prefix / file).as_posix()]


def _find_landmarks(root: Path, file: str) -> _Landmarks | None:
    """The table of landmarks in ``root``, or the nearest one further up that names a file below it.

    Somebody is enrolled from the folder of all people, and looked for from the folder of his own.
    """
    if (root / _LANDMARKS).exists():
        return _Landmarks(root / _LANDMARKS, root)
    tables = (folder / _LANDMARKS for folder in root.absolute().parents)
    found = (_Landmarks(table, root) for table in tables if table.exists())
    return next((landmarks for landmarks in found if file in landmarks), None)


def _printable(path: Path) -> str:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(f"{str(path)!r}: the name is no UTF-8 text, so no table can hold it; rename it") from None
    return str(path)


def _read_label_map(path: Path, root: Path, files: set[str]) -> dict[str, str]:
    """Image -> person, of a CSV file that names images below ``root``; in the order of the images."""
    people: dict[str, str] = {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            if header != _HEADER:
                raise UserError(f"{path}: the first line is {','.join(header)!r}, expected {','.join(_HEADER)!r}")
            for row in rows:
                if len(row) != 2 or not all(row):
                    raise UserError(f"{path}, line {rows.line_num}: expected an image and a person, found {row}")
                if row[0] in people:
                    raise UserError(f"{path}, line {rows.line_num}: the image {row[0]!r} occurs twice; keep one row")
                people[row[0]] = row[1]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"label_map={path}: cannot be read ({error}); give a CSV file image,person") from error
    if missing := [image for image in people if image not in files]:
        raise UserError(
            f"{path}: {len(missing)} of {len(people)} images are not below {root}, first: {', '.join(missing[:3])}"
        )
    if not people:
        raise UserError(f"{path}: names no image; give a row image,person for each to enrol")
    return {image: people[image] for image in sorted(people)}
