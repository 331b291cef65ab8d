"""Where the faces are: by a table of boxes, by a detector, or the whole image."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from src.apps.anonymize.crops import Crop
from src.errors import UserError
from src.models.generation.faces import FaceDetector

__all__ = ["WHOLE", "Box", "BoxTable", "DetectedBoxes", "FaceBoxes", "WholeImage", "read_boxes"]

WHOLE = "frame"
"""In place of a table: the image is the face."""

_ALWAYS = -1
"""In place of a frame's number: the box is on all of them."""
_HEADER = ["file", "frame", "left", "top", "right", "bottom", "person"]
_REQUIRED = ["file", "left", "top", "right", "bottom"]
# Of a detected face: width over the distance of the eyes, or of eyes and mouth, which stay far apart in profile.
_WIDTH, _UPRIGHT = 2.25, 0.9


class Box(NamedTuple):
    """A face's box and who it is; the empty string where nobody said so."""

    left: float
    top: float
    right: float
    bottom: float
    person: str = ""

    def crop(self) -> Crop:
        """The square that is anonymised."""
        return Crop.around(self[:4])


class FaceBoxes(Protocol):
    """Finds the faces on images.

    Attributes:
        is_complete: Whether a face that is not told on a frame is not there; a detector may have overlooked it.
    """

    is_complete: bool

    def __call__(self, file: str, frames: Sequence[int], images: Sequence[np.ndarray]) -> list[list[Box]]:
        """The boxes on some images uint8 [H, W, C]: frames of a video, by their numbers, or frame 0 of an image."""


class WholeImage:
    """Every image is one face."""

    is_complete = True

    def __call__(self, file: str, frames: Sequence[int], images: Sequence[np.ndarray]) -> list[list[Box]]:
        """See `FaceBoxes`."""
        crops = [Crop.whole(*image.shape[:2]) for image in images]
        # Half as wide as the square around it.
        return [[Box(left + side / 4, top, left + 3 * side / 4, top + side)] for left, top, side in crops]


class DetectedBoxes:
    """Boxes around the landmarks that a detector finds.

    Args:
        detector: Finds faces with their landmarks.
    """

    is_complete = False

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector

    def __call__(self, file: str, frames: Sequence[int], images: Sequence[np.ndarray]) -> list[list[Box]]:
        """See `FaceBoxes`."""
        found: list[list[Box]] = []
        for _, alike in groupby(images, key=np.shape):
            pixels = torch.from_numpy(np.stack([image[..., :3] for image in alike])).movedim(-1, 1)
            found += [[_around(face.landmarks) for face in faces] for faces in self._detector(pixels)]
        return found


@dataclass(frozen=True)
class BoxTable:
    """Boxes that a file tells.

    Attributes:
        path: The file.
        boxes: By the file they are on, as `Path.as_posix` of its path below the input folder, and by the frame.
    """

    path: Path
    boxes: dict[str, dict[int, list[Box]]]
    is_complete = True

    def __call__(self, file: str, frames: Sequence[int], images: Sequence[np.ndarray]) -> list[list[Box]]:
        """See `FaceBoxes`."""
        of_file = self.boxes.get(file, {})
        return [of_file.get(_ALWAYS, []) + of_file.get(frame, []) for frame in frames]

    def check_files(self, files: Sequence[str]) -> None:
        """Raise UserError if some of the files have no box, or boxes are of other files."""
        strangers, missing = sorted(set(self.boxes) - set(files)), [file for file in files if file not in self.boxes]
        if missing:
            raise UserError(
                f"{self.path}: no box for {len(missing)} of {len(files)} files, first: {', '.join(missing[:3])}; add "
                "rows for them, or move them away"
            )
        if strangers:
            raise UserError(
                f"{self.path}: boxes of {len(strangers)} files that are not in the input, first: "
                f"{', '.join(strangers[:3])}; paths are relative to the input folder"
            )


def read_boxes(path: Path) -> BoxTable:
    """Read a CSV file with the columns file, left, top, right, bottom, and as wanted frame and person.

    Frames of a video are counted from 0; one without frames is for all of them. Coordinates are pixels of the image as
    it is shown, upright.

    Raises:
        UserError: The file cannot be read or a row is wrong.
    """
    boxes: dict[str, dict[int, list[Box]]] = {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            header = list(rows.fieldnames or [])
            if any(name not in header for name in _REQUIRED) or any(name not in _HEADER for name in header):
                raise UserError(
                    f"{path}: the first line is {','.join(header)!r}, expected "
                    "'file,left,top,right,bottom', and as wanted frame and person"
                )
            for row in rows:
                name, frame, box = _parse(row, f"{path}, line {rows.line_num}")
                boxes.setdefault(name, {}).setdefault(frame, []).append(box)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"boxes={path}: cannot be read ({error}); give a CSV file, or boxes={WHOLE}") from error
    if not boxes:
        raise UserError(f"{path}: holds no box; give a row for each face")
    return BoxTable(path, boxes)


def _parse(row: dict[str, str], place: str) -> tuple[str, int, Box]:
    try:
        frame = int(row.get("frame") or _ALWAYS)
        sides = [float(row[name]) for name in _REQUIRED[1:]]
    except (TypeError, ValueError):
        raise UserError(f"{place}: expected numbers for frame, left, top, right and bottom, found {row}") from None
    left, top, right, bottom = sides
    if not all(map(math.isfinite, sides)) or not (left < right and top < bottom) or frame < _ALWAYS or not row["file"]:
        raise UserError(f"{place}: expected a file, a frame from 0, left < right and top < bottom, found {row}")
    return Path(row["file"]).as_posix(), frame, Box(left, top, right, bottom, row.get("person") or "")


def _around(landmarks: Tensor) -> Box:
    """The box of a face by its five points."""
    points = landmarks.double()
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    apart, upright = float((points[0] - points[1]).norm()), float((eyes - mouth).norm())
    half = _WIDTH * max(apart, _UPRIGHT * upright) / 2
    x, y = ((eyes + mouth) / 2).tolist()
    return Box(x - half, y - half, x + half, y + half)
