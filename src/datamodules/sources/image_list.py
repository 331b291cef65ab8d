"""Face images named by a text file, the annotations of the password transformer."""

from __future__ import annotations

from array import array
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

import numpy as np

from src.datamodules.sources.file_source import FileSource
from src.datamodules.sources.source import LeftOut
from src.datamodules.storage import Location
from src.errors import UserError, check_choice

__all__ = ["ImageList", "casia_identity_split"]

_LANDMARKS = "x1 y1 x2 y2 x3 y3 x4 y4 x5 y5"
_COLUMNS = {
    "path_label_landmarks": f"path label {_LANDMARKS}",
    "path_landmarks": f"path {_LANDMARKS}",
    "path": "path",
}
_BOX = "path left top right bottom"
_SPLITS = ("train", "test", "validation")
_MAX_LABEL = 10_000_000
_LOOKED_FOR = 100


class ImageList(FileSource):
    """Images below a root, one per line of a text file, in its order.

    Columns are parted by tabs or spaces: a path relative to the root, a whole number that is the label, and ten
    numbers that are the (x, y) of the landmarks, in pixels of the image file. Paths may hold spaces where they are the
    only column.

    Labels in the file are class numbers as they stand, and the names of the classes too; numbers that do not occur are
    classes without images. Without labels the class is the folder that the image lies in.

    Args:
        root: Folder of the images; a path or a URL.
        list_file: The text file.
        columns: What a line of it consists of.
        one_class: All images are of one class instead; for lists without labels.
        boxes: Text file of `path left top right bottom`, in pixels of the image file. More columns are ignored, and
            so are all lines for an image but the first. The box becomes part of the metadata.
        missing_boxes: What to do about images without a box: stop, or leave them out.
        split: Part of the identities to keep, see `casia_identity_split`; all by default.

    Raises:
        UserError: A file is missing or malformed, a path leads out of the root or occurs twice, an image without a
            box, a root without the images, or nothing is left.
    """

    def __init__(
        self,
        root: Path | str,
        list_file: Path | str,
        *,
        columns: Literal["path_label_landmarks", "path_landmarks", "path"],
        one_class: bool = False,
        boxes: Path | str | None = None,
        missing_boxes: Literal["error", "skip"] = "error",
        split: Literal["train", "test", "validation"] | None = None,
    ) -> None:
        check_choice("columns", columns, tuple(_COLUMNS))
        check_choice("missing_boxes", missing_boxes, ("error", "skip"))
        has_labels = columns == "path_label_landmarks"
        if has_labels and one_class:
            raise UserError(
                f"one_class=true: columns={columns} says that {list_file} holds labels; set one of them only"
            )
        if split is not None:
            check_choice("split", split, _SPLITS)
            if not has_labels:
                raise UserError(f"split={split}: columns={columns} says that {list_file} holds no labels to split by")
        folder, file = Location(root), Location(list_file)
        table = _read_table(file, _COLUMNS[columns])
        _check_unique(table)
        _find_images(folder, table)
        labels, classes = _read_labels(table) if has_labels else _name_by_folder(table, one_class)
        kept = np.ones(len(labels), bool)
        if split is not None:
            kept = casia_identity_split(labels)[_SPLITS.index(split)]
        left_out: list[LeftOut] = []
        self._boxes: np.ndarray | None = None
        if boxes is not None:
            kept, left_out, self._boxes = _match_boxes(table, kept, Location(boxes), missing_boxes)
        rows = np.flatnonzero(kept)
        if len(rows) == 0:
            raise UserError(f"{file}: no image is left for split={split} and boxes={boxes}")
        super().__init__(
            folder,
            {"image": [table.paths[row] for row in rows]},
            labels[rows],
            classes,
            points=None if columns == "path" else table.numbers[rows, -10:].astype(np.float32).reshape(-1, 5, 2),
            left_out=left_out,
        )

    def metadata(self, row: int) -> dict[str, Any]:
        """What is known of a row, with `box` [left, top, right, bottom] if there are boxes."""
        return super().metadata(row) | ({} if self._boxes is None else {"box": self._boxes[row].tolist()})


def casia_identity_split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split images by identity, about 8 : 1 : 1, as the password transformer splits CASIA-WebFace.

    With n distinct labels of which m is the largest, `a = 4 * (m // 5)` and `b = a + (n - a) // 2`, labels below a are
    for training, from a to below b for testing, and from b on for validation (where many numbers do not occur, b may
    be less than a: then none are for testing, and the rest from a on is for validation).

    Args:
        labels: int [N], from 0.

    Returns:
        Masks of the training, test and validation images, bool [N] each.
    """
    first_test = 4 * (int(labels.max()) // 5)
    first_validation = first_test + (len(np.unique(labels)) - first_test) // 2
    train, validation = labels < first_test, labels >= max(first_test, first_validation)
    return train, ~(train | validation), validation


class _Table(NamedTuple):
    """A text file of paths and numbers.

    Attributes:
        file: The file.
        lines: Line number per row.
        paths: Path per row.
        numbers: float64 [rows, columns behind the path].
    """

    file: Location
    lines: list[int]
    paths: list[str]
    numbers: np.ndarray

    def first_rows(self) -> dict[str, int]:
        """Path -> first row that names it."""
        return {path: row for row, path in reversed(list(enumerate(self.paths)))}


def _read_table(file: Location, columns: str, *, more: bool = False) -> _Table:
    """Read lines of `columns`; with `more`, further columns are ignored."""
    width = len(columns.split())
    lines, paths, numbers = [], [], array("d")
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: is no UTF-8 text ({error}); give a list of images") from error
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split() if width > 1 else [line.strip()]
        if not line.strip():
            continue
        if len(fields) < width or (len(fields) > width and not more):
            raise UserError(f"{file}, line {number}: expected `{columns}`, found {line.strip()!r}")
        path = PurePosixPath(fields[0])
        if path.is_absolute() or ".." in path.parts or "\0" in fields[0]:
            raise UserError(
                f"{file}, line {number}: unsafe path {fields[0]!r}; expected one relative to the image root"
            )
        try:
            numbers.extend([float(field) for field in fields[1:width]])
        except ValueError as error:
            raise UserError(f"{file}, line {number}: expected `{columns}` ({error})") from error
        lines.append(number)
        paths.append(str(path))
    if not lines:
        raise UserError(f"{file}: holds no line; expected lines of `{columns}`")
    values = np.array(numbers).reshape(len(lines), width - 1)
    if len(infinite := np.flatnonzero(~np.isfinite(values).all(1))):
        raise UserError(f"{file}, line {lines[infinite[0]]}: expected `{columns}` with finite numbers")
    return _Table(file, lines, paths, values)


def _check_unique(table: _Table) -> None:
    first = table.first_rows()
    if len(first) < len(table.paths):
        row, path = next((row, path) for row, path in enumerate(table.paths) if first[path] != row)
        raise UserError(
            f"{table.file}, line {table.lines[row]}: {path} is in line {table.lines[first[path]]} too; keep one of them"
        )


def _find_images(root: Location, table: _Table) -> None:
    """Check that the paths are relative to this root: one of the first is there; a pipe cannot be asked."""
    if not root.is_pipe and not any((root / path).exists() for path in table.paths[:_LOOKED_FOR]):
        raise UserError(
            f"{root}: holds no {table.paths[0]}, the first image of {table.file}; give the root of its paths"
        )


def _read_labels(table: _Table) -> tuple[np.ndarray, list[str]]:
    column = table.numbers[:, 0]
    if len(bad := np.flatnonzero((column != np.floor(column)) | (column < 0) | (column >= _MAX_LABEL))):
        raise UserError(
            f"{table.file}, line {table.lines[bad[0]]}: expected a whole number from 0 to {_MAX_LABEL - 1} as label, "
            f"found {column[bad[0]]:g}"
        )
    return column.astype(np.int32), [str(label) for label in range(int(column.max()) + 1)]


def _name_by_folder(table: _Table, one_class: bool) -> tuple[np.ndarray, list[str]]:
    """Label and class names by the folder of each path; without it, one class "0"."""
    if one_class:
        return np.zeros(len(table.paths), np.int32), ["0"]
    folders = [PurePosixPath(path).parent.name for path in table.paths]
    if "" in folders:
        row = folders.index("")
        raise UserError(
            f"{table.file}, line {table.lines[row]}: {table.paths[row]} lies in no folder that would tell its class; "
            "set one_class=true if there are no classes"
        )
    classes = sorted(set(folders))
    numbers = {name: number for number, name in enumerate(classes)}
    return np.array([numbers[name] for name in folders], np.int32), classes


def _match_boxes(
    table: _Table, kept: np.ndarray, file: Location, missing_boxes: Literal["error", "skip"]
) -> tuple[np.ndarray, list[LeftOut], np.ndarray]:
    """Keep the images that have boxes; return their mask, those left out, and the boxes, float32 [kept, 4]."""
    boxes = _read_table(file, _BOX, more=True)
    left, top, right, bottom = boxes.numbers.T
    if len(empty := np.flatnonzero((right <= left) | (bottom <= top))):
        raise UserError(
            f"{file}, line {boxes.lines[empty[0]]}: the box is empty; expected left < right and top < bottom"
        )
    first = boxes.first_rows()
    rows = np.array([first.get(path, -1) for path in table.paths])
    missing = [table.paths[row] for row in np.flatnonzero(kept & (rows < 0))]
    if missing and missing_boxes == "error":
        raise UserError(
            f"{file}: no box for {len(missing)} of {kept.sum()} images, first: {', '.join(missing[:3])}. Add "
            "them, or set missing_boxes=skip of the source to leave these images out."
        )
    kept = kept & (rows >= 0)
    left_out = [LeftOut(path, f"no box in {file}") for path in missing]
    return kept, left_out, boxes.numbers[rows[kept]].astype(np.float32)
