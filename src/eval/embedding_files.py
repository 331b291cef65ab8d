"""Embeddings or codes that were computed elsewhere, in files.

A folder holds, for a benchmark NAME, one of

* ``NAME.npy`` and, if wanted, ``NAME_flipped.npy`` of the mirror images;
* ``NAME.npz`` or ``NAME.safetensors`` with the arrays ``original`` and, if wanted, ``flipped``;

each of floats [N, D], raw embeddings, or of uint8 [N, m], codes, a row for every image in the order of the benchmark.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from src.errors import UserError

__all__ = ["check_embeddings", "read_embeddings"]

_BLOCK = 4096
_SUFFIXES = (".npy", ".npz", ".safetensors")
_SAFETENSORS_KINDS = dict.fromkeys(("F16", "BF16", "F32", "F64"), "float") | {"U8": "uint8"}


@dataclass(frozen=True)
class _View:
    """Embeddings of all images, or of all mirror images, in a file.

    Attributes:
        name: For messages.
        shape: Of the array.
        kind: Of its numbers: ``"float"``, ``"uint8"`` or ``"other"``.
        open: Makes what yields rows by a slice, from the file where that is possible.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    open: Callable[[], Any]


def read_embeddings(
    folder: Path | str, benchmark: str, count: int, alphabet: int | None = None
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Read the embeddings or codes of a benchmark in blocks.

    ``.npy`` and ``.safetensors`` are read block by block, ``.npz`` as a whole.

    Args:
        folder: Holds the files, see above.
        benchmark: Name of the benchmark.
        count: Number N of its images.
        alphabet: Number of symbols of codes; None for embeddings.

    Yields:
        Index int64 [B], raw embeddings float32 [B, D], or codes uint8 [B, m], and those of the mirror images, or None
        without them.

    Raises:
        UserError: See `check_embeddings`.
    """
    check_embeddings(folder, {benchmark: count}, alphabet=alphabet)
    original_view, flipped_view = _find(Path(folder), benchmark)
    original, flipped = original_view.open(), flipped_view.open() if flipped_view else None
    for start in range(0, count, _BLOCK):
        index = torch.arange(start, min(start + _BLOCK, count))
        rows = slice(start, start + len(index))
        yield index, _tensor(original[rows]), None if flipped is None else _tensor(flipped[rows])


def check_embeddings(
    folder: Path | str, counts: Mapping[str, int], mirrored: Collection[str] = (), alphabet: int | None = None
) -> None:
    """Check the files of several benchmarks by what their headers say.

    Args:
        folder: Holds the files, see above.
        counts: Number of images by name of the benchmark.
        mirrored: Names of those that need embeddings of the mirror images.
        alphabet: Number of symbols of codes; None for embeddings.

    Raises:
        UserError: Lists every file that is missing or damaged and every array of another shape or type.
    """
    folder, kind = Path(folder), "float" if alphabet is None else "uint8"
    if not folder.is_dir():
        raise UserError(f"embeddings: there is no folder {folder}")
    problems = []
    for benchmark, count in counts.items():
        try:
            original, flipped = _find(folder, benchmark)
        except UserError as error:
            problems.append(str(error))
            continue
        problems += [problem for view in (original, flipped) if view and (problem := _problem(view, count, kind))]
        if flipped is not None and flipped.shape[1:] != original.shape[1:]:
            problems.append(f"{flipped.name}: {list(flipped.shape)}, but {original.name} is {list(original.shape)}")
        if flipped is None and benchmark in mirrored:
            problems.append(
                f"{original.name}: no embeddings of the mirror images beside it; write them as {benchmark}_flipped.npy "
                f"or the array 'flipped', or set benchmark.{benchmark}.flip to none (of pairs) or false (of templates)"
            )
    if problems:
        raise UserError(f"embeddings in {folder} cannot be used:\n  " + "\n  ".join(problems))


def _find(folder: Path, benchmark: str) -> tuple[_View, _View | None]:
    files = [path for suffix in _SUFFIXES if (path := folder / f"{benchmark}{suffix}").is_file()]
    if len(files) != 1:
        found = f"found {' and '.join(path.name for path in files)}" if files else "none is there"
        raise UserError(f"{benchmark}: expected one of {', '.join(benchmark + s for s in _SUFFIXES)}; {found}")
    (path,) = files
    views = _views(path)
    if "original" not in views:
        raise UserError(f"{path.name}: no array 'original' in it")
    beside = folder / f"{benchmark}_flipped.npy"
    if path.suffix == ".npy" and beside.is_file():
        views["flipped"] = _views(beside)["original"]
    return views["original"], views.get("flipped")


def _views(path: Path) -> dict[str, _View]:
    """Arrays in a file by name; of ``.npy`` the only one as ``"original"``."""
    readers = {".npy": _npy_views, ".npz": _npz_views, ".safetensors": _safetensors_views}
    try:
        return readers[path.suffix](path)
    except Exception as error:  # damaged bytes make these readers fail in many ways
        raise UserError(f"{path.name}: damaged, or not a {path.suffix} file: {error}") from error


def _npy_views(path: Path) -> dict[str, _View]:
    opened = partial(np.load, path, mmap_mode="r", allow_pickle=False)
    array = opened()
    return {"original": _View(path.name, array.shape, _kind(array.dtype), opened)}


def _npz_views(path: Path) -> dict[str, _View]:
    """Arrays of an archive; only their headers are read."""
    views = {}
    with zipfile.ZipFile(path) as archive:
        for name in ("original", "flipped"):
            if f"{name}.npy" in archive.namelist():
                with archive.open(f"{name}.npy") as member:
                    shape, dtype = _npy_header(member)
                opened = partial(_read_member, path, name)
                views[name] = _View(f"{path.name}[{name}]", shape, _kind(dtype), opened)
    return views


def _read_member(path: Path, name: str) -> np.ndarray:
    with np.load(path, allow_pickle=False) as archive:
        return archive[name]


def _npy_header(member: Any) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(member)
    return shape, dtype


def _safetensors_views(path: Path) -> dict[str, _View]:
    file = safe_open(path, framework="pt")
    views = {}
    for name in file.keys():  # noqa: SIM118 - it is no mapping
        part = file.get_slice(name)
        kind = _SAFETENSORS_KINDS.get(part.get_dtype(), "other")
        opened = partial(file.get_slice, name)
        views[name] = _View(f"{path.name}[{name}]", tuple(part.get_shape()), kind, opened)
    return views


def _kind(dtype: np.dtype) -> str:
    return "float" if dtype.kind == "f" else "uint8" if dtype == np.uint8 else "other"


def _problem(view: _View, count: int, kind: str) -> str:
    """What keeps ``view`` from being the embeddings of ``count`` images; the empty string if nothing does."""
    if view.kind != kind:
        return f"{view.name}: expected " + ("floats" if kind == "float" else "codes of uint8")
    if len(view.shape) != 2 or view.shape[0] != count or view.shape[1] == 0:
        return f"{view.name}: expected [{count}, D], a row for each image; found {list(view.shape)}"
    return ""


def _tensor(rows: Any) -> Tensor:
    """Copy in memory, uint8 or float32."""
    if isinstance(rows, Tensor):
        return rows if rows.dtype == torch.uint8 else rows.float()
    return torch.from_numpy(rows.astype(np.uint8 if rows.dtype == np.uint8 else np.float32))
