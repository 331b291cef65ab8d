"""Genders that data sets tell in files of their own: LFW's lists of names, ColorFERET's XML, MAAD-Face's CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

from src.datamodules.sample import UNKNOWN
from src.errors import UserError

__all__ = ["GenderTable", "read_colorferet_genders", "read_lfw_genders", "read_maad_genders"]

GenderTable = Callable[[str, str], int]
"""From the path of an image below its root, and its subject, to 0 (female), 1 (male) or -1 (unknown)."""

_LFW_SUFFIX = len("_0001")
_IN_NEITHER_LIST_OF_LFW = "Tara_Kirk"
_FERET_PREFIX = len("cfrs")
_FERET_CODES = {"Female": 0, "Male": 1}
_MAAD_CODES = {"-1": 0, "1": 1}


def read_lfw_genders(female_names: Path | str, male_names: Path | str) -> GenderTable:
    """Read the lists of LFW's women and men, each line a file such as `Aaron_Peirsol_0001.jpg`.

    Tara Kirk, whom both lists lack, is female.

    Args:
        female_names: `female_names.txt`.
        male_names: `male_names.txt`.

    Returns:
        The gender of each person.

    Raises:
        UserError: A file cannot be read, or a person is in both.
    """
    genders = {_IN_NEITHER_LIST_OF_LFW: 0}
    for gender, path in enumerate((female_names, male_names)):
        text = _read_bytes(path, "give LFW's list of names").decode(errors="replace")
        for number, line in enumerate(text.splitlines(), start=1):
            if not (file := line.strip()):
                continue
            person = file.removesuffix(".jpg")[:-_LFW_SUFFIX]
            if genders.setdefault(person, gender) != gender:
                raise UserError(
                    f"{path}, line {number}: {person} is in {female_names} as well; remove the person from one of them"
                )
    return lambda file, subject: genders.get(subject, UNKNOWN)


def read_colorferet_genders(subjects: Path | str) -> GenderTable:
    """Read ColorFERET's `subjects.xml`: `<Subject id="cfrs00001"><Gender value="Male"/>...`.

    Args:
        subjects: The file.

    Returns:
        The gender of each subject, such as `00001`.

    Raises:
        UserError: The file cannot be read, is no XML, declares a document type, or names no subject.
    """
    content = _read_bytes(subjects, "give ColorFERET's subjects.xml")
    try:
        root = ElementTree.fromstring(content, ElementTree.XMLParser(target=_PlainTree()))
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f"{subjects}: expected ColorFERET's subjects.xml ({error})") from error
    genders = {}
    for subject in root.iter("Subject"):
        gender = next(iter(subject), None)
        code = _FERET_CODES.get(gender.get("value", ""), UNKNOWN) if gender is not None else UNKNOWN
        genders[subject.get("id", "")[_FERET_PREFIX:]] = code
    if not genders:
        raise UserError(f"{subjects}: expected elements `Subject`, found none; give ColorFERET's subjects.xml")
    return lambda file, subject: genders.get(subject, UNKNOWN)


class _PlainTree(ElementTree.TreeBuilder):
    """Refuses document types, for their entities can name each other until memory is full."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError(f"it declares the document type {name!r}; remove the DOCTYPE")


def read_maad_genders(annotations: Path | str) -> GenderTable:
    """Read MAAD-Face's attributes of VGGFace2 (Terhoerst et al. 2021): CSV columns `Filename` and `Male`.

    Args:
        annotations: The file; `Male` is 1, -1 for female, anything else is unknown.

    Returns:
        The gender of each image, by its path such as `n000002/0001_01.jpg`.

    Raises:
        UserError: The file cannot be read, or lacks a column.
    """
    rows = _read_columns(annotations, "Filename", "Male")
    genders = {file.rstrip(): _MAAD_CODES[male] for file, male in rows if male in _MAAD_CODES}
    return lambda file, subject: genders.get(file, UNKNOWN)


def _read_columns(path: Path | str, *names: str) -> Iterator[list[str]]:
    """Fields of some columns of each row of a CSV file, which may be larger than the memory."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            if missing := [name for name in names if name not in header]:
                raise UserError(f"{path}: the first line has no column {missing[0]!r}, found {','.join(header)[:80]!r}")
            columns = [header.index(name) for name in names]
            for row in rows:
                if len(row) != len(header):
                    raise UserError(f"{path}, line {rows.line_num}: expected {len(header)} fields, found {len(row)}")
                yield [row[column] for column in columns]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error}); give a CSV file of attributes") from error


def _read_bytes(path: Path | str, hint: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {hint}") from error
