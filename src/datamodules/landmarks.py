"""Reading five-point landmarks from a CSV file."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import torch

from src.errors import UserError

__all__ = ["HEADER", "read_landmarks"]

_POINTS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
HEADER = ["file", *(f"{point}_{axis}" for point in _POINTS for axis in "xy")]
"""First line of the file."""


def read_landmarks(path: Path | str) -> dict[str, torch.Tensor]:
    """Read a CSV file with the header `file,left_eye_x,left_eye_y,...,mouth_right_x,mouth_right_y`.

    Args:
        path: The file.

    Returns:
        File name as written -> float32 [5, 2], (x, y) pixels in the order of `alignment.ARCFACE_TEMPLATE`.

    Raises:
        UserError: Missing file, other header, a row that is no name and ten numbers, or a name that occurs twice.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); give a CSV file of landmarks") from error
    rows = csv.reader(io.StringIO(text, newline=""))
    try:
        return _parse(rows, path)
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.line_num}: not a CSV file ({error})") from error


def _parse(rows: Any, path: Path | str) -> dict[str, torch.Tensor]:
    header: list[str] = next(rows, [])
    if header != HEADER:
        raise UserError(f"{path}: the first line is {','.join(header)!r}, expected {','.join(HEADER)!r}")
    landmarks: dict[str, torch.Tensor] = {}
    for row in rows:
        try:
            name, *numbers = row
            points = torch.tensor([float(number) for number in numbers]).view(5, 2)
        except (ValueError, RuntimeError) as error:
            raise UserError(f"{path}, line {rows.line_num}: expected a file and ten numbers, found {row}") from error
        if name in landmarks:
            raise UserError(f"{path}, line {rows.line_num}: the file {name!r} occurs twice; keep one row of it")
        landmarks[name] = points
    return landmarks
