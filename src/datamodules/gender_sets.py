"""Evaluation sets with genders: pairs of faces to verify, and faces whose gender an attacker guesses.

The `.bin` files of Rezgui et al. (2024, Gender Privacy Angular Constraints for Face Recognition) begin as those of
InsightFace: pickles of (2P encoded images, P flags, G encoded images, G subjects, G genders), here optionally with a
sixth entry, the genders [P, 2] of the images of the pairs.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from src.datamodules.bin_file import read_entries, to_flags, to_images
from src.datamodules.decode import BadImage, inspect
from src.datamodules.evaluation_images import EncodedImage, ImageSource
from src.datamodules.genders import GENDERS, check_codes
from src.datamodules.sample import UNKNOWN
from src.datamodules.verification_sets import VerificationSet
from src.errors import UserError
from src.files import atomic_write

__all__ = ["GenderFaces", "GenderSet", "read_gender_bin", "write_gender_bin"]

logger = logging.getLogger(__name__)

_HINT = (
    "expected a pickle of (2P encoded images, P flags, G encoded images, G subjects, G genders); "
    "src.datamodules.gender_sets.write_gender_bin makes one, see docs/benchmarks.md"
)
_SIDE = 112
_CANONICAL = {0: 0, 1: 1}


@dataclass(frozen=True)
class GenderFaces:
    """Faces for the gender attack.

    Attributes:
        images: G images.
        subjects: int64 [G], number of the person; people are the groups of the attack's cross-validation.
        attributes: int8 [G], 0 female, 1 male.
    """

    images: Sequence[ImageSource]
    subjects: NDArray[np.int64]
    attributes: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.subjects)


@dataclass(frozen=True)
class GenderSet:
    """Pairs to verify and faces to attack.

    Attributes:
        name: Such as `lfw`.
        pairs: The pairs.
        faces: The faces; None if the file holds none.
        pair_attributes: int8 [P, 2], 0 female, 1 male, -1 unknown, of the images of each pair; None if not stored.
    """

    name: str
    pairs: VerificationSet
    faces: GenderFaces | None = None
    pair_attributes: NDArray[np.int8] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Hex digest of all images, pairs, folds, people and genders."""
        digest = hashlib.sha256(self.pairs.fingerprint.encode())
        if self.faces is not None:
            digest.update(self.faces.subjects.astype("<i8").tobytes())
            digest.update(self.faces.attributes.tobytes())
            for image in self.faces.images:
                digest.update(image.digest())
        if self.pair_attributes is not None:
            digest.update(b"pairs" + self.pair_attributes.tobytes())
        return digest.hexdigest()


def read_gender_bin(
    path: Path | str,
    *,
    name: str | None = None,
    folds: int = 10,
    gender_codes: Mapping[int | str, int] | None = None,
) -> GenderSet:
    """Read a verification file with genders; InsightFace's, without them, give pairs only.

    Images may be bytes (also of Python 2), bytearrays or uint8 arrays [n] or [n, 1]; subjects whole numbers or strings;
    genders a list or an array. Images that are not square are cropped in the middle.

    Args:
        path: The `.bin` file.
        name: Name of the set; by default the file's name without the extension.
        folds: Number of contiguous folds of the pairs.
        gender_codes: What the file's genders stand for: -> 0 (female) or 1 (male). By default 0 is female.

    Returns:
        The set, people numbered in the order of their first face; without faces where the list of genders is empty.

    Raises:
        UserError: Missing or damaged file, a pickle that asks for code, counts that do not agree, an unknown gender,
            faces of one gender only, a person of two genders, or a fold without pairs of both kinds.
    """
    path = Path(path)
    entries = read_entries(path, _HINT)
    codes = check_codes(_CANONICAL if gender_codes is None else gender_codes)
    found = _parse(path, entries, name or path.stem, folds, codes)
    _warn_of_sizes(path, [*found.pairs.images, *(found.faces.images if found.faces else [])])
    return found


def write_gender_bin(
    path: Path | str,
    images: Sequence[bytes],
    same: Iterable[bool],
    face_images: Sequence[bytes],
    subjects: ArrayLike,
    attributes: ArrayLike,
    pair_attributes: ArrayLike | None = None,
) -> None:
    """Write a verification file with genders, by pickle protocol 4.

    Args:
        path: File to write.
        images: 2P JPEG or PNG files; pair i is entries 2i and 2i + 1.
        same: P flags.
        face_images: G JPEG or PNG files for the gender attack; they may be those of the pairs.
        subjects: Whole numbers or strings [G], the person on each.
        attributes: [G], 0 female, 1 male.
        pair_attributes: [P, 2], 0 female, 1 male, -1 unknown, of the images of each pair.

    Raises:
        UserError: The counts do not agree, or another mistake that `read_gender_bin` would refuse.
    """
    entries: list[Any] = [
        [bytes(image) for image in images],
        [bool(flag) for flag in same],
        [bytes(image) for image in face_images],
        np.asarray(subjects),
        np.asarray(attributes),
    ]
    if pair_attributes is not None:
        entries.append(np.asarray(pair_attributes))
    _parse(Path(path), entries, Path(path).stem, 1, check_codes(_CANONICAL))
    with atomic_write(path) as file:
        pickle.dump(tuple(entries), file, protocol=4)


def _parse(path: Path, entries: Sequence[Any], name: str, folds: int, codes: Mapping[str, int]) -> GenderSet:
    images = to_images(entries[0], f"{path}: image", crop=True)
    pairs = VerificationSet(name, images, to_flags(entries[1], str(path)), folds)
    faces = _parse_faces(path, entries[2:5], codes) if len(entries) > 2 else None
    pair_attributes = _parse_pairs(path, entries[5], pairs.same, codes) if len(entries) > 5 else None
    return GenderSet(name, pairs, faces, pair_attributes)


def _parse_faces(path: Path, entries: Sequence[Any], codes: Mapping[str, int]) -> GenderFaces | None:
    images, ids, genders = entries
    faces = to_images(images, f"{path}: face", crop=True)
    people, texts = _to_texts(ids, f"{path}: subjects"), _to_texts(genders, f"{path}: genders")
    if not texts:
        logger.warning("%s: holds no gender, so only its pairs are evaluated", path)
        return None
    if not len(faces) == len(people) == len(texts):
        raise UserError(
            f"{path}: {len(faces)} faces, {len(people)} subjects and {len(texts)} genders; expected equally many"
        )
    attributes = _to_attributes(path, texts, codes)
    for attribute, gender in enumerate(GENDERS):
        if not (attributes == attribute).any():
            raise UserError(f"{path}: no face is {gender}, so no gender can be told; the codes are {codes}")
    numbers: dict[str, int] = {}
    subjects = np.array([numbers.setdefault(person, len(numbers)) for person in people])
    of_subject = np.zeros(len(numbers), np.int8)
    of_subject[subjects] = attributes
    if (odd := np.flatnonzero(of_subject[subjects] != attributes)).size:
        raise UserError(f"{path}: subject {people[odd[0]]!r} has faces of both genders; correct the file")
    return GenderFaces(faces, subjects, attributes)


def _parse_pairs(path: Path, entry: Any, same: np.ndarray, codes: Mapping[str, int]) -> NDArray[np.int8]:
    try:
        genders = np.asarray(entry).reshape(len(same), 2)
    except ValueError as error:
        raise UserError(f"{path}: expected genders [{len(same)}, 2] of the pairs ({error})") from error
    texts = _to_texts(genders, f"{path}: genders of pairs")
    attributes = _to_attributes(path, texts, {str(UNKNOWN): UNKNOWN, **codes}).reshape(-1, 2)
    first, second = attributes.T
    if (odd := np.flatnonzero(same & (first != second) & (attributes != UNKNOWN).all(1))).size:
        raise UserError(f"{path}: pair {odd[0]} is of one person, but of two genders; correct the file")
    return attributes


def _to_texts(entry: Any, where: str) -> list[str]:
    """Whole numbers and strings, of Python 2 or 3 and in lists or arrays, as text."""
    values = entry.reshape(-1).tolist() if isinstance(entry, np.ndarray) else entry
    if not isinstance(values, list | tuple):
        raise UserError(f"{where}: expected a list or an array, found a {type(values).__name__}")
    return [_to_text(value.item() if isinstance(value, np.generic) else value, where) for value in values]


def _to_text(value: object, where: str) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and value.bit_length() <= 64:
        return str(int(value))
    raise UserError(f"{where}: expected whole numbers or strings, found a {type(value).__name__} that is neither")


def _to_attributes(path: Path, texts: Sequence[str], codes: Mapping[str, int]) -> NDArray[np.int8]:
    if unknown := sorted(set(texts) - set(codes)):
        raise UserError(
            f"{path}: the gender {unknown[0]!r} is none of {', '.join(codes)}; name what it stands for in gender_codes"
        )
    return np.array([codes[text] for text in texts], np.int8)


def _warn_of_sizes(path: Path, images: Sequence[ImageSource]) -> None:
    """Say once per set that images are not as large as aligned faces in such files are."""
    others = []
    for image in images:
        assert isinstance(image, EncodedImage)
        try:
            height, width = inspect(image.content)
        except BadImage:
            continue  # said when it is loaded
        if (height, width) != (_SIDE, _SIDE):
            others.append(f"{width} x {height}")
    if others:
        logger.warning(
            "%s: %d of %d images are not %d x %d pixels (the first is %s); they are resized, the longer side cropped",
            path, len(others), len(images), _SIDE, _SIDE, others[0],
        )  # fmt: skip
