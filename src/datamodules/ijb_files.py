"""IJB-B and IJB-C from the files that the field uses: loose crops, landmarks, templates, pairs and searches.

IJB-B (Whitelam et al. 2017) and IJB-C (Maze et al. 2018) are evaluated on the release that accompanies ArcFace
(Deng et al. 2019). docs/benchmarks.md describes its files.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from src.datamodules.alignment import similarity_from_landmarks
from src.datamodules.template_sets import ImageFiles, TemplatePairs, TemplateSearch, TemplateSet
from src.datamodules.text_tables import read_integers, read_named_numbers, to_integer
from src.errors import UserError, check_choice

__all__ = ["Release", "read_ijb"]

Release = Literal["ijbb", "ijbc"]
Numbers = NDArray[np.int32]

_GALLERIES = {"ijbb": ("S1", "S2"), "ijbc": ("G1", "G2")}
_POINTS = [f"{axis}{point}" for point in range(1, 6) for axis in "xy"]
_LARGEST_TABLE = 1 << 24  # template ids up to which they are looked up in a table, of 64 MB


def read_ijb(root: Path | str, *, release: Release = "ijbc", cache: Path | str | None = None) -> TemplateSet:
    """Read the 1:1 and the 1:N protocol of IJB-B or IJB-C.

    Args:
        root: Folder with `meta/` and `loose_crop/`.
        release: Which of the two; the names of the files begin with it.
        cache: Folder to keep the parsed pairs in; None to parse them each time.

    Returns:
        The set, with a search of all probes in each of the two galleries.

    Raises:
        UserError: Files or images are missing, a line is malformed, files contradict each other, or a template
            occurs that has no image.
    """
    check_choice("release", release, get_args(Release))
    files = _Files(Path(root), release)
    files.check()
    names, ids = read_named_numbers(files.templates, ["image", "template", "medium"], whole=True)
    pointed, points = read_named_numbers(files.points, ["image", *_POINTS, "score"], whole=False)
    _check_names(files, names, pointed)
    _check_images(files, names)
    template_ids, template = np.unique(ids[:, 0], return_inverse=True)
    numbers = _TemplateNumbers(template_ids.astype(np.int32))
    with np.errstate(over="ignore"):  # infinite landmarks count as unaligned, infinite scores are refused
        landmarks = points[:, :-1].astype(np.float32).reshape(-1, 5, 2)
        weight = points[:, -1].astype(np.float32)
    return TemplateSet(
        name=release,
        images=ImageFiles(files.crops, names, landmarks),
        template=template.astype(np.int32),
        medium=ids[:, 1].astype(np.int32),
        weight=weight,
        pairs=_read_pairs(files.pairs, numbers, None if cache is None else Path(cache)),
        searches=_read_searches(files, numbers),
        unaligned=_count_unaligned(landmarks),
    )


class _Files:
    """Where the files of a release are."""

    def __init__(self, root: Path, release: Release) -> None:
        meta = root / "meta"
        self.root = root
        self.crops = root / "loose_crop"
        self.templates = meta / f"{release}_face_tid_mid.txt"
        self.points = meta / f"{release}_name_5pts_score.txt"
        self.pairs = meta / f"{release}_template_pair_label.txt"
        self.galleries = tuple(meta / f"{release}_1N_gallery_{half}.csv" for half in _GALLERIES[release])
        self.probes = meta / f"{release}_1N_probe_mixed.csv"

    def check(self) -> None:
        """Raise UserError unless all are there."""
        files = (self.templates, self.points, self.pairs, *self.galleries, self.probes)
        missing = [path for path in files if not path.is_file()]
        if not self.crops.is_dir():
            missing.append(self.crops)
        if missing:
            raise UserError(f"{self.root}: missing {', '.join(str(path.relative_to(self.root)) for path in missing)}")


def _check_names(files: _Files, names: list[str], pointed: list[str]) -> None:
    """Raise UserError unless line k of both files is about the same image, in the folder of the crops."""
    if len(names) != len(pointed):
        raise UserError(
            f"{files.points}: {len(pointed)} lines, but {files.templates.name} has {len(names)}; "
            "expected the same images in the same order. Take both files from one release"
        )
    if not names:
        raise UserError(f"{files.templates}: holds no lines; get the file again")
    if names != pointed:
        line = next(i for i, (name, other) in enumerate(zip(names, pointed, strict=True)) if name != other)
        raise UserError(
            f"{files.points}, line {line + 1}: image {pointed[line]!r}, but {files.templates.name} has {names[line]!r} "
            "there; expected the same images in the same order. Take both files from one release"
        )
    strange = [name for name in names if "/" in name or "\0" in name or name in (".", "..")]
    if strange:
        raise UserError(f"{files.templates}: {strange[0]!r} is no name of a file in {files.crops.name}")


def _check_images(files: _Files, names: list[str]) -> None:
    """Raise UserError if images are missing; one listing of the folder is all it takes."""
    try:
        present = set(os.listdir(files.crops))
    except OSError as error:
        raise UserError(f"{files.crops}: cannot be read ({error.strerror})") from error
    missing = [name for name in names if name not in present]
    if missing:
        raise UserError(
            f"{files.crops}: {len(missing)} of {len(names)} images of {files.templates.name} are missing, first: "
            f"{', '.join(map(repr, missing[:3]))}; unpack all of the loose crops"
        )


class _TemplateNumbers:
    """Turns template ids into positions among all ids that have images.

    Args:
        ids: int32 [T], ascending.
    """

    def __init__(self, ids: Numbers) -> None:
        self._ids = ids
        self._table: Numbers | None = None
        if ids[-1] < _LARGEST_TABLE:
            self._table = np.full(ids[-1] + 2, -1, dtype=np.int32)
            self._table[ids] = np.arange(len(ids), dtype=np.int32)

    def of(self, wanted: Numbers, path: Path) -> Numbers:
        """Return int32 numbers of the `wanted` ids.

        Raises:
            UserError: There are ids without images; `path` names the file they are from.
        """
        if self._table is not None:
            numbers = self._table.take(wanted, mode="clip")  # the last entry is no template
        else:
            numbers = np.minimum(np.searchsorted(self._ids, wanted), len(self._ids) - 1).astype(np.int32)
            numbers[self._ids[numbers] != wanted] = -1
        if numbers.min(initial=0) < 0:
            ids = np.unique(wanted[numbers < 0])
            raise UserError(
                f"{path}: {len(ids)} templates have no image, first: {', '.join(map(str, ids[:3]))}; "
                "take all files from one release"
            )
        return numbers


def _read_pairs(path: Path, numbers: _TemplateNumbers, cache: Path | None) -> TemplatePairs:
    first, second, label = read_integers(path, ["template", "template", "label"], cache).T
    if label.max(initial=0) > 1:
        wrong = int((label > 1).argmax())
        raise UserError(f"{path}: label {label[wrong]} of pair {wrong + 1}; expected 1 (same person) or 0")
    same = label.astype(bool)
    if same.all() or not same.any():
        raise UserError(f"{path}: {len(same)} pairs, but not both of the same and of different persons")
    return TemplatePairs(numbers.of(first, path), numbers.of(second, path), same)


def _read_searches(files: _Files, numbers: _TemplateNumbers) -> tuple[TemplateSearch, ...]:
    probe, probe_subject = _read_subjects(files.probes, numbers)
    return tuple(TemplateSearch(*_read_subjects(gallery, numbers), probe, probe_subject) for gallery in files.galleries)


def _read_subjects(path: Path, numbers: _TemplateNumbers) -> tuple[Numbers, Numbers]:
    """Numbers of the templates in a CSV file with a row per image, and the subject of each."""
    subjects: dict[int, int] = {}
    for fields, line in _read_csv(path).items():
        try:
            template, subject = map(to_integer, fields)
        except ValueError as error:
            raise UserError(f"{path}, line {line}: expected `TEMPLATE_ID,SUBJECT_ID`, found {fields}") from error
        if subjects.setdefault(template, subject) != subject:
            raise UserError(
                f"{path}, line {line}: template {template} is of subject {subject}, but of {subjects[template]} "
                "further up; get the file again"
            )
    if not subjects:
        raise UserError(f"{path}: holds no templates; get the file again")
    ids = np.fromiter(subjects, dtype=np.int32)
    return numbers.of(ids, path), np.fromiter(subjects.values(), dtype=np.int32)


def _read_csv(path: Path) -> dict[tuple[str, ...], int]:
    """First line of each different pair of the first two columns."""
    lines: dict[tuple[str, ...], int] = {}
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
            rows = csv.reader(file)
            header = [field.strip().upper() for field in next(rows, [])[:2]]
            if header != ["TEMPLATE_ID", "SUBJECT_ID"]:
                raise UserError(f"{path}: the first columns are {header}, expected TEMPLATE_ID,SUBJECT_ID")
            for row in rows:
                lines.setdefault(tuple(row[:2]), rows.line_num)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except csv.Error as error:
        raise UserError(f"{path}: no readable CSV file ({error}); get it again") from error
    lines.pop((), None)  # empty lines
    return lines


def _count_unaligned(landmarks: NDArray[np.float32]) -> int:
    parts = torch.from_numpy(landmarks).split(1 << 16)
    return sum(int((~similarity_from_landmarks(part)[1]).sum()) for part in parts)
