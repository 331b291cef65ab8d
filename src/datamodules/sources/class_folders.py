"""Face images in one folder per class, or with the class in the names of the files."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from src.datamodules.gender_tables import GenderTable
from src.datamodules.genders import check_codes
from src.datamodules.landmarks import read_landmarks
from src.datamodules.sample import UNKNOWN
from src.datamodules.sources.file_source import IMAGE_SUFFIXES, FileSource, natural_key, select_images
from src.datamodules.sources.source import LeftOut
from src.datamodules.storage import Location
from src.errors import UserError, check_choice

__all__ = ["ClassFolders"]

logger = logging.getLogger(__name__)

_NO_AGE = -1


class _Image(NamedTuple):
    file: str
    rank: str
    """What the class is sorted by."""
    subject: str
    attribute: int
    age: int


class ClassFolders(FileSource):
    """Images `root/<class>/<image>`; the class number is the rank of the folder's name.

    With a `file_pattern` the names of the files tell the class instead, wherever below the root they lie; the class
    number is the rank of the subject.

    Args:
        root: The folder; a path or a URL.
        sort: Order of the classes: `10` before `9`, or numbers by their value.
        class_pattern: Regular expression that the whole name of every class folder must match. Its group `subject`
            is the class's name; a group `gender` tells the attribute: `(?P<subject>.+)_(?P<gender>[01])`.
        unmatched_classes: What to do about class folders that do not match it: stop, or leave them out.
        file_pattern: Regular expression that the whole name of a file must match, or it is left out. Groups
            `subject`, and optionally `gender` and `age` (in years, kept in the metadata).
        gender_codes: What a `gender` stands for: text -> 0 (female) or 1 (male).
        genders: Opens a table of genders (see `gender_tables`), for names that do not tell them.
        landmarks: CSV file (see `landmarks.read_landmarks`) that names images relative to its own folder or, if the
            root is a URL, relative to the root.
        missing_landmarks: What to do about images without a row in it: stop, or leave them out.

    Raises:
        UserError: No folder, no image, a bad pattern, a class folder that does not match, a bad CSV file, images
            without landmarks, or a table of genders that knows none of the images.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        sort: Literal["lexicographic", "natural"] = "lexicographic",
        class_pattern: str | None = None,
        unmatched_classes: Literal["error", "skip"] = "error",
        file_pattern: str | None = None,
        gender_codes: Mapping[str, int] | None = None,
        genders: Callable[[], GenderTable] | None = None,
        landmarks: Path | str | None = None,
        missing_landmarks: Literal["error", "skip"] = "error",
    ) -> None:
        check_choice("sort", sort, ("lexicographic", "natural"))
        check_choice("unmatched_classes", unmatched_classes, ("error", "skip"))
        check_choice("missing_landmarks", missing_landmarks, ("error", "skip"))
        folder = Location(root)
        naming = _Naming(folder, class_pattern, unmatched_classes == "skip", file_pattern, gender_codes or {})
        files, left_out = select_images(folder.files())
        images, strangers = naming.read(files)
        left_out += strangers
        if not images:
            example = f"; left out {left_out[0].name}: {left_out[0].reason}" if left_out else ""
            raise UserError(f"{root}: no image found; expected {naming} with {', '.join(IMAGE_SUFFIXES)}{example}")
        if genders is not None:
            images, unknown = _look_up_genders(folder, images, genders())
            left_out += unknown
        points = None
        if landmarks is not None:
            images, points, without = _match_landmarks(folder, images, Path(landmarks), missing_landmarks)
            left_out += without
        subjects = {image.rank: image.subject for image in images}
        ranks = sorted(subjects, key=natural_key if sort == "natural" else None)
        numbers = {rank: number for number, rank in enumerate(ranks)}
        labels = np.array([numbers[image.rank] for image in images], np.int32)
        order = np.argsort(labels, kind="stable")
        attributes = np.array([image.attribute for image in images], np.int8)[order]
        super().__init__(
            folder,
            {"image": [images[row].file for row in order]},
            labels[order],
            [subjects[rank] for rank in ranks],
            attributes=attributes,
            points=None if points is None else points[order],
            left_out=left_out,
        )
        self._ages = np.array([image.age for image in images], np.int16)[order]
        if (attributes != UNKNOWN).any():
            female, male = int((attributes == 0).sum()), int((attributes == 1).sum())
            logger.info("%s: %d female, %d male and %d other images", root, female, male, len(images) - female - male)

    def metadata(self, row: int) -> dict[str, Any]:
        """What is known of a row, with `age` (int, in years) if its name tells."""
        age = int(self._ages[row])
        return super().metadata(row) | ({} if age == _NO_AGE else {"age": age})


def _look_up_genders(
    root: Location, images: Sequence[_Image], table: GenderTable
) -> tuple[list[_Image], list[LeftOut]]:
    """Keep the images whose gender is known; return them with it, and the others."""
    if told := next((image for image in images if image.attribute != UNKNOWN), None):
        raise UserError(f"{root}: the name of {told.file} tells the gender, so set genders of the source to null")
    found = [image._replace(attribute=table(image.file, image.subject)) for image in images]
    known = [image for image in found if image.attribute != UNKNOWN]
    if not known:
        raise UserError(
            f"{root}: the table of genders knows none of {len(images)} images, such as {images[0].file} of "
            f"{images[0].subject!r}; give the table and the images of one data set"
        )
    unknown = [image.file for image in found if image.attribute == UNKNOWN]
    return known, [LeftOut(file, "the table of genders does not know it") for file in unknown]


class _Naming:
    """Finds class, gender and age in names; its text is the layout that it expects."""

    def __init__(
        self,
        root: Location,
        class_pattern: str | None,
        skips_unmatched: bool,
        file_pattern: str | None,
        gender_codes: Mapping[str, int],
    ) -> None:
        if class_pattern is not None and file_pattern is not None:
            raise UserError(f"{root}: class_pattern and file_pattern are both set; set one of them to null")
        self.codes = check_codes(gender_codes)
        self.root = root
        self.class_pattern = _compile("class_pattern", class_pattern, ("gender",))
        self.skips_unmatched = skips_unmatched
        self.file_pattern = _compile("file_pattern", file_pattern, ("gender", "age"))

    def __str__(self) -> str:
        return "<class>/<image>" if self.file_pattern is None else f"names such as {self.file_pattern.pattern}"

    def read(self, files: Sequence[str]) -> tuple[list[_Image], list[LeftOut]]:
        return self._by_folder(files) if self.file_pattern is None else self._by_file(self.file_pattern, files)

    def _by_folder(self, files: Sequence[str]) -> tuple[list[_Image], list[LeftOut]]:
        images, left_out = [], []
        facts: dict[str, tuple[str, int]] = {}
        for file in files:
            folder, _, name = file.partition("/")
            if not name or "/" in name:
                left_out.append(LeftOut(file, "does not lie in <class>/<image>"))
                continue
            if self.skips_unmatched and self.class_pattern and not self.class_pattern.fullmatch(folder):
                left_out.append(LeftOut(file, f"its folder does not match class_pattern={self.class_pattern.pattern}"))
                continue
            if folder not in facts:
                facts[folder] = self._read_folder(folder)
            images.append(_Image(file, folder, *facts[folder], _NO_AGE))
        folders: dict[str, str] = {}
        for folder, (subject, _) in facts.items():
            if (other := folders.setdefault(subject, folder)) != folder:
                raise UserError(
                    f"{self.root}: {other} and {folder} are both of subject {subject!r}; join or rename the folders"
                )
        return images, left_out

    def _read_folder(self, folder: str) -> tuple[str, int]:
        if self.class_pattern is None:
            return folder, UNKNOWN
        match = self.class_pattern.fullmatch(folder)
        if match is None:
            raise UserError(
                f"{self.root / folder}: the folder's name does not match class_pattern={self.class_pattern.pattern}; "
                "to leave such folders out set unmatched_classes=skip of the source, or "
                "rename it, or give the folder that holds the class folders"
            )
        try:
            return match["subject"], self._attribute(match)
        except ValueError as error:
            raise UserError(f"{self.root / folder}: {error}") from None

    def _by_file(self, pattern: re.Pattern[str], files: Sequence[str]) -> tuple[list[_Image], list[LeftOut]]:
        images, left_out = [], []
        for file in files:
            match = pattern.fullmatch(file.rpartition("/")[2])
            if match is None:
                left_out.append(LeftOut(file, f"its name does not match file_pattern={pattern.pattern}"))
                continue
            try:
                images.append(_Image(file, match["subject"], match["subject"], self._attribute(match), _age(match)))
            except ValueError as error:
                left_out.append(LeftOut(file, str(error)))
        return images, left_out

    def _attribute(self, match: re.Match[str]) -> int:
        gender = match.groupdict().get("gender")
        if gender is None:
            return UNKNOWN
        if gender not in self.codes:
            raise ValueError(
                f"the gender {gender!r} is none of gender_codes ({', '.join(self.codes) or 'none is set'})"
            )
        return self.codes[gender]


def _age(match: re.Match[str]) -> int:
    age = match.groupdict().get("age")
    if age is None:
        return _NO_AGE
    if not (age.isdecimal() and len(age) <= 3):
        raise ValueError(f"the age {age!r} is no number of years")
    return int(age)


def _compile(argument: str, pattern: str | None, optional: tuple[str, ...]) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"{argument}: {pattern!r} is no regular expression ({error})") from error
    groups = set(compiled.groupindex)
    if "subject" not in groups or groups - {"subject", *optional}:
        raise UserError(
            f"{argument}: expected a group (?P<subject>...), and optionally {' and '.join(optional)}, "
            f"found {pattern!r} with {', '.join(sorted(groups)) or 'none'}"
        )
    return compiled


def _match_landmarks(
    root: Location, images: list[_Image], path: Path, missing_landmarks: Literal["error", "skip"]
) -> tuple[list[_Image], np.ndarray, list[LeftOut]]:
    """Keep the images that have landmarks; return them with their points, float32 [N, 5, 2], and those left out."""
    table = read_landmarks(path)
    below = Path(os.path.relpath(root.path, path.parent)).as_posix() if root.is_local else "."
    prefix = "" if below == "." else f"{below}/"
    found = [table.get(prefix + image.file) for image in images]
    missing = [image.file for image, points in zip(images, found, strict=True) if points is None]
    if missing and (missing_landmarks == "error" or len(missing) == len(images)):
        raise UserError(
            f"{path}: no row for {len(missing)} of {len(images)} images below {root}, first: {', '.join(missing[:3])}. "
            f"Rows name files relative to {path.parent if root.is_local else root}, such as {prefix}{missing[0]}. Add "
            "them, or set missing_landmarks=skip of the source to leave these images out."
        )
    if missing:
        logger.warning("%s: left out %d images without landmarks", root, len(missing))
    kept = [image for image, points in zip(images, found, strict=True) if points is not None]
    points = np.stack([points.numpy() for points in found if points is not None])
    return kept, points, [LeftOut(file, f"no row in {path}") for file in missing]
