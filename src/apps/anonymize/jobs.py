"""Which files are read and written, and that none is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np

from src.apps.anonymize.image_files import check_images, find_images, read_image
from src.apps.anonymize.video_files import CONTAINERS
from src.datamodules.decode import BadImage
from src.datamodules.sources.file_source import IMAGE_SUFFIXES
from src.errors import UserError
from src.files import atomic_write

__all__ = ["Job", "Work", "plan", "read_batches", "written_together"]

_PNG, _JPEG = (".png",), (".jpg", ".jpeg")
_VALUES = 2**26
"""Of images that are in memory together."""


@dataclass(frozen=True)
class Job:
    """A file to read and one to write.

    Attributes:
        name: Path of the first below the input folder, or its name.
        source: The file to read.
        target: The file to write.
    """

    name: str
    source: Path
    target: Path


@dataclass(frozen=True)
class Work:
    """All jobs of a command.

    Attributes:
        kind: Of their files.
        jobs: One at least; a single one of a video.
        left_out: Files in the input folder that are no images.
    """

    kind: Literal["image", "video"]
    jobs: Sequence[Job]
    left_out: int = 0


def plan(
    source: Path,
    out: Path,
    *,
    lossy: bool,
    overwrite: bool,
    companions: Callable[[Path], Sequence[Path]] = lambda _: (),
) -> Work:
    """Find the files of a command, and check that writing loses nothing.

    Args:
        source: An image, a folder of images at any depth, or a video.
        out: The file or folder to write; a folder keeps the tree.
        lossy: Write JPEG or H.264.
        overwrite: Replace files that are there.
        companions: What else is written beside a file.

    Raises:
        UserError: There is no such input, an image cannot be read, ``out`` is not as the input, or files are there.
    """
    if source.is_dir():
        work = _plan_folder(source, out, lossy)
        check_images(source, [job.name for job in work.jobs])
    elif source.is_file():
        is_image = source.suffix.lower() in IMAGE_SUFFIXES
        suffixes = (_JPEG if lossy else _PNG) if is_image else tuple(CONTAINERS) if lossy else (".mkv",)
        if out.is_dir() or out.suffix.lower() not in suffixes:
            raise UserError(
                f"out={out}: expected the name of a file that ends in {' or '.join(suffixes)}"
                + ("" if lossy else "; with lossy=true .jpg, .mp4 and .mkv are written, from which less is recovered")
            )
        work = Work("image" if is_image else "video", [Job(source.name, source, out)])
        if is_image:
            check_images(source.parent, [source.name])
    else:
        raise UserError(f"input={source}: there is no such file or folder")
    _check_targets(work.jobs, overwrite, companions)
    return work


def read_batches(jobs: Sequence[Job], batch_size: int, problems: list[str]) -> Iterator[list[tuple[Job, np.ndarray]]]:
    """Read images, as many as there are to a batch, or fewer where they are large.

    Args:
        jobs: Of images.
        batch_size: Largest number.
        problems: What cannot be read is added to them.

    Yields:
        Jobs with their pixels uint8 [H, W, 3 or 4].
    """
    batch: list[tuple[Job, np.ndarray]] = []
    for job in jobs:
        try:
            batch.append((job, read_image(job.source)))
        except BadImage as error:
            problems.append(str(error))
        if len(batch) == batch_size or sum(image.size for _, image in batch) > _VALUES:
            yield batch
            batch = []
    if batch:
        yield batch


@contextmanager
def written_together(*paths: Path) -> Iterator[list[IO[bytes]]]:
    """Open several files that appear one right after the other, the last first, once all are complete."""
    with ExitStack() as stack:
        yield [stack.enter_context(atomic_write(path)) for path in paths]


def _plan_folder(source: Path, out: Path, lossy: bool) -> Work:
    if out.exists() and not out.is_dir():
        raise UserError(f"out={out}: is a file; give the name of a folder, for input={source} is one")
    inside, outside = sorted((source.resolve(), out.resolve()), key=lambda path: len(path.parts), reverse=True)
    if inside.is_relative_to(outside):
        raise UserError(f"out={out}: input and out must not lie within each other; give another folder")
    files = find_images(source)
    suffix = (_JPEG if lossy else _PNG)[0]
    jobs = [Job(file, source / file, (out / file).with_suffix(suffix)) for file in files]
    counts = Counter(job.target for job in jobs)
    if doubled := [job.name for job in jobs if counts[job.target] > 1]:
        raise UserError(f"input={source}: {', '.join(doubled[:3])} would be written to one file; rename some of them")
    sidecars = {f"{file}.json" for file in files} | {f"{file}.originals" for file in files}
    others = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()} - sidecars
    return Work("image", jobs, len(others.difference(files)))


def _check_targets(jobs: Sequence[Job], overwrite: bool, companions: Callable[[Path], Sequence[Path]]) -> None:
    for job in jobs:
        if job.target.resolve() == job.source.resolve():
            raise UserError(f"out={job.target}: is the input; give another name")
    there = [path for job in jobs for path in (job.target, *companions(job.target)) if path.exists()]
    if there and not overwrite:
        raise UserError(
            f"out: {len(there)} files are there already, first: {', '.join(map(str, there[:3]))}; give another name, "
            "or set overwrite=true"
        )
